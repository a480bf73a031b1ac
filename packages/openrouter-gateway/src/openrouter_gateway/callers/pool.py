"""Connections to providers. The only importer of the HTTP client; everything else sees `Pool` and `Reply`.

One pool per process. Redirects are not followed, cookies are not kept, replies are not decompressed: a provider's API
needs none of it, and each is a way for one caller's data to reach another.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final
from typing import Protocol as Interface

import aiohttp
from msgspec import Struct
from multidict import CIMultiDict
from yarl import URL

from openrouter_gateway.errors import Cut, Garbled, TimedOut, Unavailable, UpstreamError

_EOF_WAIT_S: Final = 1.0
# Under the 5 s after which common servers (uvicorn, Node.js, llama.cpp) close idle connections: a request that is sent
# on a connection just being closed fails, and cannot safely be sent again.
_KEEPALIVE_S: Final = 4.0
_IDENTITY: Final = {"Accept-Encoding": "identity", "User-Agent": "openrouter-gateway"}


class Target(Struct, frozen=True):
    """Where a request goes. Holds the key: its repr shows the address alone."""

    url: URL
    headers: CIMultiDict[str]
    key: str = ""

    def __repr__(self) -> str:
        return f"<Target {self.url}>"

    @classmethod
    def from_parts(cls, url: str, headers: Mapping[str, str], key: str = "") -> "Target":
        """Return the target of a JSON request."""
        return cls(URL(url), CIMultiDict({"Content-Type": "application/json", **_IDENTITY, **headers}), key)

    def hide_key(self, error: UpstreamError) -> None:
        """Take our key out of what the provider says, in case it quotes it."""
        if self.key and self.key in error.message:
            error.message = error.message.replace(self.key, "[key]")
            error.args = (error.message,)


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds. `idle_s` is the longest silence of a provider, before its answer and within it."""

    connect_s: float = 10.0
    idle_s: float = 600.0


class Reply(Interface):
    """A provider's answer: its head has arrived, its body arrives as it is read."""

    status: int
    headers: Mapping[str, str]

    async def read_some(self) -> bytes:
        """Return the next bytes as they came, empty at the end.

        Raises:
            Cut: the connection broke within the body.
            TimedOut: the provider was silent for too long.
        """
        ...

    async def wait_eof(self) -> None:
        """Let the body end so that the connection can be used again; give up after a moment."""
        ...

    def close(self) -> None:
        """Give the connection back if the body was read to its end, close it otherwise."""
        ...


class Pool:
    """Keeps connections to providers alive. Make and close it inside the running event loop."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s, sock_read=timeouts.idle_s),
            auto_decompress=False,
            raise_for_status=False,
        )

    async def post(self, target: Target, body: bytes) -> Reply:
        """Send a request and wait for the head of the answer. Whoever called must close the reply.

        Raises:
            Unavailable: no connection, or it closed before an answer.
            TimedOut: connecting or answering took too long.
            Garbled: the answer is not HTTP.
        """
        try:
            response = await self._session.post(
                target.url, data=aiohttp.BytesPayload(body), headers=target.headers, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _translate(error, in_body=False) from error
        return _Reply(response)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


class _Reply:
    """An aiohttp response as a `Reply`."""

    __slots__ = ("_closed", "_content", "_response", "_tell", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._content = response.content
        self._closed, self._tell = _end_with_connection(response)

    def close(self) -> None:
        if self._closed is not None:
            self._closed.remove_done_callback(self._tell)
        self._response.close()

    async def read_some(self) -> bytes:
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _translate(error, in_body=True) from error

    async def wait_eof(self) -> None:
        if self._content.at_eof():
            return
        try:
            async with asyncio.timeout(_EOF_WAIT_S):
                while await self._content.readany():
                    pass
        except (aiohttp.ClientError, OSError):
            return  # the answer is complete; the connection is simply not used again


def _end_with_connection(
    response: aiohttp.ClientResponse,
) -> tuple[asyncio.Future[None] | None, Callable[[object], None]]:
    """Make sure that who reads the body learns of the connection's end; return what is waited for, and the callback.

    aiohttp 3.14 forgets to wake the reader when what follows a chunk is not a chunk: it closes the connection, stops
    its timer, and leaves the reader waiting for ever.
    """
    connection, content = response.connection, response.content
    # A short body has come with its head; its connection is given back already.
    closed = connection.protocol.closed if connection is not None and connection.protocol is not None else None

    def tell(_: object) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection ended within the body"))

    if closed is not None:
        closed.add_done_callback(tell)
    return closed, tell


def _translate(error: Exception, *, in_body: bool) -> UpstreamError:
    """Return our error for the HTTP client's or the system's. Nothing of a URL's query or a header gets into it."""
    match error:
        case TimeoutError():  # aiohttp's time-outs are all of these, too
            return TimedOut("the provider did not answer in time")
        case aiohttp.ClientConnectorError():
            return Unavailable(f"cannot connect to the provider: {error.os_error.strerror or error.os_error}")
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError():
            if in_body:
                return Cut("the provider's connection broke within the answer")
            return Unavailable("the provider closed the connection without an answer")
        case _:
            return Garbled("the provider's answer is not valid HTTP")
