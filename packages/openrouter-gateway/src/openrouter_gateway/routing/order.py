"""In which order endpoints are tried: the caller's list, a strict sort, or balanced by price among the steady ones.

OpenRouter API, provider routing (2026-08-22). Whatever the order, endpoints that are broken (open circuit, asked for
a pause, at their concurrency limit) go to the end: they are the last resort, never gone. A pause alone moves none that
the caller has listed.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import astuple

from openrouter_gateway.core.chat import Cutoffs, ProviderPreferences
from openrouter_gateway.core.health import EndpointHealth, Percentiles
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.index import Row
from openrouter_gateway.routing.quality import quality_tiers

Ordering: TypeAlias = Literal["balanced", "order", "price", "throughput", "latency", "exacto"]

_BROKEN: Final = 3
_LAST: Final = float("inf")
_NO_CUTOFFS: Final = Cutoffs()
_NEVER: Final = Percentiles(*[float("nan")] * 4)
"""What is not known meets no cutoff, as this does: every comparison with it is false."""
_ALWAYS: Final = Percentiles(0.0, 0.0, 0.0, 0.0)
"""What is not known where there is no cutoff."""
_UNKNOWN: Final = EndpointHealth()
_TIER_OF: Final = attrgetter("tier")


class Wish(Struct, frozen=True):
    """How to order. `listed` are lower-case names; `tools`: the request has some, so that their success matters."""

    by: Ordering = "balanced"
    listed: tuple[str, ...] = ()
    priority_first: bool = False
    throughput: Cutoffs | None = None
    latency: Cutoffs | None = None
    tools: bool = False


class Arrangement(Struct, frozen=True, dict=True):
    """Rows in order. `pool`: among which the first was drawn; `facts`: what decided, None: there was no choice."""

    rows: list[Row]
    wish: Wish
    facts: Facts | None = None
    pool: Sequence[Row] = ()

    @property
    def by(self) -> Ordering:
        """What the rows are ordered by."""
        return self.wish.by

    @cached_property
    def notes(self) -> dict[str, str]:
        """Why rows are not where the order has them, by key; worked out when asked for, which few requests do."""
        return {} if self.facts is None else _notes_on(self.rows, self.wish, self.facts)


def read_cutoffs(preferences: ProviderPreferences) -> tuple[Cutoffs | None, Cutoffs | None]:
    """Return the wanted throughput and latency; a plain number is the median's."""
    throughput, latency = preferences.preferred_min_throughput, preferences.preferred_max_latency
    return (
        Cutoffs(p50=throughput) if isinstance(throughput, (int, float)) else throughput,
        Cutoffs(p50=latency) if isinstance(latency, (int, float)) else latency,
    )


def arrange(rows: list[Row], wish: Wish, facts: Facts) -> Arrangement:
    """Return the rows, which come cheapest first, in the order in which to try them."""
    if len(rows) < 2:
        return Arrangement(rows, wish)
    pool: Sequence[Row] = ()
    ranks = _standings(rows, facts) if facts.health or facts.busy else []
    ordered = rows
    if wish.by == "balanced":
        ordered, pool = _balance(rows, ranks, wish, facts)
    elif wish.by == "order":
        ordered = _by_list(rows, ranks, wish, facts)
    elif wish.by != "price":
        ordered = _sorted_by(_RANKS[wish.by](rows, facts), rows)
    if wish.by != "order":
        fast, slow = _prefer_fast(ordered, wish, facts)
        ordered = _promote_remembered(fast + slow if slow else fast, facts)
    if wish.priority_first and "priority" in map(_TIER_OF, rows):
        ordered.sort(key=lambda row: row.tier != "priority")
    if _BROKEN in ranks:
        ordered = _sink_broken(ordered, wish, facts)
    return Arrangement(ordered, wish, facts, pool)


def weights(pool: Sequence[Row]) -> list[float]:
    """Return how likely each is to be drawn, relative to the others: 1/price^2.

    Free endpoints share all of it; those without a known price are only drawn when no price is known.
    """
    if pool[0].cost == 0:
        return [float(row.cost == 0) for row in pool]
    found = [row.weight for row in pool]
    return found if any(found) else [1.0] * len(pool)


