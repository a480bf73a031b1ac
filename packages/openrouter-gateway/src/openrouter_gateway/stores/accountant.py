"""Who may call, and what it takes of their limits: the accounts, the shared state and the ledger brought together.

Before a call its estimate is reserved, after it the cost is settled. Budgets of a key: its limit in the period of its
`limit_reset`, or in all, by the time at which the generation began; and the credits, once any were paid in, which all
keys of the store share. Keys of the configuration have no limits and use no credits.

While the shared state cannot be reached, keys without any limit are served, and what they use then is charged once it
can be, within ten minutes; after that it is missing in the state until that is seeded again (an hour after the key's
last request). The ledger has it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, Protocol

from openrouter_gateway.accounting.authorize import Grant, allow_inference, identify, look_up
from openrouter_gateway.accounting.limits import period_start
from openrouter_gateway.core.account import Estimate, Key, Rates
from openrouter_gateway.core.generation import Generation
from openrouter_gateway.core.usage import Cost
from openrouter_gateway.errors import GatewayError, PaymentRequired, RateLimited
from openrouter_gateway.stores.accounts import Accounts
from openrouter_gateway.stores.ledger import Tally
from openrouter_gateway.stores.money import exact_units, round_usd, usd_text
from openrouter_gateway.stores.rows import ended_us
from openrouter_gateway.stores.state import (
    BEAT_INTERVAL_S,
    Budget,
    Claim,
    Exhausted,
    Seed,
    SharedState,
    StateUnavailable,
    Throttle,
    Unknown,
    to_units,
    to_usd,
)

CREDITS_SCOPE: Final = "credits"
_FLUSH_TIMEOUT_S: Final = 3.0
_RETRY_S: Final = 1.0
_RETRIES: Final = 600
_MOST_UNSETTLED: Final = 1_000
"""Beyond, what keys without limits use while the state's server is down is left to the ledger."""
_MICRO: Final = 1_000_000
_LATELY_S: Final = 60.0
"""Rows of what ended before are in the database: processes write within half a second."""
_MOST_RETRY_AFTER_S: Final = 60
"""A minute counts whole seconds and so may last a part of one longer; nobody is told to wait for more than a minute."""
_MOST_UNITS: Final = 10**24
"""A million USD, above which no key has a limit. A `max_tokens` may be any number; the state's server has 64 bits."""
_MOST_TOKENS: Final = 10**12
_log = logging.getLogger(__name__)


class Record(Protocol):
    """What is asked of the ledger; `stores.ledger.Ledger` answers."""

    async def flush(self) -> None:
        """Return when all that was recorded can be asked for."""
        ...

    async def costs(self, since_s: float = 0.0, *, key_hash: str | None = None) -> dict[str, Decimal]:
        """Return USD by key since a moment."""
        ...

    async def tally(self, since_s: float, *, ended_after_us: int, key_hash: str | None = None) -> Tally:
        """Return `costs` with the ids of those in it that ended after a moment."""
        ...

    async def find(self, generation_id: str) -> Generation | None:
        """Return a generation."""
        ...


