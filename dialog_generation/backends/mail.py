"""Domain "mail": a mail box with folders and an address book; nothing is sent anywhere."""
from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta

from dialog_generation.backends.registry import Backend, ToolError, register

Folder = Literal["inbox", "sent", "archive", "trash"]
MailId = Annotated[str, Meta(max_length=20, description="Id of the mail, such as M1")]
Address = Annotated[str, Meta(min_length=3, max_length=100)]
Subject = Annotated[str, Meta(max_length=150)]
Body = Annotated[str, Meta(max_length=5_000)]
PEOPLE = ("Rosa Lind", "Emil Kovac", "Priya Nair", "Jonas Weiss", "Mei Tan", "Oscar Diaz",
          "Sara Holm")
SUBJECTS = {"Invoice for March": "Please find the amount below: 128.40 euros, due in two weeks.",
            "Saturday": "Shall we meet at ten in front of the museum?",
            "Keys": "I left the spare keys with your neighbour.",
            "Minutes of the meeting": "We agreed on the blue version and on a test in June.",
            "Your application": "Thank you. Could you send two references by Monday?",
            "Photos": "I have put the photos of the trip on a stick for you.",
            "Delivery": "The parcel will be handed over between 9 and 12."}
MOST_MAILS = 500
OWNER = "me@home.example"


@dataclass
class Mail:
    mail_id: str
    sender: str
    to: list[str]
    subject: str
    body: str
    day: str
    folder: str
    unread: bool = False

    def head(self) -> dict[str, Any]:
        return {"mail_id": self.mail_id, "sender": self.sender, "subject": self.subject,
                "day": self.day, "unread": self.unread}


@register("mail")
class MailBox(Backend):
    """A mail box with some mails of the last weeks."""

    def __init__(self, rng: random.Random, today: date):
        self._today = today
        people = rng.sample(PEOPLE, 5)
        self._contacts = {name: name.lower().replace(" ", ".") + "@mail.example" for name in people}
        self._mails: dict[str, Mail] = {}
        for subject, days in zip(rng.sample(list(SUBJECTS), 6),
                                 sorted(rng.sample(range(1, 30), 6), reverse=True),
                                 strict=True):
            sender = self._contacts[rng.choice(people)]
            mail = self._keep(sender, [OWNER], subject, SUBJECTS[subject],
                              rng.choice(("inbox", "inbox", "archive")))
            mail.day = (today - timedelta(days)).isoformat()
            mail.unread = mail.folder == "inbox" and rng.random() < 0.5

    def facts(self) -> dict[str, Any]:
        return {"contacts": self._contacts,
                "mails": [f"{mail.subject!r} from {mail.sender}" for mail in self._mails.values()]}

    def list_mails(self, folder: Folder = "inbox", only_unread: bool = False) -> dict[str, Any]:
        """List the mails of a folder, the newest first.

        Args:
            folder: Which folder
            only_unread: Leave out what was read
        """
        return _listed([mail for mail in self._mails.values()
                        if mail.folder == folder and (mail.unread or not only_unread)])

    def find_mails(self,
                   words: Annotated[str, Meta(min_length=1, max_length=100)]) -> dict[str, Any]:
        """Find mails of all folders by words in sender, subject or text, upper and lower case
        alike.

        Args:
            words: Text to look for
        """
        return _listed([mail for mail in self._mails.values()
                        if words.lower() in f"{mail.sender}\n{mail.subject}\n{mail.body}".lower()])

    def open_mail(self, mail_id: MailId) -> dict[str, Any]:
        """Read a whole mail, which is then no longer unread."""
        mail = self._known(self._mails, mail_id, "mail")
        mail.unread = False
        return asdict(mail)

    def compose_mail(self, to: Annotated[list[Address], Meta(min_length=1, max_length=20)],
                     subject: Subject, body: Body) -> dict[str, Any]:
        """Send a mail to addresses, or to names of the address book.

        Args:
            to: Addresses or names
            subject: Subject line
            body: Text of the mail
        """
        mail = self._keep(OWNER, [self._address(name) for name in to], subject, body, "sent")
        return {"mail_id": mail.mail_id, "to": mail.to, "status": "sent"}

    def answer_mail(self, mail_id: MailId, body: Body) -> dict[str, Any]:
        """Answer the sender of a mail under the same subject.

        Args:
            body: Text of the answer
        """
        mail = self._known(self._mails, mail_id, "mail")
        answer = self._keep(OWNER, [mail.sender], f"Re: {mail.subject.removeprefix('Re: ')}", body,
                            "sent")
        return {"mail_id": answer.mail_id, "to": answer.to, "subject": answer.subject,
                "status": "sent"}

    def file_mail(self, mail_id: MailId, folder: Folder) -> dict[str, Any]:
        """Move a mail to another folder; "trash" deletes it.

        Args:
            folder: Where it goes
        """
        mail = self._known(self._mails, mail_id, "mail")
        if mail.folder == folder:
            raise ToolError(f"{mail_id} is in {folder} already")
        mail.folder = folder
        return {"mail_id": mail_id, "folder": folder}

    def find_contact(self,
                     name: Annotated[str, Meta(min_length=1, max_length=60)]) -> dict[str, Any]:
        """Look up addresses by part of a name.

        Args:
            name: Name or part of it
        """
        found = [{"name": known, "address": address} for known, address in self._contacts.items()
                 if name.lower() in known.lower()]
        return {"matches": len(found), "contacts": found}

    def _keep(self, sender: str, to: list[str], subject: str, body: str, folder: str) -> Mail:
        if len(self._mails) >= MOST_MAILS:
            raise ToolError("the mail box is full")
        # no mail ever leaves the box, so their number gives a new id
        mail = Mail(f"M{len(self._mails) + 1}", sender, to, subject, body, self._today.isoformat(),
                    folder)
        self._mails[mail.mail_id] = mail
        return mail

    def _address(self, name: str) -> str:
        if name in self._contacts:
            return self._contacts[name]
        user, at, host = name.partition("@")
        if not (user and at and "." in host) or any(sign.isspace() for sign in name):
            raise ToolError(f"{name!r} is neither an address nor a name of the address book")
        return name


def _listed(mails: list[Mail]) -> dict[str, Any]:
    newest = sorted(mails, key=lambda mail: (mail.day, int(mail.mail_id[1:])), reverse=True)
    return {"matches": len(mails), "mails": [mail.head() for mail in newest[:10]]}
