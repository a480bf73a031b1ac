"""The `openai_responses` protocol: OpenAI's Responses API, without anything being stored at the provider.

| file | has |
|---|---|
| `openai_responses_request` | the body of the request; with `openai_responses_input`, the messages |
| `openai_responses_reply` | events and items of the reply to events of the hub |
| `wire/reasoning_items` | reasoning in both forms |
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Event, Failed
from openrouter_gateway.errors import Cut, Garbled, Refused, UpstreamError
from openrouter_gateway.wire.protocols.base import Address, Decoder
from openrouter_gateway.wire.protocols.framing import BodyBuffer, choose_decoder
from openrouter_gateway.wire.protocols.openai_reply import read_object
from openrouter_gateway.wire.protocols.openai_responses_reply import ReplyReader
from openrouter_gateway.wire.protocols.openai_responses_request import to_body
from openrouter_gateway.wire.protocols.openai_responses_values import error_in
from openrouter_gateway.wire.protocols.refusal import parse_openai_error, refusal_from_status
from openrouter_gateway.wire.sse import EventStream

_RESPONSES: Final = Address("/responses")

_encode = msgspec.json.Encoder().encode


class OpenAIResponses:
    """The protocol's functions; see `base.Protocol`."""

    def chat_address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """The same for all."""
        return _RESPONSES

    def auth_headers(self, key: str) -> dict[str, str]:
        """Bearer token."""
        return {"Authorization": f"Bearer {key}"}

    def encode_chat(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Translate the request.

        Raises:
            Refused: something that the API cannot do, or that is malformed.
        """
        try:
            return _encode(to_body(request, endpoint))
        except RecursionError:
            raise Refused("the request is nested too deeply") from None

    def chat_decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """See `choose_decoder`."""
        return choose_decoder(content_type, StreamDecoder, BodyDecoder)

    def parse_refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """As with chat completions: `{"error": {...}}`."""
        message, code = parse_openai_error(body)
        return refusal_from_status(status, headers, message=message, code=code)


class StreamDecoder:
    """Server-sent events to events of the hub. The end is an event with the response; `[DONE]` is none.

    What is wrong with a stream ends it as `Failed` behind the events of the same bytes that were right: raising would
    lose them.
    """

    __slots__ = ("_reader", "_stream")

    def __init__(self) -> None:
        self._stream = EventStream()
        self._reader = ReplyReader()

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`. Never raises."""
        events: list[Event] = []
        reader = self._reader
        if reader.done:
            return events
        try:
            for payload in self._stream.feed(data):
                stripped = payload.strip()
                if stripped == b"[DONE]":
                    raise _cut()
                if stripped:  # some servers keep a connection open with events without data
                    reader.read(read_object(payload), events)
                if reader.done:
                    break
        except (Cut, Garbled) as error:
            reader.done = True
            events.append(Failed(error))
        return events

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        if not self._reader.done:
            raise _cut()
        return []


class BodyDecoder:
    """One JSON body, a whole response, to events."""

    __slots__ = ("_buffer", "_reader")

    def __init__(self) -> None:
        self._buffer = BodyBuffer()
        self._reader = ReplyReader()

    def feed(self, data: bytes) -> list[Event]:
        """See `BodyBuffer`."""
        self._buffer.take(data)
        return []

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        body = read_object(self._buffer.whole())
        if body.get("error"):
            return [Failed(error_in(body["error"]))]
        if type(body.get("output")) is not list:
            raise Garbled("the provider answered without any output")
        events: list[Event] = []
        self._reader.read_response(body, events)
        return events


def _cut() -> Cut:
    return Cut("the provider's stream ended before the answer did")
