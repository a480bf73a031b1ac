"""The tables of genai-prices as models and endpoints of ours.

Only `catalog refresh` comes here: the tables take a second to build, so a gateway reads the snapshot made of them.

Which model a provider's own name means is told by spelling: case, dots and dashes do not count, nor does an author in
front where the provider hosts that author's models; the rest is in the column `models` of `data/providers.toml`.
Prices are those of one day. Where they depend on the hour, the base price is taken; where on the length of the prompt,
what is more for long ones is an override: the tables, too, charge all tokens by it then.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from openrouter_gateway.config.canonical import canonical_slug, creation_of, names_in
from openrouter_gateway.config.rows import ProviderRow, load_provider_rows
from openrouter_gateway.config.snapshot import FORMAT, KnownEndpoint, Snapshot
from openrouter_gateway.core.catalog import Model, Price, PriceOverride

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

_BUCKETS: Final = {
    "prompt": ("input_mtok", 1_000_000),
    "completion": ("output_mtok", 1_000_000),
    "request": ("requests_kcount", 1000),
    "cache_read": ("cache_read_mtok", 1_000_000),
    "cache_write": ("cache_write_mtok", 1_000_000),
    "cache_write_1h": ("cache_write_1h_mtok", 1_000_000),
    "image_token": ("input_image_mtok", 1_000_000),
    "image_output": ("output_image_mtok", 1_000_000),
    "audio": ("input_audio_mtok", 1_000_000),
    "audio_output": ("output_audio_mtok", 1_000_000),
    "audio_cache_read": ("cache_audio_read_mtok", 1_000_000),
    "web_search": ("web_searches_kcount", 1000),
    "internal_reasoning": ("output_reasoning_mtok", 1_000_000),
}
"""Our bucket: its name in the tables, and how many units their price is for."""
_AUTHORS: Final = {
    "deepseek-ai": "deepseek",
    "meta-models": "meta",
    "minimaxai": "minimax",
    "xiaomimimo": "xiaomi",
    "zai-org": "z-ai",
}
"""Authors whose name on Hugging Face is not the one in model ids."""

_Rates = dict[str, Any]
"""The fields of a price."""


_READ: Final = frozenset({"prompt", "cache_read"})
"""What embeddings are charged for: they have no completion, though a table may price one."""
_EMBEDDINGS: Final = ("embeddings",)
_TEXT: Final = ("text",)


def load_price_tables(day: date) -> Snapshot:
    """Return what genai-prices knows of the built-in providers, with the prices of a day."""
    from genai_prices import data

    tables = {table.id: table.models for table in data.providers}
    openrouter = tables["openrouter"]
    # Some rows are kept under a slug without its author, which is no id of a model; batches are not served here.
    named = {info.id: info for info in openrouter if "/" in info.id and not info.id.endswith(":batch")}
    known = {name: info for name, info in named.items() if not name.startswith("~")}
    index = _Index(known)
    endpoints: list[KnownEndpoint] = []
    models = {name: _model_of(name, info, known.get(name.partition(":")[0], info), day) for name, info in known.items()}
    for slug, row in load_provider_rows().items():
        if row.prices is None:
            continue
        found = _endpoints_of(slug, row, tables[row.prices], index, day)
        for model, endpoint in _embeddings_of(slug, row, tables[row.prices], day):
            models.setdefault(model.id, model)
            found.append(endpoint)
        endpoints += sorted(found, key=lambda endpoint: (endpoint.model, endpoint.tag))
    return Snapshot(
        format=FORMAT,
        sources=(f"genai-prices {version('genai-prices')}",),
        date=day.isoformat(),
        aliases=dict.fromkeys(sorted(name for name in named if name.startswith("~"))),
        models=tuple(model for _, model in sorted(models.items())),
        endpoints=tuple(endpoints),
    )


def comparable(name: str) -> str:
    """Return a name as it is compared: `Llama-3.1-8B` as `llama-3-1-8b`, and Fireworks' `v3p1` as `v3-1`."""
    return re.sub(r"(?<=\d)[p._](?=\d)|[._\s]", "-", name.lower())


