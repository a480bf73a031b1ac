"""The catalogue as its routes show it (OpenRouter API, models, 2026-08-22). Prices are decimal strings in USD."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from openrouter_gateway.core.catalog import Catalog, Endpoint, Listing, Model, Price
from openrouter_gateway.core.health import HealthReport
from openrouter_gateway.edge.model_query import ModelQuery, first_endpoint, parameters_of
from openrouter_gateway.errors import BadRequest, ModelNotFound, RoutingError
from openrouter_gateway.routing.resolve import resolve

_PRICES: Final = {
    "request": "request",
    "image": "image",
    "image_token": "image_token",
    "image_output": "image_output",
    "audio": "audio",
    "audio_output": "audio_output",
    "audio_cache_read": "input_audio_cache",
    "web_search": "web_search",
    "internal_reasoning": "internal_reasoning",
    "cache_read": "input_cache_read",
    "cache_write": "input_cache_write",
    "cache_write_1h": "input_cache_write_1h",
}
"""The optional prices: our bucket, and its key in answers."""
_EVERYTHING: Final = ModelQuery()


HealthOf: TypeAlias = Callable[[str], HealthReport]
"""How the endpoint with a key has been doing."""

_NO_REPORT: Final = HealthReport()


def models_object(catalog: Catalog, query: ModelQuery = _EVERYTHING) -> dict[str, Any]:
    """`GET /models`: the models, and after them their `~author/family-latest` aliases."""
    entries = list(catalog.listings.items())
    entries += [
        (alias, catalog.listings[target])
        for alias, target in catalog.aliases.items()
        if alias.startswith("~") and target in catalog.listings
    ]
    shown, total, following = query.select(entries)
    return {
        "data": [_listed_row(catalog, model_id, listing) for model_id, listing in shown],
        "total_count": total,
        "links": {"next": following},
    }


def model_object(listing: Listing) -> dict[str, Any]:
    """`GET /model/{author}/{slug}`."""
    return _model_row(listing)


def find_listing(catalog: Catalog, name: str) -> tuple[str, Listing] | None:
    """Return the id that a name goes by in the list of models, and its listing.

    Aliases, canonical slugs and ids with routing suffixes (`:nitro`) are names, too. None where nothing goes by it.
    """
    if name in catalog.listings:
        return name, catalog.listings[name]
    try:
        (target,) = resolve([name], catalog)
    except (BadRequest, ModelNotFound, RoutingError):
        return None
    if target.listing is None:
        return None
    return name if name.startswith("~") else target.listing.model.id, target.listing


def named_model_object(catalog: Catalog, name: str) -> dict[str, Any] | None:
    """`GET /model/{author}/{slug}`, by any of its names; None where nothing goes by it."""
    found = find_listing(catalog, name)
    return None if found is None else _listed_row(catalog, found[0], found[1])


def endpoints_object(listing: Listing, report: HealthOf = lambda _: _NO_REPORT) -> dict[str, Any]:
    """`GET /models/{author}/{slug}/endpoints`; `report` says how an endpoint has been doing."""
    model = listing.model
    return {
        "id": model.id,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "architecture": _architecture(model),
        "endpoints": [_endpoint_row(endpoint, model, report(endpoint.key)) for endpoint in listing.endpoints],
    }


def providers_object(catalog: Catalog) -> dict[str, Any]:
    """`GET /providers`: those that this gateway has endpoints of."""
    return {
        "data": [
            {
                "name": provider.name,
                "slug": provider.slug,
                "privacy_policy_url": provider.privacy_policy_url,
                "terms_of_service_url": provider.terms_of_service_url,
                "status_page_url": provider.status_page_url,
                "headquarters": provider.headquarters,
                "datacenters": None if provider.datacenters is None else list(provider.datacenters),
            }
            for provider in catalog.providers
        ]
    }


def decimal_text(value: Decimal) -> str:
    """Return a price without exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _listed_row(catalog: Catalog, model_id: str, listing: Listing) -> dict[str, Any]:
    """Return a model's row; for an alias, that of the model it stands for, which it names."""
    if model_id in catalog.listings:
        return _model_row(listing)
    return _model_row(listing) | {
        "id": model_id,
        "canonical_slug": model_id,
        "name": f"{listing.model.name} (latest)",
        "alias_target": {"slug": listing.model.id, "name": listing.model.name},
        "links": _links(model_id),
    }


