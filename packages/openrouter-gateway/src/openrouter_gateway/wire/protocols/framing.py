"""How a reply's bytes are framed: a stream of events or one JSON body, told by its content type or its first bytes."""

from collections.abc import Callable
from typing import Final

from openrouter_gateway.core.events import Event
from openrouter_gateway.errors import Garbled
from openrouter_gateway.wire.protocols.base import Decoder

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""As large as one event of a stream may be (`wire/sse`). Longer JSON bodies are given up."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_STREAM_STARTS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_UNDECIDED: Final = (*(start[:-1] for start in _STREAM_STARTS), _BYTE_ORDER_MARK)


def choose_decoder(content_type: str, stream: Callable[[], Decoder], body: Callable[[], Decoder]) -> Decoder:
    """Choose by what the provider sent, not by what was asked for: some answer JSON to a streaming request."""
    kind = content_type.lower()
    if kind.startswith("text/event-stream"):
        return stream()
    return body() if kind.startswith("application/json") else SniffingDecoder(stream, body)


class BodyBuffer:
    """A JSON body while it arrives: it says nothing before it is whole."""

    __slots__ = ("_length", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0

    def take(self, data: bytes) -> None:
        """Keep the next bytes.

        Raises:
            Garbled: it is too large.
        """
        self._length += len(data)
        if self._length > MAX_BODY_BYTES:
            self._pieces.clear()
            raise Garbled(f"the provider's answer is larger than {MAX_BODY_BYTES} bytes")
        self._pieces.append(data)

    def whole(self) -> bytes:
        """Return all of it."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class SniffingDecoder:
    """A reply whose content type says neither stream nor JSON: its first bytes say which it is."""

    __slots__ = ("_body", "_chosen", "_head", "_stream")

    def __init__(self, stream: Callable[[], Decoder], body: Callable[[], Decoder]) -> None:
        self._stream = stream
        self._body = body
        self._head = b""
        self._chosen: Decoder | None = None

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`."""
        if self._chosen is not None:
            return self._chosen.feed(data)
        # Blanks before either kind mean nothing, so they are not kept.
        self._head = (self._head + data).lstrip().removeprefix(_BYTE_ORDER_MARK).lstrip()
        if any(start.startswith(self._head) for start in _UNDECIDED):  # also while there is nothing
            return []
        return self._choose().feed(self._head)

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        if self._chosen is None:
            self._choose().feed(self._head)
        return self._choose().finish()

    def _choose(self) -> Decoder:
        if self._chosen is None:
            self._chosen = self._stream() if self._head.startswith(_STREAM_STARTS) else self._body()
        return self._chosen