class _Index:
    """Finds model ids by comparable author and slug, or by slug alone where only one author has it."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = frozenset(ids)
        self._full: dict[tuple[str, str], str] = {}
        self._plain: dict[str, set[str]] = {}
        for model_id in sorted(ids):
            author, _, slug = model_id.partition("/")
            self._full.setdefault((author, comparable(slug)), model_id)
            self._plain.setdefault(comparable(slug), set()).add(model_id)

    def find(self, name: str, authors: tuple[str, ...]) -> str | None:
        """Return the id that a provider's name means, if any."""
        author, slash, slug = name.rpartition("/")
        if slash:
            author = author.rpartition("/")[2].lower()
            return self._full.get((_AUTHORS.get(author, author), comparable(slug)))
        if authors:
            return next((found for a in authors if (found := self._full.get((a, comparable(name))))), None)
        found = self._plain.get(comparable(name), set())
        return next(iter(found)) if len(found) == 1 else None


def _endpoints_of(
    slug: str, row: ProviderRow, infos: Iterable["ModelInfo"], index: _Index, day: date
) -> list[KnownEndpoint]:
    """Return a provider's endpoints, one per model and tag: the best match by name."""
    found: dict[tuple[str, str], tuple[int, KnownEndpoint]] = {}
    for info in infos:
        match = _match(info.id, row, index) if row.serves(info.id) else None
        if match is None:
            continue
        model, variant = match
        rank = 0 if info.id.lower().endswith(model.partition("/")[2]) else 1
        for endpoint in _tiers_of(slug, row, info, model, variant, day):
            place = (model, endpoint.tag)
            if place not in found or rank < found[place][0]:
                found[place] = (rank, endpoint)
    return [endpoint for _, endpoint in found.values()]


def _embeddings_of(
    slug: str, row: ProviderRow, infos: Iterable["ModelInfo"], day: date
) -> Iterator[tuple[Model, KnownEndpoint]]:
    """Yield a provider's embedding models, which OpenRouter's own table leaves out: those that its row names."""
    for info in infos:
        name = row.embeddings.get(info.id)
        if name is None:
            continue
        model = Model(
            id=name,
            name=name.partition("/")[2],  # the tables call several by one name
            description=info.description or "",
            context_length=info.context_window,
            output_modalities=_EMBEDDINGS,
        )
        yield (
            model,
            KnownEndpoint(
                model=name,
                provider=slug,
                upstream_id=row.upstream_prefix + info.id,
                price=_price_of({bucket: rate for bucket, rate in _rates_of(info, day).items() if bucket in _READ}),
                context_length=info.context_window,
                input_modalities=_TEXT,
            ),
        )


def _match(name: str, row: ProviderRow, index: _Index) -> tuple[str, str] | None:
    """Return the model id and the variant that a provider's name means."""
    if row.names == "id":
        return (name, "") if name in index.ids else None
    if named := row.models.get(name):
        return (named, "") if named in index.ids else None
    if whole := index.find(name, row.authors):
        return whole, ""
    for variant in row.variants:
        base = name[: -len(variant) - 1]
        if name.lower().endswith(f"-{variant}") and (found := row.models.get(base) or index.find(base, row.authors)):
            return found, variant
    return None


