"""OpenRouter's answers to `GET /models` and `GET /models/{author}/{slug}/endpoints`, merged into a snapshot.

They know more of a model than price tables do (creation, modalities, parameters, quantization, limits), and which
providers host it. Not what a provider calls it: that is known from the price tables, or told by the column `names` of
`data/providers.toml`; an endpoint for which neither helps is left out, as is one of a provider that has no row.
"""

import contextlib
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from openrouter_gateway.config.rows import ProviderRow, load_provider_rows
from openrouter_gateway.config.snapshot import KnownEndpoint, Snapshot
from openrouter_gateway.core.catalog import Model, Price, PriceOverride, Reasoning, Tier
from openrouter_gateway.errors import ConfigError

_BUCKETS: Final = {
    "prompt": "prompt",
    "completion": "completion",
    "request": "request",
    "image": "image",
    "image_token": "image_token",
    "image_output": "image_output",
    "audio": "audio",
    "audio_output": "audio_output",
    "input_audio_cache": "audio_cache_read",
    "web_search": "web_search",
    "internal_reasoning": "internal_reasoning",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "input_cache_write_1h": "cache_write_1h",
}
_TIERS: Final[dict[str, Tier]] = {"flex": "flex", "priority": "priority"}
_QUANTIZATIONS: Final = frozenset({"int4", "int8", "fp4", "fp6", "fp8", "fp16", "bf16", "fp32"})
_MOST_ZEROS: Final = 400
_OWN: Final = ("~", "openrouter/")
"""Aliases and routers: a gateway makes its own."""


class _Architecture(Struct, frozen=True):
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    tokenizer: str | None = None
    instruct_type: str | None = None


class _TopProvider(Struct, frozen=True):
    context_length: int | None = None
    max_completion_tokens: int | None = None
    is_moderated: bool = False


class _AliasTarget(Struct, frozen=True):
    slug: str


class _ListedModel(Struct, frozen=True):
    id: str
    name: str
    canonical_slug: str | None = None
    created: int = 0
    description: str | None = None
    context_length: int | None = None
    architecture: _Architecture = _Architecture()
    pricing: dict[str, Any] = {}
    top_provider: _TopProvider = _TopProvider()
    supported_parameters: tuple[str, ...] = ()
    default_parameters: dict[str, float | None] | None = None
    reasoning: Reasoning | None = None
    alias_target: _AliasTarget | None = None
    hugging_face_id: str | None = None
    knowledge_cutoff: str | None = None
    expiration_date: str | None = None


class _ListedEndpoint(Struct, frozen=True):
    tag: str
    pricing: dict[str, Any]
    context_length: int | None = None
    quantization: str | None = None
    max_completion_tokens: int | None = None
    max_prompt_tokens: int | None = None
    supported_parameters: tuple[str, ...] = ()
    supports_implicit_caching: bool = False


class _EndpointList(Struct, frozen=True):
    id: str
    endpoints: tuple[_ListedEndpoint, ...]


class _Document(Struct, frozen=True):
    data: list[_ListedModel] | _EndpointList


class Merged(Struct, frozen=True):
    """The snapshot, and the tags of endpoints that had to be left out, by model id."""

    snapshot: Snapshot
    left_out: dict[str, tuple[str, ...]]


def merge_lists(snapshot: Snapshot, documents: Sequence[tuple[str, bytes]]) -> Merged:
    """Return the snapshot with answers of OpenRouter merged in; `documents` has the name of each and its content.

    Raises:
        ConfigError: a document is not such an answer.
    """
    parsed = [_parse(name, data).data for name, data in documents]
    merging = _Merging(snapshot)
    for listed in parsed:
        if isinstance(listed, list):
            merging.add_models(listed)
    for listed in parsed:
        if not isinstance(listed, list):
            merging.add_endpoints(listed)
    return merging.result(tuple(name for name, _ in documents))


def _parse(name: str, data: bytes) -> _Document:
    try:
        return msgspec.json.decode(data, type=_Document)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{name} is neither a list of models nor one of endpoints: {error}") from None


