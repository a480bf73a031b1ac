"""Which endpoints a request may use: hard filters, then the preference for those that support its parameters.

OpenRouter API, provider routing (2026-08-22). What is not known of an endpoint does not satisfy a request that asks
for it by a preference; it is no reason to leave the endpoint out of what any request needs (modality, length).
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final, TypeAlias

from msgspec import Struct

from openrouter_gateway.core.catalog import AccountPolicy, Endpoint, Tier
from openrouter_gateway.core.chat import ChatRequest, MaxPrice, ProviderPreferences
from openrouter_gateway.core.plugins import WEB, searches_with
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.routing.demand import Demand, sent_parameters
from openrouter_gateway.routing.index import RATES, ListingIndex

Detail: TypeAlias = str | Callable[[Endpoint], str]

NO_PREFERENCES: Final = ProviderPreferences()


class Removal(Struct, frozen=True):
    """An endpoint that was taken out, by which preference (OpenRouter's `excluded_by` words) and why."""

    endpoint: Endpoint
    excluded_by: str
    detail: str


class Cut(Struct, frozen=True):
    """Endpoints of a listing that were taken out together. `error_type`: of the 400 when nothing else was to blame."""

    index: ListingIndex
    lost: int
    excluded_by: str
    detail: Detail
    error_type: str | None = None

    def removals(self) -> Iterable[Removal]:
        """Yield one removal per endpoint."""
        for row in self.index.rows:
            if self.lost & row.bit:
                detail = self.detail if isinstance(self.detail, str) else self.detail(row.endpoint)
                yield Removal(row.endpoint, self.excluded_by, detail)


class Rule(Struct, frozen=True):
    """A hard filter: `keep` returns the endpoints that pass, as a mask.

    `spares_stand_ins`: it is about who may answer, which says nothing of what answers in place of them all.
    """

    keep: Callable[[ListingIndex], int]
    excluded_by: str
    detail: Detail
    spares_stand_ins: bool = False


class TierWish(Struct, frozen=True):
    """Which service tiers may be used besides those named by their tags. `flex_only`: nothing else if there is any."""

    admitted: tuple[Tier, ...] = ()
    named: tuple[str, ...] = ()
    flex_only: bool = False


def build_rules(
    request: ChatRequest,
    preferences: ProviderPreferences,
    demand: Demand,
    policy: AccountPolicy,
    search_engine: str | None = None,
) -> list[Rule]:
    """Return a rule per exclusion that is in force. `search_engine` is the one that the gateway itself has.

    Raises:
        BadRequest: a price ceiling is not a number.
    """
    rules: list[Rule] = []
    if preferences is not NO_PREFERENCES:
        _add_lists(rules, preferences)
        _add_properties(rules, request, preferences, demand)
    if policy.allowed_providers is not None:
        detail = "is not among the providers that this account may use"
        rules.append(_only(policy.allowed_providers, detail, spares_stand_ins=False))
    if policy.ignored_providers:
        detail = "is a provider that this account ignores"
        rules.append(_ignore(policy.ignored_providers, detail, spares_stand_ins=False))
    if preferences.zdr or policy.zdr:
        rules.append(_NEVER_RETAINS)
    if preferences.data_collection == "deny":
        rules.append(_NEVER_COLLECTS)
    elif policy.deny_training:
        rules.append(_NEVER_TRAINS)
    if request.params.plugins and request.wants(WEB) and not searches_with(request.plugin(WEB), search_engine):
        rules.append(_searching(search_engine))
    return rules


def select(index: ListingIndex, rules: list[Rule], demand: Demand, tiers: TierWish | None) -> tuple[int, list[Cut]]:
    """Return the endpoints that are left, as a mask, and what was taken out."""
    alive = index.everything
    cuts: list[Cut] = []
    for rule in rules:
        kept = alive & rule.keep(index)
        if rule.spares_stand_ins:
            kept |= alive & index.standing_in
        if kept != alive:
            cuts.append(Cut(index, alive & ~kept, rule.excluded_by, rule.detail))
            alive = kept
    if demand.modalities:
        alive = _take_modalities(index, alive, demand.modalities, cuts)
    alive = _take_lengths(index, alive, demand, cuts)
    if alive & index.tiered or (tiers is not None and tiers.flex_only):
        alive = _take_tiers(index, alive, tiers or _NO_TIERS, cuts)
    for alternatives in demand.preferred:
        alive = _prefer(index, alive, alternatives, cuts)
    return alive, cuts


_NO_TIERS: Final = TierWish()
_TRAINS: Final = "is not known to keep prompts out of training"


def _explain_collection(endpoint: Endpoint) -> str:
    return _TRAINS if endpoint.provider.policy.trains is not False else "is not known to store no prompts"


_NEVER_TRAINS: Final = Rule(lambda index: index.never_trains, "data_policy:training", _TRAINS)
# It is about storing as well as training (section 3.2): of the words for `excluded_by` the latter's is closest.
_NEVER_COLLECTS: Final = Rule(
    lambda index: index.never_trains & index.never_retains, "data_policy:training", _explain_collection
)
_NEVER_RETAINS: Final = Rule(lambda index: index.never_retains, "data_policy:zdr", "is not known to retain no data")
_DISTILLABLE: Final = Rule(
    lambda index: index.everything if index.listing.model.distillable else 0,
    "data_policy:training",
    "its author is not known to allow distillation",
)


def _add_lists(rules: list[Rule], preferences: ProviderPreferences) -> None:
    if preferences.only:
        rules.append(_only(preferences.only, "is not in provider.only"))
    if preferences.ignore:
        rules.append(_ignore(preferences.ignore, "is in provider.ignore"))
    if preferences.order and preferences.allow_fallbacks is False:
        rules.append(_only(preferences.order, "is not in provider.order, and provider.allow_fallbacks is false"))


def _add_properties(rules: list[Rule], request: ChatRequest, preferences: ProviderPreferences, demand: Demand) -> None:
    if preferences.enforce_distillable_text:
        rules.append(_DISTILLABLE)
    if preferences.quantizations:
        rules.append(_quantized(preferences.quantizations))
    if preferences.max_price is not None:
        ceilings = read_ceilings(preferences.max_price, demand.modalities)
        if ceilings:
            rules.append(_priced(ceilings))
    if preferences.require_parameters:
        rules.append(_supporting(sent_parameters(request)))


def _only(names: Iterable[str], detail: str, *, spares_stand_ins: bool = True) -> Rule:
    lower = [name.lower() for name in names]
    return Rule(lambda index: index.named_any(lower), "allowed_providers", detail, spares_stand_ins)


def _ignore(names: Iterable[str], detail: str, *, spares_stand_ins: bool = True) -> Rule:
    lower = [name.lower() for name in names]
    return Rule(lambda index: ~index.named_any(lower), "allowed_providers", detail, spares_stand_ins)


def _quantized(wanted: Sequence[str]) -> Rule:
    def keep(index: ListingIndex) -> int:
        mask = 0
        for name in wanted:
            mask |= index.quantized.get(name, 0)
        return mask

    def explain(endpoint: Endpoint) -> str:
        return f"has quantization {endpoint.quantization or 'unknown'}"

    return Rule(keep, "quantization", explain, spares_stand_ins=True)


def _searching(search_engine: str | None) -> Rule:
    """Web search that the gateway does not do is passed on to providers that are an OpenRouter themselves."""
    has = f"has {search_engine}" if search_engine else "is not set"
    return Rule(
        lambda index: sum(row.bit for row in index.rows if row.endpoint.provider.runs_plugins),
        "require_parameters",
        f"cannot search the web, and neither can this gateway: web.engine of its configuration {has}",
    )


def _supporting(sent: frozenset[str]) -> Rule:
    def keep(index: ListingIndex) -> int:
        mask = index.everything
        for name in sent:
            mask &= index.supporting.get(name, 0)
        return mask

    def explain(endpoint: Endpoint) -> str:
        missing = sorted(sent - (endpoint.supported_parameters or frozenset()))
        return f"is not known to support {', '.join(missing)}"

    return Rule(keep, "require_parameters", explain, spares_stand_ins=True)


def _priced(ceilings: list[tuple[str, Decimal]]) -> Rule:
    def keep(index: ListingIndex) -> int:
        mask = index.everything
        for kind, ceiling in ceilings:
            mask &= index.prices[kind].at_most(ceiling)
        return mask

    return Rule(keep, "max_price", lambda endpoint: _explain_price(endpoint, ceilings))


def _explain_price(endpoint: Endpoint, ceilings: list[tuple[str, Decimal]]) -> str:
    """What is not known is over any ceiling: the caller relies on it."""
    price = endpoint.price
    if price is None:
        return "has a price that is not known"
    for kind, ceiling in ceilings:
        rate = RATES[kind](price)
        if rate is None:
            return f"has a price of {kind} input that is not known"
        if rate > ceiling:
            return f"costs more than provider.max_price: {kind} {rate.normalize():f}, at most {ceiling}"
    raise AssertionError("it is within every ceiling")


def read_ceilings(wanted: MaxPrice, modalities: frozenset[str]) -> list[tuple[str, Decimal]]:
    """Return the ceilings that matter to a request with these input modalities, by kind.

    Raises:
        BadRequest: one of them is not a number.
    """
    found: list[tuple[str, Decimal]] = []
    for kind in RATES:
        ceiling: Decimal | None = getattr(wanted, kind)
        if ceiling is None:
            continue
        if not ceiling.is_finite():
            raise BadRequest(f"provider.max_price.{kind}: {str(ceiling)!r} is not a number")
        if kind not in {"image", "audio"} or kind in modalities:
            found.append((kind, ceiling))
    return found


def _take_modalities(index: ListingIndex, alive: int, needed: frozenset[str], cuts: list[Cut]) -> int:
    kept = alive
    for modality in needed:
        kept &= index.taking.get(modality, 0) | index.taking_unknown | index.standing_in
    if kept != alive:

        def explain(endpoint: Endpoint) -> str:
            missing = sorted(needed - (endpoint.input_modalities or frozenset()))
            return f"does not take {', '.join(missing)} input"

        cuts.append(Cut(index, alive & ~kept, "require_parameters", explain))
    return kept


def _take_lengths(index: ListingIndex, alive: int, demand: Demand, cuts: list[Cut]) -> int:
    """Leave out whom the prompt is too long for, for certain, and who does not write that much."""
    least = index.prompts.least
    if least is not None and demand.prompt_tokens > least:
        short = alive & index.prompts.below(demand.prompt_tokens)
        lost = short & ~_compressed(index, alive, short, demand)
        if lost:
            detail = f"has a context shorter than the prompt, which is {demand.prompt_tokens} tokens or more"
            cuts.append(Cut(index, lost, "context_length", detail, "context_length_exceeded"))
            alive &= ~lost
    wanted, least = demand.max_tokens, index.completions.least
    if wanted is not None and least is not None and wanted > least:
        lost = alive & index.completions.below(wanted)
        if lost:
            detail = f"does not write {wanted} tokens, which max_tokens asks for"
            cuts.append(Cut(index, lost, "context_length", detail, "max_tokens_exceeded"))
            alive &= ~lost
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
    for tag in wish.named:
        admitted |= index.tier_tags.get(tag, 0)
    lost = alive & index.tiered & ~admitted
    if lost:
        cuts.append(Cut(index, lost, "allowed_providers", "is a service tier that was not asked for"))
        alive &= ~lost
    flex = alive & index.tiers["flex"]
    if wish.flex_only and flex and flex != alive:
        cuts.append(Cut(index, alive & ~flex, "allowed_providers", "is not flex, which service_tier asks for"))
        return flex
    return alive


def _prefer(index: ListingIndex, alive: int, alternatives: tuple[str, ...], cuts: list[Cut]) -> int:
    """Leave out those known not to support a parameter, if others are known to. Never leaves out all."""
    for name in alternatives:
        supporting = alive & index.supporting.get(name, 0)
        if supporting:
            lost = alive & index.knowing & ~supporting
            if lost:
                detail = f"does not support {name}, and other endpoints of the model do"
                cuts.append(Cut(index, lost, "require_parameters", detail))
            return alive & ~lost
    return alive
