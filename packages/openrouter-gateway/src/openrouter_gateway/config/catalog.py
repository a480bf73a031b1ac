"""The catalogue: what is known of providers, models and prices, where there is a key, and what the settings change."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydantic import BaseModel

from openrouter_gateway.callers.target import Target
from openrouter_gateway.config.latest import newest
from openrouter_gateway.config.rows import ProviderRow, load_provider_rows
from openrouter_gateway.config.settings import (
    LOCAL,
    ModelFacts,
    ModelSettings,
    PricingSettings,
    ProviderSettings,
    SettingError,
    Settings,
)
from openrouter_gateway.config.snapshot import Snapshot, load_snapshot
from openrouter_gateway.config.testing import open_recordings
from openrouter_gateway.config.values import NO_KEY, is_key
from openrouter_gateway.core.catalog import (
    Catalog,
    DataPolicy,
    Endpoint,
    Listing,
    Model,
    Price,
    PriceOverride,
    Provider,
    Reasoning,
)
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.wire.protocols import can_serve

_LOCAL_PARAMETERS: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty",
        "max_tokens", "max_completion_tokens", "seed", "stop", "response_format", "structured_outputs", "tools",
        "tool_choice", "logit_bias", "logprobs", "top_logprobs",
    }
)  # fmt: skip
"""What the embedded model does: protocol `local` passes it on, or makes it of llama.cpp's own."""
_PRICE_FIELDS: Final = {
    "input_audio_cache": "audio_cache_read",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "input_cache_write_1h": "cache_write_1h",
}
"""Settings of prices that have another name in the catalogue."""
_REPLAYED: Final = "none-is-needed-while-replaying"
"""In place of a key that nobody is sent."""
_TAKEN: Final = ("supported_parameters", "input_modalities")
"""What endpoints take: said of each, or of the model for all that are built in."""
_MODEL_LISTS: Final = ("input_modalities", "output_modalities", "supported_parameters", "aliases")


