"""The route plan: the endpoints of the requested models, the ones removed with the reason, the rest in order.

OpenRouter API, provider routing (2026-08-22). Preferences that only order endpoints never fail a request; those that
exclude endpoints do, and say which preference it was.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias

from msgspec import Struct

from openrouter_gateway.core.catalog import Catalog, Endpoint, Listing
from openrouter_gateway.core.chat import ChatRequest, MaxPrice, ProviderPreferences
from openrouter_gateway.errors import BadRequest, ConstraintFiltered, ModelNotFound
from openrouter_gateway.routing.slug import matches_any

_MILLION: Final = Decimal(1_000_000)
_PART_MODALITY: Final = {
    "image_url": "image",
    "input_audio": "audio",
    "video_url": "video",
    "input_video": "video",
    "file": "file",
}


class Removal(Struct, frozen=True):
    """An endpoint that was taken out, by which preference (OpenRouter's `excluded_by` words) and why."""

    endpoint: Endpoint
    excluded_by: str
    detail: str


class RoutePlan(Struct, frozen=True):
    """Endpoints in the order in which to try them; at least one."""

    endpoints: tuple[Endpoint, ...]
    removed: tuple[Removal, ...] = ()
    allow_fallbacks: bool = True


def plan_route(request: ChatRequest, catalog: Catalog) -> RoutePlan:
    """Return the plan of a request.

    Raises:
        BadRequest: no model is named and there is no default; a preference is malformed.
        ModelNotFound: one of the requested models is not in the catalogue.
        ConstraintFiltered: the request's preferences removed every endpoint.
    """
    listings = _find_listings(request, catalog)
    candidates = list(dict.fromkeys(endpoint for listing in listings for endpoint in listing.endpoints))
    preferences = request.params.provider
    modalities = _needed_modalities(request)
    if preferences is None and not modalities:
        return RoutePlan(tuple(candidates))
    return _apply(preferences or ProviderPreferences(), modalities, candidates, request)


def _find_listings(request: ChatRequest, catalog: Catalog) -> list[Listing]:
    wanted = request.requested_models or ([catalog.default_model] if catalog.default_model else [])
    if not wanted:
        raise BadRequest("model: no model is named, and this gateway has no default model")
    unknown: list[str] = []
    found: list[Listing] = []
    for name in wanted:
        listing = catalog.listings.get(name)
        if listing is None:
            unknown.append(name)
        else:
            found.append(listing)
    if unknown:
        raise ModelNotFound(f"{unknown[0]} is not a valid model ID", requested_models=wanted)
    return found


def _apply(
    preferences: ProviderPreferences,
    modalities: frozenset[str],
    candidates: list[Endpoint],
    request: ChatRequest,
) -> RoutePlan:
    kept: list[Endpoint] = []
    removed: list[Removal] = []
    filters = _hard_filters(preferences, modalities, request)
    for endpoint in candidates:
        removal = next((removal for check in filters if (removal := check(endpoint))), None)
        if removal is None:
            kept.append(endpoint)
        else:
            removed.append(removal)
    if not kept:
        reasons = list(dict.fromkeys(removal.excluded_by for removal in removed))
        detail = "; ".join(dict.fromkeys(f"{removal.endpoint.tag}: {removal.detail}" for removal in removed))
        raise ConstraintFiltered(
            f"No allowed providers are available for the selected model. {detail}",
            requested_models=request.requested_models,
            excluded_by=reasons,
            detail=detail,
        )
    fallbacks = preferences.allow_fallbacks is not False
    if preferences.order:
        kept = _by_order(kept, preferences.order, only_listed=not fallbacks, request=request)
    elif not fallbacks:
        kept = kept[:1]
    return RoutePlan(tuple(kept), tuple(removed), fallbacks)


def _by_order(kept: list[Endpoint], order: list[str], *, only_listed: bool, request: ChatRequest) -> list[Endpoint]:
    """Put the listed providers first, in the list's order. Models stay apart: the first model's endpoints lead."""
    models = list(dict.fromkeys(endpoint.model_id for endpoint in kept))

    def place(endpoint: Endpoint) -> int:
        return next((at for at, slug in enumerate(order) if matches_any(endpoint, [slug])), len(order))

    if only_listed:
        kept = [endpoint for endpoint in kept if place(endpoint) < len(order)]
        if not kept:
            raise ConstraintFiltered(
                "No allowed providers are available for the selected model: none of `provider.order` serves it",
                requested_models=request.requested_models,
                excluded_by=["allowed_providers"],
            )
    return sorted(kept, key=lambda endpoint: (models.index(endpoint.model_id), place(endpoint)))


Filter: TypeAlias = Callable[[Endpoint], Removal | None]


def _hard_filters(preferences: ProviderPreferences, modalities: frozenset[str], request: ChatRequest) -> list[Filter]:
    """Return a check per preference that is set; each returns the removal of an endpoint or None."""
    checks: list[Filter] = []
    if modalities:
        checks.append(lambda e: _check_modalities(e, modalities))
    if only := preferences.only:
        checks.append(
            lambda e: None if matches_any(e, only) else Removal(e, "allowed_providers", "is not in provider.only")
        )
    if ignore := preferences.ignore:
        checks.append(
            lambda e: Removal(e, "allowed_providers", "is in provider.ignore") if matches_any(e, ignore) else None
        )
    if preferences.data_collection == "deny":
        checks.append(_check_training)
    if preferences.zdr:
        checks.append(_check_retention)
    if preferences.enforce_distillable_text:
        checks.append(lambda e: Removal(e, "data_policy:training", "its author is not known to allow distillation"))
    if quantizations := preferences.quantizations:
        checks.append(lambda e: _check_quantization(e, quantizations))
    if preferences.max_price is not None:
        ceilings = _parse_ceilings(preferences.max_price, modalities)
        if ceilings:
            checks.append(lambda e: _check_price(e, ceilings))
    if preferences.require_parameters:
        sent = frozenset(key for key in _PARAMETERS & request.fields.keys() if bytes(request.fields[key]) != b"null")
        checks.append(lambda e: _check_parameters(e, sent))
    return checks


_PARAMETERS: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty",
        "repetition_penalty", "max_tokens", "max_completion_tokens", "logit_bias", "logprobs", "top_logprobs",
        "prediction", "seed", "response_format", "structured_outputs", "stop", "tools", "tool_choice",
        "parallel_tool_calls", "include_reasoning", "reasoning", "reasoning_effort", "web_search_options",
        "verbosity",
    }
)  # fmt: skip
"""OpenRouter's enumeration of request parameters (models API)."""


