"""In which order endpoints are tried: the caller's list, a strict sort, or balanced by price among the steady ones.

OpenRouter API, provider routing (2026-08-22). Whatever the order, endpoints that are broken (open circuit, asked for
a pause, at their concurrency limit) go to the end: they are the last resort, never gone.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import astuple

from openrouter_gateway.core.chat import Cutoffs, ProviderPreferences
from openrouter_gateway.core.health import EndpointHealth
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.index import Row
from openrouter_gateway.routing.quality import quality_tiers

Ordering: TypeAlias = Literal["balanced", "order", "price", "throughput", "latency", "exacto"]

_BROKEN: Final = 3
_LAST: Final = float("inf")
_NO_CUTOFFS: Final = Cutoffs()


class Wish(Struct, frozen=True):
    """How to order. `listed` are lower-case names; `tools`: the request has some, so that their success matters."""

    by: Ordering = "balanced"
    listed: tuple[str, ...] = ()
    priority_first: bool = False
    throughput: Cutoffs | None = None
    latency: Cutoffs | None = None
    tools: bool = False


class Arrangement(Struct, frozen=True):
    """Rows in order. `pool`: among which the first was drawn; `notes`: why a row is not where the order has it."""

    rows: list[Row]
    by: Ordering
    pool: Sequence[Row] = ()
    notes: dict[str, str] = {}


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
        return Arrangement(rows, wish.by)
    notes: dict[str, str] = {}
    pool: Sequence[Row] = ()
    if wish.by == "order":
        rows = _by_list(rows, wish, facts, notes)
    else:
        if wish.by == "balanced":
            rows, pool = _balance(rows, wish, facts, notes)
        elif wish.by != "price":
            rows = _SORTS[wish.by](rows, facts)
        rows = _prefer_fast(rows, wish, facts, notes)
        rows = _promote_remembered(rows, facts, notes)
    if wish.priority_first:
        rows = [row for row in rows if row.tier == "priority"] + [row for row in rows if row.tier != "priority"]
    if facts.health or facts.busy:
        rows = _sink_broken(rows, facts, notes)
    return Arrangement(rows, wish.by, pool, notes)


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


def _balance(rows: list[Row], wish: Wish, facts: Facts, notes: dict[str, str]) -> tuple[list[Row], Sequence[Row]]:
    """Put the steady ones first, and draw the first of those."""
    ranks: list[int] | None = None
    if facts.health or facts.busy:
        ranks = _standings(rows, facts, notes)
    if wish.tools and facts.health:
        tiers = quality_tiers(rows, facts.health)
        if any(tiers):
            # Broken, down, degraded; quality counts among those that are in the same state.
            ranks = [3 * rank + tier for rank, tier in zip(ranks or [0] * len(rows), tiers, strict=True)]
            notes.update((row.key, _QUALITY[tier]) for row, tier in zip(rows, tiers, strict=True) if tier)
    pool = rows
    if ranks is not None:
        best = min(ranks)
        pool = [row for row, rank in zip(rows, ranks, strict=True) if rank == best]
        rows = _sorted_by(ranks, rows)
    first = _draw(pool, facts.dice)
    return ([pool[first], *rows[:first], *rows[first + 1 :]] if first else rows), pool


_QUALITY: Final = {
    1: "too little is known of its tool calls and speed",
    2: "slower or worse at tool calls than its peers",
}


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


def _standings(rows: list[Row], facts: Facts, notes: dict[str, str]) -> list[int] | None:
    """Return the rank of each by its health, the lower the better; None when all are steady."""
    health, now, busy = facts.health, facts.now, facts.busy
    ranks = [0] * len(rows)
    for place, row in enumerate(rows):
        view = health.get(row.key)
        if view is not None:
            if view.broken_until > now:
                ranks[place] = _BROKEN
            elif view.outage_until > now:
                ranks[place] = max(view.standing, 1)
                notes[row.key] = "failed within the last 30 seconds"
            elif view.standing:
                ranks[place] = view.standing
                notes[row.key] = "has been failing too often"
        if row.key in busy:
            ranks[place] = _BROKEN
    return ranks if any(ranks) else None


def _by_list(rows: list[Row], wish: Wish, facts: Facts, notes: dict[str, str]) -> list[Row]:
    """Put the listed ones first, in the list's order; steady and cheap ones lead among the rest."""
    if facts.health or facts.busy:
        ranks = _standings(rows, facts, notes)
        if ranks is not None:
            rows = _sorted_by(ranks, rows)
    known = frozenset[str]().union(*[row.names for row in rows])
    listed: list[Row] = []
    for name in [name for name in dict.fromkeys(wish.listed) if name in known]:
        listed += [row for row in rows if name in row.names]
        rows = [row for row in rows if name not in row.names]
    return listed + _prefer_fast(rows, wish, facts, notes)


