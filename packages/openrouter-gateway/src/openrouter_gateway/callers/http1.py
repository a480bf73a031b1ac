"""One HTTP/1.1 connection to a provider: bytes to replies, one at a time, and back-pressure both ways.

    idle --request--> sent --head--> answering --body--> answered --reader done--> idle
                                       '--reader done--> draining --body--> idle
    closed: from any of them

Framing is httptools' affair (llhttp, with none of its leniencies on). What it leaves open is decided here:

* A reply that is not exactly one reply is not trusted further: what comes behind it, or unasked, closes the connection,
  so that it cannot become the answer to somebody else's request.
* `Transfer-Encoding` may say `chunked` and nothing else. An answer without any length ends with the connection, if that
  ends in order. With TLS that means its own end mark, which uvloop tells from a cut; asyncio's own loop does not.
* Heads, trailers, chunk extensions and interim answers have one limit: so many bytes without one of body.
* A connection that closes before an answer is `Unavailable` also if it had been used before: whether the provider has
  worked on the request is not known, so it is for failover, not for us, to send it again (RFC 9110, 9.2.2).
"""

import asyncio
import select
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, TypeAlias, cast
from typing import Protocol as Interface

import httptools

from openrouter_gateway.callers.target import Target
from openrouter_gateway.errors import Cut, Garbled, TimedOut, Unavailable, UpstreamError

State: TypeAlias = Literal["idle", "sent", "answering", "draining", "answered", "closed"]

MAX_OVERHEAD_BYTES: Final = 64 * 1024
"""Bytes that may arrive without any of the body's among them."""

MAX_BUFFERED_BYTES: Final = 256 * 1024
"""Bytes that wait for a slow reader before the provider has to wait as well."""

KEEPALIVE_S: Final = 4.0
"""How long an idle connection is used.

Under the 5 s after which common servers (uvicorn, Node.js, llama.cpp) close theirs: a request that is sent on a
connection just being closed fails, and cannot safely be sent again.
"""

_DRAIN_S: Final = 1.0
_SLICE_BYTES: Final = 64 * 1024


class Owner(Interface):
    """Who keeps connections."""

    def keep(self, connection: "Connection") -> None:
        """Take a connection that is idle again."""
        ...

    def forget(self, connection: "Connection") -> None:
        """Take note that a connection is gone."""
        ...


class Headers(Mapping[str, str]):
    """A reply's headers. Names in any case; values of a repeated one are joined by commas (RFC 9110, 5.3)."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower().encode()].decode("latin-1").strip()

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Reply:
    """A provider's answer: its head has arrived, its body arrives as it is read. Whoever has it must close it."""

    __slots__ = ("_connection", "headers", "status")

    def __init__(self, connection: "Connection", status: int, headers: Headers) -> None:
        self._connection: Connection | None = connection
        self.status = status
        self.headers = headers

    def __repr__(self) -> str:
        return f"<Reply {self.status} {self._connection or 'closed'}>"

    async def read_some(self) -> bytes:
        """Return the next bytes as they came, empty at the end.

        Raises:
            Cut: the connection broke within the body, or the reply is closed.
            TimedOut: the provider was silent for too long.
            Garbled: the body's framing is not HTTP.
        """
        connection = self._connection
        if connection is None:
            raise Cut("the answer was given up before its end")
        while (data := connection.take()) is None:
            await connection.wait()
        return data

    def finish(self) -> None:
        """Read no more of an answer that has said all: let the body end so that the connection can be used again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drain()

    def close(self) -> None:
        """Give the connection back if the whole body has arrived, close it at once otherwise. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end()