def _check_modalities(endpoint: Endpoint, needed: frozenset[str]) -> Removal | None:
    if endpoint.input_modalities is None or needed <= endpoint.input_modalities:
        return None
    missing = needed - endpoint.input_modalities
    return Removal(endpoint, "require_parameters", f"does not take {', '.join(sorted(missing))} input")


def _check_training(endpoint: Endpoint) -> Removal | None:
    if endpoint.provider.policy.trains is False:
        return None
    return Removal(endpoint, "data_policy:training", "is not known to keep prompts out of training")


def _check_retention(endpoint: Endpoint) -> Removal | None:
    if endpoint.provider.policy.retains is False:
        return None
    return Removal(endpoint, "data_policy:zdr", "is not known to retain no data")


def _check_quantization(endpoint: Endpoint, wanted: list[str]) -> Removal | None:
    own = endpoint.quantization or "unknown"
    wider = {"mxfp4": "fp4", "nvfp4": "fp4", "mxfp8": "fp8"}.get(own)
    if own in wanted or wider in wanted:
        return None
    return Removal(endpoint, "quantization", f"has quantization {own}")


def _check_price(endpoint: Endpoint, ceilings: dict[str, Decimal]) -> Removal | None:
    """Compare with the ceilings, by kind. What is not known is over any ceiling: the caller relies on it."""
    price = endpoint.price
    if price is None:
        return Removal(endpoint, "max_price", "has a price that is not known")
    # Prices of image and audio input are in no table of ours yet.
    rates = {"prompt": price.prompt * _MILLION, "completion": price.completion * _MILLION, "request": price.request}
    for kind, ceiling in ceilings.items():
        rate = rates.get(kind)
        if rate is None:
            return Removal(endpoint, "max_price", f"has a price of {kind} input that is not known")
        if rate > ceiling:
            return Removal(endpoint, "max_price", "costs more than provider.max_price")
    return None


def _check_parameters(endpoint: Endpoint, sent: frozenset[str]) -> Removal | None:
    supported = endpoint.supported_parameters
    missing = sent if supported is None else sent - supported
    if not missing:
        return None
    return Removal(endpoint, "require_parameters", f"is not known to support {', '.join(sorted(missing))}")


def _parse_ceilings(wanted: MaxPrice, modalities: frozenset[str]) -> dict[str, Decimal]:
    """Return the ceilings that matter to a request with these input modalities, by kind.

    Raises:
        BadRequest: one of them is not a number.
    """
    ceilings = {
        "prompt": _parse_ceiling(wanted.prompt),
        "completion": _parse_ceiling(wanted.completion),
        "request": _parse_ceiling(wanted.request),
        "image": _parse_ceiling(wanted.image),
        "audio": _parse_ceiling(wanted.audio),
    }
    unused = {"image", "audio"} - modalities
    return {kind: ceiling for kind, ceiling in ceilings.items() if ceiling is not None and kind not in unused}


def _parse_ceiling(value: float | str | None) -> Decimal | None:
    if value is None:
        return None
    try:
        ceiling = Decimal(str(value))
    except InvalidOperation:
        ceiling = Decimal("NaN")
    if ceiling.is_nan():
        raise BadRequest(f"provider.max_price: {value!r} is not a number")
    return ceiling


def _needed_modalities(request: ChatRequest) -> frozenset[str]:
    needed: set[str] = set()
    for message in request.params.messages:
        if isinstance(message.content, list):
            kinds = [part.get("type") for part in message.content]
            needed.update(_PART_MODALITY[kind] for kind in kinds if type(kind) is str and kind in _PART_MODALITY)
    return frozenset(needed)
