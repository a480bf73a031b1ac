"""The hard filters: what a request and its account exclude, as rows that say whom they keep and why nobody else.

OpenRouter API, provider routing (2026-08-22). What is not known of an endpoint does not satisfy a request that asks
for it.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import asdict

from openrouter_gateway.core.catalog import AccountPolicy, Endpoint
from openrouter_gateway.core.chat import QUANTIZATIONS, ChatRequest, MaxPrice, ProviderPreferences
from openrouter_gateway.core.plugins import WEB, searches_with
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.routing.demand import Demand, sent_parameters, with_synonyms
from openrouter_gateway.routing.index import RATES, ListingIndex

NO_PREFERENCES: Final = ProviderPreferences()


class Reason(Struct, frozen=True):
    """Why endpoints are taken out: OpenRouter's word (`excluded_by`), and the words for one endpoint.

    `explain` is told what was asked for, as the filter was. `field`: of the request, that which asks for it.
    `error_type`: of the 400 when nothing else was to blame. `is_privacy`: it is about what providers do with prompts.
    """

    excluded_by: str
    explain: Callable[[Endpoint, Any], str]
    field: str = "provider"
    error_type: str | None = None
    is_privacy: bool = False


class Filter(Struct, frozen=True):
    """`keep` returns the endpoints that pass what is asked for, as a mask.

    `spares_stand_ins`: it is about who may answer, which says nothing of what answers in place of them all.
    """

    keep: Callable[[ListingIndex, Any], int]
    reason: Reason
    spares_stand_ins: bool = False


Rule: TypeAlias = tuple[Filter, Any]
"""A filter, and what it is asked for: making one costs next to nothing."""

Ceilings: TypeAlias = Sequence[tuple[str, Decimal]]


def build_rules(
    request: ChatRequest,
    preferences: ProviderPreferences,
    demand: Demand,
    policy: AccountPolicy,
    search_engine: str | None = None,
) -> list[Rule]:
    """Return a rule per exclusion that is in force. `search_engine` is the one that the gateway itself has.

    Raises:
        BadRequest: a price ceiling is not a number, a quantization is none.
    """
    rules: list[Rule] = []
    if preferences is not NO_PREFERENCES:
        _add_lists(rules, preferences)
        _add_properties(rules, request, preferences, demand)
    if policy.allowed_providers is not None:
        rules.append((_ALLOWED, policy.allowed_providers))
    if policy.ignored_providers:
        rules.append((_FORBIDDEN, policy.ignored_providers))
    if preferences.zdr or policy.zdr:
        rules.append((_NEVER_RETAINS, None))
    if preferences.data_collection == "deny":
        rules.append((_NEVER_COLLECTS, None))
    elif policy.deny_training:
        rules.append((_NEVER_TRAINS, None))
    if request.params.plugins and request.wants(WEB) and not searches_with(request.plugin(WEB), search_engine):
        rules.append((_SEARCHING, search_engine))
    return rules


def _add_lists(rules: list[Rule], preferences: ProviderPreferences) -> None:
    if preferences.only:
        rules.append((_ONLY, preferences.only))
    if preferences.ignore:
        rules.append((_IGNORE, preferences.ignore))
    if preferences.order and preferences.allow_fallbacks is False:
        rules.append((_LISTED, preferences.order))


def _add_properties(rules: list[Rule], request: ChatRequest, preferences: ProviderPreferences, demand: Demand) -> None:
    if preferences.enforce_distillable_text:
        rules.append((_DISTILLABLE, None))
    if preferences.quantizations:
        rules.append((_QUANTIZED, read_quantizations(preferences.quantizations)))
    if preferences.max_price is not None:
        ceilings = read_ceilings(preferences.max_price, demand.modalities)
        if ceilings:
            rules.append((_PRICED, ceilings))
    if preferences.require_parameters:
        rules.append((_SUPPORTING, sent_parameters(request)))


def read_ceilings(wanted: MaxPrice, modalities: frozenset[str]) -> Ceilings:
    """Return the ceilings that matter to a request with these input modalities, by kind.

    Raises:
        BadRequest: one of them is not a number.
    """
    found: list[tuple[str, Decimal]] = []
    for kind, ceiling in asdict(wanted).items():
        if ceiling is not None:
            if not ceiling.is_finite():
                raise BadRequest(f"provider.max_price.{kind}: {str(ceiling)!r} is not a number")
            if kind not in _PAID_BY_MODALITY or kind in modalities:
                found.append((kind, ceiling))
    return found


def read_quantizations(wanted: Sequence[str]) -> list[str]:
    """Return names of quantizations in lower case, in which OpenRouter writes them; others capitalise them (FP8).

    Raises:
        BadRequest: one of them is not known.
    """
    lower = [name.lower() for name in wanted]
    for place, name in enumerate(lower):
        if name not in QUANTIZATIONS:
            known = ", ".join(sorted(QUANTIZATIONS))
            raise BadRequest(f"provider.quantizations[{place}]: {wanted[place]!r} is none of {known}")
    return lower


_PAID_BY_MODALITY: Final = frozenset({"image", "audio"})


def _keep_quantized(index: ListingIndex, wanted: Sequence[str]) -> int:
    mask = 0
    for name in wanted:
        mask |= index.quantized.get(name, 0)
    return mask


def _keep_priced(index: ListingIndex, ceilings: Ceilings) -> int:
    mask = index.everything
    for kind, ceiling in ceilings:
        mask &= index.prices[kind].at_most(ceiling)
    return mask


def _keep_supporting(index: ListingIndex, sent: AbstractSet[str]) -> int:
    mask = index.everything
    for name in sent:
        mask &= index.supporting.get(name, 0)
    return mask


def _keep_searching(index: ListingIndex, _: str | None) -> int:
    """Web search that the gateway does not do is passed on to providers that are an OpenRouter themselves."""
    return sum(row.bit for row in index.rows if row.endpoint.provider.runs_plugins)


def _explain_collection(endpoint: Endpoint, _: None) -> str:
    return _TRAINS if endpoint.provider.policy.trains is not False else "is not known to store no prompts"


def _explain_price(endpoint: Endpoint, ceilings: Ceilings) -> str:
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


def _explain_support(endpoint: Endpoint, sent: AbstractSet[str]) -> str:
    missing = sorted(sent - with_synonyms(endpoint.supported_parameters or ()))
    return f"is not known to support {', '.join(missing)}"


def _explain_search(_: Endpoint, search_engine: str | None) -> str:
    has = f"has {search_engine}" if search_engine else "is not set"
    return f"cannot search the web, and neither can this gateway: web.engine of its configuration {has}"


def _says(text: str) -> Callable[[Endpoint, Any], str]:
    return lambda _endpoint, _wanted: text


_TRAINS: Final = "is not known to keep prompts out of training"
_ONLY: Final = Filter(
    ListingIndex.named_any,
    Reason("allowed_providers", _says("is not in provider.only"), "provider.only"),
    spares_stand_ins=True,
)
_IGNORE: Final = Filter(
    ListingIndex.named_none,
    Reason("allowed_providers", _says("is in provider.ignore"), "provider.ignore"),
    spares_stand_ins=True,
)
_LISTED: Final = Filter(
    ListingIndex.named_any,
    Reason(
        "allowed_providers", _says("is not in provider.order, and provider.allow_fallbacks is false"), "provider.order"
    ),
    spares_stand_ins=True,
)
_ALLOWED: Final = Filter(
    ListingIndex.named_any,
    Reason("allowed_providers", _says("is not among the providers that this account may use")),
)
_FORBIDDEN: Final = Filter(
    ListingIndex.named_none, Reason("allowed_providers", _says("is a provider that this account ignores"))
)
_NEVER_RETAINS: Final = Filter(
    lambda index, _: index.never_retains,
    Reason("data_policy:zdr", _says("is not known to retain no data"), "provider.zdr", is_privacy=True),
)
_NEVER_TRAINS: Final = Filter(
    lambda index, _: index.never_trains,
    Reason("data_policy:training", _says(_TRAINS), "provider.data_collection", is_privacy=True),
)
# It is about storing as well as training (section 3.2): of the words for `excluded_by` the latter's is closest.
_NEVER_COLLECTS: Final = Filter(
    lambda index, _: index.never_trains & index.never_retains,
    Reason("data_policy:training", _explain_collection, "provider.data_collection", is_privacy=True),
)
_DISTILLABLE: Final = Filter(
    lambda index, _: index.everything if index.listing.model.distillable else 0,
    Reason(
        "data_policy:training",
        _says("its author is not known to allow distillation"),
        "provider.enforce_distillable_text",
    ),
)
_QUANTIZED: Final = Filter(
    _keep_quantized,
    Reason(
        "quantization",
        lambda endpoint, _: f"has quantization {endpoint.quantization or 'unknown'}",
        "provider.quantizations",
    ),
    spares_stand_ins=True,
)
_PRICED: Final = Filter(_keep_priced, Reason("max_price", _explain_price, "provider.max_price"))
_SUPPORTING: Final = Filter(
    _keep_supporting,
    Reason("require_parameters", _explain_support, "provider.require_parameters"),
    spares_stand_ins=True,
)
_SEARCHING: Final = Filter(_keep_searching, Reason("require_parameters", _explain_search, "plugins"))
