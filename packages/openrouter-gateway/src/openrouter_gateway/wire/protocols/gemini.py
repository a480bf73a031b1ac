"""The `gemini` protocol: Google's generateContent and streamGenerateContent.

Reference: ai.google.dev/api/generate-content, and the types of Google's own client, google-genai 3.6.1 (2026-11).

| file | has |
|---|---|
| `gemini_request` | the body; with `gemini_contents`, `gemini_media`, `gemini_schema` and `gemini_thinking` |
| `gemini_reply` | chunks to events; with `gemini_candidate` and `gemini_citations` |
| `gemini_errors` | what errors mean |
"""

from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import quote

import msgspec

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Event
from openrouter_gateway.errors import Cut, Garbled, UpstreamError
from openrouter_gateway.wire.protocols.base import Address, Decoder
from openrouter_gateway.wire.protocols.gemini_errors import to_refusal
from openrouter_gateway.wire.protocols.gemini_media import must_be_inlined
from openrouter_gateway.wire.protocols.gemini_reply import ReplyReader
from openrouter_gateway.wire.protocols.gemini_request import to_body
from openrouter_gateway.wire.protocols.reply_stream import feed_reader
from openrouter_gateway.wire.sse import EventStream
from openrouter_gateway.wire.tolerant import parse_json

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""As large as one event of a stream may be (`wire/sse`). Longer JSON bodies are given up."""

_COLLECTIONS: Final = ("models/", "tunedModels/", "publishers/", "projects/")
_STREAM_STARTS: Final = frozenset(b"deir:")  # of data:, event:, id:, retry: and comments

_encode = msgspec.json.Encoder().encode


class Gemini:
    """The protocol's functions; see `base.Protocol`."""

    def chat_address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """The model is part of the path. Its name may come with the collection that it is in."""
        name = quote(endpoint.upstream_id, safe="/")
        path = name if name.startswith(_COLLECTIONS) else f"models/{name}"
        return Address(f"/{path}:streamGenerateContent?alt=sse" if request.stream else f"/{path}:generateContent")

    def auth_headers(self, key: str) -> dict[str, str]:
        """A header of Google's own: in the query the key would be part of the address."""
        return {"x-goog-api-key": key}

    def encode_chat(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Translate the request.

        Raises:
            Refused: something that the API cannot do, or that is malformed.
        """
        return _encode(to_body(request, endpoint))

    def inlines(self, url: str, kind: str) -> bool:
        """Return whether media at this URL has to be made a data URL before `encode_chat`.

        `kind` is the type of the content part that names it: `image_url`, `video_url` or `file`.
        """
        return must_be_inlined(url, kind)

    def chat_decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """Choose by the first bytes: servers that overlook `alt=sse` send a list of the chunks."""
        return SniffingDecoder(request.fields.get("messages", b""))

    def parse_refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """See `gemini_errors`."""
        return to_refusal(status, headers, body)


class SniffingDecoder:
    """Finds out whether a reply is a stream or JSON."""

    __slots__ = ("_chosen", "_reader")

    def __init__(self, seed: bytes) -> None:
        self._reader = ReplyReader(seed)
        self._chosen: Decoder | None = None

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`."""
        if self._chosen is None:
            data = data.lstrip(b" \t\r\n\xef\xbb\xbf")
            if not data:
                return []
            self._chosen = _StreamDecoder(self._reader) if data[0] in _STREAM_STARTS else _BodyDecoder(self._reader)
        return self._chosen.feed(data)

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        if self._chosen is None:
            raise Cut("the provider sent nothing")
        return self._chosen.finish()


class _StreamDecoder:
    """Server-sent chunks to events.

    What is wrong with a stream ends it as `Failed` behind the events of the same bytes that were right: raising would
    lose them.
    """

    __slots__ = ("_reader", "_stream")

    def __init__(self, reader: ReplyReader) -> None:
        self._stream = EventStream()
        self._reader = reader

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`. Never raises."""
        return feed_reader(self._stream, self._reader, data, self._read)

    def _read(self, payload: bytes, events: list[Event]) -> None:
        if payload == b"[DONE]":  # Google sends none, some that speak its protocol do
            events += self._reader.end(whole=False)
        elif payload.strip():
            self._reader.read(parse_json(payload), events)

    def finish(self) -> list[Event]:
        """The end of the bytes is the only end mark there is; whether the answer is whole, its finish reasons say."""
        return self._reader.end(whole=False)


class _BodyDecoder:
    """A JSON body to events: one chunk that is whole, or a list of those of a stream."""

    __slots__ = ("_body", "_reader")

    def __init__(self, reader: ReplyReader) -> None:
        self._body = bytearray()
        self._reader = reader

    def feed(self, data: bytes) -> list[Event]:
        """A JSON body says nothing before it is whole."""
        self._body += data
        if len(self._body) > MAX_BODY_BYTES:
            self._body.clear()
            raise Garbled(f"the provider's answer is larger than {MAX_BODY_BYTES} bytes")
        return []

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        value = parse_json(bytes(self._body))
        events: list[Event] = []
        if not isinstance(value, list):
            self._reader.read(value, events)
            return events + self._reader.end(whole=True)
        for chunk in cast("list[object]", value):
            self._reader.read(chunk, events)
            if self._reader.done:
                return events
        return events + self._reader.end(whole=False)
