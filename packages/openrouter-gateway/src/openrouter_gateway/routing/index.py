"""What planning works out once per listing: every filter becomes a few operations on bit masks.

Bit *n* of a mask stands for the listing's endpoint *n*. An index is built when its listing is first asked for and is
kept with it, so that it goes when the catalogue is replaced.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import reduce
from typing import Any, Final, Generic, TypeVar

from openrouter_gateway.core.catalog import Endpoint, Listing, Price, Tier
from openrouter_gateway.core.plugins import SMALL_CONTEXT
from openrouter_gateway.routing.demand import with_synonyms
from openrouter_gateway.routing.slug import full_names
from openrouter_gateway.routing.tasks import does_chat

N = TypeVar("N", int, Decimal)

UNKNOWN_COST: Final = float("inf")
_MILLION: Final = Decimal(1_000_000)
_TYPICAL_PROMPT: Final = 750
_TYPICAL_COMPLETION: Final = 250
_KEPT_AS: Final = "routing.index"
_WIDER: Final = {"mxfp4": "fp4", "nvfp4": "fp4", "mxfp8": "fp8"}

RATES: Final[dict[str, Callable[[Price], Decimal | None]]] = {
    "prompt": lambda price: price.prompt * _MILLION,
    "completion": lambda price: price.completion * _MILLION,
    "request": lambda price: price.request,
    "image": lambda price: price.image,
    "audio": lambda price: None if price.audio is None else price.audio * _MILLION,
}
"""Prices in the units of `provider.max_price`."""


class Row:
    """An endpoint as ordering sees it.

    `cost` is what endpoints are compared by: USD for a request of 750 prompt and 250 completion tokens, infinite when
    the price is not known. `weight` is its inverse square, 0 for free and for unknown ones.
    """

    __slots__ = ("bit", "cost", "endpoint", "key", "names", "tier", "weight")

    def __init__(self, endpoint: Endpoint, bit: int) -> None:
        self.endpoint = endpoint
        self.bit = bit
        self.key = endpoint.key
        self.names = full_names(endpoint)
        self.tier: Tier | None = endpoint.service_tier
        self.cost = blend(endpoint.price)
        self.weight = 1 / (self.cost * self.cost) if self.cost else 0.0

    def __repr__(self) -> str:
        return f"<Row {self.key} at {self.cost}>"


class Steps(Generic[N]):
    """Endpoints by a number that each has, or has not: which are at most, or at least, as high as asked."""

    __slots__ = ("_masks", "_values", "least")

    def __init__(self, values: Iterable[tuple[int, N | None]]) -> None:
        """`values`: each endpoint's bit and number."""
        known = sorted(((value, bit) for bit, value in values if value is not None), key=lambda pair: pair[0])
        self._values = [value for value, _ in known]
        self._masks = [0]
        for _, bit in known:
            self._masks.append(self._masks[-1] | bit)
        self.least = self._values[0] if known else None

    def at_most(self, ceiling: N) -> int:
        """Return those that are known to be no higher."""
        if self._values and self._values[-1] <= ceiling:
            return self._masks[-1]
        return self._masks[bisect_right(self._values, ceiling)]

    def below(self, floor: N) -> int:
        """Return those that are known to be lower."""
        return self._masks[bisect_left(self._values, floor)]

    def longest(self, among: int) -> int:
        """Return those with the highest number, of some of which all have one."""
        for value in reversed(self._values):
            if found := among & self.at_most(value) & ~self.below(value):
                return found
        return 0


class _NameMasks(dict[str, int]):
    """Masks by name. Only names in an unusual spelling have to be put into lower case, and nothing is kept of them."""

    def __missing__(self, name: str) -> int:
        return self.get(name.lower(), 0)


