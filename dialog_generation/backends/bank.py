"""Domain "bank": accounts of one customer and a double-entry ledger, in an SQLite data base in
memory."""
from __future__ import annotations

import random
import sqlite3
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta

from dialog_generation.backends.registry import Backend, ToolError, register

Account = Annotated[str, Meta(max_length=30, description="Account number, such as AC-1001")]
Amount = Annotated[float, Meta(ge=0.01, le=1_000_000, description="Amount in euros")]
Note = Annotated[str, Meta(max_length=140)]
SCHEMA = """
CREATE TABLE accounts (number TEXT PRIMARY KEY, kind TEXT NOT NULL,
                       open INTEGER NOT NULL DEFAULT 1);
CREATE TABLE entries (id INTEGER PRIMARY KEY, day TEXT NOT NULL, source TEXT NOT NULL,
                      target TEXT NOT NULL,
                      cents INTEGER NOT NULL CHECK (cents > 0), note TEXT NOT NULL);
"""
BALANCE = """SELECT COALESCE(SUM(CASE WHEN target = :number THEN cents ELSE -cents END), 0)
             FROM entries WHERE :number IN (source, target)"""
PAYEES = ("Nordlicht Energy", "Hill Street Bakery", "City Water Works", "Pine Telecom",
          "Rent Office West")


@register("bank")
class Bank(Backend):
    """A current account, a savings account, and some weeks of payments."""

    def __init__(self, rng: random.Random, today: date):
        self._today = today.isoformat()
        self._base = sqlite3.connect(":memory:")
        self._base.executescript(SCHEMA)
        first = rng.randint(1000, 8999)
        for number, kind in ((first, "current"), (first + 1, "savings")):
            self._base.execute("INSERT INTO accounts (number, kind) VALUES (?, ?)",
                               (f"AC-{number}", kind))
            self._enter("OPENING", f"AC-{number}", rng.randint(200_000, 900_000), "opening balance",
                        (today - timedelta(60)).isoformat())
        for days in sorted(rng.sample(range(1, 50), 6), reverse=True):
            self._enter(f"AC-{first}", rng.choice(PAYEES), rng.randint(500, 15_000), "card payment",
                        (today - timedelta(days)).isoformat())

    def facts(self) -> dict[str, Any]:
        return {**self.list_accounts(), "payees": list(PAYEES)}

    def list_accounts(self) -> dict[str, Any]:
        """List the customer's open accounts with their balances in euros."""
        rows = self._base.execute("SELECT number, kind FROM accounts WHERE open ORDER BY number")
        return {
            "accounts": [{"account": number, "kind": kind, "balance": self._balance(number) / 100}
                         for number, kind in rows.fetchall()]}

    def account_balance(self, account: Account) -> dict[str, Any]:
        """The balance of one account in euros."""
        self._refuse_unknown(account)
        return {"account": account, "balance": self._balance(account) / 100}

    def move_money(self, source: Account, target: Account, amount: Amount,
                   note: Note = "") -> dict[str, Any]:
        """Move money between two of the customer's own accounts.

        Args:
            source: Account that pays
            target: Account that receives
            note: Text on the statement
        """
        self._refuse_unknown(target)
        if source == target:
            raise ToolError("source and target are the same account")
        return self._pay(source, target, amount, note)

    def pay_payee(self, account: Account, payee: Annotated[str, Meta(min_length=1, max_length=60)],
                  amount: Amount, note: Note = "") -> dict[str, Any]:
        """Pay a company or person outside the bank.

        Args:
            account: Account that pays
            payee: Name of who is paid
            note: Text on the statement
        """
        if self._base.execute("SELECT 1 FROM accounts WHERE number = ?", (payee,)).fetchone():
            raise ToolError(f"{payee} is an account of yours; move money to it instead")
        return self._pay(account, payee, amount, note)

    def account_statement(self, account: Account, since: date | None = None,
                          limit: Annotated[int, Meta(ge=1, le=20)] = 10) -> dict[str, Any]:
        """The newest entries of an account, the latest first; what was paid is negative.

        Args:
            since: Leave out what is older than this day
            limit: How many entries at most
        """
        self._refuse_unknown(account)
        rows = self._base.execute(
            "SELECT id, day, source, target, cents, note FROM entries WHERE ? IN (source, target) "
            "AND day >= ? ORDER BY day DESC, id DESC LIMIT ?",
            (account, since.isoformat() if since else "", limit))
        return {"account": account, "entries": [
            {"entry": id, "day": day, "with": target if source == account else source, "note": note,
             "amount": (cents if target == account else -cents) / 100}
            for id, day, source, target, cents, note in rows]}

    def add_account(self, kind: Literal["current", "savings"]) -> dict[str, Any]:
        """Open a further account with nothing on it.

        Args:
            kind: Kind of account
        """
        count, last = self._base.execute(
            # closed ones too, as a number is never given twice
            "SELECT COUNT(*), MAX(CAST(SUBSTR(number, 4) AS INTEGER)) FROM accounts"
            ).fetchone()
        if count >= 20:
            raise ToolError("no more than 20 accounts can be opened")
        self._base.execute("INSERT INTO accounts (number, kind) VALUES (?, ?)",
                           (f"AC-{last + 1}", kind))
        return {"account": f"AC-{last + 1}", "kind": kind, "balance": 0.0}

    def close_account(self, account: Account) -> dict[str, Any]:
        """Close an account that has nothing on it."""
        self._refuse_unknown(account)
        if self._balance(account):
            raise ToolError(
                f"{account} still holds {self._balance(account) / 100:.2f}; move it first")
        self._base.execute("UPDATE accounts SET open = 0 WHERE number = ?", (account,))
        return {"closed": account}

    def _refuse_unknown(self, account: str) -> None:
        if not self._base.execute("SELECT 1 FROM accounts WHERE open AND number = ?",
                                  (account,)).fetchone():
            raise ToolError(f"no open account {account!r}")

    def _balance(self, account: str) -> int:
        return self._base.execute(BALANCE, {"number": account}).fetchone()[0]

    def _pay(self, source: str, target: str, amount: float, note: str) -> dict[str, Any]:
        self._refuse_unknown(source)
        # 0.29 * 100 is 28.999999999999996: less than 1e-6 away is whole
        cents = round(amount * 100)
        if abs(amount * 100 - cents) > 1e-6:
            raise ToolError(f"{amount} is no amount of whole cents")
        if cents > self._balance(source):
            raise ToolError(f"{source} holds only {self._balance(source) / 100:.2f}")
        entry = self._enter(source, target, cents, note, self._today)
        return {"entry": entry, "amount": cents / 100, "balance": self._balance(source) / 100}

    def _enter(self, source: str, target: str, cents: int, note: str, day: str) -> int | None:
        return self._base.execute(
            "INSERT INTO entries (day, source, target, cents, note) VALUES (?, ?, ?, ?, ?)",
            (day, source, target, cents, note)).lastrowid