def is_broken(health: EndpointHealth | None, now: float) -> bool:
    """Return whether an endpoint is not to be tried before the others."""
    return health is not None and health.broken_until > now


def _balance(rows: list[Row], ranks: list[int], wish: Wish, facts: Facts) -> tuple[list[Row], Sequence[Row]]:
    """Put the steady ones first, and draw the first of those."""
    if wish.tools and facts.health:
        # Broken, down, degraded; quality counts among those that are in the same state.
        ranks = [3 * rank + tier for rank, tier in zip(ranks, quality_tiers(rows, facts.health), strict=True)]
    pool = rows
    if any(ranks):
        best = min(ranks)
        pool = [row for row, rank in zip(rows, ranks, strict=True) if rank == best]
        rows = _sorted_by(ranks, rows)
    first = _draw(pool, facts.dice)
    return ([pool[first], *rows[:first], *rows[first + 1 :]] if first else rows), pool


def _draw(pool: Sequence[Row], dice: Callable[[], float] | None) -> int:
    if dice is None or len(pool) == 1:
        return 0
    shares = weights(pool)
    point = dice() * sum(shares)
    for place, share in enumerate(shares):
        point -= share
        if point < 0:
            return place
    return max(place for place, share in enumerate(shares) if share)  # rounding has left a remainder


def _standings(rows: list[Row], facts: Facts) -> list[int]:
    """Return the rank of each by its health: steady, degraded or failing lately, down, broken."""
    find, now, busy = facts.health.get, facts.now, facts.busy
    ranks = [
        _BROKEN
        if (view := find(row.key, _UNKNOWN)).broken_until > now
        else view.standing or (1 if view.outage_until > now else 0)
        for row in rows
    ]
    return [_BROKEN if row.key in busy else rank for row, rank in zip(rows, ranks, strict=True)] if busy else ranks


def _by_list(rows: list[Row], ranks: list[int], wish: Wish, facts: Facts) -> list[Row]:
    """Put the listed ones first, in the list's order; steady and cheap ones lead among the rest."""
    if any(ranks):
        rows = _sorted_by(ranks, rows)
    names = frozenset(wish.listed)
    rest: list[Row] = []
    found: list[Row] = []
    for row in rows:
        (rest if row.names.isdisjoint(names) else found).append(row)
    listed: list[Row] = []
    for name in wish.listed:
        listed += [row for row in found if name in row.names and row not in listed]
    fast, slow = _prefer_fast(rest, wish, facts)
    return listed + fast + slow


def _by_throughput(rows: list[Row], facts: Facts) -> list[float]:
    health, now = facts.health, facts.now
    return [
        -rate.p50
        if (rate := (view := health.get(row.key, _UNKNOWN)).throughput) and view.measured_until >= now
        else 0.0
        for row in rows
    ]


def _by_latency(rows: list[Row], facts: Facts) -> list[float]:
    health, now = facts.health, facts.now
    return [
        wait.p50 if (wait := (view := health.get(row.key, _UNKNOWN)).latency) and view.measured_until >= now else _LAST
        for row in rows
    ]


def _by_quality(rows: list[Row], facts: Facts) -> list[tuple[int, float]]:
    """Quality tier, then tool-call success as far as it is known, then price."""
    successes = [facts.health.get(row.key, _UNKNOWN).tool_success for row in rows]
    return [
        (tier, -1.0 if success is None else -success)
        for tier, success in zip(quality_tiers(rows, facts.health), successes, strict=True)
    ]


_RANKS: Final[dict[str, Callable[[list[Row], Facts], Sequence[Any]]]] = {
    "throughput": _by_throughput,
    "latency": _by_latency,
    "exacto": _by_quality,
}


def _sorted_by(ranks: Sequence[Any], rows: list[Row]) -> list[Row]:
    """Return the rows by rank, in the order that they have where ranks are equal."""
    return [*map(rows.__getitem__, sorted(range(len(rows)), key=ranks.__getitem__))]


