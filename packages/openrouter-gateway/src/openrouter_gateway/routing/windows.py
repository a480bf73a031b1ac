"""Rolling windows of counts and of measurements: constant memory, a dictionary access per update."""

import math
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from openrouter_gateway.core.health import Percentiles

S = TypeVar("S")

_GROWTH: Final = 1.05
_LOG_GROWTH: Final = math.log(_GROWTH)
_SMALLEST: Final = 1e-6


class Rolling(Generic[S]):
    """One value per stretch of time, for the latest so many. `make` returns the value that a stretch begins with."""

    __slots__ = ("_begins", "_current", "_ends", "_length", "_make", "_slots", "slot_s")

    _current: S

    def __init__(self, slot_s: float, length: int, make: Callable[[], S]) -> None:
        self.slot_s = slot_s
        self._length = length
        self._make = make
        self._slots: dict[int, S] = {}
        self._begins = self._ends = 0.0  # of the stretch that was asked for last

    def at(self, now: float) -> S:
        """Return the value of the current stretch."""
        if self._begins <= now < self._ends:
            return self._current
        number = int(now // self.slot_s)
        slot = self._slots.get(number)
        if slot is None:
            while len(self._slots) >= self._length:
                del self._slots[next(iter(self._slots))]
            slot = self._slots[number] = self._make()
        self._current = slot
        self._begins = number * self.slot_s
        self._ends = self._begins + self.slot_s
        return slot

    def since(self, now: float, duration_s: float) -> Iterator[S]:
        """Yield the values of the stretches that the last so many seconds touch, the current one among them."""
        oldest = int((now - duration_s) // self.slot_s)
        return (slot for number, slot in self._slots.items() if number >= oldest)


class Counts:
    """What happened in one stretch of time."""

    __slots__ = ("failed", "forbidden", "served", "throttled", "tool_requests", "tool_successes")

    def __init__(self) -> None:
        self.served = self.failed = self.throttled = self.forbidden = self.tool_requests = self.tool_successes = 0


def new_histogram() -> dict[int, int]:
    """Return how many measurements fell into which bin; bins grow by five percent."""
    return {}


def bin_of(value: float) -> int:
    """Return the bin of a measurement."""
    return math.floor(math.log(max(value, _SMALLEST)) / _LOG_GROWTH)


def percentiles(histograms: Iterator[dict[int, int]], *, higher_is_better: bool) -> Percentiles | None:
    """Return the values that half, 75, 90 and 99 percent of the measurements were better than, within 2.5 percent.

    That is how OpenRouter defines its percentiles (provider routing, 2026-08-22); None without measurements.
    """
    merged: dict[int, int] = {}
    for histogram in histograms:
        for place, count in histogram.items():
            merged[place] = merged.get(place, 0) + count
    if not merged:
        return None
    ordered = sorted(merged.items(), reverse=higher_is_better)
    total = sum(merged.values())
    found: list[float] = []
    passed = 0
    places = iter(ordered)
    place, count = next(places)
    for share in (0.5, 0.75, 0.9, 0.99):
        while passed + count < share * total:
            passed += count
            place, count = next(places)
        found.append(_GROWTH ** (place + 0.5))
    return Percentiles(*found)
