"""The pool against real servers on loopback that say exactly what they are told to, on asyncio's loop and on uvloop."""

import asyncio
import contextlib
import errno
import functools
import gc
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, cast

import pytest
import uvloop

from openrouter_gateway.callers.http1 import Connection
from openrouter_gateway.callers.pool import Pool, Reply, Target, Timeouts, failure_reason
from openrouter_gateway.errors import Cut, Garbled, TimedOut, Unavailable, UpstreamError

P = ParamSpec("P")

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
HUGE = bytes(32 * 1024 * 1024)
"""More than the buffers between two processes hold."""


def on_uvloop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on uvloop."""
    return _on_loops(test, uvloop.new_event_loop)


def on_both_loops(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on asyncio's own event loop, then on uvloop."""
    return _on_loops(test, asyncio.new_event_loop, uvloop.new_event_loop)


def _on_loops(
    test: Callable[P, Coroutine[Any, Any, None]], *factories: Callable[[], asyncio.AbstractEventLoop]
) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        for factory in factories:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


class Peer:
    """The provider's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """Return the body of the next request."""
        length = (await self.head()).partition(b"Content-Length: ")[2]
        return await self.reader.readexactly(int(length))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close without the usual farewell."""
        end: socket.socket = self.writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Return when the other side has closed."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """A running server; `peers` are its connections so far, `left` those whose other side has closed."""

    def __init__(self) -> None:
        self.port = 0
        self.peers: list[Peer] = []
        self.left = asyncio.Semaphore(0)
        self.arrived = asyncio.Semaphore(0)

    def target(self, path: str = "/v1/chat", headers: dict[str, str] | None = None, scheme: str = "http") -> Target:
        host = "localhost" if scheme == "https" else "127.0.0.1"
        return Target.from_parts(f"{scheme}://{host}:{self.port}{path}", headers or {})


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Server]:
    """Run a script for each connection. What goes wrong in one fails the test."""
    server = Server()
    tasks: list[asyncio.Task[None]] = []

    async def serve(peer: Peer) -> None:
        try:
            await script(peer)
            await peer.gone()
            server.left.release()
        except (ConnectionError, asyncio.IncompleteReadError):
            server.left.release()
        finally:
            peer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        server.peers.append(peer)
        server.arrived.release()
        tasks.append(asyncio.ensure_future(serve(peer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for peer in server.peers:
            peer.writer.transport.abort()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def pooled(*, connect_s: float = 10, idle_s: float = 10, keepalive_s: float = 4) -> AsyncGenerator[Pool]:
    """A pool that is closed afterwards and leaves nothing behind."""
    pool = Pool(Timeouts(connect_s=connect_s, idle_s=idle_s, keepalive_s=keepalive_s))
    try:
        yield pool
    finally:
        await pool.close()
        assert "<Pool>" == repr(pool)


async def read_all(reply: Reply) -> bytes:
    pieces = bytearray()
    while data := await reply.read_some():
        pieces += data
    return bytes(pieces)


async def fetch(pool: Pool, target: Target, body: bytes = b"{}") -> tuple[int, bytes]:
    reply = await pool.post(target, body)
    try:
        return reply.status, await read_all(reply)
    finally:
        reply.close()


def answer(data: bytes, *, then: Callable[[Peer], None] = lambda _: None) -> Script:
    """Answer every request with the same bytes, and do something after each."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.send(data)
            then(peer)

    return script


async def echo(peer: Peer) -> None:
    """Answer every request with its body."""
    while True:
        body = await peer.request()
        peer.send(OK + b"Content-Length: %d\r\n\r\n" % len(body))
        peer.send(body)


@on_both_loops
async def test_connections_are_used_again_the_last_first() -> None:
    """One is enough for requests one after the other; the pool's repr counts them."""
    async with serving(echo) as server, pooled() as pool:
        target = server.target()
        for number in range(5):
            assert (200, b"%d" % number) == await fetch(pool, target, b"%d" % number)
        assert 1 == len(server.peers)
        first, second = await pool.post(target, b"1"), await pool.post(target, b"2")
        assert f"<Pool {target.origin} idle=0 active=2>" == repr(pool)
        for reply in (second, first):
            await read_all(reply)
            reply.close()
        assert f"<Pool {target.origin} idle=2 active=0>" == repr(pool)
        server.peers[1].reset()  # the one that is not next
        assert (200, b"3") == await fetch(pool, target, b"3")
        await asyncio.sleep(0.02)
        assert f"<Pool {target.origin} idle=1 active=0>" == repr(pool)
        assert 2 == len(server.peers)