def load_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the key of every provider that has one, by slug: from the settings, or its variable.

    Where recordings answer, the providers that were recorded need none.

    Raises:
        ConfigError: a provider names a variable that is not set; a variable holds what cannot be a key; the recordings
            cannot be read.
    """
    keys = _keys_of_recorded(settings)
    for slug, row in load_provider_rows().items():
        if row.key_env is not None and (found := _key_of(environment, row.key_env)):
            keys[slug] = found
    for slug, provider in settings.providers.items():
        if provider.api_key is not None:
            keys[slug] = provider.api_key.get_secret_value()
        elif provider.api_key_env is not None:
            found = _key_of(environment, provider.api_key_env)
            if not found and settings.recording.replays:
                continue
            if not found:
                key = ("providers", slug, "api_key_env")
                raise SettingError(key, f"names the variable {provider.api_key_env}, which is not set")
            keys[slug] = found
    return keys


def _keys_of_recorded(settings: Settings) -> dict[str, str]:
    library = open_recordings(settings.recording) if settings.recording.replays else None
    if library is None:
        return {}
    found: dict[str, str] = {}
    for slug, row in load_provider_rows().items():
        changes = settings.providers.get(slug)
        base_url = (changes.base_url if changes else None) or row.base_url
        if row.key_env is not None and Target.from_parts(base_url, {}).origin in library.origins:
            found[slug] = _REPLAYED
    return found


def _key_of(environment: Mapping[str, str], variable: str) -> str:
    key = environment.get(variable, "").strip()
    if not is_key(key):
        raise ConfigError(f"the environment: {variable}: {NO_KEY}")
    return key


def build_catalog(settings: Settings, keyed: frozenset[str]) -> Catalog:
    """Return the catalogue. `keyed` holds the slugs of the providers that we have a key for.

    Raises:
        ConfigError: a provider is incomplete, two settings contradict each other, or the snapshot cannot be read.
    """
    return _Building(settings).build(keyed)


def local_endpoint(settings: Settings) -> Endpoint:
    """Return the endpoint of the embedded model."""
    return Endpoint(
        model_id=settings.embedded.model_id,
        provider=Provider(
            slug=LOCAL,
            name="Local",
            protocol=LOCAL,
            policy=DataPolicy(trains=False, retains=False),
            supports_cancel=True,
        ),
        upstream_id=settings.embedded.model_id,
        tag=LOCAL,
        price=Price(),
        context_length=settings.embedded.context_length,
        max_completion_tokens=settings.embedded.context_length,
        supported_parameters=_LOCAL_PARAMETERS,
        input_modalities=frozenset({"text"}),
        stands_in=settings.stand_in,
    )


class _Building:
    """The tables while they grow: models by id, and their endpoints by tag."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rows = load_provider_rows()
        self._snapshot: Snapshot | None = None
        self._known: dict[str, Model] = {}
        self._models: dict[str, Model] = {}
        self._endpoints: dict[str, dict[str, Endpoint]] = {}
        self._own: set[tuple[str, str, str]] = set()
        """What the settings say of single endpoints, as model, tag and field."""

    def build(self, keyed: frozenset[str]) -> Catalog:
        settings = self._settings
        if LOCAL in settings.providers and settings.embedded.enabled:
            raise SettingError(("providers", LOCAL), "this name is the embedded model's, choose another")
        enabled = {slug: row for slug, row in self._rows.items() if slug in keyed and self._is_usable(slug, row)}
        if enabled or settings.stand_in or settings.models or settings.aliases or settings.catalog.file:
            self._snapshot = load_snapshot(settings.catalog.file)
            self._known = {model.id: model for model in self._snapshot.models}
        self._add_known(enabled)
        for slug, provider in settings.providers.items():
            if provider.enabled:
                self._add_configured(slug, provider)
        if settings.embedded.enabled:
            self._add_local()
        for model_id, facts in settings.models.items():
            self._change_model(model_id, facts)
        return self._finish()

    def _is_usable(self, slug: str, row: ProviderRow) -> bool:
        changes = self._settings.providers.get(slug)
        return changes is None or (changes.enabled and changes.known_models)

    def _add_known(self, enabled: Mapping[str, ProviderRow]) -> None:
        if self._snapshot is None:
            return
        if self._settings.stand_in:
            self._models |= self._known
        providers = {slug: self._provider(slug, self._settings.providers.get(slug)) for slug in enabled}
        order = {slug: place for place, slug in enumerate(self._rows)}
        found = (known for known in self._snapshot.endpoints if known.provider in providers)
        for known in sorted(found, key=lambda known: order[known.provider]):
            model = self._known[known.model]
            endpoint = self._in_its_protocol(known.to_endpoint(providers[known.provider]))
            if can_serve(endpoint.protocol, model.output_modalities):
                self._put(model, endpoint)

    def _add_configured(self, slug: str, changes: ProviderSettings) -> None:
        provider = self._provider(slug, changes)
        said: set[tuple[str, str]] = set()
        for place, model in enumerate(changes.models):
            tag = model.tag or slug
            known = self._endpoints.get(model.id, {}).get(tag)
            if (model.id, tag) in said or (known is not None and known.provider.slug != slug):
                key = ("providers", slug, "models", place)
                raise SettingError(key, f"there is an endpoint of {model.id} with the tag {tag} already")
            said.add((model.id, tag))
            if not model.enabled:
                self._endpoints.get(model.id, {}).pop(tag, None)
                continue
            offered = _configured_model(model, self._known.get(model.id))
            endpoint = self._in_its_protocol(_configured_endpoint(provider, model, known), model.protocol)
            if not can_serve(endpoint.protocol, offered.output_modalities):
                key = ("providers", slug, "models", place)
                outputs = ", ".join(offered.output_modalities)
                raise SettingError(key, f"there is no {outputs} in the provider's protocol, {endpoint.protocol}")
            self._put(offered, endpoint)
            self._own |= {(model.id, tag, name) for name in _TAKEN if known is None or getattr(model, name) is not None}

    def _in_its_protocol(self, endpoint: Endpoint, said: str | None = None) -> Endpoint:
        """Return the endpoint with the protocol that is said of it, or that the built-in table has for its model.

        The table speaks of its own address: who sets another one, or a protocol, says it of all the provider's models.
        """
        slug = endpoint.provider.slug
        row, changes = self._rows.get(slug), self._settings.providers.get(slug)
        if said is None and row is not None and (changes is None or not (changes.protocol or changes.base_url)):
            said = row.protocol_of(endpoint.upstream_id)
        return msgspec.structs.replace(endpoint, own_protocol=None if said == endpoint.provider.protocol else said)

    def _provider(self, slug: str, changes: ProviderSettings | None) -> Provider:
        row = self._rows.get(slug)
        if changes is None:
            assert row is not None  # noqa: S101 - a provider comes from the table, from the settings, or from both
            return row.to_provider(slug)
        return _merge_provider(slug, row, changes)

    def _add_local(self) -> None:
        endpoint = local_endpoint(self._settings)
        model = Model(
            id=endpoint.model_id,
            name=endpoint.model_id.partition("/")[2],
            description="Runs inside this gateway: needs no key and no network.",
            context_length=endpoint.context_length,
            output_modalities=("text", "embeddings"),
            supported_parameters=tuple(sorted(_LOCAL_PARAMETERS)),
        )
        self._put(model, endpoint)
        if self._settings.stand_in:
            self._endpoints = {model_id: {LOCAL: endpoint} for model_id in self._models}

    def _put(self, model: Model, endpoint: Endpoint) -> None:
        self._models.setdefault(model.id, model)
        self._endpoints.setdefault(model.id, {})[endpoint.tag] = endpoint

    def _change_model(self, model_id: str, facts: ModelFacts) -> None:
        model = self._models.get(model_id)
        if model is None:
            if model_id not in self._known:
                raise SettingError(("models", model_id), "no such model is known, and no provider here has it")
        elif not facts.enabled:
            del self._models[model_id]
        else:
            self._models[model_id] = _changed_model(model, facts)
            self._pass_on(model_id, facts)

    def _pass_on(self, model_id: str, facts: ModelFacts) -> None:
        """Have the built-in endpoints of a model take what is said of it, but for what is said of the endpoint."""
        said = {name: frozenset(values) for name, values in _given(facts, *_TAKEN).items()}
        for tag, endpoint in self._endpoints.get(model_id, {}).items():
            changes = {name: values for name, values in said.items() if (model_id, tag, name) not in self._own}
            if changes and not endpoint.stands_in:
                self._endpoints[model_id][tag] = msgspec.structs.replace(endpoint, **changes)

    def _finish(self) -> Catalog:
        listings = {
            model_id: Listing(model=self._models[model_id], endpoints=self._endpoints_of(model_id))
            for model_id in sorted(self._models)
            if self._endpoints.get(model_id)
        }
        providers = {e.provider.slug: e.provider for listing in listings.values() for e in listing.endpoints}
        embedded = self._settings.embedded
        return Catalog(
            listings=listings,
            providers=tuple(providers.values()),
            default_model=embedded.model_id if embedded.enabled and embedded.model_id in listings else None,
            aliases=self._aliases(listings),
            version=self._version(listings),
        )

    def _endpoints_of(self, model_id: str) -> tuple[Endpoint, ...]:
        """Return a model's endpoints, which know how its reasoning is controlled unless they are another's."""
        found, reasoning = tuple(self._endpoints[model_id].values()), self._models[model_id].reasoning
        if reasoning is None:
            return found
        replace = msgspec.structs.replace
        return tuple(each if each.stands_in else replace(each, reasoning=reasoning) for each in found)

    def _version(self, listings: Mapping[str, Listing]) -> str:
        """Return the day of the known prices, and a digest of all that are used."""
        prices = [
            (model_id, endpoint.tag, endpoint.price)
            for model_id, listing in listings.items()
            for endpoint in listing.endpoints
        ]
        digest = hashlib.blake2b(msgspec.msgpack.encode(prices), digest_size=4).hexdigest()
        return f"{self._snapshot.date if self._snapshot else 'local'}-{digest}"

    def _aliases(self, listings: Mapping[str, Listing]) -> dict[str, str]:
        """Return the known aliases that have a model here, and the configured ones."""
        models = [listing.model for listing in listings.values()]
        found: dict[str, str] = {}
        for alias, target in self._snapshot.aliases.items() if self._snapshot else ():
            model_id = target if target in listings else newest(alias, models)
            if model_id is not None:
                found[alias] = model_id
        for alias, target in self._settings.aliases.items():
            if target not in listings and target not in self._known:
                raise SettingError(("aliases", alias), f"no model {target} is known, and no provider here has it")
            if alias in listings:
                raise SettingError(("aliases", alias), "this is a model of its own")
            found[alias] = target
        return dict(sorted(found.items()))


