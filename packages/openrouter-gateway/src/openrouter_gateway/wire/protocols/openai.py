"""The `openai` protocol: chat completions as OpenAI and the many servers that follow it speak them.

The hub is a superset of this dialect, so requests and replies pass nearly untouched: what OpenRouter adds to a
request is taken out, what providers add to a reply stays in, nulls that strict clients reject are scrubbed.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed, Step
from openrouter_gateway.errors import Cut, Garbled, Refused, UpstreamError
from openrouter_gateway.wire.failed_results import spell_failures
from openrouter_gateway.wire.protocols.base import Address, Decoder
from openrouter_gateway.wire.protocols.framing import BodyBuffer, choose_decoder
from openrouter_gateway.wire.protocols.openai_quirks import (
    fit_caching,
    fit_fields,
    fit_media,
    fit_replay,
    set_effort,
)
from openrouter_gateway.wire.protocols.openai_reply import (
    ChoiceReader,
    cite_sources,
    drop_nulls,
    error_in_reply,
    read_object,
    report_usage,
    usage_of_choices,
)
from openrouter_gateway.wire.protocols.refusal import parse_openai_error, refusal_from_status
from openrouter_gateway.wire.reasoning import effort_for
from openrouter_gateway.wire.sse import EventStream

GATEWAY_FIELDS: Final = frozenset(
    {
        "models",
        "route",
        "provider",
        "plugins",
        "transforms",
        "preset",
        "session_id",
        "trace",
        "usage",
        "debug",
        "reasoning",
        "include_reasoning",
        "structured_outputs",
        "cache_control",
        "max_tool_calls",
        "stop_server_tools_when",
        "stream_options",
    }
)
"""Request fields that OpenRouter adds to the dialect: strict servers answer 400 to them."""

KEEP_GATEWAY_FIELDS: Final = "openrouter_fields"
"""Quirk: the provider is itself an OpenRouter and understands its fields."""

_CHAT: Final = Address("/chat/completions")
_INCLUDE_USAGE: Final = Raw(b'{"include_usage":true}')
_TRUE: Final = Raw(b"true")
_NO_CALLS: Final = ("auto", "none")
"""Choices that go without tools."""

_encode = msgspec.json.Encoder().encode


class OpenAI:
    """The protocol's functions; see `base.Protocol`."""

    def chat_address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """The same for all."""
        return _CHAT

    def auth_headers(self, key: str) -> dict[str, str]:
        """Bearer token."""
        return {"Authorization": f"Bearer {key}"}

    def encode_chat(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Copy the caller's fields verbatim but for OpenRouter's own, the model's name, tier and effort.

        Raises:
            Refused: the model cannot do without reasoning, or a tool is one that only OpenRouter runs.
        """
        if KEEP_GATEWAY_FIELDS in endpoint.provider.quirks:
            body = {**request.fields, "messages": spell_failures(request)}
            body.pop("models", None)
        else:
            body = {key: value for key, value in request.fields.items() if key not in GATEWAY_FIELDS}
            _refuse_own_tools(request)
            _drop_empty(body, request)
            set_effort(body, effort_for(request, endpoint), endpoint)
            fit_fields(body, endpoint)
            body["messages"] = fit_replay(fit_media(spell_failures(request), request, endpoint), endpoint)
            fit_caching(body, endpoint)
        body["model"] = Raw(_encode(endpoint.upstream_id))
        body.pop("service_tier", None)
        if (tier := endpoint.tier_field(request.params.service_tier)) is not None:
            body["service_tier"] = Raw(_encode(tier))
        if request.stream:
            body["stream"] = _TRUE
            body["stream_options"] = _INCLUDE_USAGE
        return _encode(body)

    def chat_decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """See `choose_decoder`."""
        seed = request.fields["messages"]
        return choose_decoder(content_type, lambda: StreamDecoder(seed), lambda: BodyDecoder(seed))

    def parse_refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read `{"error": {...}}` in any of the shapes that OpenAI-compatible servers use."""
        message, code = parse_openai_error(body)
        return refusal_from_status(status, headers, message=message, code=code)


def _drop_empty(body: dict[str, Raw], request: ChatRequest) -> None:
    """Take out lists without members, and what is said of tools that are not there.

    OpenAI and others answer 400 to them (github.com/pydantic/pydantic-ai/issues/155, 2024-12;
    github.com/runebookai/tome/pull/87, 2025-07), translated protocols never see them.
    """
    params = request.params
    if params.stop == []:
        del body["stop"]
    if params.tools == []:
        for name in ("tools", "parallel_tool_calls", *(("tool_choice",) if params.tool_choice in _NO_CALLS else ())):
            body.pop(name, None)


def _refuse_own_tools(request: ChatRequest) -> None:
    for place, tool in enumerate(request.params.tools or ()):
        if tool.type.startswith("openrouter:"):
            raise Refused(f"tools[{place}]: `{tool.type}` cannot be run at this provider")


class StreamDecoder:
    """Server-sent chunks to events.

    What is wrong with a stream ends it as `Failed` behind the events of the same bytes that were right: raising would
    lose them.
    """

    __slots__ = ("_answered", "_choices", "_done", "_finished", "_stream")

    def __init__(self, seed: bytes | Raw = b"") -> None:
        self._stream = EventStream()
        self._choices = ChoiceReader(seed)
        self._done = False
        self._answered = False  # there was a choice
        self._finished = False  # a choice had a finish reason

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`. Never raises."""
        events: list[Event] = []
        try:
            for payload in self._stream.feed(data):
                if self._done:
                    break
                if payload == b"[DONE]":
                    self._end(events)
                    break
                self._read(payload, events)
        except Garbled as error:
            if not self._done:
                self._done = True
                events.append(Failed(error))
        return events

    def finish(self) -> list[Event]:
        """A stream that ends after its finish reason but without `[DONE]` is complete: some servers never send it."""
        if self._done:
            return []
        if not self._finished:
            raise Cut("the provider's stream ended before the answer did")
        self._done = True
        return [Ended()]

    def _end(self, events: list[Event]) -> None:
        if not self._answered:
            raise _no_choice()
        self._done = True
        events.append(Ended())

    def _read(self, payload: bytes, events: list[Event]) -> None:
        try:
            chunk = read_object(payload)
        except Garbled:
            # Some servers send events without data to keep a connection open, or blanks around the end mark.
            stripped = payload.strip()
            if stripped == b"[DONE]":
                self._end(events)
            elif stripped:
                raise
            return
        if chunk.get("error"):
            self._done = True
            events.append(Failed(error_in_reply(chunk)))
            return
        chunk.pop("error", None)
        usage = chunk.pop("usage", None)
        choices = chunk.get("choices")
        if choices:
            if self._choices.read(choices, "delta"):
                self._finished = True
                cite_sources(chunk)
                within = usage_of_choices(choices)
                usage = usage or within
            self._answered = True
            drop_nulls(chunk)
            events.append(Step(chunk))
        if usage and type(usage) is dict:
            report_usage(cast("dict[str, Any]", usage), events)


class BodyDecoder:
    """One JSON body to events: a step per body, then its usage, then the end.

    A body with an `error` is that error, whatever else is in it, as with a chunk of a stream. Errors of single choices
    (OpenRouter's `choice.error`) stay in their choice.
    """

    __slots__ = ("_buffer", "_seed")

    def __init__(self, seed: bytes | Raw = b"") -> None:
        self._buffer = BodyBuffer()
        self._seed = seed

    def feed(self, data: bytes) -> list[Event]:
        """See `BodyBuffer`."""
        self._buffer.take(data)
        return []

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        body = read_object(self._buffer.whole())
        if body.get("error"):
            return [Failed(error_in_reply(body))]
        choices = body.get("choices")
        if not choices:
            raise _no_choice()
        body.pop("error", None)
        usage = body.pop("usage", None)
        ChoiceReader(self._seed).read(choices, "message")
        if not any(choice["delta"] for choice in choices):
            raise Garbled("the provider answered without any message")
        cite_sources(body)
        drop_nulls(body)
        events: list[Event] = [Step(body)]
        if usage and type(usage) is dict:
            report_usage(cast("dict[str, Any]", usage), events)
        events.append(Ended())
        return events


def _no_choice() -> Garbled:
    return Garbled("the provider answered without any choice")