@on_both_loops
async def test_origins_do_not_share_connections() -> None:
    """Paths of one do."""
    async with serving(answer(HELLO)) as one, serving(answer(HELLO)) as other, pooled() as pool:
        for target in (one.target("/a"), other.target("/a"), one.target("/b")):
            assert (200, b"hello") == await fetch(pool, target)
        assert (1, 1) == (len(one.peers), len(other.peers))


@on_both_loops
async def test_a_target_can_ask_for_one_connection_each() -> None:
    """`Connection: close` holds even if the provider would go on."""
    async with serving(answer(HELLO)) as server, pooled() as pool:
        target = server.target(headers={"Connection": "close"})
        for _ in range(3):
            assert (200, b"hello") == await fetch(pool, target)
            await asyncio.wait_for(server.left.acquire(), 5)
        assert 3 == len(server.peers)


@on_both_loops
async def test_a_provider_that_closes_after_each_reply_is_met_with_new_connections() -> None:
    """Although it does not say so: nothing is sent on a connection that has ended, as far as the system knows."""
    async with serving(answer(HELLO, then=Peer.close)) as server, pooled() as pool:
        for _ in range(20):
            assert (200, b"hello") == await fetch(pool, server.target())
        assert 20 == len(server.peers)


@on_both_loops
async def test_what_comes_between_replies_is_never_read_as_one() -> None:
    """With the reply, or while nobody waits for one."""
    stolen = OK + b"Content-Length: 6\r\n\r\nstolen"
    async with serving(answer(HELLO + stolen)) as server, pooled() as pool:
        for _ in range(3):
            assert (200, b"hello") == await fetch(pool, server.target())
        assert 3 == len(server.peers)
    async with serving(answer(HELLO)) as server, pooled() as pool:
        for number in range(3):
            assert (200, b"hello") == await fetch(pool, server.target())
            server.peers[number].send(stolen)
        assert 3 == len(server.peers)


@on_both_loops
async def test_a_request_is_not_sent_twice() -> None:
    """Also if its connection had worked before: the provider may have acted on it."""
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        peer.send(HELLO)
        requests.append(await peer.request())
        peer.close()

    async with serving(script) as server, pooled() as pool:
        assert (200, b"hello") == await fetch(pool, server.target(), b"1")
        with pytest.raises(Unavailable, match="closed the connection"):
            await fetch(pool, server.target(), b"2")
        assert ([b"1", b"2"], 1) == (requests, len(server.peers))


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", Unavailable),
        (b"HTTP/1.1 2", Unavailable),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Unavailable),
        (HELLO[:-1], Cut),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Cut),
    ],
)
@on_both_loops
async def test_a_connection_that_breaks_is_an_error(
    end: Callable[[Peer], None], sent: bytes, error: type[UpstreamError]
) -> None:
    """Closed or reset, before the answer or within it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(sent)
        await asyncio.sleep(0.02)
        end(peer)

    async with serving(script) as server, pooled() as pool:
        with pytest.raises(error):
            await fetch(pool, server.target())


@on_both_loops
async def test_a_body_without_length_ends_with_the_connection() -> None:
    """If that ends in order; a reset cuts it."""
    reply = b"HTTP/1.0 200 OK\r\n\r\nhello"
    async with serving(answer(reply, then=Peer.close)) as server, pooled() as pool:
        assert (200, b"hello") == await fetch(pool, server.target())

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(reply)
        await asyncio.sleep(0.02)
        peer.reset()

    async with serving(script) as server, pooled() as pool:
        with pytest.raises(Cut):
            await fetch(pool, server.target())


@on_both_loops
async def test_no_connection_is_explained_without_secrets() -> None:
    """What went wrong, but neither key nor query."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with pooled() as pool:
        for host in ("127.0.0.1", "localhost"):
            target = Target.from_parts(f"http://{host}:{port}/?q=query", {"Authorization": "Bearer key"}, "key")
            with pytest.raises(Unavailable) as caught:
                await fetch(pool, target)
            assert "cannot connect to the provider: Connection refused" == str(caught.value)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 80)"), "Connection refused"),
        (OSError("Multiple exceptions: [Errno 111] ('::1', 1), [Errno 111] ('127.0.0.1', 1)"), "Connection refused"),
        (
            OSError("Multiple exceptions: [Errno 101] ('::1', 1), [Errno 111] ('127.0.0.1', 1)"),
            "Network is unreachable; Connection refused",
        ),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (ConnectionResetError(), "the connection was closed"),
        (ssl.SSLError("no more is known"), "TLS failed: the connection was closed"),
    ],
)
def test_reasons_are_short_and_name_no_address(error: OSError, reason: str) -> None:
    """Callers get to read them."""
    assert reason == failure_reason(error)