class Accountant:
    """One per process. `required`: no access without a key.

    `configured` are the hashes of the configuration's keys; set it anew when that is reloaded.
    """

    def __init__(
        self,
        accounts: Accounts,
        state: SharedState,
        record: Record,
        *,
        configured: frozenset[str] = frozenset(),
        required: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._state = state
        self._record = record
        self.configured = configured
        self._required = required
        self._clock = clock
        self._seeding: dict[str, asyncio.Future[None]] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._beating: asyncio.Task[None] | None = None
        self._budgets: dict[str, tuple[Key, Decimal | None, float, tuple[Budget, ...]]] = {}

    def __repr__(self) -> str:
        return f"<Accountant {self._accounts} {self._state} settling={len(self._settling)}>"

    async def start(self) -> None:
        """Begin; accounts and state are open, and the ledger has replayed its journal."""
        if self._state.suspends:
            await self._beat()
            self._beating = asyncio.create_task(self._beat_forever(), name="accountant-beat")

    async def close(self, timeout_s: float = 5.0) -> None:
        """Wait for what is being settled."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        if self._settling:
            _, late = await asyncio.wait(self._settling, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                _log.error("%d requests were not settled: the ledger has their cost", len(late))
                await asyncio.gather(*late, return_exceptions=True)

    def identify(self, credential: str | None) -> Grant:
        """Return whose key it is.

        Raises:
            Unauthenticated: nobody's, or one that is not to be used any more.
        """
        accounts = self._accounts
        return identify(
            credential,
            configured=self.configured,
            stored=accounts.keys,
            required=self._required or accounts.has_keys,
            now=self._clock(),
        )

    def admit(self, credential: str | None) -> Grant:
        """Return whose key it is, for inference.

        Raises:
            Unauthenticated: as `identify`.
            InferenceOnly: a management key.
        """
        grant = self.identify(credential)
        allow_inference(grant)
        return grant

    def admit_again(self, grant: Grant) -> Grant:
        """Return what a grant of `admit` has become since: keys are changed and revoked while a body comes in.

        Raises:
            Unauthenticated: as `identify`.
            InferenceOnly: as `admit`.
        """
        if grant.key_hash is None:
            return self.admit(None)
        new = look_up(grant.key_hash, configured=self.configured, stored=self._accounts.keys, now=self._clock())
        allow_inference(new)
        return new

    async def reserve(self, grant: Grant, generation_id: str, estimate: Estimate, created: float) -> Claim | None:
        """Take an estimate from the caller's limits; what it returns is to be settled, None if there is nothing to.

        Raises:
            PaymentRequired: the key's limit or the credits are used up.
            RateLimited: a rate limit is reached.
            StateUnavailable: there are limits, and they cannot be checked now.
            DatabaseUnavailable: likewise.
        """
        key = grant.key
        if key is None:
            return None
        claim = Claim(
            id=generation_id,
            key=key.hash,
            budgets=self._budgets_of(key, created),
            rates=key.rates,
            estimate=min(to_units(estimate.cost), _MOST_UNITS),
            tokens=min(estimate.tokens, _MOST_TOKENS),
            now=created,
        )
        try:
            refusal = await self._state.reserve(claim)
            while isinstance(refusal, Unknown):
                for scope in refusal.scopes:
                    await self._seed(scope)
                refusal = await self._state.reserve(claim)
        except BaseException as error:
            if isinstance(error, StateUnavailable) and _is_unlimited(claim):
                _log.warning("%s is let in without a reservation: %s", claim.id, error.message)
                return claim if len(self._settling) < _MOST_UNSETTLED else None
            # The server may have heard, and only its answer be lost.
            self._settle_in_background(claim, 0, 0, 0)
            raise
        if refusal is None:
            return claim
        raise _explain(refusal, key, claim)

    def _budgets_of(self, key: Key, now: float) -> tuple[Budget, ...]:
        """Worked out anew when the key, the credits or the period have changed."""
        paid = self._accounts.credits
        start = period_start(key.limit_reset, now)
        cached = self._budgets.get(key.hash)
        if cached is not None and cached[0] is key and cached[1] is paid and cached[2] == start:
            return cached[3]
        budgets = (
            Budget(f"{key.hash}:{start:.0f}", None if key.limit is None else to_units(key.limit)),
            Budget(CREDITS_SCOPE, None if paid is None else to_units(paid)),
        )
        self._budgets[key.hash] = (key, paid, start, budgets)
        return budgets

    async def _seed(self, scope: str) -> None:
        """Tell the state what the ledger says was used of a scope; of requests that want it, one does."""
        running = self._seeding.get(scope)
        if running is None:
            running = self._seeding[scope] = asyncio.ensure_future(self._seed_now(scope))
            running.add_done_callback(lambda _: self._seeding.pop(scope, None))
        await asyncio.shield(running)

    async def _seed_now(self, scope: str) -> None:
        await self._flush()
        until_us = round((self._clock() - _LATELY_S) * _MICRO)
        if scope == CREDITS_SCOPE:
            tally = await self._record.tally(0.0, ended_after_us=until_us)
            used = self._total(tally.costs)
        else:
            key_hash, _, start = scope.partition(":")
            tally = await self._record.tally(float(start), ended_after_us=until_us, key_hash=key_hash)
            used = tally.costs.get(key_hash, Decimal(0))
        await self._state.seed(scope, Seed(used=to_units(used), until_us=until_us, later=tally.lately))

    async def total_usage(self) -> Decimal:
        """Return the USD that all keys of the store, also those that are gone, have used."""
        return self._total(await self._record.costs())

    def _total(self, costs: Mapping[str, Decimal]) -> Decimal:
        ours = self._accounts.hashes
        return sum((cost for key_hash, cost in costs.items() if key_hash in ours), Decimal(0))

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(_FLUSH_TIMEOUT_S):
                await self._record.flush()
        except TimeoutError:
            raise StateUnavailable("Limits cannot be checked: the ledger's database does not take its rows") from None

    def settle(self, claim: Claim, generation: Generation) -> None:
        """Charge what a request did cost, which is in the ledger by now. Waits for no server.

        Never raises: while the state's server is down it is tried again.
        """
        usage = generation.usage
        tokens = usage.prompt_tokens + usage.completion_tokens
        self._settle_in_background(claim, _charged(generation.cost), tokens, ended_us(generation))

    def _settle_in_background(self, claim: Claim, units: int, tokens: int, ended: int) -> None:
        if not self._state.suspends:
            try:  # noqa: SIM105 - `suppress` costs as much as the rest
                self._state.settle(claim, units, tokens, ended).send(None)
            except StopIteration:
                pass
            return
        task = asyncio.get_running_loop().create_task(self._settle_until_done(claim, units, tokens, ended))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle_until_done(self, claim: Claim, units: int, tokens: int, ended: int) -> None:
        for attempt in range(_RETRIES):
            try:
                if unknown := await self._state.settle(claim, units, tokens, ended):
                    for scope in unknown:
                        await self._seed(scope)
                    continue
            except GatewayError as error:
                if not attempt:
                    _log.warning("%s is not settled yet: %s", claim.id, error.message)
            except Exception:  # noqa: BLE001 - the last line of defence of a task that nobody waits for
                _log.exception("%s cannot be settled", claim.id)
                return
            else:
                return
            await asyncio.sleep(_RETRY_S)

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_INTERVAL_S)
            await self._beat()

    async def _beat(self) -> None:
        """Live, return what crashed processes had reserved, and charge what the ledger knows of their requests."""
        now = self._clock()
        try:
            returned = await self._state.beat(now)
            if returned:
                _log.warning("returned the reservations of %d requests of a process that is gone", returned)
            for orphan in await self._state.orphans():
                await self._adopt(orphan, now)
        except GatewayError as error:
            _log.warning("cannot reach the shared state: %s", error.message)

    async def _adopt(self, orphan: str, now: float) -> None:
        generation = await self._record.find(orphan)
        if generation is None:
            await self._state.forget(orphan, now)
        else:
            await self._state.adopt(orphan, _charged(generation.cost), ended_us(generation), now)


def _is_unlimited(claim: Claim) -> bool:
    return claim.rates == Rates() and all(budget.limit is None for budget in claim.budgets)


def _explain(refusal: Exhausted | Throttle, key: Key, claim: Claim) -> GatewayError:
    if isinstance(refusal, Exhausted):
        return _explain_budget(refusal, key, claim.estimate)
    now = claim.now
    rates = key.rates
    match refusal.limit:
        case "requests":
            limit, what = rates.requests_per_minute, "requests per minute"
        case "tokens":
            limit, what = rates.tokens_per_minute, "tokens per minute"
        case "concurrency":
            limit, what = rates.concurrent_requests, "concurrent requests"
    free_at = now + 1 if refusal.free_at is None else refusal.free_at
    return RateLimited(
        f"Rate limit exceeded: this key may have {limit} {what}",
        limit=limit or 0,
        retry_after_s=min(max(1, math.ceil(free_at - now)), _MOST_RETRY_AFTER_S),
        reset_ms=math.ceil(free_at * 1000),
    )


def _explain_budget(refusal: Exhausted, key: Key, estimate: int) -> PaymentRequired:
    budget, used = refusal.budget, refusal.used
    limit = budget.limit or 0
    running = ""
    if used < limit:
        reserved = _text(refusal.reserved)
        running = (
            f", and {reserved} reserved for running requests, beside which the {_text(estimate)} of this one have "
        )
        running += "no room: a lower max_tokens reserves less"
    if budget.scope == CREDITS_SCOPE:
        return PaymentRequired(f"Insufficient credits: {_text(used)} USD of {_text(limit)} are used{running}")
    period = f" {key.limit_reset}" if key.limit_reset else ""
    return PaymentRequired(
        f"Key limit exceeded: {_text(used)} USD of this key's{period} limit of {_text(limit)} are used{running}"
    )


def _text(units: int) -> str:
    return usd_text(to_usd(units))


def _charged(cost: Cost) -> int:
    """Return what the ledger's row of it adds to sums, where a cost that it cannot hold is rounded in its parts."""
    units = exact_units(cost.total)
    if units is not None:
        return units
    parts = sum((round_usd(getattr(cost, name)) for name in Cost.__struct_fields__), Decimal(0))
    return to_units(round_usd(parts))
