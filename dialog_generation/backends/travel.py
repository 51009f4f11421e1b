"""Domain "travel": a timetable of flights, hotels with rooms, and the bookings of one customer."""
from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from dialog_generation.backends.registry import Backend, ToolError, register

City = Literal["Lisbon", "Vienna", "Oslo", "Rome", "Dublin", "Athens"]
CITIES: tuple[str, ...] = get_args(City)
FlightId = Annotated[str, Meta(max_length=20, description="Id of the flight, such as F1")]
HotelId = Annotated[str, Meta(max_length=20, description="Id of the hotel, such as H1")]
BookingId = Annotated[str, Meta(max_length=20, description="Id of the booking, such as B1")]
Person = Annotated[str, Meta(min_length=1, max_length=60)]
HOUSES = ("Harbour House", "Hotel Linden", "The Old Mill", "Hotel Mirador", "Park Rooms",
          "Station Inn")
DAYS_AHEAD = 330
"""Bookings are open this far from the dialog's day on."""


@dataclass(frozen=True)
class Flight:
    """One connection, flown every day."""

    origin: str
    destination: str
    departs: str
    price: int
    seats: int


@dataclass(frozen=True)
class Hotel:
    name: str
    city: str
    price: int
    rooms: int


@register("travel")
class Travel(Backend):
    """Two flights a day between any two cities, and two hotels in each."""

    def __init__(self, rng: random.Random, today: date):
        self._today = today
        pairs = [(a, b) for a in CITIES for b in CITIES if a != b for _ in range(2)]
        self._flights = {f"F{number}": Flight(
            a, b, f"{rng.randint(6, 21):02d}:{rng.choice((5, 20, 35, 50)):02d}",
            rng.randint(49, 320), rng.choice((1, 3, 9, 60)))
                         for number, (a, b) in enumerate(pairs, 1)}
        self._hotels = {f"H{number}": Hotel(name, city, rng.randint(55, 240), rng.randint(1, 6))
                        for number, (city, name) in enumerate(
                            ((city, name) for city in CITIES for name in rng.sample(HOUSES, 2)), 1)}
        self._bookings: dict[str, dict[str, Any]] = {}
        self._booked = 0

    def facts(self) -> dict[str, Any]:
        return {"cities": list(CITIES),
                "hotels": [f"{hotel.name}, {hotel.city}" for hotel in self._hotels.values()]}

    def find_flights(self, origin: City, destination: City, day: date) -> dict[str, Any]:
        """Flights between two cities on a day, with price in euros and seats left.

        Args:
            origin: City of departure
            destination: City of arrival
            day: Day of travel
        """
        self._refuse_day(day)
        found = [{"flight_id": id, "departs": flight.departs, "price": flight.price,
                  "seats": self._seats(id, day)}
                 for id, flight in self._flights.items()
                 if (flight.origin, flight.destination) == (origin, destination)]
        return {"day": day.isoformat(),
                "flights": sorted(found, key=lambda flight: flight["departs"])}

    def reserve_flight(self, flight_id: FlightId, day: date,
                       passengers: Annotated[list[Person],
                                             Meta(min_length=1, max_length=9)]) -> dict[str, Any]:
        """Book seats on a flight.

        Args:
            day: Day of travel
            passengers: Names of all who fly
        """
        flight = self._known(self._flights, flight_id, "flight")
        self._refuse_day(day)
        if len(passengers) > self._seats(flight_id, day):
            raise ToolError(
                f"{flight_id} has {self._seats(flight_id, day)} seats left on {day.isoformat()}")
        return self._book({"flight_id": flight_id, "day": day.isoformat(),
                           "passengers": passengers},
                          flight.price * len(passengers))

    def find_hotels(self, city: City,
                    highest_price: Annotated[int, Meta(ge=1, le=10_000)] | None = None
                    ) -> dict[str, Any]:
        """Hotels of a city with the price of a night in euros.

        Args:
            city: Where
            highest_price: Only what costs at most this much a night
        """
        return {"city": city, "hotels": [
            {"hotel_id": id, "name": hotel.name, "price": hotel.price}
            for id, hotel in self._hotels.items()
            if hotel.city == city and (highest_price is None or hotel.price <= highest_price)]}

    def reserve_hotel(self, hotel_id: HotelId, arrival: date,
                      nights: Annotated[int, Meta(ge=1, le=30)], guest: Person) -> dict[str, Any]:
        """Book one room for some nights.

        Args:
            arrival: Day of arrival
            nights: How many nights
            guest: Name of the guest
        """
        hotel = self._known(self._hotels, hotel_id, "hotel")
        self._refuse_day(arrival)
        days = [(arrival + timedelta(night)).isoformat() for night in range(nights)]
        full = [day for day in days if self._rooms(hotel_id, day) < 1]
        if full:
            raise ToolError(f"{hotel_id} is full on {full[0]}")
        return self._book({"hotel_id": hotel_id, "days": days, "guest": guest},
                          hotel.price * nights)

    def list_bookings(self) -> dict[str, Any]:
        """All bookings that stand, and what they cost in euros."""
        return {"bookings": list(self._bookings.values()),
                "total": sum(booking["price"] for booking in self._bookings.values())}

    def cancel_booking(self, booking_id: BookingId) -> dict[str, Any]:
        """Cancel a booking of a flight or hotel; the whole price is paid back."""
        booking = self._known(self._bookings, booking_id, "booking")
        del self._bookings[booking_id]
        return {"booking_id": booking_id, "refund": booking["price"]}

    def _refuse_day(self, day: date) -> None:
        if not 0 <= (day - self._today).days <= DAYS_AHEAD:
            raise ToolError(
                f"{day.isoformat()} cannot be booked: open from today, {self._today.isoformat()}, "
                f"for {DAYS_AHEAD} days")

    def _seats(self, flight_id: str, day: date) -> int:
        return self._flights[flight_id].seats - sum(
            len(booking["passengers"]) for booking in self._bookings.values()
            if (booking.get("flight_id"), booking.get("day")) == (flight_id, day.isoformat()))

    def _rooms(self, hotel_id: str, day: str) -> int:
        return self._hotels[hotel_id].rooms - sum(
            booking.get("hotel_id") == hotel_id and day in booking["days"]
            for booking in self._bookings.values())

    def _book(self, what: dict[str, Any], price: int) -> dict[str, Any]:
        self._booked += 1
        booking = {"booking_id": f"B{self._booked}", **what, "price": price}
        self._bookings[booking["booking_id"]] = booking
        return booking