class ListingIndex:
    """A listing's endpoints, by everything that filters and orders go by."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.chats = does_chat(listing)
        self.rows = [Row(endpoint, 1 << place) for place, endpoint in enumerate(listing.endpoints)]
        self.by_cost = sorted(self.rows, key=lambda row: row.cost)
        self.everything = (1 << len(self.rows)) - 1
        self.tiers = {tier: self._where(lambda row, tier=tier: row.tier == tier) for tier in ("flex", "priority")}
        self.tiered = self.tiers["flex"] | self.tiers["priority"]
        self._named = _NameMasks(self._by_names(lambda row: row.names))
        self._named.update({name: self._named[name] for row in self.rows for name in _spellings(row.endpoint)})
        self.tier_tags = {row.endpoint.tag.lower(): row.bit for row in self.rows if row.tier is not None}
        self.never_trains = self._where(lambda row: row.endpoint.provider.policy.trains is False)
        self.never_retains = self._where(lambda row: row.endpoint.provider.policy.retains is False)
        self.standing_in = self._where(lambda row: row.endpoint.stands_in)
        self.discounting = self._where(lambda row: row.endpoint.discounts_cache)
        self.quantized = self._by_names(lambda row: _quantizations(row.endpoint))
        self.supporting = self._by_names(lambda row: with_synonyms(row.endpoint.supported_parameters or ()))
        self.knowing = self._where(lambda row: row.endpoint.supported_parameters is not None)
        self.taking = self._by_names(lambda row: row.endpoint.input_modalities or ())
        self.taking_unknown = self._where(lambda row: row.endpoint.input_modalities is None)
        self.prompts: Steps[int] = self._steps(lambda row: _longest_prompt(row.endpoint))
        self.small = self._where(lambda row: 0 < (row.endpoint.context_length or 0) <= SMALL_CONTEXT)
        self.completions: Steps[int] = self._steps(lambda row: _longest_completion(row.endpoint))
        self.prices: dict[str, Steps[Decimal]] = {
            kind: self._steps(lambda row, rate=rate: _rate(row.endpoint, rate)) for kind, rate in RATES.items()
        }

    def rows_in(self, mask: int) -> list[Row]:
        """Return the endpoints of a mask, cheapest first, else in the listing's order."""
        return [row for row in self.by_cost if mask & row.bit] if mask != self.everything else self.by_cost[:]

    def named_any(self, names: Iterable[str]) -> int:
        """Return the endpoints with one of these names, in any case; service tiers by their provider's names too."""
        return reduce(int.__or__, map(self._named.__getitem__, names), 0)

    def named_none(self, names: Iterable[str]) -> int:
        """Return the other endpoints."""
        return ~self.named_any(names)

    def _where(self, holds: Callable[[Row], bool]) -> int:
        return sum(row.bit for row in self.rows if holds(row))

    def _by_names(self, names: Callable[[Row], Iterable[str]]) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in self.rows:
            for name in names(row):
                found[name] = found.get(name, 0) | row.bit
        return found

    def _steps(self, value: Callable[[Row], Any]) -> Steps[Any]:
        return Steps((row.bit, value(row)) for row in self.rows)


def index_of(listing: Listing) -> ListingIndex:
    """Return the index of a listing; made at the first call."""
    derived = listing.derived
    found = derived.get(_KEPT_AS)
    if found is None:
        found = derived[_KEPT_AS] = ListingIndex(listing)
    return found


def blend(price: Price | None) -> float:
    """Return the price by which endpoints are compared (see `Row`): OpenRouter does not say how it mixes rates."""
    if price is None:
        return UNKNOWN_COST
    return float(price.prompt * _TYPICAL_PROMPT + price.completion * _TYPICAL_COMPLETION + price.request)


def _spellings(endpoint: Endpoint) -> tuple[str, str, str]:
    """Return names as they are usually written, which need no conversion to lower case when they are looked up."""
    return endpoint.tag, endpoint.provider.slug, endpoint.provider.name


def _rate(endpoint: Endpoint, rate: Callable[[Price], Decimal | None]) -> Decimal | None:
    return None if endpoint.price is None else rate(endpoint.price)


def _quantizations(endpoint: Endpoint) -> set[str]:
    own = (endpoint.quantization or "unknown").lower()
    return {own, _WIDER.get(own, own)}


def _longest_prompt(endpoint: Endpoint) -> int | None:
    limits = [limit for limit in (endpoint.context_length, endpoint.max_prompt_tokens) if limit]
    return min(limits, default=None)


def _longest_completion(endpoint: Endpoint) -> int | None:
    return None if endpoint.stands_in else endpoint.max_completion_tokens or endpoint.context_length
