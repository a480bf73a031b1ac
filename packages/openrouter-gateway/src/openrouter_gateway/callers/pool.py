"""Connections to providers: everything else sees `Pool` and `Reply`, by their interfaces `Poster` and `Answer`.

One pool per process. Redirects are not followed, cookies are not kept, replies are not decompressed: a provider's API
needs none of it, and each is a way for one caller's data to reach another.
"""

import asyncio
import os
import re
import socket
import ssl
from collections import Counter
from collections.abc import Mapping
from typing import Final
from typing import Protocol as Interface

from msgspec import Struct

from openrouter_gateway.callers.http1 import KEEPALIVE_S, Connection, Reply
from openrouter_gateway.callers.target import Target
from openrouter_gateway.errors import TimedOut, Unavailable

__all__ = ["Answer", "Pool", "Poster", "Reply", "Target", "Timeouts"]

_TICK_S: Final = 1.0
_GOODBYE_S: Final = 1.0
_ERROR_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds. `idle_s` is the longest silence of a provider, before its answer and within it.

    `keepalive_s` is how long a connection without a request is kept.
    """

    connect_s: float = 10.0
    idle_s: float = 600.0
    keepalive_s: float = KEEPALIVE_S


class Answer(Interface):
    """What `Reply` is to those who read it."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names in any case."""
        ...

    async def read_some(self) -> bytes:
        """See `Reply.read_some`."""
        ...

    def finish(self) -> None:
        """See `Reply.finish`."""
        ...

    def close(self) -> None:
        """See `Reply.close`."""
        ...


class Poster(Interface):
    """What `Pool` is to those who call providers: something else may answer in its place, or listen."""

    async def post(self, target: Target, body: bytes) -> Answer:
        """See `Pool.post`."""
        ...

    async def close(self) -> None:
        """See `Pool.close`. Idempotent."""
        ...


class Pool:
    """Keeps connections to providers alive. Make and close it inside the running event loop.

    TLS trusts the system's authorities, or those that OpenSSL's `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Silence is
    measured by one timer for all connections, so `TimedOut` may be late by an eighth of `idle_s`, at most by a second.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._tls: ssl.SSLContext | None = None
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._idle: dict[str, list[Connection]] = {}  # by origin, the last used one last
        self._tick_s = min(_TICK_S, timeouts.idle_s / 8)
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._emptied = asyncio.Event()

    def __repr__(self) -> str:
        counts: list[str] = []
        for origin, count in sorted(Counter(connection.origin for connection in self._open).items()):
            idle = len(self._idle.get(origin, ()))
            counts.append(f" {origin} idle={idle} active={count - idle}")
        return f"<Pool{','.join(counts)}>"

    async def post(self, target: Target, body: bytes) -> Reply:
        """Send a request and wait for the head of the answer. Whoever called must close the reply.

        Raises:
            Unavailable: no connection, then the cause is an `OSError`; or it closed before an answer.
            TimedOut: connecting or answering took too long.
            Garbled: the answer is not HTTP.
        """
        idle = self._idle.get(target.origin)
        while idle:
            connection = idle.pop()
            if connection.is_usable(self._loop.time()):
                return await connection.post(target, body)
            connection.close()
        connection = await self._connect(target)
        return await connection.post(target, body)

    async def close(self) -> None:
        """Close every connection; return when they are gone, or did not go in a second."""
        self._closing = True
        self._emptied.clear()
        for connection in list(self._open):
            if connection.state == "idle":
                connection.close()
            else:
                connection.abort()
        if self._timer is not None:
            self._timer.cancel()
        if self._open:
            try:
                async with asyncio.timeout(_GOODBYE_S):
                    await self._emptied.wait()
            except TimeoutError:
                for connection in list(self._open):
                    connection.abort()

    async def _connect(self, target: Target) -> Connection:
        if self._closing:
            raise Unavailable("the gateway is shutting down")
        connection = Connection(self, target.origin, self._timeouts.idle_s, self._timeouts.keepalive_s)
        connect_s = self._timeouts.connect_s
        tls = self._tls_context() if target.tls else None
        try:
            async with asyncio.timeout(connect_s):
                await self._loop.create_connection(
                    lambda: connection,
                    target.host,
                    target.port,
                    ssl=tls,
                    ssl_handshake_timeout=connect_s if tls else None,
                    ssl_shutdown_timeout=_GOODBYE_S if tls else None,
                )
        except TimeoutError as error:
            raise TimedOut("connecting to the provider took too long") from error
        except OSError as error:
            raise Unavailable(f"cannot connect to the provider: {failure_reason(error)}") from error
        # Not before: uvloop does not tell a connection of its end if who asked for it has given up meanwhile.
        self._add(connection)
        return connection

    def _add(self, connection: Connection) -> None:
        if self._closing:
            connection.abort()
        if connection.state == "closed":
            return
        self._open.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _tick(self) -> None:
        now = self._loop.time()
        for connection in list(self._open):
            connection.check(now)
        self._timer = self._loop.call_later(self._tick_s, self._tick) if self._open else None

    # What connections tell

    def keep(self, connection: Connection) -> None:
        """See `http1.Owner`."""
        self._idle.setdefault(connection.origin, []).append(connection)

    def forget(self, connection: Connection) -> None:
        """See `http1.Owner`."""
        self._open.discard(connection)
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)
        if not self._open:
            self._emptied.set()


def failure_reason(error: OSError) -> str:
    """Return what went wrong, without the addresses that a name stands for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'reason', None) or 'the connection was closed'}"
    if isinstance(error, socket.gaierror):
        return error.strerror or "its name is not known"
    if error.errno is not None:
        return os.strerror(error.errno)
    # One text for what went wrong with several addresses.
    numbers = dict.fromkeys(int(number) for number in _ERROR_NUMBER.findall(str(error)))
    return "; ".join(os.strerror(number) for number in numbers) or "the connection was closed"
