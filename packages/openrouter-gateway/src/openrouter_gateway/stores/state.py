"""Shared state: what limits are counted in while requests run. It may be lost; the ledger may not.

Amounts are integers of 10**-18 USD, the ledger's unit, so that nothing is rounded. A budget's scope has two sums:
what was used, and what running requests have reserved. A request is let in if its own estimate fits in what is left
besides, or if something is left and nothing is reserved: so requests overspend a limit by no more than one's estimate,
and one whose estimate is too high is not refused while it is alone. Used sums begin as what the ledger says: a scope
that the state does not know is `Unknown` and has to be seeded. From then on the cost of every request goes to the
ledger and to the state alike.

A used sum is what the scope was seeded with, and each request once that was not in it. A request that was reserved
since the seeding was not, as it had not ended. Of any other (the state has lost its reservation, or what it was charged
to) the seed says whether it was: all that had ended by `Seed.until_us` counts as such, because processes write their
rows within half a second, and of those that ended later it has the ids. What was charged is remembered until its
process has heard so. Lost with the state are the reservations and slots of what runs, for as long as that runs.

A reservation is returned when its request is settled. What a crashed process had reserved is returned when it has not
called `beat` for a while; what those requests did cost is found in the ledger when its journal has been replayed.
"""

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from decimal import Context, Decimal
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from openrouter_gateway.core.account import Rates
from openrouter_gateway.errors import GatewayError

BEAT_INTERVAL_S: Final = 3.0
DEAD_AFTER_S: Final = 15.0
"""A process that has not called `beat` for so long has crashed."""
NEWS_S: Final = 300.0
"""How long what processes tell each other is kept."""

_DIGITS: Final = 18
_EXACT: Final = Context(prec=80)


def to_units(amount: Decimal) -> int:
    """Return an amount of USD in units of 10**-18; what is finer is rounded half to even, as in the ledger."""
    scaled = amount.scaleb(_DIGITS, _EXACT)
    units = int(scaled)
    return units if units == scaled else int(scaled.to_integral_value(context=_EXACT))


def to_usd(units: int) -> Decimal:
    """Return units as an amount of USD."""
    return Decimal(units).scaleb(-_DIGITS, _EXACT)


class StateUnavailable(GatewayError):
    """The server of the shared state does not answer: limits cannot be checked now."""

    status = 503
    error_type = "server"


class Budget(Struct, frozen=True, gc=False):
    """A scope that a request is charged to, and the most that may be used of it; None: no limit."""

    scope: str
    limit: int | None


class Claim(Struct, frozen=True, kw_only=True):
    """What a request takes: `estimate` of each budget, one request and `tokens` of the key's minute, one slot.

    `id` is the generation's, `now` unix seconds. One without budgets is for the slot alone: nothing is left of it
    when its process crashes.
    """

    id: str
    key: str
    budgets: tuple[Budget, ...]
    rates: Rates
    estimate: int
    tokens: int
    now: float


class Exhausted(Struct, frozen=True):
    """A budget has no room; `used` alone fills it, or only with what running requests have `reserved`."""

    budget: Budget
    used: int
    reserved: int


class Throttle(Struct, frozen=True):
    """A rate limit is reached; `free_at` is the unix second at which it is not, None if that is not known."""

    limit: Literal["requests", "tokens", "concurrency"]
    free_at: float | None


class Unknown(Struct, frozen=True):
    """Scopes that have to be seeded first."""

    scopes: tuple[str, ...]


class Seed(Struct, frozen=True, kw_only=True):
    """What was used of a scope: by all that had ended by the unix microsecond `until_us`, and by the ids of `later`."""

    used: int
    until_us: int = 0
    later: Sequence[str] = ()


class News(Struct, frozen=True):
    """What another process told, some seconds ago."""

    age_s: float
    content: bytes


Refusal: TypeAlias = Exhausted | Throttle | Unknown


class SharedState(ABC):
    """Every method raises `StateUnavailable` if its server does not answer.

    `suspends` says whether methods wait for a server; where they do not, an awaited call returns at once.
    """

    suspends: bool = False

    async def open(self) -> None:  # noqa: B027 - nothing to do for those without a server
        """Connect; called once, in the event loop.

        Raises:
            ConfigError: there is no such server.
        """

    async def close(self) -> None:  # noqa: B027 - as `open`
        """Disconnect."""

    @abstractmethod
    async def reserve(self, claim: Claim) -> Refusal | None:
        """Take all that a claim says, or nothing and say why. Budgets come before rates; once taken, it is taken."""

    @abstractmethod
    def settle(self, claim: Claim, cost: int, tokens: int, ended_us: int) -> Coroutine[Any, Any, tuple[str, ...]]:
        """Put the actual cost and tokens in place of a claim's reservation, also if that is lost.

        Returns the scopes that are not known any more: seed them from a ledger that has this request, and settle again.
        What is settled stays as it is.
        """

    @abstractmethod
    async def seed(self, scope: str, seed: Seed) -> None:
        """Say what has been used of a scope; one that is known stays as it is."""

    @abstractmethod
    async def beat(self, now: float) -> int:
        """Say that this process lives, and return reservations of those that do not; returns how many."""

    @abstractmethod
    async def orphans(self) -> list[str]:
        """Return some ids of requests whose process crashed and whose cost is not known yet."""

    @abstractmethod
    async def adopt(self, orphan: str, cost: int, ended_us: int, now: float) -> None:
        """Charge an orphan's cost to its scopes, and forget it. The second time, nothing happens."""

    @abstractmethod
    async def forget(self, orphan: str, now: float) -> None:
        """Give up an orphan that has been one for a week."""

    @abstractmethod
    def get_value(self, key: str, now: float) -> Coroutine[Any, Any, bytes | None]:
        """Return what `put_value` was given, unless its time is over."""

    @abstractmethod
    def put_value(self, key: str, value: bytes, ttl_s: int, now: float) -> Coroutine[Any, Any, None]:
        """Keep a small value for some time."""

    @abstractmethod
    async def add_value(self, key: str, value: bytes, ttl_s: int, now: float) -> bytes | None:
        """Keep a value if there is none yet; else return the one that there is. It may be `value`, sent twice."""

    @abstractmethod
    async def swap_value(self, key: str, old: bytes, new: bytes | None, ttl_s: int, now: float) -> bool:
        """Put a value, or with None nothing, in another's place; return whether that other one was there."""

    @abstractmethod
    async def tell(self, news: bytes, now: float) -> None:
        """Say something to the other processes; kept for `NEWS_S`."""

    @abstractmethod
    async def hear(self, now: float) -> list[News]:
        """Return what other processes told since the last call, in order; at the first call, all that is kept."""
