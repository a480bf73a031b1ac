"""Which endpoints a request may use: hard filters, then the preference for those that support its parameters.

OpenRouter API, provider routing (2026-08-22). What is not known of an endpoint is no reason to leave it out of what any
request needs (modality, length); what preferences ask for is a matter of `rules`.
"""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from openrouter_gateway.core.catalog import Endpoint, Tier
from openrouter_gateway.routing.demand import Demand
from openrouter_gateway.routing.index import ListingIndex
from openrouter_gateway.routing.rules import Reason, Rule


class Removal(Struct, frozen=True):
    """An endpoint that was taken out, by which preference (OpenRouter's `excluded_by` words) and why."""

    endpoint: Endpoint
    excluded_by: str
    detail: str


class Cut(Struct, frozen=True):
    """Endpoints of a listing that were taken out together, and what was asked for that they did not meet."""

    index: ListingIndex
    lost: int
    reason: Reason
    wanted: Any = None

    def removals(self) -> Iterable[Removal]:
        """Yield one removal per endpoint."""
        for row in self.index.rows:
            if self.lost & row.bit:
                yield Removal(row.endpoint, self.reason.excluded_by, self.reason.explain(row.endpoint, self.wanted))


class TierWish(Struct, frozen=True):
    """Which service tiers may be used besides those that `named` has by their tags.

    `flex_only`: nothing else if there is any.
    """

    admitted: tuple[Tier, ...] = ()
    named: tuple[str, ...] = ()
    flex_only: bool = False


def select(index: ListingIndex, rules: list[Rule], demand: Demand, tiers: TierWish | None) -> tuple[int, list[Cut]]:
    """Return the endpoints that are left, as a mask, and what was taken out."""
    alive = index.everything
    cuts: list[Cut] = []
    for rule, wanted in rules:
        lost = alive & ~rule.keep(index, wanted)
        if lost and rule.spares_stand_ins:
            lost &= ~index.standing_in
        if lost:
            cuts.append(Cut(index, lost, rule.reason, wanted))
            alive ^= lost
    if demand.modalities:
        alive = _take_modalities(index, alive, demand.modalities, cuts)
    alive = _take_lengths(index, alive, demand, cuts)
    if alive & index.tiered:
        alive = _take_tiers(index, alive, tiers or _NO_TIERS, cuts)
    for alternatives in demand.preferred:
        alive = _prefer(index, alive, alternatives, cuts)
    return alive, cuts


def _explain_modalities(endpoint: Endpoint, needed: frozenset[str]) -> str:
    missing = sorted(needed - (endpoint.input_modalities or frozenset()))
    return f"does not take {', '.join(missing)} input"


_NO_TIERS: Final = TierWish()
_DEAF: Final = Reason("require_parameters", _explain_modalities, "messages")
_SHORT: Final = Reason(
    "context_length",
    lambda _, tokens: f"has a context shorter than the prompt, which is {tokens} tokens or more",
    "messages",
    "context_length_exceeded",
)
_TERSE: Final = Reason(
    "context_length",
    lambda _, tokens: f"does not write {tokens} tokens, which max_tokens asks for",
    "max_tokens",
    "max_tokens_exceeded",
)
_TIERED: Final = Reason(
    "allowed_providers", lambda _endpoint, _: "is a service tier that was not asked for", "service_tier"
)
_NOT_FLEX: Final = Reason(
    "allowed_providers", lambda _endpoint, _: "is not flex, which service_tier asks for", "service_tier"
)
_WORSE: Final = Reason(
    "require_parameters", lambda _, name: f"does not support {name}, and other endpoints of the model do"
)


def _take_modalities(index: ListingIndex, alive: int, needed: frozenset[str], cuts: list[Cut]) -> int:
    kept = alive
    for modality in needed:
        kept &= index.taking.get(modality, 0) | index.taking_unknown | index.standing_in
    if kept != alive:
        cuts.append(Cut(index, alive ^ kept, _DEAF, needed))
    return kept


def _take_lengths(index: ListingIndex, alive: int, demand: Demand, cuts: list[Cut]) -> int:
    """Leave out whom the prompt is too long for, for certain, and who does not write that much."""
    least = index.prompts.least
    if least is not None and demand.prompt_tokens > least:
        short = alive & index.prompts.below(demand.prompt_tokens)
        lost = short & ~_compressed(index, alive, short, demand)
        if lost:
            cuts.append(Cut(index, lost, _SHORT, demand.prompt_tokens))
            alive ^= lost
    wanted, least = demand.max_tokens, index.completions.least
    if wanted is not None and least is not None and wanted > least:
        lost = alive & index.completions.below(wanted)
        if lost:
            cuts.append(Cut(index, lost, _TERSE, wanted))
            alive ^= lost
    return alive


def _compressed(index: ListingIndex, alive: int, short: int, demand: Demand) -> int:
    """Return which of the endpoints that a prompt is too long for can have it compressed.

    Those with at least half of what the prompt and its answer need, or else the longest (OpenRouter API, context
    compression, 2026-08-22). Where nobody asked for it, only if the prompt is too long for every endpoint of the model.
    """
    if demand.compression is False or (demand.compression is None and short != alive):
        return 0
    able = short if demand.compression else short & index.small
    required = demand.prompt_tokens + (demand.max_tokens or 0)
    half = able & ~index.prompts.below(-(-required // 2))
    return half if half or short != alive else index.prompts.longest(able)


def _take_tiers(index: ListingIndex, alive: int, wish: TierWish, cuts: list[Cut]) -> int:
    """Leave out service tiers that were not asked for, and all others where flex was and is to be had."""
    admitted = 0
    for tier in wish.admitted:
        admitted |= index.tiers[tier]
    for name in wish.named:
        if "/" in name:
            admitted |= index.tier_tags.get(name.lower(), 0)
    lost = alive & index.tiered & ~admitted
    if lost:
        cuts.append(Cut(index, lost, _TIERED))
        alive ^= lost
    flex = alive & index.tiers["flex"]
    if wish.flex_only and flex and flex != alive:
        cuts.append(Cut(index, alive ^ flex, _NOT_FLEX))
        return flex
    return alive


def _prefer(index: ListingIndex, alive: int, alternatives: tuple[str, ...], cuts: list[Cut]) -> int:
    """Leave out those known not to support a parameter, if others are known to. Never leaves out all."""
    for name in alternatives:
        supporting = alive & index.supporting.get(name, 0)
        if supporting:
            lost = alive & index.knowing & ~supporting
            if lost:
                cuts.append(Cut(index, lost, _WORSE, name))
            return alive ^ lost
    return alive