def _tiers_of(
    slug: str, row: ProviderRow, info: "ModelInfo", model: str, variant: str, day: date
) -> Iterator[KnownEndpoint]:
    """Yield the endpoint itself and, where it has no variant, those of the service tiers that have prices."""
    rates = _rates_of(info, day)
    base = KnownEndpoint(
        model=model,
        provider=slug,
        upstream_id=row.upstream_prefix + info.id,
        tag=f"{slug}/{variant}" if variant else "",
        price=_price_of(rates),
        context_length=info.context_window,
    )
    yield base
    if variant:
        return
    for tier in row.tiers:
        changes = _tier_rates(info, tier, day)
        if changes:
            yield KnownEndpoint(
                model=model,
                provider=slug,
                upstream_id=base.upstream_id,
                tag=f"{slug}/{tier}",
                tier=tier,
                price=_price_of(_merged(rates, changes)),
                context_length=info.context_window,
            )


def _model_of(name: str, info: "ModelInfo", base: "ModelInfo", day: date) -> Model:
    """Return the model; `base` is what it is a variant of, which has its dated name, or the same."""
    canonical = canonical_slug(name, names_in(base.match))
    rates = _rates_of(info, day)
    inputs = ("text", *(kind for kind, bucket in (("image", "image_token"), ("audio", "audio")) if bucket in rates))
    outputs = ("text", *(kind for kind in ("image", "audio") if f"{kind}_output" in rates))
    return Model(
        id=name,
        name=info.name or name.partition("/")[2],
        canonical_slug=canonical,
        created=creation_of(name, canonical),
        description=info.description or "",
        context_length=info.context_window,
        input_modalities=inputs,
        output_modalities=outputs,
    )


def _rates_of(info: "ModelInfo", day: date) -> _Rates:
    """Return the prices of a day by bucket. Of several, the last one that is in force and holds at every hour."""
    from genai_prices.types import ModelPrice

    prices = info.prices
    if isinstance(prices, ModelPrice):
        return _per_unit(prices)
    in_force = [entry.prices for entry in prices if _holds(entry.constraint, day)]
    return _per_unit(in_force[-1]) if in_force else {}


def _tier_rates(info: "ModelInfo", tier: str, day: date) -> _Rates:
    """Return the prices that a service tier changes; none where it is not offered."""
    rates: _Rates = {}
    for variant in reversed(info.price_variants or []):
        if variant.when == {"service_tier": tier} and _holds(variant.constraint, day):
            rates |= _per_unit(variant.prices)
    return rates


def _holds(constraint: object, day: date) -> bool:
    """Return whether a price holds all day long."""
    start = getattr(constraint, "start_date", None)
    return constraint is None or (start is not None and start <= day)


def _per_unit(prices: "ModelPrice") -> _Rates:
    rates: _Rates = {}
    steps: dict[int, dict[str, Decimal]] = {}
    for bucket, (name, units) in _BUCKETS.items():
        rate: Any = getattr(prices, name, None)
        if rate is not None:
            rates[bucket] = (getattr(rate, "base", rate) / units).normalize()
            for step in getattr(rate, "tiers", ()):
                steps.setdefault(step.start, {})[bucket] = (step.price / units).normalize()
    if steps:
        rates["overrides"] = _as_overrides(steps)
    return rates


def _as_overrides(steps: Mapping[int, dict[str, Decimal]]) -> tuple[PriceOverride, ...]:
    return tuple(PriceOverride(min_prompt_tokens=start, rates=rates) for start, rates in sorted(steps.items()))


def _merged(rates: _Rates, changes: _Rates) -> _Rates:
    """Return rates with changes: what is changed has no other price for long prompts but a changed one."""
    steps: dict[int, dict[str, Decimal]] = {}
    for override in rates.get("overrides", ()):
        kept = {bucket: rate for bucket, rate in override.rates.items() if bucket not in changes}
        if kept:
            steps[override.min_prompt_tokens] = kept
    for override in changes.get("overrides", ()):
        steps.setdefault(override.min_prompt_tokens, {}).update(override.rates)
    return rates | changes | {"overrides": _as_overrides(steps)}


def _price_of(rates: Mapping[str, Any]) -> Price | None:
    """Return the price; None where neither prompts nor completions have one."""
    return Price(**rates) if "prompt" in rates or "completion" in rates else None
