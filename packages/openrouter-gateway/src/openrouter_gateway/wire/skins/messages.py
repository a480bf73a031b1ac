"""The `messages` skin: Anthropic's Messages API as OpenRouter serves it, in front of any model.

Shapes: OpenRouter API, Anthropic messages and errors (2026-08-22).
"""

from typing import Any, Final

import msgspec

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Step
from openrouter_gateway.errors import GatewayError, InternalError
from openrouter_gateway.wire.reasoning import hides_reasoning
from openrouter_gateway.wire.skins.base import Closing, ReplyHead
from openrouter_gateway.wire.skins.messages_reply import PING, Message, Translator
from openrouter_gateway.wire.skins.messages_request import parse

_ERROR_TYPES: Final = {
    "authentication": "authentication_error",
    "permission_denied": "permission_error",
    "payment_required": "billing_error",
    "not_found": "not_found_error",
    "image_not_found": "not_found_error",
    "rate_limit_exceeded": "rate_limit_error",
    "provider_overloaded": "overloaded_error",
    "timeout": "timeout_error",
    "provider_unavailable": "api_error",
    "server": "api_error",
    "unmapped": "api_error",
}
"""Every other type is an `invalid_request_error`."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def _to_sse(event: dict[str, Any]) -> bytes:
    return b"event: " + event["type"].encode() + b"\ndata: " + _encode(event) + b"\n\n"


def error_object(error: GatewayError, request_id: str | None, metadata: dict[str, Any] | None) -> dict[str, Any]:
    """The wire's error, alone or as an event. Our own defects are masked."""
    masked = isinstance(error, InternalError)
    body: dict[str, Any] = {
        "type": _ERROR_TYPES.get(error.error_type, "invalid_request_error"),
        "message": "Internal Server Error" if masked else error.message,
        "error_type": error.error_type,
    }
    if error.availability and not masked:
        body["availability"] = error.availability
    whole = {"type": "error", "error": body, "request_id": request_id}
    return whole if metadata is None else whole | {"openrouter_metadata": metadata}


class StreamEncoder:
    """Events to server-sent events, each named."""

    __slots__ = ("_id", "_translator")

    def __init__(self, head: ReplyHead, *, hidden: bool = False) -> None:
        self._id = head.id
        self._translator = Translator(head, hidden=hidden)

    def encode_step(self, step: Step, out: bytearray) -> None:
        """Append the events that the step is."""
        for event in self._translator.take(step):
            out += _to_sse(event)

    def encode_end(self, closing: Closing) -> bytes:
        """The ends of open blocks, how the message ended and what it cost, and the end mark."""
        return b"".join(_to_sse(event) for event in self._translator.end(closing))

    def encode_error(self, error: GatewayError, metadata: dict[str, Any] | None = None) -> bytes:
        """An error after output has begun is the last event."""
        return _to_sse(error_object(error, self._id, metadata))


class BodyEncoder:
    """Events to one message."""

    __slots__ = ("_message", "_translator")

    def __init__(self, head: ReplyHead, *, hidden: bool = False) -> None:
        self._translator = Translator(head, hidden=hidden)
        self._message = Message()

    def add_step(self, step: Step) -> None:
        """Take what the step adds."""
        for event in self._translator.take(step):
            self._message.add(event)

    def encode_end(self, closing: Closing) -> bytes:
        """The whole message."""
        for event in self._translator.end(closing):
            self._message.add(event)
        return _encode(self._message.whole())


class Messages:
    """The skin; see `base.Skin`."""

    api_type = "completions"
    stream_type = b"text/event-stream; charset=utf-8"
    comment = _to_sse(PING)

    def parse(self, body: bytes) -> ChatRequest:
        """See `messages_request.parse`."""
        return parse(body)

    def stream_encoder(self, head: ReplyHead, request: ChatRequest) -> StreamEncoder:
        """See `base.Skin`."""
        return StreamEncoder(head, hidden=hides_reasoning(request))

    def body_encoder(self, head: ReplyHead, request: ChatRequest) -> BodyEncoder:
        """See `base.Skin`."""
        return BodyEncoder(head, hidden=hides_reasoning(request))

    def encode_error_body(
        self, error: GatewayError, generation_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> bytes:
        """The JSON body of an error that comes before any output; `request_id` is null where none was routed."""
        return _encode(error_object(error, generation_id, metadata))
