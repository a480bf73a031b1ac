"""One connection, fed with bytes: every reply whole, byte by byte and cut at every position."""

import asyncio
import socket
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.callers.http1 import MAX_BUFFERED_BYTES, MAX_OVERHEAD_BYTES, Connection, Reply
from openrouter_gateway.callers.target import Target
from openrouter_gateway.errors import Cut, Garbled, TimedOut, Unavailable, UpstreamError

SILENCE_S = 60.0
TARGET = Target.from_parts("http://provider.test/v1/chat/completions", {})
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH_5 = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """What the event loop would be: takes what is sent, and is told to pause or to close."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__({"socket": end})
        self.sent = bytearray()
        self.paused = False
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Rig:
    """An open connection, its owner, and the provider's end of its socket."""

    def __init__(self, wire: Wire, provider: socket.socket) -> None:
        self.wire = wire
        self.provider = provider
        self.kept: list[Connection] = []
        self.connection = Connection(self, TARGET.origin, SILENCE_S)
        self.connection.connection_made(wire)

    def keep(self, connection: Connection) -> None:
        self.kept.append(connection)

    def forget(self, connection: Connection) -> None:
        assert connection.state == "closed"

    async def post(self, *arriving: bytes | None, body: bytes = b"{}") -> Reply:
        """Send a request while bytes arrive, None for the connection's end; return the reply."""
        post = asyncio.ensure_future(self.connection.post(TARGET, body))
        await asyncio.sleep(0)
        self.arrive(*arriving)
        return await asyncio.wait_for(post, 5)

    def arrive(self, *arriving: bytes | None) -> None:
        for data in arriving:
            if data is None:
                self.connection.eof_received()
                self.connection.connection_lost(None)
            else:
                self.connection.data_received(data)

    async def fetch(self, *arriving: bytes | None) -> tuple[int, bytes]:
        """Return status and body of a reply that arrives as given, and close it."""
        reply = await self.post(*arriving)
        try:
            return reply.status, await asyncio.wait_for(read_all(reply), 5)
        finally:
            reply.close()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()


async def read_all(reply: Reply) -> bytes:
    pieces = b""
    while data := await reply.read_some():
        pieces += data
    return pieces


async def read_until_error(reply: Reply) -> tuple[bytes, UpstreamError]:
    pieces = b""
    try:
        while data := await asyncio.wait_for(reply.read_some(), 5):
            pieces += data
    except UpstreamError as error:
        return pieces, error
    raise AssertionError("the reply ended")


@pytest.fixture
def sockets() -> Generator[tuple[socket.socket, socket.socket]]:
    ours, providers = socket.socketpair()
    with ours, providers:
        yield ours, providers


@pytest.fixture
async def rig(sockets: tuple[socket.socket, socket.socket]) -> Rig:
    return Rig(Wire(sockets[0]), sockets[1])