def _model_row(listing: Listing) -> dict[str, Any]:
    model = listing.model
    first = first_endpoint(listing)
    row: dict[str, Any] = {
        "id": model.id,
        "canonical_slug": model.canonical_slug or model.id,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "context_length": model.context_length or (first.context_length if first else None),
        "architecture": _architecture(model),
        "pricing": _pricing(first.price if first else None),
        "top_provider": {
            "context_length": first.context_length if first else None,
            "max_completion_tokens": first.max_completion_tokens if first else None,
            "is_moderated": first is not None and first.moderated,
        },
        "per_request_limits": None,
        "supported_parameters": list(listing.model.supported_parameters) or sorted(parameters_of(listing)),
        "default_parameters": model.default_parameters,
        "supported_voices": None,
        "links": _links(model.id),
    }
    if model.reasoning is not None:
        row["reasoning"] = msgspec.to_builtins(model.reasoning)
    for name in ("hugging_face_id", "knowledge_cutoff", "expiration_date"):
        if (value := getattr(model, name)) is not None:
            row[name] = value
    return row


def _links(model_id: str) -> dict[str, str]:
    return {"details": f"/api/v1/models/{model_id}/endpoints"}


def _architecture(model: Model) -> dict[str, Any]:
    modality = f"{'+'.join(model.input_modalities)}->{'+'.join(model.output_modalities)}"
    return {
        "modality": modality,
        "input_modalities": list(model.input_modalities),
        "output_modalities": list(model.output_modalities),
        "tokenizer": model.tokenizer,
        "instruct_type": model.instruct_type,
    }


def _pricing(price: Price | None) -> dict[str, Any]:
    """Return the prices, 0 where they are not known: clients want numbers, and that is what will be charged."""
    price = price or Price()
    row = {"prompt": price.prompt, "completion": price.completion}
    for bucket, key in _PRICES.items():
        rate: Decimal | None = getattr(price, bucket)
        if rate is not None and (rate or bucket != "request"):
            row[key] = rate
    shown: dict[str, Any] = {key: decimal_text(value) for key, value in row.items()}
    if price.overrides:
        shown["overrides"] = [
            {
                "min_prompt_tokens": override.min_prompt_tokens,
                **{_PRICES.get(bucket, bucket): decimal_text(rate) for bucket, rate in override.rates.items()},
            }
            for override in price.overrides
        ]
    return shown


def _endpoint_row(endpoint: Endpoint, model: Model, health: HealthReport) -> dict[str, Any]:
    """One endpoint. The last four are wanted, with these types, by the official SDKs since 1.3 (autumn 2026)."""
    supported = endpoint.supported_parameters
    parameters = sorted(supported) if supported is not None else list(model.supported_parameters)
    return {
        "name": f"{endpoint.provider.name}: {model.name}",
        "model_id": endpoint.model_id,
        "model_name": model.name,
        "context_length": endpoint.context_length or model.context_length or 0,
        "pricing": _pricing(endpoint.price),
        "provider_name": endpoint.provider.name,
        "tag": endpoint.tag,
        "quantization": endpoint.quantization,
        "max_completion_tokens": endpoint.max_completion_tokens,
        "max_prompt_tokens": endpoint.max_prompt_tokens,
        "supported_parameters": parameters,
        "status": 0,
        "uptime_last_5m": health.uptime_last_5m,
        "uptime_last_30m": health.uptime_last_30m,
        "uptime_last_1d": health.uptime_last_1d,
        "supports_implicit_caching": endpoint.implicit_caching,
        "latency_last_30m": health.latency_last_30m,
        "throughput_last_30m": health.throughput_last_30m,
        "native_tools": {},
        "service_tier": endpoint.service_tier,
        "supports_diarization": False,
        "supports_tool_choice": dict.fromkeys(("auto", "function", "none", "required"), "tool_choice" in parameters),
    }
