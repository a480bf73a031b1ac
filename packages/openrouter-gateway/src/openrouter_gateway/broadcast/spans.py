"""A generation as spans of a trace: ids, names, parents, times and attributes. Pure.

Hierarchy (OpenRouter API, broadcast, 2026-08-22): trace_name -> span_name -> generation_name. The first two are group
spans: several generations may be below them, so their ids follow from the trace's id and their names, and whoever
sends them sends each once. With a parent that the caller names, by `parent_span_id` or `traceparent`, the caller's own
span is the root, and there is no group span for the trace.

Attributes: OpenTelemetry's conventions for generative AI (open-telemetry/semantic-conventions-genai,
docs/gen-ai/gen-ai-spans.md, 2026-11-27) beside the names that OpenRouter uses (digest 10.3).
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, cast

from msgspec import Raw, Struct

from openrouter_gateway.broadcast.content import read, read_input, read_reply, to_json
from openrouter_gateway.broadcast.ids import (
    derive_span_id,
    derive_trace_id,
    parse_traceparent,
    session_trace_id,
    span_id_of,
    trace_id_of,
)
from openrouter_gateway.broadcast.record import Record
from openrouter_gateway.core.generation import Generation

Value: TypeAlias = str | bool | int | float | list[str]
Attributes: TypeAlias = dict[str, Value]
Kind: TypeAlias = Literal["generation", "group"]

_NS: Final = 1_000_000_000
_NAMED: Final = ("trace_id", "trace_name", "span_name", "generation_name", "parent_span_id")
"""Keys of `trace` with a meaning of their own; all others are the caller's metadata."""

_PROVIDERS: Final = {
    "amazon-bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google-ai-studio": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "xai": "x_ai",
}
"""OpenTelemetry's well-known values of `gen_ai.provider.name` where they are not our slugs."""

_OPERATIONS: Final = {"completions": "chat", "embeddings": "embeddings"}
"""By `Generation.api_type`; others have no well-known name and keep their own."""

_PARAMETERS: Final = {
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "top_k": ("gen_ai.request.top_k", int),
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
    "n": ("gen_ai.request.choice.count", int),
}


_SETTINGS: Final = frozenset({*_PARAMETERS, "stop"})
_SOME: Final = Raw(b"[]")
"""Of tools spans say that there are some."""


class SpanEvent(Struct, frozen=True, kw_only=True):
    """A moment within a span."""

    name: str
    time_ns: int
    attributes: Attributes


class Span(Struct, frozen=True, kw_only=True):
    """One span; ids are hexadecimal, times nanoseconds since 1970. `error` says what failed, if something did."""

    span_id: str
    parent_id: str | None
    name: str
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[SpanEvent, ...] = ()
    error: str | None = None


class Trace(Struct, frozen=True, kw_only=True):
    """One generation's part of a trace. `groups` are the spans above it, outermost first.

    `messages` and `reply` are None where there is no content, or it is not to be sent; `metadata` is the caller's.
    `name` is the trace's as the caller wants it, None if he does not say.
    """

    trace_id: str
    name: str | None
    groups: tuple[Span, ...]
    span: Span
    metadata: dict[str, Value]
    generation: Generation
    key_name: str | None
    messages: list[dict[str, Any]] | None
    reply: list[dict[str, Any]] | None

    @property
    def model(self) -> str:
        """The model that answered, or else the first that was asked for; empty if there is none."""
        return _model(self.generation)

    @property
    def spans(self) -> tuple[Span, ...]:
        """All spans, outermost first."""
        return (*self.groups, self.span)


class _Place(Struct, frozen=True, kw_only=True):
    """Where in which trace a generation belongs. `shared`: other generations may belong to the same one."""

    trace_id: str
    parent_id: str | None
    shared: bool


def build_trace(record: Record) -> Trace:
    """Return the trace of a generation, with all of its content."""
    generation = record.generation
    asked = generation.trace or {}
    place = _find_place(generation, asked, record.traceparent)
    metadata = _metadata(asked, place)
    trace_name = _text(asked, "trace_name")
    context = _context(generation, trace_name, metadata)
    start_ns = int(generation.created * 1e6) * 1000
    end_ns = start_ns + max(0, int(generation.duration_s * _NS))
    model = _model(generation)
    root_name = (trace_name or model or "chat") if trace_name or place.shared else None
    groups = _build_groups(place, root_name, _text(asked, "span_name"), start_ns, end_ns, context)
    return Trace(
        trace_id=place.trace_id,
        name=trace_name,
        groups=groups,
        span=Span(
            span_id=derive_span_id(place.trace_id, "generation", generation.id),
            parent_id=groups[-1].span_id if groups else place.parent_id,
            name=_text(asked, "generation_name") or model or "chat",
            kind="generation",
            start_ns=start_ns,
            end_ns=end_ns,
            attributes=_generation_attributes(record, model) | context,
            events=_events(generation, start_ns, end_ns),
            error=_error(generation),
        ),
        metadata=metadata,
        generation=generation,
        key_name=record.key_name,
        messages=read_input(record.request),
        reply=read_reply(record.reply),
    )