@contextmanager
def deaf_port() -> Generator[int]:
    """A port where connecting takes for ever: the queue of those who wait to be accepted is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def say_nothing(peer: Peer) -> None:
    """Read, and never answer."""
    await peer.gone()


@on_both_loops
async def test_connecting_has_a_time_limit() -> None:
    """TLS included."""
    async with pooled(connect_s=0.3) as pool:
        with deaf_port() as port, pytest.raises(TimedOut, match="connecting"):
            await pool.post(Target.from_parts(f"http://127.0.0.1:{port}/", {}), b"{}")
        async with serving(say_nothing) as server:
            with pytest.raises(TimedOut, match="connecting"):
                await pool.post(server.target(scheme="https"), b"{}")
            await asyncio.wait_for(server.left.acquire(), 5)


@pytest.mark.parametrize("sent", [b"", OK + b"Content-Length: 5\r\n\r\nhell"])
@on_both_loops
async def test_silence_has_a_time_limit(sent: bytes) -> None:
    """Before the answer and within it; the connection is closed."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(sent)

    async with serving(script) as server, pooled(idle_s=0.2) as pool:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimedOut):
            await fetch(pool, server.target())
        assert 0.19 <= loop.time() - began < 2
        await asyncio.wait_for(server.left.acquire(), 5)


@on_both_loops
async def test_a_slow_answer_is_no_silence() -> None:
    """The limit is on each pause, not on the whole."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for at in range(0, len(HELLO), 6):
            peer.send(HELLO[at : at + 6])
            await asyncio.sleep(0.08)

    async with serving(script) as server, pooled(idle_s=0.4) as pool:
        assert (200, b"hello") == await fetch(pool, server.target())


@on_both_loops
async def test_a_slow_reader_makes_the_provider_wait_and_is_no_silence() -> None:
    """What is held for it has a bound; then everything arrives."""
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        peer.send(OK + b"Content-Length: %d\r\n\r\n" % len(HUGE))
        for at in range(0, len(HUGE), 65536):
            peer.send(HUGE[at : at + 65536])
            await peer.writer.drain()
            sent = at

    async with serving(script) as server, pooled(idle_s=0.3) as pool:
        reply = await pool.post(server.target(), b"{}")
        await asyncio.sleep(0.8)
        held_back = len(HUGE) - sent
        assert held_back > len(HUGE) // 4
        assert HUGE == await read_all(reply)
        reply.close()
        assert f"<Pool {server.target().origin} idle=1 active=0>" == repr(pool)


@on_both_loops
async def test_a_large_request_reaches_a_slow_provider_whole() -> None:
    """It is sent as fast as the provider reads, which is no silence either."""

    async def script(peer: Peer) -> None:
        await peer.head()
        for _ in range(8):
            await asyncio.sleep(0.1)
            assert bytes(len(HUGE) // 8) == await peer.reader.readexactly(len(HUGE) // 8)
        peer.send(HELLO)
        await echo(peer)

    async with serving(script) as server, pooled(idle_s=0.4) as pool:
        assert (200, b"hello") == await fetch(pool, server.target(), HUGE)
        assert (200, b"1") == await fetch(pool, server.target(), b"1")
        assert 1 == len(server.peers)


@on_both_loops
async def test_an_early_refusal_of_a_large_request_is_read() -> None:
    """The provider need not read what it does not want."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
        cast("asyncio.Transport", peer.writer.transport).pause_reading()
        await asyncio.sleep(10)

    async with serving(script) as server, pooled() as pool:
        assert (413, b"large") == await fetch(pool, server.target(), HUGE)
        await asyncio.sleep(0.02)
        assert "<Pool>" == repr(pool)


@on_both_loops
async def test_a_provider_that_closes_its_side_while_a_request_is_sent_leaves_no_connection() -> None:
    """Nothing waits for it to take the rest."""

    async def script(peer: Peer) -> None:
        await peer.head()
        cast("asyncio.Transport", peer.writer.transport).pause_reading()
        peer.writer.write_eof()
        await asyncio.sleep(10)

    async with serving(script) as server, pooled() as pool:
        with pytest.raises(Unavailable):
            await fetch(pool, server.target(), HUGE)
        await asyncio.sleep(0.02)
        assert "<Pool>" == repr(pool)


async def stop_reading(peer: Peer) -> None:
    """Take the head of a request, and no more."""
    await peer.head()
    await asyncio.sleep(0.2)


async def start_answering(peer: Peer) -> None:
    """Send the head and a part of the body."""
    await peer.request()
    peer.send(HELLO[:-1])


