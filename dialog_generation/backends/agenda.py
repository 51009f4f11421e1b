"""Domain "calendar": one person's events, none at the same time as another."""
from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any

from msgspec import Meta

from dialog_generation.backends.registry import Backend, ToolError, register

# for reading only: strftime writes a year before 1000 without its zeros
FORMAT = "%Y-%m-%d %H:%M"
Start = Annotated[str, Meta(max_length=16, description="Day and time, YYYY-MM-DD HH:MM")]
Minutes = Annotated[int, Meta(ge=5, le=720)]
EventId = Annotated[str, Meta(max_length=20, description="Id of the event, such as E1")]
Title = Annotated[str, Meta(min_length=1, max_length=100)]
Person = Annotated[str, Meta(min_length=1, max_length=60)]
TITLES = ("Team meeting", "Dentist", "Budget review", "Lunch with Noor", "Piano lesson",
          "Call with the bank", "Site visit", "Yoga", "Interview", "Parents' evening",
          "Car inspection", "Reading group")
PEOPLE = ("Noor Haddad", "Ivo Brandt", "Lena Okoye", "Tom Sato", "Ana Ruiz")
OPENS, CLOSES = time(8), time(18)


@dataclass
class Event:
    """One entry; `start` as FORMAT."""

    event_id: str
    title: str
    start: str
    minutes: int
    people: list[str]

    @property
    def span(self) -> tuple[datetime, datetime]:
        return _span(self.start, self.minutes)


@register("calendar")
class Agenda(Backend):
    """A calendar with a few events in the two weeks from today on."""

    def __init__(self, rng: random.Random, today: date):
        self._events: dict[str, Event] = {}
        self._made = 0
        # one event a day, so that none overlaps another
        days = rng.sample(range(14), 6)
        for title, days_ahead in zip(rng.sample(TITLES, 6), days, strict=True):
            start = datetime.combine(today + timedelta(days_ahead),
                                     time(rng.randint(8, 16), rng.choice((0, 30))))
            people = rng.sample(PEOPLE, rng.randint(0, 2))
            self._add(title, start.isoformat(" ", "minutes"), rng.choice((30, 45, 60, 90)), people)

    def facts(self) -> dict[str, Any]:
        return {"events": [f"{event.title} at {event.start}" for event in self._events.values()]}

    def show_agenda(self, day: date) -> dict[str, Any]:
        """List the events of one day in their order.

        Args:
            day: The day
        """
        return {"day": day.isoformat(), "events": [asdict(event) for event in self._on(day)]}

    def find_events(self, words: Title) -> dict[str, Any]:
        """Find events by words of their title, upper and lower case alike.

        Args:
            words: Part of the title
        """
        found = [asdict(event) for event in self._events.values()
                 if words.lower() in event.title.lower()]
        return {"matches": len(found), "events": found[:10]}

    def add_event(self, title: Title, start: Start, minutes: Minutes = 60,
                  people: Annotated[list[Person], Meta(max_length=20)] = []) -> dict[str, Any]:
        """Put a new event into the calendar; it must not overlap another one.

        Args:
            title: What it is
            minutes: How long it takes
            people: Who else takes part
        """
        if len(self._events) >= 500:
            raise ToolError("the calendar is full")
        self._refuse_overlap(start, minutes)
        written = _span(start, minutes)[0].isoformat(" ", "minutes")
        return asdict(self._add(title, written, minutes, people))

    def shift_event(self, event_id: EventId, start: Start) -> dict[str, Any]:
        """Give an event another start; it keeps its length."""
        event = self._known(self._events, event_id, "event")
        self._refuse_overlap(start, event.minutes, event)
        event.start = _span(start, event.minutes)[0].isoformat(" ", "minutes")
        return asdict(event)

    def remove_event(self, event_id: EventId) -> dict[str, Any]:
        """Remove an event from the calendar."""
        event = self._known(self._events, event_id, "event")
        del self._events[event_id]
        return {"removed": event_id, "title": event.title}

    def find_gap(self, day: date, minutes: Minutes) -> dict[str, Any]:
        """The first free time of a day between 08:00 and 18:00.

        Args:
            day: The day
            minutes: How long the free time must be
        """
        start, last = datetime.combine(day, OPENS), datetime.combine(day, CLOSES)
        # those of other days too: one of the evening before may reach into this day
        for begins, ends in sorted(event.span for event in self._events.values()):
            if begins - start >= timedelta(minutes=minutes):
                break
            start = max(start, ends)
        if last - start < timedelta(minutes=minutes):
            raise ToolError(f"no {minutes} minutes are free on {day.isoformat()}")
        return {"start": start.isoformat(" ", "minutes"), "minutes": minutes}

    def _add(self, title: str, start: str, minutes: int, people: list[str]) -> Event:
        self._made += 1
        event = Event(f"E{self._made}", title, start, minutes, people)
        self._events[event.event_id] = event
        return event

    def _on(self, day: date) -> list[Event]:
        return sorted(
            (event for event in self._events.values() if event.start.startswith(day.isoformat())),
            key=lambda event: event.start)

    def _refuse_overlap(self, start: str, minutes: int, moving: Event | None = None) -> None:
        begins, ends = _span(start, minutes)
        for event in self._events.values():
            if event is not moving and event.span[0] < ends and begins < event.span[1]:
                raise ToolError(f"overlaps {event.title!r} ({event.event_id}) at {event.start}")


def _span(start: str, minutes: int) -> tuple[datetime, datetime]:
    """First and last moment of an event."""
    try:
        begins = datetime.strptime(start, FORMAT)
        return begins, begins + timedelta(minutes=minutes)
    except (ValueError, OverflowError):
        raise ToolError(f"{start!r} is no day and time of the form YYYY-MM-DD HH:MM") from None