def _model(generation: Generation) -> str:
    return generation.model or next(iter(generation.requested_models), "")


def _build_groups(
    place: _Place, root_name: str | None, span_name: str | None, start_ns: int, end_ns: int, context: Attributes
) -> tuple[Span, ...]:
    """The spans above the generation. A trace has one root, whatever its generations call it."""
    groups: list[Span] = []
    parent_id = place.parent_id

    def add(name: str, span_id: str) -> None:
        groups.append(
            Span(
                span_id=span_id,
                parent_id=parent_id,
                name=name,
                kind="group",
                start_ns=start_ns,
                end_ns=end_ns,
                attributes=context,
            )
        )

    if root_name and parent_id is None:
        root_id = derive_span_id(place.trace_id, "root")
        add(root_name, root_id)
        parent_id = root_id
    if span_name:
        add(span_name, derive_span_id(place.trace_id, "span", parent_id or "", span_name))
    return tuple(groups)


def _find_place(generation: Generation, asked: Mapping[str, Any], traceparent: str | None) -> _Place:
    """The caller's ids win over his header, the header over the session. What is not named is a trace of its own."""
    named, parent = _text(asked, "trace_id"), _text(asked, "parent_span_id")
    parent_id = span_id_of(parent) if parent else None
    if named:
        return _Place(trace_id=trace_id_of(named), parent_id=parent_id, shared=True)
    header = parse_traceparent(traceparent)
    if header is not None:
        # A parent that is not sampled is recorded nowhere.
        return _Place(
            trace_id=header.trace_id,
            parent_id=parent_id or (header.span_id if header.sampled else None),
            shared=True,
        )
    if generation.session_id:
        trace_id = session_trace_id(generation.key_hash, generation.session_id)
        return _Place(trace_id=trace_id, parent_id=parent_id, shared=True)
    return _Place(trace_id=derive_trace_id(generation.id), parent_id=parent_id, shared=False)


def find_shared_trace(record: Record) -> str | None:
    """Return the id of the trace that other generations may belong to as well; None if it is a generation's alone."""
    place = _find_place(record.generation, record.generation.trace or {}, record.traceparent)
    return place.trace_id if place.shared else None


def _text(asked: Mapping[str, Any], name: str) -> str | None:
    """Callers send numbers as ids, too."""
    value = asked.get(name)
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _metadata(asked: Mapping[str, Any], place: _Place) -> dict[str, Value]:
    """The caller's own keys, and his ids where ours had to differ."""
    metadata: dict[str, Value] = {key: _to_value(value) for key, value in asked.items() if key not in _NAMED}
    for name, used in (("trace_id", place.trace_id), ("parent_span_id", place.parent_id)):
        original = _text(asked, name)
        if original is not None and original != used:
            metadata[name] = original
    return metadata


def _to_number(value: float, kind: type[int] | type[float]) -> Value:
    """A text where it is too large for its type: receivers refuse such a number, and all that is sent beside it."""
    try:
        return _to_value(kind(value))
    except OverflowError:
        return str(value)


def _to_value(value: Any) -> Value:
    if isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in cast("list[Any]", value)):
        return cast("list[str]", value)
    return to_json(cast("object", value))


def _context(generation: Generation, trace_name: str | None, metadata: Mapping[str, Value]) -> Attributes:
    """What every span of the trace says, so that each can be found by it.

    The trace's name is among it because the root may be the caller's own span, or be called as another generation says.
    """
    context: Attributes = {f"trace.metadata.{key}": value for key, value in metadata.items()}
    if trace_name:
        context["trace.name"] = trace_name
    if generation.user:
        context["user.id"] = generation.user
    if generation.session_id:
        context["session.id"] = generation.session_id
        context["gen_ai.conversation.id"] = generation.session_id
    return context


