"""Domain "numbers": units, single operations (no expression is evaluated), and a memory of named
values."""
from __future__ import annotations

import math
import random
import statistics
from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta

from dialog_generation.backends.registry import Backend, ToolError, register

Number = Annotated[float, Meta(ge=-1e15, le=1e15)]
Name = Annotated[str, Meta(min_length=1, max_length=40)]
Unit = Literal["mm", "cm", "m", "km", "inch", "foot", "mile", "g", "kg", "ounce", "pound", "ml",
               "l", "gallon", "s", "min", "h", "day", "celsius", "fahrenheit", "kelvin"]
SIZES: dict[str, tuple[str, float]] = {
    "mm": ("length", 0.001), "cm": ("length", 0.01), "m": ("length", 1), "km": ("length", 1000),
    "inch": ("length", 0.0254), "foot": ("length", 0.3048), "mile": ("length", 1609.344),
    "g": ("mass", 0.001), "kg": ("mass", 1), "ounce": ("mass", 0.028349523125),
    "pound": ("mass", 0.45359237), "ml": ("volume", 0.001), "l": ("volume", 1),
    "gallon": ("volume", 3.785411784), "s": ("time", 1), "min": ("time", 60), "h": ("time", 3600),
    "day": ("time", 86400), "celsius": ("temperature", 1), "fahrenheit": ("temperature", 5 / 9),
    "kelvin": ("temperature", 1)}
"""Dimension of each unit, and how many of the dimension's first unit it is."""
ZEROS = {"celsius": 273.15, "fahrenheit": 459.67 * 5 / 9, "kelvin": 0.0}
"""Zero of each temperature scale in kelvin."""
LABELS = ("rent", "budget", "distance", "weight", "height", "deposit")


@register("numbers")
class Measures(Backend):
    """Functions of numbers, and a memory with a few values in it."""

    def __init__(self, rng: random.Random, today: date):
        self._kept: dict[str, float] = {label: float(rng.randint(2, 900))
                                        for label in rng.sample(LABELS, 3)}

    def facts(self) -> dict[str, Any]:
        return {"stored values": sorted(self._kept)}

    def convert_measure(self, value: Number, source: Unit, target: Unit) -> dict[str, Any]:
        """Convert a value between two units of the same dimension.

        Args:
            value: How many of the source unit
            source: Unit of the value
            target: Unit of the result
        """
        (dimension, size), (other, target_size) = SIZES[source], SIZES[target]
        if dimension != other:
            raise ToolError(f"{source} is a unit of {dimension}, {target} of {other}")
        base = value * size + ZEROS.get(source, 0.0)
        if dimension == "temperature" and base < -1e-9:
            raise ToolError(f"{value} {source} is below absolute zero")
        return {"value": _rounded((base - ZEROS.get(target, 0.0)) / target_size), "unit": target}

    def calculate(self,
                  operation: Literal["add", "subtract", "multiply", "divide", "power", "remainder"],
                  a: Number, b: Number) -> dict[str, Any]:
        """Apply one operation to two numbers.

        Args:
            operation: What to do
            a: First number
            b: Second number
        """
        if operation in ("divide", "remainder") and b == 0:
            raise ToolError("division by zero")
        try:
            # math.pow, as ** makes a complex number of (-8) ** 0.5
            value = {"add": lambda: a + b, "subtract": lambda: a - b, "multiply": lambda: a * b,
                     "divide": lambda: a / b, "power": lambda: math.pow(a, b),
                     "remainder": lambda: math.fmod(a, b) }[operation]()
        except (OverflowError, ValueError):
            raise ToolError(f"{a} to the power of {b} is no number that can be shown") from None
        return {"value": _rounded(value)}

    def describe_numbers(self,
                         numbers: Annotated[list[Number],
                                            Meta(min_length=1, max_length=200)]) -> dict[str, Any]:
        """Count, sum, mean, median, smallest and largest of a list of numbers.

        Args:
            numbers: The numbers
        """
        return {"count": len(numbers), "sum": _rounded(math.fsum(numbers)),
                "mean": _rounded(statistics.fmean(numbers)),
                "median": _rounded(statistics.median(numbers)), "smallest": min(numbers),
                "largest": max(numbers)}

    def change_in_percent(self, before: Number, after: Number) -> dict[str, Any]:
        """By how many percent a value has changed.

        Args:
            before: Value before
            after: Value after
        """
        if before == 0:
            raise ToolError("there is no percentage of zero")
        return {"percent": _rounded((after / before - 1) * 100)}

    def store_value(self, name: Name, value: Number) -> dict[str, Any]:
        """Keep a value under a name, in place of what was there.

        Args:
            name: Name to keep it under
            value: The value
        """
        if name not in self._kept and len(self._kept) >= 100:
            raise ToolError("the memory is full")
        self._kept[name] = value
        return {"name": name, "value": value, "stored": len(self._kept)}

    def recall_value(self, name: Name) -> dict[str, Any]:
        """The value that was kept under a name.

        Args:
            name: Name it was kept under
        """
        if name not in self._kept:
            raise ToolError(
                f"nothing is stored as {name!r}; there are {', '.join(sorted(self._kept))}")
        return {"name": name, "value": self._kept[name]}


def _rounded(value: float) -> float:
    """Ten significant digits, so that 0.1 + 0.2 is 0.3."""
    if math.isinf(value):
        raise ToolError("the result is too large to be shown")
    return float(f"{value:.10g}")