class _Merging:
    """The tables while they grow."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._rows = load_provider_rows()
        self._aliases = dict(snapshot.aliases)
        self._models = {model.id: model for model in snapshot.models}
        self._endpoints = {(known.model, known.full_tag): known for known in snapshot.endpoints}
        self._left_out: dict[str, tuple[str, ...]] = {}

    def add_models(self, listed: list[_ListedModel]) -> None:
        for row in listed:
            if row.id.startswith("~"):
                self._aliases[row.id] = row.alias_target.slug if row.alias_target else None
            elif not row.id.startswith(_OWN):
                self._models[row.id] = _to_model(row)
                self._put(_to_openrouter(row))

    def add_endpoints(self, listed: _EndpointList) -> None:
        model = self._models.get(listed.id)
        if model is None:
            raise ConfigError(f"{listed.id} has endpoints but is in no list of models")
        missing: list[str] = []
        for row in listed.endpoints:
            slug, _, suffix = row.tag.partition("/")
            upstream_id = self._upstream_id(model, slug, suffix)
            if upstream_id is None:
                missing.append(row.tag)
            else:
                self._put(_to_endpoint(row, model.id, slug, suffix, upstream_id))
        if missing:
            self._left_out[listed.id] = tuple(missing)

    def result(self, sources: tuple[str, ...]) -> Merged:
        snapshot = msgspec.structs.replace(
            self._snapshot,
            sources=(*self._snapshot.sources, *sources),
            aliases=dict(sorted(self._aliases.items())),
            models=tuple(model for _, model in sorted(self._models.items())),
            endpoints=tuple(self._endpoints[place] for place in sorted(self._endpoints, key=self._place)),
        )
        return Merged(snapshot, self._left_out)

    def _place(self, key: tuple[str, str]) -> tuple[int, str, str]:
        return list(self._rows).index(self._endpoints[key].provider), *key

    def _put(self, endpoint: KnownEndpoint) -> None:
        self._endpoints[endpoint.model, endpoint.full_tag] = endpoint

    def _upstream_id(self, model: Model, slug: str, suffix: str) -> str | None:
        """Return what the provider calls the model: as the price tables say, or as its row tells."""
        row = self._rows.get(slug)
        if row is None:
            return None
        tag = f"{slug}/{suffix}" if suffix else slug
        known = self._endpoints.get((model.id, tag))
        if known is None and suffix not in row.variants:
            known = self._endpoints.get((model.id, slug))  # a region, tier or quantization is no other name
        return known.upstream_id if known is not None else _name_by_row(row, model, suffix)


def _name_by_row(row: ProviderRow, model: Model, suffix: str) -> str | None:
    author, _, slug = model.id.partition("/")
    if ":" in slug or (suffix and suffix not in _QUANTIZATIONS and suffix not in _TIERS and suffix not in row.variants):
        return None
    match row.names:
        case "id":
            return model.id
        case "slug":
            return slug if author in row.authors else None
        case "hugging_face" if model.hugging_face_id:
            return model.hugging_face_id + (f"-{suffix.title()}" if suffix in row.variants else "")
        case _:
            return None


def _to_model(row: _ListedModel) -> Model:
    return Model(
        id=row.id,
        name=row.name,
        canonical_slug=row.canonical_slug or "",
        created=row.created,
        description=row.description or "",
        context_length=row.context_length,
        input_modalities=row.architecture.input_modalities,
        output_modalities=row.architecture.output_modalities,
        tokenizer=row.architecture.tokenizer or "Other",
        instruct_type=row.architecture.instruct_type,
        supported_parameters=row.supported_parameters,
        default_parameters=row.default_parameters,
        reasoning=row.reasoning,
        hugging_face_id=row.hugging_face_id or None,
        knowledge_cutoff=row.knowledge_cutoff,
        expiration_date=row.expiration_date,
    )


def _to_openrouter(row: _ListedModel) -> KnownEndpoint:
    return KnownEndpoint(
        model=row.id,
        provider="openrouter",
        upstream_id=row.id,
        price=_to_price(row.pricing),
        context_length=row.top_provider.context_length or row.context_length,
        max_completion_tokens=row.top_provider.max_completion_tokens,
        supported_parameters=row.supported_parameters,
        input_modalities=row.architecture.input_modalities,
        moderated=row.top_provider.is_moderated,
    )


def _to_endpoint(row: _ListedEndpoint, model_id: str, slug: str, suffix: str, upstream_id: str) -> KnownEndpoint:
    return KnownEndpoint(
        model=model_id,
        provider=slug,
        upstream_id=upstream_id,
        tag=row.tag if suffix else "",
        price=_to_price(row.pricing),
        quantization=None if row.quantization == "unknown" else row.quantization,
        context_length=row.context_length or None,
        max_prompt_tokens=row.max_prompt_tokens,
        max_completion_tokens=row.max_completion_tokens,
        supported_parameters=row.supported_parameters,
        tier=_TIERS.get(suffix),
        implicit_caching=row.supports_implicit_caching,
    )


def _to_price(pricing: dict[str, Any]) -> Price | None:
    """Return the price; None where it is not fixed, which the list says with a negative number."""
    rates: dict[str, Decimal] = {}
    for key, bucket in _BUCKETS.items():
        if key in pricing:
            try:
                rates[bucket] = _to_rate(pricing[key])
            except (InvalidOperation, TypeError):
                raise ConfigError(f"a price is not a number: {key} = {pricing[key]!r}") from None
    if any(rate < 0 for rate in rates.values()):
        return None
    return Price(**rates, overrides=tuple(_to_overrides(pricing.get("overrides"))))


def _to_rate(value: Any) -> Decimal:
    """Return a price. Raises `InvalidOperation` for what is none, or written out is longer than the smallest float."""
    rate = Decimal(value)
    if not (rate.is_finite() and abs(rate.adjusted()) <= _MOST_ZEROS):
        raise InvalidOperation
    return rate


def _to_overrides(entries: object) -> Iterator[PriceOverride]:
    """Yield what long prompts cost; prices by the hour are not kept."""
    for entry in cast("list[object]", entries) if isinstance(entries, list) else ():
        fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
        least = fields.get("min_prompt_tokens")
        if type(least) is not int or "utc_start" in fields or "utc_end" in fields:
            continue
        with contextlib.suppress(InvalidOperation, TypeError):
            rates = {bucket: _to_rate(fields[key]) for key, bucket in _BUCKETS.items() if key in fields}
            if rates and all(rate >= 0 for rate in rates.values()):
                yield PriceOverride(min_prompt_tokens=least, rates=rates)
