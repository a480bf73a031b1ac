"""The catalogue: built-in provider rows, models and prices of genai-prices, and what the settings add or change."""

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrouter_gateway.config.settings import (
    NO_KEY,
    ModelSettings,
    PricingSettings,
    ProviderSettings,
    Settings,
    is_key,
)
from openrouter_gateway.core.catalog import Catalog, DataPolicy, Endpoint, Listing, Model, Price, Provider
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.wire.protocols import PROTOCOLS

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo
    from genai_prices.types import Provider as PriceProvider

LOCAL: Final = "local"
"""Slug of the embedded model's provider."""

_MILLION: Final = Decimal(1_000_000)
_LOCAL_PARAMETERS: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty",
        "max_tokens", "max_completion_tokens", "seed", "stop", "response_format", "structured_outputs", "tools",
        "tool_choice",
    }
)  # fmt: skip


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of `data/providers.toml`; its header explains the columns."""

    name: str
    protocol: str
    base_url: str
    key_env: str
    authors: list[str]
    prices: str
    trains: bool | None = None
    retains: bool | None = None
    quirks: list[str] = []
    headquarters: str | None = None
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None


@cache
def load_provider_rows() -> dict[str, ProviderRow]:
    """Return the built-in table by slug."""
    text = resources.files("openrouter_gateway.data").joinpath("providers.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, ProviderRow])


def load_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the key of every provider that has one, by slug: from the settings, or its variable.

    Raises:
        ConfigError: a provider names a variable that is not set; a variable holds what cannot be a key.
    """
    keys: dict[str, str] = {}
    for slug, row in load_provider_rows().items():
        if found := _key_of(environment, row.key_env):
            keys[slug] = found
    for slug, provider in settings.providers.items():
        if provider.api_key is not None:
            keys[slug] = provider.api_key.get_secret_value()
        elif provider.api_key_env is not None:
            found = _key_of(environment, provider.api_key_env)
            if not found:
                raise ConfigError(
                    f"providers.{slug}.api_key_env names the variable {provider.api_key_env}, which is not set"
                )
            keys[slug] = found
    return keys


def _key_of(environment: Mapping[str, str], variable: str) -> str:
    key = environment.get(variable, "").strip()
    if not is_key(key):
        raise ConfigError(f"the environment: {variable}: {NO_KEY}")
    return key


def build_catalog(settings: Settings, keyed: frozenset[str]) -> Catalog:
    """Return the catalogue. `keyed` holds the slugs of the providers that we have a key for.

    Raises:
        ConfigError: a provider is incomplete, or two settings contradict each other.
    """
    listings: dict[str, Listing] = {}
    rows = load_provider_rows()
    enabled = {slug: row for slug, row in rows.items() if slug in keyed and row.protocol in PROTOCOLS}
    if enabled or settings.stand_in:
        _add_known_models(listings, enabled, settings)
    for slug, provider_settings in settings.providers.items():
        provider = _merge_provider(slug, rows.get(slug), provider_settings)
        for model in provider_settings.models:
            _add_endpoint(listings, _configured_model(model), _configured_endpoint(provider, model))
    if settings.embedded.enabled:
        if LOCAL in settings.providers:
            raise ConfigError(f"providers.{LOCAL}: this name is the embedded model's, choose another")
        _add_local(listings, settings)
    listings = dict(sorted(listings.items()))
    providers = {e.provider.slug: e.provider for listing in listings.values() for e in listing.endpoints}
    local_id = settings.embedded.model_id if settings.embedded.enabled else None
    return Catalog(listings=listings, providers=tuple(providers.values()), default_model=local_id)


def _add_endpoint(listings: dict[str, Listing], model: Model, endpoint: Endpoint) -> None:
    listing = listings.get(model.id, Listing(model=model, endpoints=()))
    listings[model.id] = Listing(model=listing.model, endpoints=(*listing.endpoints, endpoint))


def _merge_provider(slug: str, row: ProviderRow | None, changes: ProviderSettings) -> Provider:
    base_url = changes.base_url or (row.base_url if row else None)
    if base_url is None:
        raise ConfigError(f"providers.{slug}: base_url is missing (there is no built-in provider of that name)")
    provider = _provider_of(slug, row) if row else Provider(slug=slug, name=slug, protocol="openai")
    protocol = changes.protocol or provider.protocol
    if protocol not in PROTOCOLS:
        known = ", ".join(sorted(PROTOCOLS))
        raise ConfigError(f"providers.{slug}: protocol {protocol!r} is not spoken yet; known: {known}")
    policy = DataPolicy(
        trains=provider.policy.trains if changes.trains_on_prompts is None else changes.trains_on_prompts,
        retains=provider.policy.retains if changes.retains_prompts is None else changes.retains_prompts,
    )
    return msgspec.structs.replace(
        provider,
        name=changes.name or provider.name,
        protocol=protocol,
        base_url=base_url,
        policy=policy,
        quirks=provider.quirks if changes.quirks is None else frozenset(changes.quirks),
    )


def _provider_of(slug: str, row: ProviderRow) -> Provider:
    return Provider(
        slug=slug,
        name=row.name,
        protocol=row.protocol,
        base_url=row.base_url,
        policy=DataPolicy(trains=row.trains, retains=row.retains),
        quirks=frozenset(row.quirks),
        headquarters=row.headquarters,
        privacy_policy_url=row.privacy_policy_url,
        terms_of_service_url=row.terms_of_service_url,
        status_page_url=row.status_page_url,
    )


