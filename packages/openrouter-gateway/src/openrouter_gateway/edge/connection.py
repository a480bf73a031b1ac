"""The server's side of a connection: uvicorn's HTTP/1.1 protocol, with four gaps closed, over `WholeAnswers`.

* A caller who pipelines requests and hangs up: uvicorn tells the newest request alone, and the one that runs goes on.
* A head without end: the parser behind uvicorn has no limit.
* `Upgrade: h2c`, which Java's HTTP client and curl's `--http2` send along with a plain request: uvicorn drops the body
  of such a request. The offer may be ignored (RFC 9110, 7.8), so it is taken out before the parser sees it.
* What is not HTTP: uvicorn answers with plain text, of which clients of this API cannot read the error.
"""

import asyncio
import re
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from openrouter_gateway.edge.transport import WholeAnswers
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.wire.skins import chat

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_PIPELINED: Final = 16
_H2C_HEADERS: Final = re.compile(rb"\r\n(?:upgrade:[ \t]*h2c|http2-settings:[^\r\n]*)[ \t]*(?=\r\n)", re.IGNORECASE)
_REFUSAL_HEAD: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
)
_CONNECTION: Final = re.compile(rb"(\r\nconnection:)([^\r\n]*)(?=\r\n)", re.IGNORECASE)


class GatewayProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._earlier: list[RequestResponseCycle] = []

    def connection_made(  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn narrows it
        self, transport: asyncio.Transport
    ) -> None:
        """A caller is there."""
        super().connection_made(WholeAnswers(transport))

    def data_received(self, data: bytes) -> None:
        """Take bytes from the caller."""
        if self._in_head:
            self._head_bytes += len(data)
            if b"h2c" in data:
                data = without_h2c_offer(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        """A request starts."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is complete; if others are still being answered, it waits behind them."""
        self._in_head = False
        self._head_bytes = 0
        # Uvicorn declares it as always set; before the first request it is None.
        previous = cast("RequestResponseCycle | None", self.cycle)
        super().on_headers_complete()
        if previous is not None and not previous.response_complete:
            self._earlier = [cycle for cycle in self._earlier if not cycle.response_complete]
            self._earlier.append(previous)
            if len(self._earlier) <= _MAX_PIPELINED:
                self.flow.resume_reading()  # or the end of the connection would not be seen

    def on_message_complete(self) -> None:
        """The next bytes are a new request's head."""
        super().on_message_complete()
        self._in_head = True

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as a request, and close."""
        body = chat.encode_error_body(BadRequest(msg))
        self.transport.write(_REFUSAL_HEAD % len(body) + body)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request on the connection."""
        for cycle in self._earlier:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)


def without_h2c_offer(data: bytes) -> bytes:
    """Return the bytes with the offer to go on in HTTP/2 taken out of the head, if the head is complete in them."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return data
    head += b"\r\n"
    shorter = _H2C_HEADERS.sub(b"", head)
    if shorter == head:
        return data
    return _CONNECTION.sub(_without_upgrade, shorter) + end[2:] + body


def _without_upgrade(match: re.Match[bytes]) -> bytes:
    tokens = [token.strip() for token in match[2].split(b",")]
    kept = [token for token in tokens if token.lower() not in (b"upgrade", b"http2-settings")]
    return match[1] + b" " + b", ".join(kept) if kept else b""