def _merge_provider(slug: str, row: ProviderRow | None, changes: ProviderSettings) -> Provider:
    base_url = changes.base_url or (row.base_url if row else None)
    if base_url is None:
        raise SettingError(("providers", slug), "base_url is missing (there is no built-in provider of that name)")
    provider = row.to_provider(slug) if row else Provider(slug=slug, name=slug, protocol="openai")
    protocol = changes.protocol or provider.protocol
    changed = _given(
        changes, "name", "supports_cancel", "headquarters", "privacy_policy_url", "terms_of_service_url",
        "status_page_url",
    )  # fmt: skip
    if changes.quirks is not None:
        changed["quirks"] = frozenset(changes.quirks)
    if changes.datacenters is not None:
        changed["datacenters"] = tuple(changes.datacenters)
    policy = provider.policy
    changed["policy"] = DataPolicy(
        trains=policy.trains if changes.trains_on_prompts is None else changes.trains_on_prompts,
        retains=policy.retains if changes.retains_prompts is None else changes.retains_prompts,
    )
    return msgspec.structs.replace(provider, protocol=protocol, base_url=base_url, **changed)


def _configured_model(model: ModelSettings, known: Model | None) -> Model:
    if known is not None:
        return known
    return Model(
        id=model.id,
        name=model.name or model.id.partition("/")[2],
        context_length=model.context_length,
        input_modalities=tuple(model.input_modalities or ("text",)),
        output_modalities=tuple(model.output_modalities or ("text",)),
        supported_parameters=tuple(model.supported_parameters or ()),
    )