def _prefer_fast(rows: list[Row], wish: Wish, facts: Facts) -> tuple[list[Row], list[Row]]:
    """Split off those that miss a wanted throughput or latency, or are not known to reach it: they come behind."""
    if wish.throughput is None and wish.latency is None:
        return rows, []
    t50, t75, t90, t99 = [-_LAST if value is None else value for value in astuple(wish.throughput or _NO_CUTOFFS)]
    l50, l75, l90, l99 = [_LAST if value is None else value for value in astuple(wish.latency or _NO_CUTOFFS)]
    no_rate = _ALWAYS if wish.throughput is None else _NEVER
    no_wait = _ALWAYS if wish.latency is None else _NEVER
    health, now = facts.health, facts.now
    fast: list[Row] = []
    slow: list[Row] = []
    for row in rows:
        view = health.get(row.key, _UNKNOWN)
        if view.measured_until >= now:
            rate, wait = view.throughput or no_rate, view.latency or no_wait
            if (
                rate.p50 >= t50 and rate.p75 >= t75 and rate.p90 >= t90 and rate.p99 >= t99
                and wait.p50 <= l50 and wait.p75 <= l75 and wait.p90 <= l90 and wait.p99 <= l99
            ):  # fmt: skip
                fast.append(row)
                continue
        slow.append(row)
    return fast, slow


def _promote_remembered(rows: list[Row], facts: Facts) -> list[Row]:
    remembered = facts.remembered
    if remembered is None:
        return rows
    for place, row in enumerate(rows):
        if row.key == remembered.endpoint:
            return [row, *rows[:place], *rows[place + 1 :]]
    return rows


def _sink_broken(rows: list[Row], wish: Wish, facts: Facts) -> list[Row]:
    health, now, busy = facts.health, facts.now, facts.busy
    broken = [row for row in rows if health.get(row.key, _UNKNOWN).broken_until > now]
    if broken and wish.listed:
        broken = [row for row in broken if _is_sunk(row, health[row.key], wish, now)]
    if busy:
        broken = [row for row in rows if row in broken or row.key in busy]
    return [row for row in rows if row not in broken] + broken if broken else rows


def _is_sunk(row: Row, view: EndpointHealth, wish: Wish, now: float) -> bool:
    """Return whether one that is broken is the last resort: where the caller has it in a list, only if it fails.

    A rate limit is no outage (section 3.4): the list says that this endpoint is worth a try before all others.
    """
    return view.failing_until > now or row.names.isdisjoint(wish.listed)


def _notes_on(rows: list[Row], wish: Wish, facts: Facts) -> dict[str, str]:
    """Return of each row what has moved it last from where the order has it."""
    views = [facts.health.get(row.key, _UNKNOWN) for row in rows]
    tiers = quality_tiers(rows, facts.health) if wish.by == "balanced" and wish.tools else [0] * len(rows)
    _, slow = _prefer_fast(rows, wish, facts)
    remembered = facts.remembered.endpoint if facts.remembered and wish.by != "order" else None
    found: dict[str, str] = {}
    for row, view, tier in zip(rows, views, tiers, strict=True):
        is_free = wish.by == "balanced" or (wish.by == "order" and row.names.isdisjoint(wish.listed))
        texts = {
            "is at its concurrency limit": row.key in facts.busy,
            "is left alone after failures, or because it asked for a pause": is_broken(view, facts.now)
            and _is_sunk(row, view, wish, facts.now),
            "served this conversation before, and has its prompt cached": row.key == remembered,
            "is not known to reach the preferred throughput and latency": row in slow
            and (is_free or wish.by != "order"),
            **{text: tier == bad for bad, text in _QUALITY.items()},
            "failed within the last 30 seconds": is_free and view.outage_until > facts.now,
            "has been failing too often": is_free and view.standing > 0,
        }
        if text := next((text for text, holds in texts.items() if holds), None):
            found[row.key] = text
    return found


_QUALITY: Final = {
    1: "too little is known of its tool calls and speed",
    2: "slower or worse at tool calls than its peers",
}