PHASES: dict[str, tuple[Script, str, bytes]] = {
    "handshaking": (say_nothing, "https", b"{}"),
    "sending": (stop_reading, "http", HUGE),
    "waiting for the head": (say_nothing, "http", b"{}"),
    "reading": (start_answering, "http", b"{}"),
}


@pytest.mark.parametrize("phase", PHASES)
@on_both_loops
async def test_who_gives_up_leaves_no_connection(phase: str) -> None:
    """The provider learns of it at once, so that its work ends."""
    script, scheme, body = PHASES[phase]
    async with serving(script) as server, pooled() as pool:
        task = asyncio.ensure_future(fetch(pool, server.target(scheme=scheme), body))
        await server.arrived.acquire()
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.acquire(), 5)
        await asyncio.sleep(0)
        assert "<Pool>" == repr(pool)


@on_both_loops
async def test_who_gives_up_connecting_leaves_no_connection() -> None:
    """What is accepted later is closed, or never was asked for."""
    async with pooled() as pool:
        with deaf_port() as port:
            task = asyncio.ensure_future(pool.post(Target.from_parts(f"http://127.0.0.1:{port}/", {}), b"{}"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert "<Pool>" == repr(pool)


@on_both_loops
async def test_giving_up_at_any_step_leaves_nothing() -> None:
    """A turn of the event loop later each time, from before the connection to behind the answer."""
    async with serving(answer(HELLO)) as server, pooled() as pool:
        target = server.target(headers={"Connection": "close"})
        finished = False
        turns = 0
        while not finished:
            task = asyncio.ensure_future(fetch(pool, target))
            for _ in range(turns):
                await asyncio.sleep(0)
            finished = task.done()
            task.cancel()
            await asyncio.wait([task])
            turns += 1
        assert turns > 5
        await asyncio.sleep(0.02)
        assert "<Pool>" == repr(pool)


@on_both_loops
async def test_closing_the_pool_closes_every_connection() -> None:
    """Idle and active ones; who waits is told, and who comes later too."""

    async def script(peer: Peer) -> None:
        match await peer.request():
            case b"answer":
                peer.send(HELLO)
            case b"begin":
                peer.send(HELLO[:-1])
            case _:
                pass

    async with serving(script) as server, pooled() as pool:
        target = server.target()
        replies = await asyncio.gather(pool.post(target, b"answer"), pool.post(target, b"begin"))
        await read_all(replies[0])
        reading = asyncio.ensure_future(read_all(replies[1]))
        waiting = asyncio.ensure_future(pool.post(target, b"wait"))
        await asyncio.sleep(0.02)
        replies[0].close()
        assert f"<Pool {target.origin} idle=1 active=2>" == repr(pool)
        async with asyncio.timeout(0.5):
            await pool.close()
        assert "<Pool>" == repr(pool)
        with pytest.raises(Cut):
            await reading
        with pytest.raises(Unavailable):
            await waiting
        with pytest.raises(Unavailable, match="shutting down"):
            await pool.post(target, b"answer")
        for _ in server.peers:
            await asyncio.wait_for(server.left.acquire(), 5)


@on_both_loops
async def test_a_pool_that_closes_meanwhile_gives_no_connection() -> None:
    """One that is being made is closed."""
    async with serving(answer(HELLO)) as server, pooled() as pool:
        task = asyncio.ensure_future(pool.post(server.target(), b"{}"))
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(Unavailable):
            await task


@on_both_loops
async def test_a_server_of_another_kind_is_garbled() -> None:
    """One that speaks first, and one that answers something else."""

    async def greet(peer: Peer) -> None:
        peer.send(b"220 mail.test ESMTP\r\n")

    async with serving(greet) as server, pooled() as pool:
        with pytest.raises(Garbled):
            await fetch(pool, server.target())
    async with serving(answer(b"-ERR unknown command\r\n")) as server, pooled() as pool:
        with pytest.raises(Garbled):
            await fetch(pool, server.target())


@on_both_loops
async def test_idle_connections_are_closed_in_time() -> None:
    """By the pool's timer, whether or not there are further requests."""
    async with serving(answer(HELLO)) as server, pooled(idle_s=0.4, keepalive_s=0.2) as pool:
        assert (200, b"hello") == await fetch(pool, server.target())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.left.acquire(), 0.15)
        await asyncio.wait_for(server.left.acquire(), 5)
        await asyncio.sleep(0.01)
        assert "<Pool>" == repr(pool)


@on_both_loops
async def test_a_connection_that_was_idle_for_long_is_closed_instead_of_used() -> None:
    """Also before the timer comes round."""
    async with serving(answer(HELLO)) as server, pooled(keepalive_s=0.05) as pool:
        for _ in range(2):
            assert (200, b"hello") == await fetch(pool, server.target())
            await asyncio.sleep(0.06)
        assert f"<Pool {server.target().origin} idle=1 active=0>" == repr(pool)
        assert 2 == len(server.peers)


@on_both_loops
async def test_a_closed_connection_is_freed_without_the_garbage_collector() -> None:
    """Which seldom runs in the gateway."""
    gc.collect()
    gc.disable()
    try:
        async with serving(answer(HELLO)) as server, pooled() as pool:
            assert (200, b"hello") == await fetch(pool, server.target(headers={"Connection": "close"}))
            await asyncio.wait_for(server.left.acquire(), 5)
            await asyncio.sleep(0.01)
            assert [] == [thing for thing in gc.get_objects() if isinstance(thing, Connection)]
    finally:
        gc.enable()


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for `localhost` that nobody has vouched for, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-out", str(files[0]), "-keyout", str(files[1]), "-addext", "subjectAltName=DNS:localhost"]
    command += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    subprocess.run(command, check=True, capture_output=True)
    return files


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.fixture
def trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let OpenSSL's default be to trust the certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))


@pytest.mark.usefixtures("trusted")
@on_both_loops
async def test_tls_works_both_ways(server_tls: ssl.SSLContext) -> None:
    """HTTP/1.1 is agreed on, the name is sent, large bodies pass, connections are used again."""
    names: list[object] = []
    server_tls.sni_callback = lambda _, name, __: names.append(name)
    async with serving(echo, server_tls) as server, pooled() as pool:
        target = server.target(scheme="https")
        body = HUGE[: 8 * 1024 * 1024]
        for size in (1, len(body), 2):
            assert (200, body[:size]) == await fetch(pool, target, body[:size])
        (peer,) = server.peers
        connection: ssl.SSLObject = peer.writer.get_extra_info("ssl_object")
        assert ("http/1.1", ["localhost"]) == (connection.selected_alpn_protocol(), names)


@on_both_loops
async def test_a_certificate_that_nobody_vouches_for_is_refused(server_tls: ssl.SSLContext) -> None:
    """And the message says so."""
    async with serving(echo, server_tls) as server, pooled() as pool:
        with pytest.raises(Unavailable, match=r"its certificate is not accepted: self.signed certificate"):
            await fetch(pool, server.target(scheme="https"))


@pytest.mark.usefixtures("trusted")
@on_both_loops
async def test_a_certificate_of_another_host_is_refused(server_tls: ssl.SSLContext) -> None:
    """Trust is in a name, not in whoever answers."""
    async with serving(echo, server_tls) as server, pooled() as pool:
        with pytest.raises(Unavailable, match="its certificate is not accepted: IP address mismatch"):
            await fetch(pool, Target.from_parts(f"https://127.0.0.1:{server.port}/", {}))


@on_both_loops
async def test_a_server_without_tls_is_unavailable() -> None:
    """It answers something that is no handshake."""

    async def greet(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(greet) as server, pooled() as pool:
        with pytest.raises(Unavailable, match="cannot connect to the provider: TLS failed: "):
            await fetch(pool, server.target(scheme="https"))


@pytest.mark.usefixtures("trusted")
@on_uvloop
async def test_a_body_without_length_needs_the_end_of_tls(server_tls: ssl.SSLContext) -> None:
    """Else somebody in between may have cut it. asyncio's own loop does not tell."""
    reply = OK + b"\r\nhello"

    async def cut(peer: Peer) -> None:
        await peer.request()
        peer.send(reply)
        await asyncio.sleep(0.02)
        peer.writer.transport.abort()

    async with serving(answer(reply, then=Peer.close), server_tls) as server, pooled() as pool:
        assert (200, b"hello") == await fetch(pool, server.target(scheme="https"))
    async with serving(cut, server_tls) as server, pooled() as pool:
        with pytest.raises(Cut):
            await fetch(pool, server.target(scheme="https"))


@pytest.mark.usefixtures("trusted")
@on_both_loops
async def test_giving_up_ends_tls_at_once(server_tls: ssl.SSLContext) -> None:
    """Nothing waits for the provider's farewell."""
    async with serving(start_answering, server_tls) as server, pooled() as pool:
        reply = await pool.post(server.target(scheme="https"), b"{}")
        reply.close()
        await asyncio.wait_for(server.left.acquire(), 0.9)
        await asyncio.sleep(0.01)
        assert "<Pool>" == repr(pool)
