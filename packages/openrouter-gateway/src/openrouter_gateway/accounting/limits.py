"""Limits of keys: their periods, and the sliding minute that rates are counted in.

Periods are of the UTC calendar (OpenRouter API, keys, 2026-08-22): days from 00:00, weeks from Monday, months from
the first.
"""

import datetime as dt
import math
from collections import deque
from typing import Final

from openrouter_gateway.core.account import Reset

DAY_S: Final = 86_400
_MONDAY: Final = 3
"""1970-01-01 was a Thursday."""

SPAN_S: Final = 61
"""How long a whole second counts: from its first moment until its last one is 60 seconds ago."""


def period_start(reset: Reset | None, now: float) -> float:
    """Return the unix second at which the period around a moment began; 0 without a reset."""
    if reset is None:
        return 0
    days = math.floor(now / DAY_S)
    match reset:
        case "daily":
            return days * DAY_S
        case "weekly":
            return (days - (days + _MONDAY) % 7) * DAY_S
        case "monthly":
            day = dt.date(1970, 1, 1) + dt.timedelta(days=days)
            return (days - day.day + 1) * DAY_S


class Minute:
    """What happened in the last 60 seconds: requests, and tokens, in buckets of whole seconds.

    A bucket counts for `SPAN_S`, so that no 60 seconds ever see more than the limit. A clock that goes back counts in
    the newest bucket.
    """

    __slots__ = ("_buckets", "requests", "tokens")

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque()
        self.requests = 0
        self.tokens = 0

    def __repr__(self) -> str:
        return f"<Minute requests={self.requests} tokens={self.tokens}>"

    def advance(self, now: float) -> None:
        """Forget what is too old."""
        buckets = self._buckets
        oldest = now - SPAN_S
        while buckets and buckets[0][0] <= oldest:
            _, requests, tokens = buckets.popleft()
            self.requests -= requests
            self.tokens -= tokens

    def add(self, now: float, tokens: int) -> int:
        """Count a request; return the second whose bucket it is in."""
        second = math.floor(now)
        buckets = self._buckets
        if not buckets or buckets[-1][0] < second:
            buckets.append([second, 0, 0])
        bucket = buckets[-1]
        bucket[1] += 1
        bucket[2] += tokens
        self.requests += 1
        self.tokens += tokens
        return bucket[0]

    def correct(self, second: int, tokens: int) -> None:
        """Add tokens, or take some away, where a request was counted, if that still counts."""
        for bucket in reversed(self._buckets):
            if bucket[0] == second:
                bucket[2] += tokens
                self.tokens += tokens
                return

    def free_at(self, *, requests: int | None = None, tokens: int | None = None) -> float:
        """Return when there will be fewer than so many requests, or tokens, if nothing comes until then."""
        column, total, limit = (1, self.requests, requests) if requests is not None else (2, self.tokens, tokens or 0)
        free = 0.0
        for bucket in self._buckets:
            if total < limit:
                break
            total -= bucket[column]
            free = bucket[0] + SPAN_S
        return free