def ways_to_cut(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in two at every position."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    yield from ([data[:at], data[at:]] for at in range(1, len(data)))


# Wire, status, body, and whether the connection can be used again.
REPLIES = {
    "content length": (LENGTH_5, 200, b"hello", True),
    "empty body": (OK + b"content-length:0\r\n\r\n", 200, b"", True),
    "chunked": (CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", 200, b"hello!", True),
    "chunk extensions": (CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n', 200, b"hello", True),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nContent-Type: x\r\nX: y\r\n\r\n", 200, b"hello", True),
    "coding in capitals": (OK + b"TRANSFER-ENCODING: Chunked \r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, b"hi", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "304 with the length of another": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", True),
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH_5, 200, b"hello", True),
    "103 first, twice": (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 2 + LENGTH_5, 200, b"hello", True),
    "an offer to upgrade": (
        OK + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nhi",
        200,
        b"hi",
        True,
    ),
    "said to close": (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "said to close among others": (OK + b"Connection: x, Close\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "HTTP/1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", True),
    "HTTP/1.0 chunked": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        200,
        b"hi",
        False,
    ),
}

# These end with the connection.
ENDLESS_REPLIES = {
    "no length": OK + b"\r\nhello",
    "no length, said to close": OK + b"Connection: close\r\n\r\nhello",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
}

REFUSED = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTML": b"<html>not HTTP</html>",
    "two different lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "a length with a sign": OK + b"Content-Length: +5\r\n\r\nhello",
    "a length that is none": OK + b"Content-Length: five\r\n\r\nhello",
    "an empty length": OK + b"Content-Length: \r\n\r\nhello",
    "length and coding": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "coding and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "compressed": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": OK + b"Transfer-Encoding: identity\r\n\r\nhello",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nxyz",
    "switching to nothing": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    "unknown version": b"HTTP/1.7 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a folded header": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "a NUL in a header": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "an interim answer with a body": b"HTTP/1.1 199 X\r\nContent-Length: 2\r\n\r\nhi" + LENGTH_5,
}


@pytest.mark.parametrize("name", REPLIES)
async def test_replies_are_read_however_they_are_cut(name: str, sockets: tuple[socket.socket, socket.socket]) -> None:
    """Same status, same body, and the same fate of the connection."""
    wire, status, body, reusable = REPLIES[name]
    for pieces in ways_to_cut(wire):
        rig = Rig(Wire(sockets[0]), sockets[1])
        assert (status, body) == await rig.fetch(*pieces)
        assert ("idle", [rig.connection]) if reusable else ("closed", []) == (rig.connection.state, rig.kept)
        assert rig.wire.closed is not reusable


@pytest.mark.parametrize("name", ENDLESS_REPLIES)
async def test_a_reply_without_length_ends_with_the_connection(
    name: str, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """Its body is whole if the connection ends in order, not before."""
    for pieces in ways_to_cut(ENDLESS_REPLIES[name]):
        rig = Rig(Wire(sockets[0]), sockets[1])
        assert (200, b"hello") == await rig.fetch(*pieces, None)
        assert "closed" == rig.connection.state

    rig = Rig(Wire(sockets[0]), sockets[1])
    reply = await rig.post(ENDLESS_REPLIES[name])
    rig.connection.connection_lost(ConnectionResetError())
    assert b"hello" == await reply.read_some()
    with pytest.raises(Cut):
        await reply.read_some()


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_one_http_reply_is_refused(name: str, sockets: tuple[socket.socket, socket.socket]) -> None:
    """However it is cut, and at once: nobody waits for more of it."""
    for pieces in ways_to_cut(REFUSED[name]):
        rig = Rig(Wire(sockets[0]), sockets[1])
        with pytest.raises(Garbled):
            await rig.post(*pieces)
        assert ("closed", True) == (rig.connection.state, rig.wire.closed)


@pytest.mark.parametrize("wire", [LENGTH_5, REPLIES["trailers"][0], REPLIES["103 first, twice"][0]])
async def test_a_reply_that_ends_early_is_an_error_at_every_position(
    wire: bytes, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """Within the head there was no answer, behind it the answer is cut; what came of the body is given out first."""
    status, body = await Rig(Wire(sockets[0]), sockets[1]).fetch(wire)
    head_ends = wire.rindex(b"\r\n\r\n", 0, wire.index(b"hello")) + 4
    for at in range(len(wire)):
        rig = Rig(Wire(sockets[0]), sockets[1])
        if at < head_ends:
            with pytest.raises(Unavailable):
                await rig.post(wire[:at], None)
            continue
        reply = await rig.post(wire[:at], None)
        assert status == reply.status
        arrived, error = await read_until_error(reply)
        assert (True, Cut) == (body.startswith(arrived), type(error))
        assert rig.kept == []


BEHIND = {
    "another reply": OK + b"Content-Length: 6\r\n\r\nstolen",
    "the start of one": b"H",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "garbage": b"\0garbage",
}


@pytest.mark.parametrize("name", BEHIND)
@pytest.mark.parametrize("reply", [LENGTH_5, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"])
async def test_what_comes_behind_a_reply_is_nobodys_answer(
    name: str, reply: bytes, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """The reply stays good, whether the rest comes with it or after it; the connection is not used again."""
    for pieces in ways_to_cut(reply + BEHIND[name]):
        rig = Rig(Wire(sockets[0]), sockets[1])
        assert (200, b"hello") == await rig.fetch(*pieces)
        assert ("closed", True, []) == (rig.connection.state, rig.wire.closed, rig.kept)


async def test_what_comes_unasked_closes_the_connection(rig: Rig) -> None:
    """Also on one that waits for its next request, and before the first."""
    await rig.fetch(LENGTH_5)
    rig.arrive(LENGTH_5)
    assert ("closed", True) == (rig.connection.state, rig.wire.closed)
    with pytest.raises(Garbled, match="unasked"):
        await rig.connection.post(TARGET, b"{}")


@pytest.mark.parametrize("bad", [b"ZZ\r\n", b"5\r\nhelloXX", b"-1\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"5 \r\nhello"])
async def test_bad_framing_wakes_the_reader_at_once(rig: Rig, bad: bytes) -> None:
    """What came before it is given out first."""
    reply = await rig.post(CHUNKED + b"2\r\nhi\r\n")
    assert b"hi" == await reply.read_some()
    reading = asyncio.ensure_future(read_all(reply))
    await asyncio.sleep(0)
    rig.arrive(bad)
    with pytest.raises(Garbled):
        await asyncio.wait_for(reading, 1)
    assert rig.wire.closed


async def test_headers_are_found_in_any_case(rig: Rig) -> None:
    """Repeated ones are joined, missing ones have the default, an interim answer's and trailers are not among them."""
    reply = await rig.post(
        b"HTTP/1.1 103 Early\r\nRetry-After: 1\r\n\r\nHTTP/1.1 200 OK\r\nCONTENT-type: text/event-stream  \r\n"
        b"x-a: 1\r\nX-A:2\r\nX-Empty:\r\nX-Name: caf\xe9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n"
    )
    headers = reply.headers
    assert ("text/event-stream", "1, 2", "") == (headers["Content-Type"], headers.get("x-A"), headers["X-EMPTY"])
    assert ("caf\xe9", "none") == (headers["x-name"], headers.get("Retry-After", "none"))
    assert ["content-type", "x-a", "x-empty", "x-name", "transfer-encoding"] == list(headers)
    assert 5 == len(headers)


_LINE = b"X: " + b"x" * 1000 + b"\r\n"
TOO_LONG = {
    "a header without end": OK + b"X: " + b"x" * 2 * MAX_OVERHEAD_BYTES,
    "a header": OK + b"X: " + b"x" * MAX_OVERHEAD_BYTES + b"\r\nContent-Length: 5\r\n\r\nhello",
    "many headers": OK + _LINE * 66 + b"Content-Length: 5\r\n\r\nhello",
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 6000,
}
TOO_LONG_BODIES = {
    "trailers": b"0\r\n" + _LINE * 70,
    "a trailer without end": b"0\r\nX: " + b"x" * 2 * MAX_OVERHEAD_BYTES,
    "a chunk extension without end": b"1;" + b"x" * 2 * MAX_OVERHEAD_BYTES,
}


def in_steps(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


@pytest.mark.parametrize("name", TOO_LONG)
@pytest.mark.parametrize("step", [1000, 60_000, 10**6])
async def test_heads_have_a_limit(rig: Rig, name: str, step: int) -> None:
    """However many bytes come at once."""
    with pytest.raises(Garbled, match="65536 bytes"):
        await rig.post(*in_steps(TOO_LONG[name], step))
    assert rig.wire.closed


@pytest.mark.parametrize("name", TOO_LONG_BODIES)
async def test_what_is_no_body_has_a_limit(rig: Rig, name: str) -> None:
    """Also behind the head."""
    reply = await rig.post(CHUNKED, b"2\r\nhi\r\n", *in_steps(TOO_LONG_BODIES[name], 10_000))
    assert b"hi" == await reply.read_some()
    with pytest.raises(Garbled, match="65536 bytes"):
        await asyncio.wait_for(reply.read_some(), 5)


@pytest.mark.parametrize("step", [1000, 10**6])
async def test_long_heads_and_bodies_within_the_limit_are_fine(rig: Rig, step: int) -> None:
    """The limit is not on bodies, and starts anew with each reply."""
    wire = OK + _LINE * 60 + b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000
    for _ in range(3):
        assert (200, b"x" * 200_000) == await rig.fetch(*in_steps(wire, step))
    assert 3 == len(rig.kept)


async def test_the_limit_starts_anew_with_each_reply_and_each_piece_of_body(rig: Rig) -> None:
    """Small pieces have more framing than body."""
    for _ in range(20):
        assert (204, b"") == await rig.fetch(b"HTTP/1.1 204 No Content\r\n" + _LINE * 5 + b"\r\n")
    pieces = [b"1\r\n", b"x\r\n"] * (MAX_OVERHEAD_BYTES // 4)
    assert (200, b"x" * (MAX_OVERHEAD_BYTES // 4)) == await rig.fetch(CHUNKED, *pieces, b"0\r\n\r\n")


_BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@given(st.lists(st.tuples(_BODIES, st.booleans()), min_size=1, max_size=5), st.data())
def test_replies_on_one_connection_never_mix(replies: list[tuple[list[bytes], bool]], data: st.DataObject) -> None:
    """Any replies, one after the other, cut anywhere."""

    async def exchange(rig: Rig) -> None:
        for pieces, chunked in replies:
            body = b"".join(pieces)
            wire = OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            if chunked:
                wire = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=6)))
            parts = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
            assert (200, body) == await rig.fetch(*parts)
            assert "idle" == rig.connection.state

    async def run() -> None:
        ours, providers = socket.socketpair()
        with ours, providers:
            await exchange(Rig(Wire(ours), providers))

    asyncio.run(run())


async def test_a_request_is_one_write(rig: Rig) -> None:
    """Head and body together, with the body's length."""
    await rig.fetch(LENGTH_5)
    assert rig.wire.sent == TARGET.head + b"2\r\n\r\n{}"


async def test_a_short_reply_is_there_with_its_head(rig: Rig) -> None:
    """Nothing has to be waited for again."""
    reply = await rig.post(LENGTH_5)
    with pytest.raises(StopIteration) as stop:
        reply.read_some().send(None)
    assert b"hello" == stop.value.value


async def test_a_slow_reader_makes_the_provider_wait(rig: Rig) -> None:
    """Reading pauses when enough is buffered and goes on when it is taken; that time is not the provider's silence."""
    reply = await rig.post(OK + b"Content-Length: 600000\r\n\r\n", *[b"x" * 100_000] * 2)
    assert not rig.wire.paused
    rig.arrive(b"x" * 100_000)
    assert rig.wire.paused
    rig.connection.check(rig.now + 10 * SILENCE_S)
    assert 300_000 == len(await reply.read_some())
    assert not rig.wire.paused
    rig.arrive(b"x" * 300_000)
    assert not rig.wire.paused  # the body has ended; the connection's end has to be noticed
    reply.close()
    assert "idle" == rig.connection.state


@pytest.mark.parametrize("leave", [Reply.finish, Reply.close])
async def test_an_abandoned_reader_leaves_a_connection_that_reads(rig: Rig, leave: Callable[[Reply], None]) -> None:
    """A pause does not outlast the reply, or the connection's end would go unnoticed."""
    reply = await rig.post(OK + b"Content-Length: 300005\r\n\r\n", b"x" * 300_000)
    assert rig.wire.paused
    rig.arrive(b"hello")  # was on its way
    leave(reply)
    assert ("idle", False, [rig.connection]) == (rig.connection.state, rig.wire.paused, rig.kept)


async def test_a_finished_reply_is_read_again_after_a_pause(rig: Rig) -> None:
    """Else its end would never come."""
    reply = await rig.post(OK + b"Content-Length: 300005\r\n\r\n", b"x" * 300_000)
    reply.finish()
    assert ("draining", False) == (rig.connection.state, rig.wire.paused)
    rig.arrive(b"hello")
    assert ("idle", [rig.connection]) == (rig.connection.state, rig.kept)


async def test_silence_is_measured_from_the_last_byte_or_the_wait(rig: Rig) -> None:
    """Before the head and within the body; the reader's own time does not count."""
    post = asyncio.ensure_future(rig.connection.post(TARGET, b"{}"))
    await asyncio.sleep(0)
    rig.connection.check(rig.now + SILENCE_S - 1)
    rig.arrive(CHUNKED + b"2\r\nhi\r\n")
    reply = await post
    rig.connection.check(rig.now + 10 * SILENCE_S)  # nobody waits
    assert b"hi" == await reply.read_some()
    reading = asyncio.ensure_future(reply.read_some())
    await asyncio.sleep(0)
    rig.connection.check(rig.now + SILENCE_S - 1)
    assert not reading.done()
    rig.connection.check(rig.now + SILENCE_S)
    with pytest.raises(TimedOut):
        await asyncio.wait_for(reading, 5)
    assert rig.wire.closed


async def test_no_answer_in_time_is_timed_out(rig: Rig) -> None:
    """The connection is closed, so that a late answer is nobody's."""
    post = asyncio.ensure_future(rig.connection.post(TARGET, b"{}"))
    await asyncio.sleep(0)
    rig.connection.check(rig.now + SILENCE_S)
    with pytest.raises(TimedOut):
        await asyncio.wait_for(post, 5)
    assert rig.wire.closed


async def test_an_idle_connection_is_used_for_four_seconds(rig: Rig) -> None:
    """Then it is closed: the provider is about to."""
    await rig.fetch(LENGTH_5)
    assert rig.connection.is_usable(rig.now + 3.9)
    assert not rig.connection.is_usable(rig.now + 4.1)
    rig.connection.check(rig.now + 3.9)
    assert not rig.wire.closed
    rig.connection.check(rig.now + 4.1)
    assert rig.wire.closed


@pytest.mark.parametrize("arrival", [b"HTTP/1.1 408 Request Timeout\r\n", b""])
async def test_a_connection_with_news_is_not_used(rig: Rig, arrival: bytes) -> None:
    """Bytes or the end may be in the kernel while the event loop has not come round to them."""
    await rig.fetch(LENGTH_5)
    assert rig.connection.is_usable(rig.now)
    if arrival:
        rig.provider.send(arrival)
    else:
        rig.provider.shutdown(socket.SHUT_WR)
    assert not rig.connection.is_usable(rig.now)


async def test_a_finished_reply_may_end_by_itself(rig: Rig) -> None:
    """Nobody waits for the rest; when it has come, the connection is back."""
    reply = await rig.post(CHUNKED + b"2\r\nhi\r\n")
    assert b"hi" == await reply.read_some()
    reply.finish()
    assert ("draining", []) == (rig.connection.state, rig.kept)
    rig.arrive(b"4\r\nrest\r\n", b"0\r\n")
    assert "draining" == rig.connection.state
    rig.arrive(b"\r\n")
    assert ("idle", [rig.connection]) == (rig.connection.state, rig.kept)
    assert (200, b"hello") == await rig.fetch(LENGTH_5)


async def test_a_finished_reply_is_not_waited_for_long(rig: Rig) -> None:
    """A second, whatever arrives meanwhile."""
    reply = await rig.post(CHUNKED + b"2\r\nhi\r\n")
    reply.finish()
    began = rig.now
    rig.connection.check(began + 0.9)
    rig.arrive(b"2\r\nhi\r\n")
    assert not rig.wire.closed
    rig.connection.check(began + 1.1)
    assert ("closed", True, []) == (rig.connection.state, rig.wire.closed, rig.kept)


@pytest.mark.parametrize("rest", [b"x" * (MAX_BUFFERED_BYTES + 1), None, b"nonsense\r\n"])
async def test_a_finished_reply_that_goes_on_or_breaks_closes_the_connection(rig: Rig, rest: bytes | None) -> None:
    """There is a limit to what is read for nobody."""
    head = OK + b"Content-Length: 9999999\r\n\r\n" if rest and rest[:1] == b"x" else CHUNKED
    reply = await rig.post(head)
    reply.finish()
    rig.arrive(rest)
    assert ("closed", []) == (rig.connection.state, rig.kept)


async def test_closing_is_idempotent_and_forgets_the_connection(rig: Rig) -> None:
    """A reply that is closed again does nothing to the one that has its connection now."""
    first = await rig.post(LENGTH_5)
    assert b"hello" == await read_all(first)
    first.close()
    second = await rig.post(LENGTH_5)
    first.close()
    first.finish()
    with pytest.raises(Cut):
        await first.read_some()
    assert b"hello" == await read_all(second)
    second.close()
    assert ([rig.connection] * 2, "<Reply 200 closed>") == (rig.kept, repr(second))


async def test_closing_early_closes_the_connection(rig: Rig) -> None:
    """The provider's work ends."""
    reply = await rig.post(LENGTH_5[:-1])
    reply.close()
    assert ("closed", True, []) == (rig.connection.state, rig.wire.closed, rig.kept)


async def test_closing_unread_what_has_arrived_keeps_the_connection(rig: Rig) -> None:
    """And leaves nothing of it for the next."""
    (await rig.post(LENGTH_5)).close()
    assert (204, b"") == await rig.fetch(b"HTTP/1.1 204 No Content\r\n\r\n")


async def test_cancelling_the_wait_for_the_head_closes_the_connection(rig: Rig) -> None:
    """A late answer is nobody's."""
    post = asyncio.ensure_future(rig.connection.post(TARGET, b"{}"))
    await asyncio.sleep(0)
    post.cancel()
    with pytest.raises(asyncio.CancelledError):
        await post
    assert rig.wire.closed
    rig.arrive(LENGTH_5, None)


async def test_a_cancelled_read_can_be_done_again(rig: Rig) -> None:
    """What arrives meanwhile is not lost."""
    reply = await rig.post(LENGTH_5[:-5])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reply.read_some(), 0.01)
    rig.arrive(b"hello")
    assert b"hello" == await reply.read_some()


BIG = bytes(range(256)) * 4096


async def test_a_large_request_waits_for_a_slow_provider(rig: Rig) -> None:
    """What the transport cannot take stays here; then everything arrives in order."""
    rig.connection.pause_writing()
    post = asyncio.ensure_future(rig.connection.post(TARGET, BIG))
    await asyncio.sleep(0)
    assert len(rig.wire.sent) < 100_000
    rig.connection.check(rig.now + SILENCE_S - 1)
    for _ in range(20):
        rig.connection.resume_writing()
        rig.connection.pause_writing()
        await asyncio.sleep(0)
    assert len(rig.wire.sent) < 100_000  # paused again before it could go on
    rig.connection.resume_writing()
    await asyncio.sleep(0)
    rig.arrive(LENGTH_5)
    reply = await asyncio.wait_for(post, 5)
    assert rig.wire.sent == TARGET.head + b"%d\r\n\r\n" % len(BIG) + BIG
    reply.close()
    assert "idle" == rig.connection.state


@pytest.mark.parametrize(("status", "all_sent"), [(413, False), (200, True)])
async def test_an_answer_may_come_before_the_request_is_sent(rig: Rig, status: int, *, all_sent: bool) -> None:
    """The rest is sent if the provider seems to want it; the connection is not used again."""
    rig.connection.pause_writing()
    post = asyncio.ensure_future(rig.connection.post(TARGET, BIG))
    await asyncio.sleep(0)
    rig.arrive(b"HTTP/1.1 100 Continue\r\n\r\n")
    await asyncio.sleep(0)
    rig.arrive(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status)
    reply = await post
    rig.arrive(b"hello")
    assert (status, b"hello") == (reply.status, await read_all(reply))
    assert all_sent is rig.wire.sent.endswith(BIG)
    reply.close()
    assert ("closed", []) == (rig.connection.state, rig.kept)


@pytest.mark.parametrize("arrival", [None, b"garbage"])
async def test_a_connection_that_breaks_while_sending_is_noticed(rig: Rig, arrival: bytes | None) -> None:
    """Nothing more is written."""
    rig.connection.pause_writing()
    post = asyncio.ensure_future(rig.connection.post(TARGET, BIG))
    await asyncio.sleep(0)
    rig.arrive(arrival)
    with pytest.raises(UpstreamError) as caught:
        await post
    assert (Garbled if arrival else Unavailable) is type(caught.value)


async def test_the_state_is_visible(rig: Rig) -> None:
    """And the key is not."""
    assert "<Connection http://provider.test:80 idle>" == repr(rig.connection)
    reply = await rig.post(LENGTH_5[:-1])
    assert "<Reply 200 <Connection http://provider.test:80 answering>>" == repr(reply)