def _by_throughput(rows: list[Row], facts: Facts) -> list[Row]:
    health, now = facts.health, facts.now
    ranks = [
        -view.throughput.p50
        if (view := health.get(row.key)) and view.throughput and view.measured_until >= now
        else 0.0
        for row in rows
    ]
    return _sorted_by(ranks, rows)


def _by_latency(rows: list[Row], facts: Facts) -> list[Row]:
    health, now = facts.health, facts.now
    ranks = [
        view.latency.p50 if (view := health.get(row.key)) and view.latency and view.measured_until >= now else _LAST
        for row in rows
    ]
    return _sorted_by(ranks, rows)


def _sorted_by(ranks: Sequence[float], rows: list[Row]) -> list[Row]:
    """Return the rows by rank, in the order that they have where ranks are equal."""
    return [rows[place] for place in sorted(range(len(rows)), key=ranks.__getitem__)]


def _by_quality(rows: list[Row], facts: Facts) -> list[Row]:
    """Quality tier, then tool-call success as far as it is known, then price."""
    tiers = {row.key: tier for row, tier in zip(rows, quality_tiers(rows, facts.health), strict=True)}

    def rank(row: Row) -> tuple[int, float]:
        health = facts.health.get(row.key)
        success = None if health is None else health.tool_success
        return tiers[row.key], -1.0 if success is None else -success

    return sorted(rows, key=rank)


_SORTS: Final[dict[str, Callable[[list[Row], Facts], list[Row]]]] = {
    "throughput": _by_throughput,
    "latency": _by_latency,
    "exacto": _by_quality,
}


def _prefer_fast(rows: list[Row], wish: Wish, facts: Facts, notes: dict[str, str]) -> list[Row]:
    """Move behind those that miss a wanted throughput or latency, or are not known to reach it."""
    throughput, latency = wish.throughput, wish.latency
    if throughput is None and latency is None:
        return rows
    t50, t75, t90, t99 = [value or 0.0 for value in astuple(throughput or _NO_CUTOFFS)]
    l50, l75, l90, l99 = [_LAST if value is None else value for value in astuple(latency or _NO_CUTOFFS)]
    health, now = facts.health, facts.now
    slow: list[Row] = []
    for row in rows:
        view = health.get(row.key)
        if view is not None and view.measured_until >= now:
            rate, wait = view.throughput, view.latency
            if (
                throughput is None
                or (rate and rate.p50 >= t50 and rate.p75 >= t75 and rate.p90 >= t90 and rate.p99 >= t99)
            ) and (
                latency is None
                or (wait and wait.p50 <= l50 and wait.p75 <= l75 and wait.p90 <= l90 and wait.p99 <= l99)
            ):
                continue
        slow.append(row)
        notes[row.key] = "is not known to reach the preferred throughput and latency"
    if not slow or len(slow) == len(rows):
        return rows
    behind = {id(row) for row in slow}
    return [row for row in rows if id(row) not in behind] + slow


def _promote_remembered(rows: list[Row], facts: Facts, notes: dict[str, str]) -> list[Row]:
    remembered = facts.remembered
    if remembered is None:
        return rows
    for place, row in enumerate(rows):
        if row.key == remembered.endpoint:
            notes[row.key] = "served this conversation before, and has its prompt cached"
            return [row, *rows[:place], *rows[place + 1 :]]
    return rows


def _sink_broken(rows: list[Row], facts: Facts, notes: dict[str, str]) -> list[Row]:
    health, now, busy = facts.health, facts.now, facts.busy
    broken: list[Row] = []
    for row in rows:
        view = health.get(row.key)
        if row.key in busy:
            notes[row.key] = "is at its concurrency limit"
        elif view is not None and view.broken_until > now:
            notes[row.key] = "is left alone after failures, or because it asked for a pause"
        else:
            continue
        broken.append(row)
    if not broken:
        return rows
    behind = {id(row) for row in broken}
    return [row for row in rows if id(row) not in behind] + broken
