"""Generations as rows of the table `generations`, and back."""

from typing import Any, Final, TypeAlias

import msgspec

from openrouter_gateway.core.generation import AttemptRecord, Generation
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.stores.money import exact_units, join_usd, round_usd, split_units, split_usd

Row: TypeAlias = tuple[str | int | bool | None, ...]
"""In the order of the table's columns."""

_encode = msgspec.json.Encoder().encode
_decode_texts = msgspec.json.Decoder(list[str]).decode
_decode_attempts = msgspec.json.Decoder(list[AttemptRecord]).decode
_decode_counts = msgspec.json.Decoder(dict[str, int]).decode
_decode_cost = msgspec.json.Decoder(Cost).decode
_decode_trace = msgspec.json.Decoder(dict[str, Any]).decode

_MICRO: Final = 1_000_000
_MAX_COUNT: Final = 10**12
"""Tokens. Beyond are no counts; sums of nine million such still fit."""
_COUNT_COLUMNS: Final = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
_OF_OTHER_COLUMNS: Final = frozenset((*_COUNT_COLUMNS, "reported_cost", "estimated"))


def ended_us(generation: Generation) -> int:
    """Return the unix microsecond at which it ended, as its row says."""
    return round(generation.created * _MICRO) + round(generation.duration_s * _MICRO)


def to_row(generation: Generation) -> Row:
    """Return the row of a generation."""
    usage = generation.usage
    reported_nano, reported_atto = (None, None) if usage.reported_cost is None else split_usd(usage.reported_cost)
    cost_nano, cost_atto, cost_parts = _split_cost(generation.cost)
    latency_s = generation.latency_s
    return (
        generation.id,
        round(generation.created * _MICRO),
        generation.api_type,
        generation.ending,
        generation.status,
        generation.error_type,
        generation.finish_reason,
        generation.native_finish_reason,
        generation.streamed,
        _encode(generation.requested_models).decode(),
        generation.model,
        generation.provider,
        generation.provider_name,
        generation.endpoint,
        generation.upstream_id,
        generation.service_tier,
        _encode(generation.attempts).decode(),
        *_counts(usage),
        _other_counts(usage),
        usage.estimated,
        generation.normalized_prompt_tokens,
        generation.normalized_completion_tokens,
        cost_nano,
        cost_atto,
        cost_parts,
        reported_nano,
        reported_atto,
        generation.catalog_version,
        None if latency_s is None else round(latency_s * _MICRO),
        round(generation.duration_s * _MICRO),
        generation.key_hash,
        generation.app_url,
        generation.app_title,
        _encode(generation.app_categories).decode() if generation.app_categories else None,
        generation.user_agent,
        generation.user,
        generation.session_id,
        None if generation.trace is None else _encode(generation.trace).decode(),
        generation.cache_source_id,
    )


def from_row(row: Any) -> Generation:
    """Return the generation of a row, which has the columns as attributes."""
    usage = Usage(
        **{name: getattr(row, name) for name in _COUNT_COLUMNS},
        **(_decode_counts(row.other_tokens) if row.other_tokens else {}),
        reported_cost=None if row.reported_nano is None else join_usd(row.reported_nano, row.reported_atto),
        estimated=row.tokens_estimated,
    )
    return Generation(
        id=row.id,
        created=row.created_us / _MICRO,
        api_type=row.api_type,
        ending=row.ending,
        status=row.status,
        error_type=row.error_type,
        finish_reason=row.finish_reason,
        native_finish_reason=row.native_finish_reason,
        streamed=row.streamed,
        requested_models=_decode_texts(row.requested_models),
        model=row.model,
        provider=row.provider,
        provider_name=row.provider_name,
        endpoint=row.endpoint,
        upstream_id=row.upstream_id,
        service_tier=row.service_tier,
        attempts=_decode_attempts(row.attempts),
        usage=usage,
        normalized_prompt_tokens=row.normalized_prompt_tokens,
        normalized_completion_tokens=row.normalized_completion_tokens,
        cost=_decode_cost(row.cost_parts) if row.cost_parts else Cost(),
        catalog_version=row.catalog_version,
        latency_s=None if row.latency_us is None else row.latency_us / _MICRO,
        duration_s=row.duration_us / _MICRO,
        key_hash=row.key_hash,
        app_url=row.app_url,
        app_title=row.app_title,
        app_categories=_decode_texts(row.app_categories) if row.app_categories else [],
        user_agent=row.user_agent,
        user=row.external_user,
        session_id=row.session_id,
        trace=_decode_trace(row.trace) if row.trace else None,
        cache_source_id=row.cache_source_id,
    )


def _counts(usage: Usage) -> tuple[int, ...]:
    counts = (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
    return counts if max(counts) <= _MAX_COUNT else tuple(min(count, _MAX_COUNT) for count in counts)


def _other_counts(usage: Usage) -> str | None:
    told: dict[str, Any] = msgspec.to_builtins(usage)  # without those that are 0
    if told.keys() <= _OF_OTHER_COLUMNS:
        return None
    others = {name: count for name, count in told.items() if name not in _OF_OTHER_COLUMNS}
    return _encode(others).decode()


def _split_cost(cost: Cost) -> tuple[int, int, str | None]:
    """Return the total in two columns, and the parts, whose sum is the total also after rounding."""
    total = cost.total
    if not total:
        return 0, 0, None
    units = exact_units(total)
    if units is None:
        cost = Cost(**{name: round_usd(getattr(cost, name)) for name in Cost.__struct_fields__})
        return *split_usd(cost.total), _encode(cost).decode()
    return *split_units(units), _encode(cost).decode()