def _generation_attributes(record: Record, model: str) -> Attributes:
    generation = record.generation
    provider = generation.provider
    attributes: Attributes = {
        "gen_ai.operation.name": _OPERATIONS.get(generation.api_type, generation.api_type),
        "gen_ai.request.model": next(iter(generation.requested_models), model),
        "gen_ai.response.id": generation.id,
        "openrouter.generation.id": generation.id,
        "openrouter.ending": generation.ending,
        "openrouter.attempts": len(generation.attempts),
        "openrouter.failovers": max(0, len({attempt.tag for attempt in generation.attempts}) - 1),
        "http.response.status_code": generation.status,
    }
    if generation.model:
        attributes["gen_ai.response.model"] = generation.model
    if provider:
        attributes["gen_ai.provider.name"] = _PROVIDERS.get(provider, provider)
        attributes["gen_ai.system"] = generation.provider_name or provider
    if generation.streamed:
        attributes["gen_ai.request.stream"] = True
    if generation.latency_s is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = generation.latency_s
    if generation.finish_reason:
        attributes["gen_ai.response.finish_reasons"] = [generation.finish_reason]
        attributes["gen_ai.response.finish_reason"] = generation.finish_reason
    if generation.error_type:
        attributes["error.type"] = generation.error_type
    for name, value in (
        ("openrouter.native_finish_reason", generation.native_finish_reason),
        ("openrouter.endpoint", generation.endpoint),
        ("openrouter.upstream_id", generation.upstream_id),
        ("openrouter.service_tier", generation.service_tier),
        ("openrouter.cache_source_id", generation.cache_source_id),
    ):
        if value:
            attributes[name] = value
    return attributes | _usage(generation) | _parameters(record.request)


def _usage(generation: Generation) -> Attributes:
    """Tokens in both spellings; cost as a number, and as a text that has all of its digits."""
    usage, total = generation.usage, generation.cost.total
    attributes: Attributes = {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.total_tokens": usage.total_tokens,
        "gen_ai.usage.prompt_tokens": usage.prompt_tokens,
        "gen_ai.usage.completion_tokens": usage.completion_tokens,
        "gen_ai.usage.cost": float(total),
        "openrouter.cost": format(total, "f"),
    }
    for name, tokens in (
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
        ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens),
        ("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens),
        ("gen_ai.usage.audio.input_tokens", usage.prompt_audio_tokens),
        ("gen_ai.usage.video.input_tokens", usage.prompt_video_tokens),
        ("gen_ai.usage.audio.output_tokens", usage.completion_audio_tokens),
    ):
        if tokens:
            attributes[name] = tokens
    if usage.estimated:
        attributes["openrouter.usage.estimated"] = True
    return attributes


def keep_settings(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """Return what spans say of a request besides its content, as copies: its body need not be kept for them."""
    kept = {name: fields[name].copy() for name in _SETTINGS & fields.keys()}
    if "tools" in fields:
        kept["tools"] = _SOME
    return kept


def _parameters(request: Mapping[str, Any] | None) -> Attributes:
    """The request's own settings. What is not of its type is left out."""
    attributes: Attributes = {}
    if request is None:
        return attributes
    for name, (attribute, kind) in _PARAMETERS.items():
        if name in request:
            value = read(request[name])
            if isinstance(value, int | float) and not isinstance(value, bool):
                attributes[attribute] = _to_number(value, kind)
    if "stop" in request:
        stop = _to_value(read(request["stop"]))
        attributes["gen_ai.request.stop_sequences"] = stop if isinstance(stop, list) else [str(stop)]
    if "tools" in request:
        attributes["openrouter.request.tools"] = True
    return attributes


def _events(generation: Generation, start_ns: int, end_ns: int) -> tuple[SpanEvent, ...]:
    """One for each attempt, unless there was one and it served, and one for the failure.

    Attempts record how long they took; they are taken to have followed each other at once.
    """
    events: list[SpanEvent] = []
    attempts = generation.attempts
    if len(attempts) > 1 or any(attempt.outcome != "served" for attempt in attempts):
        time_ns = start_ns
        for attempt in attempts:
            attributes: Attributes = {
                "openrouter.attempt.provider": attempt.provider,
                "openrouter.attempt.endpoint": attempt.tag,
                "openrouter.attempt.outcome": attempt.outcome,
                "openrouter.attempt.duration_s": attempt.duration_s,
            }
            if attempt.status is not None:
                attributes["http.response.status_code"] = attempt.status
            if attempt.model:
                attributes["gen_ai.request.model"] = attempt.model
            events.append(SpanEvent(name="openrouter.attempt", time_ns=min(time_ns, end_ns), attributes=attributes))
            time_ns += max(0, int(attempt.duration_s * _NS))
    error = _error(generation)
    if error is not None:
        failure: Attributes = {"exception.type": generation.error_type or "server", "exception.message": error}
        events.append(SpanEvent(name="exception", time_ns=end_ns, attributes=failure))
    return tuple(events)


def _error(generation: Generation) -> str | None:
    if generation.ending != "failed":
        return None
    return f"{generation.error_type or 'server'} (HTTP {generation.status})"
