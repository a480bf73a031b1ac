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
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.finish import to_finish_reason
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Cut, Garbled, UpstreamError
from openrouter_gateway.wire.protocols.base import Decoder
from openrouter_gateway.wire.protocols.refusal import parse_openai_error, refusal_from_status
from openrouter_gateway.wire.sse import EventStream
from openrouter_gateway.wire.tolerant import as_amount, as_count

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

_INCLUDE_USAGE: Final = Raw(b'{"include_usage":true}')
_TRUE: Final = Raw(b"true")
# In a delta these may be null (OpenRouter API, streaming); every other null is dropped.
_NULLABLE: Final = frozenset({"content", "reasoning", "refusal"})
_TEXT_TYPES: Final = (str, type(None), list)  # a list: content parts, which some servers send

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class OpenAI:
    """The protocol's functions; see `base.Protocol`."""

    chat_path = "/chat/completions"

    def auth_headers(self, key: str) -> dict[str, str]:
        """Bearer token."""
        return {"Authorization": f"Bearer {key}"}

    def encode_chat(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Copy the caller's fields verbatim but for OpenRouter's own and the model's name."""
        if KEEP_GATEWAY_FIELDS in endpoint.provider.quirks:
            body = dict(request.fields)
            body.pop("models", None)
        else:
            body = {key: value for key, value in request.fields.items() if key not in GATEWAY_FIELDS}
        body["model"] = Raw(_encode(endpoint.upstream_id))
        if request.stream:
            body["stream"] = _TRUE
            body["stream_options"] = _INCLUDE_USAGE
        return _encode(body)

    def chat_decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """Choose by what the provider sent, not by what was asked for: some answer JSON to a streaming request."""
        if content_type.lower().startswith("text/event-stream"):
            return StreamDecoder()
        return BodyDecoder()

    def parse_refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read `{"error": {...}}` in any of the shapes that OpenAI-compatible servers use."""
        message, code = parse_openai_error(body)
        return refusal_from_status(status, headers, message=message, code=code)


class StreamDecoder:
    """Server-sent chunks to events."""

    __slots__ = ("_done", "_finished", "_stream")

    def __init__(self) -> None:
        self._stream = EventStream()
        self._done = False
        self._finished = False

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`."""
        events: list[Event] = []
        for payload in self._stream.feed(data):
            if self._done:
                break
            if payload == b"[DONE]":
                self._done = True
                events.append(Ended())
                break
            self._read(payload, events)
        return events

    def finish(self) -> list[Event]:
        """A stream that ends after its finish reason but without `[DONE]` is complete: some servers never send it."""
        if self._done:
            return []
        if not self._finished:
            raise Cut("the provider's stream ended before the answer did")
        self._done = True
        return [Ended()]

    def _read(self, payload: bytes, events: list[Event]) -> None:
        chunk = read_object(payload)
        if chunk.get("error"):
            self._done = True
            events.append(Failed(error_in_reply(chunk)))
            return
        chunk.pop("error", None)
        usage = chunk.pop("usage", None)
        choices = chunk.get("choices")
        if choices:
            if read_choices(choices, "delta"):
                self._finished = True
            drop_nulls(chunk)
            events.append(Step(chunk))
        if usage and type(usage) is dict:
            events.append(UsageReported(read_usage(cast("dict[str, Any]", usage))))


class BodyDecoder:
    """One JSON body to events: a step per body, then its usage, then the end."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Event]:
        """A JSON body says nothing before it is whole."""
        self._pieces.append(data)
        return []

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        body = read_object(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
        choices = body.get("choices")
        if not choices:
            if body.get("error"):
                return [Failed(error_in_reply(body))]
            raise Garbled("the provider answered without any choice")
        body.pop("error", None)
        usage = body.pop("usage", None)
        read_choices(choices, "message")
        drop_nulls(body)
        events: list[Event] = [Step(body)]
        if usage and type(usage) is dict:
            events.append(UsageReported(read_usage(cast("dict[str, Any]", usage))))
        events.append(Ended())
        return events


def read_object(payload: bytes) -> dict[str, Any]:
    """Decode one JSON object of a reply.

    Raises:
        Garbled: the bytes are not a JSON object.
    """
    try:
        value = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"the provider sent something that is not JSON: {error}") from None
    if type(value) is not dict:
        raise Garbled("the provider sent JSON that is not an object")
    return cast("dict[str, Any]", value)


def drop_nulls(fields: dict[str, Any]) -> None:
    """Take out the keys that hold null: strict clients want them absent."""
    if None in fields.values():
        for key in [key for key, value in fields.items() if value is None]:
            del fields[key]


def read_choices(choices: object, part: str) -> bool:
    """Bring the choices of a reply into the hub's form, in place: `part` is `delta` or `message`.

    Returns whether one of them ended.

    Raises:
        Garbled: the shape is wrong in a way that no client could read.
    """
    if type(choices) is not list:
        raise Garbled("the provider's `choices` is not a list")
    ended = False
    for position, choice in enumerate(cast("list[Any]", choices)):
        if type(choice) is not dict:
            raise Garbled("the provider sent a choice that is not an object")
        if _read_choice(cast("dict[str, Any]", choice), position, part):
            ended = True
    return ended


def _read_choice(choice: dict[str, Any], position: int, part: str) -> bool:
    found: object = choice.pop(part, None)
    if found is not None and type(found) is not dict:
        raise Garbled(f"the provider's `{part}` is not an object")
    delta = cast("dict[str, Any]", found or {})
    if len(delta) != 1 or type(delta.get("content")) is not str:  # all but the usual piece of text
        _read_delta(delta)
    choice["delta"] = delta
    if type(choice.get("index")) is not int:
        choice["index"] = position
    native = choice.get("finish_reason")
    if not native:
        choice["finish_reason"] = None
        return False
    if type(native) is not str:
        raise Garbled("the provider's `finish_reason` is not a string")
    choice["native_finish_reason"] = choice.get("native_finish_reason") or native
    choice["finish_reason"] = to_finish_reason(native)
    return True


def _read_delta(delta: dict[str, Any]) -> None:
    if None in delta.values():
        for key in [key for key, value in delta.items() if value is None and key not in _NULLABLE]:
            del delta[key]
    if "role" in delta:
        delta["role"] = "assistant"  # the only one that clients take; some servers send an empty one
    if "reasoning_content" in delta:
        # DeepSeek's name for it (api-docs.deepseek.com, reasoning models, 2026-11), which many servers took over.
        delta.setdefault("reasoning", delta.pop("reasoning_content"))
    for key in _NULLABLE:
        if type(delta.get(key, "")) not in _TEXT_TYPES:
            raise Garbled(f"the provider's `{key}` is not text")
    calls = delta.get("tool_calls")
    if calls is not None:
        _read_tool_calls(delta, calls)


def _read_tool_calls(delta: dict[str, Any], calls: object) -> None:
    """Give every call an index and the `function` object that strict clients want; drop nulls and empty lists."""
    if type(calls) is not list:
        raise Garbled("the provider's `tool_calls` is not a list")
    if not calls:
        del delta["tool_calls"]
        return
    for position, call in enumerate(cast("list[Any]", calls)):
        if type(call) is not dict:
            raise Garbled("the provider sent a tool call that is not an object")
        fields = cast("dict[str, Any]", call)
        for key in [key for key, value in fields.items() if value is None]:
            del fields[key]
        if type(fields.get("index")) is not int:
            fields["index"] = position
        function = fields.setdefault("function", {})
        if type(function) is not dict:
            raise Garbled("the provider's tool call has a `function` that is not an object")
        function = cast("dict[str, Any]", function)
        for key in [key for key, value in function.items() if value is None]:
            del function[key]
        arguments = function.get("arguments")
        if arguments is not None and type(arguments) is not str:
            # Some servers send the arguments as an object; on the hub's wire they are JSON text.
            function["arguments"] = _encode(arguments).decode()
        texts = (fields.get("id", ""), fields.get("type", ""), function.get("name", ""))
        if not all(type(text) is str for text in texts):
            raise Garbled("the provider sent a tool call whose id, type or name is not a string")


def read_usage(fields: dict[str, Any]) -> Usage:
    """Read token counts, tolerant of fractions, nulls and missing details."""
    prompt = as_count(fields.get("prompt_tokens"))
    completion = as_count(fields.get("completion_tokens"))
    prompt_details = _object_of(fields.get("prompt_tokens_details"))
    details = _object_of(fields.get("completion_tokens_details"))
    if not prompt_details and not details:
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=as_count(fields.get("total_tokens")) or prompt + completion,
            reported_cost=as_amount(fields.get("cost")),
        )
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=as_count(fields.get("total_tokens")) or prompt + completion,
        cached_tokens=as_count(prompt_details.get("cached_tokens")),
        cache_write_tokens=as_count(prompt_details.get("cache_write_tokens")),
        prompt_audio_tokens=as_count(prompt_details.get("audio_tokens")),
        prompt_video_tokens=as_count(prompt_details.get("video_tokens")),
        reasoning_tokens=as_count(details.get("reasoning_tokens")),
        completion_audio_tokens=as_count(details.get("audio_tokens")),
        image_tokens=as_count(details.get("image_tokens")),
        accepted_prediction_tokens=as_count(details.get("accepted_prediction_tokens")),
        rejected_prediction_tokens=as_count(details.get("rejected_prediction_tokens")),
        reported_cost=as_amount(fields.get("cost")),
    )


def _object_of(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if type(value) is dict else {}


def error_in_reply(reply: dict[str, Any]) -> UpstreamError:
    """Return the error that a 2xx reply or a chunk carries in its body; a numeric code counts as its status."""
    error = reply["error"]
    message, code = parse_openai_error(_encode({"error": error}))
    stated = str(cast("dict[str, Any]", error).get("code")) if isinstance(error, dict) else ""
    status = int(stated) if len(stated) == 3 and stated.isdecimal() and 400 <= int(stated) <= 599 else 502
    return refusal_from_status(status, {}, message=message, code=code)