class Connection(asyncio.Protocol):
    """One connection. Its methods in the middle are the parser's callbacks."""

    __slots__ = (
        "_buffered",
        "_error",
        "_fields",
        "_heard_at",
        "_keep",
        "_keepalive_s",
        "_loop",
        "_overhead",
        "_owner",
        "_parser",
        "_paused",
        "_pieces",
        "_poll",
        "_silence_s",
        "_state",
        "_status",
        "_transport",
        "_until_end",
        "_waiter",
        "_write_paused",
        "on_body",
        "origin",
    )

    _transport: asyncio.Transport
    _poll: "select.poll"

    def __init__(self, owner: Owner, origin: str, silence_s: float, keepalive_s: float = KEEPALIVE_S) -> None:
        self.origin = origin
        self._owner = owner
        self._silence_s = silence_s
        self._keepalive_s = keepalive_s
        self._loop = asyncio.get_running_loop()
        self._state: State = "idle"
        self._heard_at = self._loop.time()
        self._waiter: asyncio.Future[None] | None = None
        self._error: UpstreamError | None = None
        self._status = 0  # of the reply, once its head is complete
        self._fields: dict[bytes, bytes] = {}
        self._keep = False
        self._until_end = False
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._overhead = 0
        self._paused = False
        self._write_paused = False
        self.on_body: Callable[[bytes], None] = self._pieces.append  # no Python runs for a piece of body
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def __repr__(self) -> str:
        return f"<Connection {self.origin} {self._state}>"

    @property
    def state(self) -> State:
        """Where in the module's picture it is."""
        return self._state

    # Requests

    async def post(self, target: Target, body: bytes) -> Reply:
        """Send a request and wait for the head of its answer. See `Pool.post`."""
        self._begin(keep=target.keep_alive)
        length = len(body)
        try:
            first = body if length <= _SLICE_BYTES else body[:_SLICE_BYTES]
            self._transport.write(b"%b%d\r\n\r\n%b" % (target.head, length, first))
            if length > _SLICE_BYTES:
                await self._send_rest(memoryview(body)[_SLICE_BYTES:])
            while self._state == "sent":
                await self.wait()
        except BaseException:
            self.abort()
            raise
        return self._reply()

    async def get(self, head: bytes) -> Reply:
        """Send a request without a body, complete to its empty line; the connection is not used again."""
        self._begin(keep=False)
        try:
            self._transport.write(head)
            while self._state == "sent":
                await self.wait()
        except BaseException:
            self.abort()
            raise
        return self._reply()

    def _begin(self, *, keep: bool) -> None:
        if self._state == "closed":
            raise self._error or Unavailable("the connection is closed")
        self._state = "sent"
        self._status = 0
        self._fields = {}
        self._overhead = 0
        self._keep = keep

    def _reply(self) -> Reply:
        if self._error is not None and not self._status:
            raise self._error
        return Reply(self, self._status, Headers(self._fields))

    async def _send_rest(self, rest: memoryview) -> None:
        """Send as fast as the provider takes it, unless it answers first.

        An answer that is not a success is that to a request it did not want to read, so the rest stays here.
        """
        for start in range(0, len(rest), _SLICE_BYTES):
            while self._write_paused and self._state == "sent":
                await self.wait()
            if self._state != "sent":
                self._keep = False
                if self._state == "answering" and self._status < 300:
                    self._transport.write(rest[start:])
                return
            self._transport.write(rest[start : start + _SLICE_BYTES])

    # Replies

    def take(self) -> bytes | None:
        """Return what has arrived of the body, empty at its end, None if there is nothing yet.

        Raises:
            UpstreamError: why nothing more will come.
        """
        pieces = self._pieces
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            self._buffered = 0
            if self._paused:
                self._resume()
            return data
        if self._error is not None:
            raise self._error
        return b"" if self._state in ("answered", "closed") else None

    def wait(self) -> asyncio.Future[None]:
        """Return what is done when there is something new. The provider's silence counts from here."""
        self._heard_at = self._loop.time()
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def end(self) -> None:
        """Nobody reads any more."""
        if self._state != "answered":
            self.abort()
        elif not self._keep:
            self.close()
        else:
            self._state = "idle"
            self._pieces.clear()
            self._buffered = 0
            if self._paused:
                self._resume()
            self._owner.keep(self)

    def drain(self) -> None:
        """Nobody reads any more, and little is left to read: drop it as it comes, for a moment."""
        if self._state != "answering":
            self.end()
            return
        self._state = "draining"
        self._pieces.clear()
        self._buffered = 0
        self._heard_at = self._loop.time()
        if self._paused:
            self._resume()

    # Life

    def is_usable(self, now: float) -> bool:
        """Whether a request can be sent: nothing has come since the last reply, also nothing that is yet to be read."""
        return self._state == "idle" and now - self._heard_at < self._keepalive_s and not self._poll.poll(0)

    def check(self, now: float) -> None:
        """Do what is due. To be called from time to time."""
        silence_s = now - self._heard_at
        if self._state == "idle":
            if silence_s >= self._keepalive_s:
                self.close()
        elif self._state == "draining":
            if silence_s >= _DRAIN_S:
                self.abort()
        elif self._waiter is not None and silence_s >= self._silence_s:
            self._fail(TimedOut("the provider did not answer in time"))

    def close(self) -> None:
        """Close in order: no exchange is under way."""
        self._stop(Unavailable("the connection is closed"))
        self._let_go()

    def abort(self) -> None:
        """Close at once."""
        self._fail(self._broken())

    def _fail(self, error: UpstreamError) -> None:
        self._stop(error)
        self._transport.abort()

    def _stop(self, error: UpstreamError) -> None:
        if self._state not in ("answered", "closed"):
            self._error = error
        self._state = "closed"
        self._wake()

    def _let_go(self) -> None:
        """Close the transport, which would wait until a request is sent that nobody wants to hear."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _broken(self) -> UpstreamError:
        if self._state == "answering":
            return Cut("the provider's connection broke within the answer")
        return Unavailable("the provider closed the connection without an answer")

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()

    # The parser's callbacks, besides `on_body`. What they raise makes `feed_data` stop and raise.

    def on_message_begin(self) -> None:
        """A reply begins."""
        if self._state != "sent":
            raise Garbled("the provider sent more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a line of the head, or of the trailers, which nobody needs."""
        if not self._status:
            fields = self._fields
            name = name.lower()
            fields[name] = fields[name] + b", " + value if name in fields else value

    def on_headers_complete(self) -> None:
        """Take the head, unless it is an interim answer's."""
        parser, fields = self._parser, self._fields
        assert parser is not None  # noqa: S101 - it is calling
        status = parser.get_status_code()
        if self._overhead > MAX_OVERHEAD_BYTES and sum(map(len, (*fields, *fields.values()))) > MAX_OVERHEAD_BYTES:
            raise _too_long()
        if status < 200:
            if status < 100 or status == 101:  # to switch protocols was not asked for
                raise Garbled("the provider's answer is not valid HTTP")
            fields.clear()
            return
        coding = fields.get(b"transfer-encoding")
        if coding is not None:
            if coding.strip().lower() != b"chunked":
                raise Garbled("the provider's answer has a transfer coding that was not asked for")
            self._keep = self._keep and parser.get_http_version() == "1.1"
        self._until_end = coding is None and b"content-length" not in fields
        self._keep = self._keep and parser.should_keep_alive()
        self._status = status
        self._state = "answering"

    def on_message_complete(self) -> None:
        """Take note of the body's end, or of an interim answer's."""
        if self._status:
            self._state = "answered"
        elif self._pieces:
            raise Garbled("the provider's answer is not valid HTTP")

    # The transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by type
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket"), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the provider."""
        state, parser = self._state, self._parser
        if state == "closed" or parser is None:
            return
        if state == "idle" or state == "answered":
            self._fail(Garbled("the provider sent something unasked"))
            return
        pieces = len(self._pieces)
        self._overhead += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._refuse(error)
            return
        if len(self._pieces) > pieces:
            self._overhead = 0
        elif self._overhead > MAX_OVERHEAD_BYTES and self._state != "answered":
            self._fail(_too_long())
            return
        self._buffered += len(data)
        if state == "draining":
            self._go_on_draining()
            return
        self._heard_at = self._loop.time()
        if self._state == "sent":
            return
        if self._buffered > MAX_BUFFERED_BYTES and not self._paused and self._state == "answering":
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def _refuse(self, error: httptools.HttpParserError) -> None:
        """Close the connection. A reply that was complete by then stays good."""
        cause = error.__context__
        self._fail(cause if isinstance(cause, Garbled) else Garbled("the provider's answer is not valid HTTP"))

    def _go_on_draining(self) -> None:
        self._pieces.clear()
        if self._state == "answered":
            self.end()
        elif self._buffered > MAX_BUFFERED_BYTES:
            self.abort()

    def eof_received(self) -> None:
        """Take note that the provider has closed its side; close ours."""
        if self._state == "answering" and self._until_end:
            self._state = "answered"
        self._stop(self._broken())
        self._let_go()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be gone."""
        self._stop(self._broken())
        self._parser = None  # it refers to this object
        self._owner.forget(self)

    def pause_writing(self) -> None:
        """Let the request wait: the provider does not take it as fast."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Send on."""
        self._write_paused = False
        self._wake()


def _too_long() -> Garbled:
    return Garbled(f"the provider's answer has more than {MAX_OVERHEAD_BYTES} bytes of headers")