def _configured_model(model: ModelSettings) -> Model:
    return Model(
        id=model.id,
        name=model.name or model.id.partition("/")[2],
        context_length=model.context_length,
        input_modalities=tuple(model.input_modalities or ("text",)),
        supported_parameters=tuple(model.supported_parameters or ()),
    )


def _configured_endpoint(provider: Provider, model: ModelSettings) -> Endpoint:
    return Endpoint(
        model_id=model.id,
        provider=provider,
        upstream_id=model.upstream_id or model.id.partition("/")[2],
        tag=model.tag or provider.slug,
        price=_configured_price(model.pricing),
        quantization=model.quantization,
        context_length=model.context_length,
        max_completion_tokens=model.max_completion_tokens,
        supported_parameters=None if model.supported_parameters is None else frozenset(model.supported_parameters),
        input_modalities=None if model.input_modalities is None else frozenset(model.input_modalities),
    )


def _configured_price(pricing: PricingSettings | None) -> Price | None:
    if pricing is None:
        return None
    return Price(
        prompt=pricing.prompt,
        completion=pricing.completion,
        request=pricing.request,
        cache_read=pricing.input_cache_read,
        cache_write=pricing.input_cache_write,
    )


def local_endpoint(settings: Settings) -> Endpoint:
    """Return the endpoint of the embedded model."""
    return Endpoint(
        model_id=settings.embedded.model_id,
        provider=Provider(
            slug=LOCAL,
            name="Local",
            protocol=LOCAL,
            policy=DataPolicy(trains=False, retains=False),
        ),
        upstream_id=settings.embedded.model_id,
        tag=LOCAL,
        price=Price(),
        context_length=settings.embedded.context_length,
        max_completion_tokens=settings.embedded.context_length,
        supported_parameters=_LOCAL_PARAMETERS,
        input_modalities=frozenset({"text"}),
    )


def _add_local(listings: dict[str, Listing], settings: Settings) -> None:
    endpoint = local_endpoint(settings)
    model = Model(
        id=endpoint.model_id,
        name=endpoint.model_id.partition("/")[2],
        description="Runs inside this gateway: needs no key and no network.",
        context_length=endpoint.context_length,
        supported_parameters=tuple(sorted(_LOCAL_PARAMETERS)),
    )
    _add_endpoint(listings, model, endpoint)
    if settings.stand_in:
        for key, listing in listings.items():
            listings[key] = Listing(model=listing.model, endpoints=(endpoint,))


def _add_known_models(listings: dict[str, Listing], enabled: Mapping[str, ProviderRow], settings: Settings) -> None:
    """List the models of the price tables, with an endpoint at every enabled provider that is known to have them."""
    # Imported here: its tables take a second to build, and a gateway with its own model alone needs none of them.
    from genai_prices import data

    tables = {table.id: table for table in data.providers}
    # Some rows are kept under a slug without its author, which is no id of a model.
    rows = tables["openrouter"].models
    names = {row.id: row for row in rows if "/" in row.id and not row.id.endswith(":batch")}
    if settings.stand_in:
        for key, row in names.items():
            listings[key] = Listing(model=_known_model(key, row), endpoints=())
    for slug, provider_row in enabled.items():
        changes = settings.providers.get(slug)
        provider = _merge_provider(slug, provider_row, changes) if changes else _provider_of(slug, provider_row)
        for upstream_id, info in _hosted(tables[provider_row.prices], provider_row, names):
            key = upstream_id[0]
            endpoint = Endpoint(
                model_id=key,
                provider=provider,
                upstream_id=upstream_id[1],
                tag=slug,
                price=_known_price(info),
                context_length=info.context_window,
            )
            _add_endpoint(listings, _known_model(key, names[key]), endpoint)


def _hosted(
    table: "PriceProvider", row: ProviderRow, names: Mapping[str, Any]
) -> list[tuple[tuple[str, str], "ModelInfo"]]:
    """Return ((our id, the provider's id), prices) of the models that a provider hosts under a name that we know."""
    found: list[tuple[tuple[str, str], ModelInfo]] = []
    for info in table.models:
        candidates = [info.id, *(f"{author}/{info.id}" for author in row.authors)]
        known = next((name for name in candidates if name in names), None)
        if known is not None:
            found.append(((known, info.id), info))
    return found


def _known_model(key: str, info: "ModelInfo") -> Model:
    return Model(
        id=key,
        name=info.name or key.partition("/")[2],
        description=info.description or "",
        context_length=info.context_window,
    )


def _known_price(info: "ModelInfo") -> Price | None:
    """Return the current base price, if any. Rates are USD per million tokens in the tables, per token in ours."""
    from genai_prices.types import ModelPrice

    prices = info.prices
    if not isinstance(prices, ModelPrice):
        # Several prices with conditions (dates, hours): the last one without a condition that is over.
        prices = prices[-1].prices
    prompt, completion = _per_token(prices.input_mtok), _per_token(prices.output_mtok)
    if prompt is None and completion is None:
        return None
    return Price(
        prompt=prompt or Decimal(0),
        completion=completion or Decimal(0),
        cache_read=_per_token(prices.cache_read_mtok),
        cache_write=_per_token(prices.cache_write_mtok),
    )


def _per_token(rate: Any) -> Decimal | None:
    if rate is None:
        return None
    base: Decimal = getattr(rate, "base", rate)
    return base / _MILLION