def _configured_endpoint(provider: Provider, model: ModelSettings, known: Endpoint | None) -> Endpoint:
    endpoint = known or Endpoint(
        model_id=model.id,
        provider=provider,
        upstream_id=model.id.partition("/")[2],
        tag=model.tag or provider.slug,
    )
    changes = _given(
        model, "upstream_id", "tier", "context_length", "max_prompt_tokens", "max_completion_tokens", "quantization",
        "moderated", "implicit_caching", "max_concurrent",
    )  # fmt: skip
    for name in _TAKEN:
        if (values := getattr(model, name)) is not None:
            changes[name] = frozenset(values)
    if model.pricing is not None:
        changes["price"] = _changed_price(endpoint.price, model.pricing)
    return msgspec.structs.replace(endpoint, **changes)


def _changed_price(known: Price | None, pricing: PricingSettings) -> Price:
    given = _given(pricing, *PricingSettings.model_fields)
    changes = {_PRICE_FIELDS.get(key, key): given[key] for key in given}
    known = known or Price()
    kept = tuple(
        PriceOverride(min_prompt_tokens=override.min_prompt_tokens, rates=rates)
        for override in known.overrides
        if (rates := {bucket: rate for bucket, rate in override.rates.items() if bucket not in changes})
    )
    return msgspec.structs.replace(known, overrides=kept, **changes)


def _changed_model(model: Model, facts: ModelFacts) -> Model:
    changes = _given(facts, *(ModelFacts.model_fields.keys() - {"enabled", "reasoning", *_MODEL_LISTS}))
    changes |= {name: tuple(values) for name, values in _given(facts, *_MODEL_LISTS).items()}
    if facts.reasoning is not None:
        said = _given(facts.reasoning, *facts.reasoning.model_fields_set)
        efforts = said.pop("supported_efforts", None)
        changes["reasoning"] = Reasoning(**said, supported_efforts=None if efforts is None else tuple(efforts))
    return msgspec.structs.replace(model, **changes)


def _given(section: BaseModel, *names: str) -> dict[str, Any]:
    """Return those of the fields that say something."""
    return {name: value for name in names if (value := getattr(section, name)) is not None}
