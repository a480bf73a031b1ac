"""Shared state within one process. No method suspends; a crash loses all of it, reservations among it."""

from collections import OrderedDict
from typing import Final

from openrouter_gateway.accounting.limits import Minute
from openrouter_gateway.stores.state import Claim, Exhausted, News, Refusal, Seed, SharedState, Throttle, Unknown

_MAX_STICKY: Final = 100_000


class _Sums:
    """One scope."""

    __slots__ = ("reserved", "used")

    def __init__(self, used: int) -> None:
        self.used = used
        self.reserved = 0


class _Traffic:
    """One key."""

    __slots__ = ("minute", "running")

    def __init__(self) -> None:
        self.minute = Minute()
        self.running = 0


class MemoryState(SharedState):
    """See `SharedState`. Scopes stay for as long as the process: one per key and period."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = {}
        self._traffic: dict[str, _Traffic] = {}
        self._open: dict[str, int] = {}  # claims by id, with the second that they were counted in
        self._sticky: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<MemoryState scopes={len(self._sums)} open={len(self._open)} sticky={len(self._sticky)}>"

    async def reserve(self, claim: Claim) -> Refusal | None:
        """See `SharedState`."""
        if claim.id in self._open:
            return None
        sums = self._sums
        for budget in claim.budgets:
            found = sums.get(budget.scope)
            if found is None:
                return Unknown(tuple(b.scope for b in claim.budgets if b.scope not in sums))
            if budget.limit is not None and _is_full(found, budget.limit, claim.estimate):
                return Exhausted(budget, found.used, found.reserved)
        traffic = self._traffic.get(claim.key)
        if traffic is None:
            traffic = self._traffic[claim.key] = _Traffic()
        minute, now = traffic.minute, claim.now
        minute.advance(now)
        throttle = _check(claim, traffic)
        if throttle is not None:
            return throttle
        for budget in claim.budgets:
            sums[budget.scope].reserved += claim.estimate
        traffic.running += 1
        self._open[claim.id] = minute.add(now, claim.tokens)
        return None

    async def settle(self, claim: Claim, cost: int, tokens: int, ended_us: int) -> tuple[str, ...]:
        """See `SharedState`. Nothing of it gets lost: a claim that it does not know has been settled."""
        second = self._open.pop(claim.id, None)
        if second is None:
            return ()
        for budget in claim.budgets:
            found = self._sums[budget.scope]
            found.reserved -= claim.estimate
            found.used += cost
        traffic = self._traffic[claim.key]
        traffic.running -= 1
        if tokens != claim.tokens:
            traffic.minute.correct(second, tokens - claim.tokens)
        return ()

    async def seed(self, scope: str, seed: Seed) -> None:
        """See `SharedState`."""
        if scope not in self._sums:
            self._sums[scope] = _Sums(seed.used)

    async def beat(self, now: float) -> int:
        """There is nobody else."""
        return 0

    async def orphans(self) -> list[str]:
        """There are none."""
        return []

    async def adopt(self, orphan: str, cost: int, ended_us: int, now: float) -> None:
        """There are none."""

    async def forget(self, orphan: str, now: float) -> None:
        """There are none."""

    async def get_value(self, key: str, now: float) -> bytes | None:
        """See `SharedState`."""
        found = self._sticky.get(key)
        if found is None:
            return None
        if found[0] <= now:
            del self._sticky[key]
            return None
        return found[1]

    async def put_value(self, key: str, value: bytes, ttl_s: int, now: float) -> None:
        """See `SharedState`. Beyond a hundred thousand, the one that was put first goes."""
        self._sticky[key] = (now + ttl_s, value)
        self._sticky.move_to_end(key)
        if len(self._sticky) > _MAX_STICKY:
            self._sticky.popitem(last=False)

    async def add_value(self, key: str, value: bytes, ttl_s: int, now: float) -> bytes | None:
        """See `SharedState`."""
        found = await self.get_value(key, now)
        if found is None:
            await self.put_value(key, value, ttl_s, now)
        return found

    async def swap_value(self, key: str, old: bytes, new: bytes | None, ttl_s: int, now: float) -> bool:
        """See `SharedState`."""
        if await self.get_value(key, now) != old:
            return False
        if new is None:
            del self._sticky[key]
        else:
            await self.put_value(key, new, ttl_s, now)
        return True

    async def tell(self, news: bytes, now: float) -> None:
        """There is nobody else."""

    async def hear(self, now: float) -> list[News]:
        """There is nobody else."""
        return []


def _is_full(sums: _Sums, limit: int, estimate: int) -> bool:
    taken = sums.used + sums.reserved
    return taken >= limit or (sums.reserved > 0 and taken + estimate > limit)


def _check(claim: Claim, traffic: _Traffic) -> Throttle | None:
    rates, minute = claim.rates, traffic.minute
    concurrent, requests, tokens = rates.concurrent_requests, rates.requests_per_minute, rates.tokens_per_minute
    if concurrent is not None and traffic.running >= concurrent:
        return Throttle("concurrency", None)
    if requests is not None and minute.requests >= requests:
        return Throttle("requests", minute.free_at(requests=requests))
    if tokens is not None and minute.tokens >= tokens:
        return Throttle("tokens", minute.free_at(tokens=tokens))
    return None
