"""Periods of limits, and the sliding minute."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.accounting.limits import SPAN_S, Minute, period_start
from openrouter_gateway.core.account import Reset


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("reset", "now", "start"),
    [
        (None, "2026-02-14T04:25:12", "1970-01-01"),
        ("daily", "2026-02-14T04:25:12.5", "2026-02-14"),
        ("daily", "2026-02-14T00:00:00", "2026-02-14"),
        ("weekly", "2026-02-14T04:25:12", "2026-02-09"),
        ("weekly", "2026-02-09T00:00:00", "2026-02-09"),
        ("weekly", "2026-02-08T23:59:59.999", "2026-02-02"),
        ("monthly", "2024-02-29T23:59:59", "2024-02-01"),
        ("monthly", "2026-01-01T00:00:00", "2026-01-01"),
        ("monthly", "2025-12-31T23:59:59", "2025-12-01"),
    ],
)
def test_periods_are_of_the_utc_calendar(reset: Reset | None, now: str, start: str) -> None:
    assert at(start) == period_start(reset, at(now))


@given(st.sampled_from(["daily", "weekly", "monthly"]), st.floats(0, 4e9, allow_nan=False))
def test_a_period_is_its_own_start(reset: Reset, now: float) -> None:
    """Its start is not after the moment, is midnight, and is the start of itself."""
    start = period_start(reset, now)
    assert start <= now
    assert start % 86_400 == 0
    assert start == period_start(reset, start)
    if reset == "weekly":
        assert dt.datetime.fromtimestamp(start, dt.UTC).weekday() == 0
    if reset == "monthly":
        assert dt.datetime.fromtimestamp(start, dt.UTC).day == 1


GAPS = st.lists(st.floats(0, 40, allow_nan=False) | st.just(0.0), max_size=60)


@given(gaps=GAPS, limit=st.integers(1, 6))
def test_no_minute_has_more_than_the_limit(gaps: list[float], limit: int) -> None:
    """Whatever the distances, and one that was refused is let in at the time that it was told."""
    minute, now, admitted = Minute(), 1e9, list[float]()
    for gap in gaps:
        now += gap
        minute.advance(now)
        if minute.requests < limit:
            minute.add(now, 1)
            admitted.append(now)
        else:
            free = minute.free_at(requests=limit)
            assert now < free <= now + SPAN_S
            assert sum(free - SPAN_S < moment for moment in admitted) <= limit
    for moment in admitted:
        assert sum(moment - 60 < other <= moment for other in admitted) <= limit


@given(gaps=GAPS, limit=st.integers(1, 6))
def test_what_was_promised_is_kept(gaps: list[float], limit: int) -> None:
    """At `free_at` there is room, a moment before there is none."""
    minute, now = Minute(), 1e9
    for gap in gaps:
        now += gap
        minute.advance(now)
        if minute.requests < limit:
            minute.add(now, 0)
    if minute.requests >= limit:
        free = minute.free_at(requests=limit)
        minute.advance(free - 0.001)
        assert minute.requests >= limit
        minute.advance(free)
        assert minute.requests < limit


@given(tokens=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 50), st.integers(-50, 50)), max_size=30))
def test_tokens_are_those_of_the_minute(tokens: list[tuple[float, int, int]]) -> None:
    """Corrections go where the request was counted."""
    minute, now, model = Minute(), 1e9, list[tuple[int, int]]()
    for gap, estimate, change in tokens:
        now += gap
        minute.advance(now)
        second = minute.add(now, estimate)
        minute.correct(second, change)
        model.append((second, estimate + change))
        assert minute.tokens == sum(count for when, count in model if when > now - SPAN_S)
    minute.advance(now + SPAN_S + 1)
    assert (minute.requests, minute.tokens) == (0, 0)


def test_a_clock_that_goes_back_counts_now() -> None:
    """The limit holds all the same."""
    minute = Minute()
    assert minute.add(1000.0, 1) == 1000
    assert minute.add(990.0, 1) == 1000
    assert minute.requests == 2
    assert "requests=2" in repr(minute)


def test_tokens_become_free_in_their_order() -> None:
    minute = Minute()
    minute.add(100.0, 5)
    minute.add(110.0, 5)
    assert minute.free_at(tokens=6) == 100 + SPAN_S
    assert minute.free_at(tokens=5) == 110 + SPAN_S
    assert minute.free_at(tokens=11) == 0
