"""The catalogue as its routes show it (OpenRouter API, models, 2026-08-22). Prices are decimal strings in USD."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from openrouter_gateway.core.catalog import Catalog, Endpoint, Listing, Model, Price
from openrouter_gateway.errors import BadRequest


class Page(Struct, frozen=True, kw_only=True):
    """A part of a list."""

    offset: int
    limit: int


def parse_page(query: Mapping[str, str]) -> Page | None:
    """Return the page that `offset` and `limit` ask for; None for the whole list, when neither is given.

    Raises:
        BadRequest: not a number, or out of range.
    """
    if "offset" not in query and "limit" not in query:
        return None
    return Page(
        offset=_parse_number(query, "offset", default=0, lowest=0, highest=10**9),
        limit=_parse_number(query, "limit", default=500, lowest=1, highest=1000),
    )


def _parse_number(query: Mapping[str, str], name: str, *, default: int, lowest: int, highest: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and lowest <= int(text[:12]) <= highest):
        raise BadRequest(f"{name}: must be a whole number from {lowest} to {highest}")
    return int(text)


def models_object(catalog: Catalog, page: Page | None = None) -> dict[str, Any]:
    """`GET /models`."""
    listings = list(catalog.listings.values())
    total, following = len(listings), None
    if page is not None:
        end = page.offset + page.limit
        listings = listings[page.offset : end]
        following = f"/api/v1/models?offset={end}&limit={page.limit}" if end < total else None
    return {
        "data": [_model_row(listing) for listing in listings],
        "total_count": total,
        "links": {"next": following},
    }


def model_object(listing: Listing) -> dict[str, Any]:
    """`GET /model/{author}/{slug}`."""
    return _model_row(listing)


def endpoints_object(listing: Listing) -> dict[str, Any]:
    """`GET /models/{author}/{slug}/endpoints`."""
    model = listing.model
    return {
        "id": model.id,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "architecture": _architecture(model),
        "endpoints": [_endpoint_row(endpoint, model) for endpoint in listing.endpoints],
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
                "datacenters": None,
            }
            for provider in catalog.providers
        ]
    }


def decimal_text(value: Decimal) -> str:
    """Return a price without exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _model_row(listing: Listing) -> dict[str, Any]:
    model = listing.model
    first = listing.endpoints[0] if listing.endpoints else None
    return {
        "id": model.id,
        "canonical_slug": model.canonical_slug or model.id,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "context_length": model.context_length,
        "architecture": _architecture(model),
        "pricing": _pricing(first.price if first else None),
        "top_provider": {
            "context_length": first.context_length if first else None,
            "max_completion_tokens": first.max_completion_tokens if first else None,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": list(model.supported_parameters),
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{model.id}/endpoints"},
    }


def _architecture(model: Model) -> dict[str, Any]:
    modality = f"{'+'.join(model.input_modalities)}->{'+'.join(model.output_modalities)}"
    return {
        "modality": modality,
        "input_modalities": list(model.input_modalities),
        "output_modalities": list(model.output_modalities),
        "tokenizer": model.tokenizer,
        "instruct_type": None,
    }


def _pricing(price: Price | None) -> dict[str, str]:
    """Return the prices, 0 where they are not known: clients want numbers, and that is what will be charged."""
    price = price or Price()
    row = {"prompt": price.prompt, "completion": price.completion}
    if price.request:
        row["request"] = price.request
    if price.cache_read is not None:
        row["input_cache_read"] = price.cache_read
    if price.cache_write is not None:
        row["input_cache_write"] = price.cache_write
    return {key: decimal_text(value) for key, value in row.items()}


def _endpoint_row(endpoint: Endpoint, model: Model) -> dict[str, Any]:
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
        "max_prompt_tokens": None,
        "supported_parameters": parameters,
        "status": 0,
        "uptime_last_5m": None,
        "uptime_last_30m": None,
        "uptime_last_1d": None,
        "supports_implicit_caching": False,
        "latency_last_30m": None,
        "throughput_last_30m": None,
        "native_tools": {},
        "service_tier": None,
        "supports_diarization": False,
        "supports_tool_choice": dict.fromkeys(("auto", "function", "none", "required"), "tool_choice" in parameters),
    }
