"""GET requests for URLs that callers choose: to the public internet alone (`wire/addresses`), and within limits.

A name is resolved once per hop, every address that it has is checked, and the connection goes to one of just these
addresses, so that a name which answers differently the second time gains nothing. Redirects are hops like the first.
No cookies, no credentials, no proxy, no compression.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, Literal, TypeAlias
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from msgspec import Struct

from openrouter_gateway.callers.http1 import Connection, Reply
from openrouter_gateway.errors import UpstreamError
from openrouter_gateway.wire.addresses import Network, why_refused

Resolver: TypeAlias = Callable[[str, int], Awaitable[list[str]]]
Fault: TypeAlias = Literal["refused", "missing", "too large", "failed"]

_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MISSING: Final = frozenset({404, 410})
_MOST_ADDRESSES: Final = 4
_CONNECT_S: Final = 5.0
_GOODBYE_S: Final = 1.0
_LONGEST_URL: Final = 8192
_SAFE_IN_PATHS: Final = "/%:=&?~+!$,;'@()*[]"


class FetchFailed(Exception):
    """Nothing was fetched; the message says why, to go behind the name of what was to be."""

    def __init__(self, reason: str, fault: Fault = "failed") -> None:
        super().__init__(reason)
        self.fault: Fault = fault


class Fetched(Struct, frozen=True):
    """What was behind a URL, and its `Content-Type` as the server said it."""

    content_type: str
    body: bytes


class Allowance:
    """Bytes that may still be read. `upper` is one that several share."""

    def __init__(self, left: int, upper: "Allowance | None" = None) -> None:
        self._left = left
        self._upper = upper

    def __repr__(self) -> str:
        return f"<Allowance {self._left}>"

    def take(self, count: int) -> None:
        """Raise `FetchFailed` if there are not as many left."""
        self._left -= count
        if self._left < 0:
            raise FetchFailed("is too large", "too large")
        if self._upper is not None:
            self._upper.take(count)


async def resolve_name(host: str, port: int) -> list[str]:
    """Return the addresses of a host, each once."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """Fetches. `allowed` are networks besides the public ones; `resolve` and `tls` are the system's by default."""

    def __init__(
        self,
        *,
        allowed: Iterable[Network] = (),
        resolve: Resolver = resolve_name,
        tls: ssl.SSLContext | None = None,
        max_redirects: int = 3,
    ) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolve
        self._tls = tls
        self._max_redirects = max_redirects

    def __repr__(self) -> str:
        return f"<Fetcher allowed={[str(network) for network in self._allowed]}>"

    async def get(self, url: str, allowance: Allowance, timeout_s: float) -> Fetched:
        """Return what is behind a URL.

        Raises:
            FetchFailed: it is not there, not public, too large, too slow, or something went wrong.
        """
        try:
            async with asyncio.timeout(timeout_s):
                for _ in range(self._max_redirects + 1):
                    found = await self._hop(url, allowance)
                    if isinstance(found, Fetched):
                        return found
                    url = found
        except TimeoutError:
            raise FetchFailed(f"did not arrive within {timeout_s:g} s") from None
        raise FetchFailed(f"is behind more than {self._max_redirects} redirects")

    async def _hop(self, url: str, allowance: Allowance) -> Fetched | str:
        """Return what was fetched, or where the server says that it is."""
        place = _Place.of(url)
        connection = await self._connect(place)
        reply: Reply | None = None
        try:
            reply = await connection.get(place.head)
            if reply.status in _REDIRECTS and (location := reply.headers.get("location")):
                return urljoin(url, location)
            return await _read(reply, allowance)
        except UpstreamError:  # what a connection to a provider raises; this is none
            raise FetchFailed("could not be read: the server's answer is broken") from None
        finally:
            if reply is not None:
                reply.close()
            else:
                connection.abort()

    async def _connect(self, place: "_Place") -> Connection:
        loop = asyncio.get_running_loop()
        for address in (await self._addresses(place))[:_MOST_ADDRESSES]:
            connection = Connection(_Nobody(), place.host, 0)
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await loop.create_connection(
                        partial(_same, connection),
                        address,
                        place.port,
                        ssl=self._context() if place.tls else None,
                        server_hostname=place.host if place.tls else None,
                        ssl_shutdown_timeout=_GOODBYE_S if place.tls else None,
                    )
            except (OSError, TimeoutError):
                continue
            return connection
        raise FetchFailed("could not be fetched: its host does not answer")

    async def _addresses(self, place: "_Place") -> list[str]:
        """Return the addresses of a host, all of which may be connected to."""
        try:
            found = await self._resolve(place.host, place.port)
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise FetchFailed("could not be fetched: its host is not known")
        if any(why_refused(address, self._allowed) for address in found):
            # Which of them, and why, is nothing that a caller should learn of names in the operator's network.
            raise FetchFailed("is not fetched: its host is not on the public internet", "refused")
        return found

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


class _Place(Struct, frozen=True):
    """Where a URL points, and the request for it."""

    host: str
    port: int
    tls: bool
    head: bytes

    @classmethod
    def of(cls, url: str) -> "_Place":
        parts = _split(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        try:
            host = host if ":" in host else host.encode("idna").decode()
            path = quote(parts.path or "/", safe=_SAFE_IN_PATHS)
            query = "?" + quote(parts.query, safe=_SAFE_IN_PATHS) if parts.query else ""
        except UnicodeError:
            raise FetchFailed("is not fetched: its URL is not valid", "refused") from None
        authority = f"[{host}]" if ":" in host else host
        lines = [
            f"GET {path}{query} HTTP/1.1",
            f"Host: {authority}" + ("" if port == _PORTS[parts.scheme] else f":{port}"),
            "User-Agent: openrouter-gateway",
            "Accept: */*",
            "Accept-Encoding: identity",
            "Connection: close",
        ]
        return cls(host, port, parts.scheme == "https", ("\r\n".join(lines) + "\r\n\r\n").encode())


class _Nobody:
    """Keeps no connections: each is used once."""

    def keep(self, connection: Connection) -> None:
        connection.close()

    def forget(self, connection: Connection) -> None:
        pass


def _same(connection: Connection) -> Connection:
    return connection


def _split(url: str) -> SplitResult:
    if len(url) > _LONGEST_URL or any(character <= " " or character == "\x7f" for character in url):
        raise FetchFailed("is not fetched: its URL is not valid", "refused")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise FetchFailed("is not fetched: its URL is not valid", "refused") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise FetchFailed("is not fetched: only http:// and https:// URLs are, and data: URLs need not be", "refused")
    if parts.username is not None or parts.password is not None:
        raise FetchFailed("is not fetched: its URL holds a user name or password", "refused")
    return parts


async def _read(reply: Reply, allowance: Allowance) -> Fetched:
    if reply.status in _MISSING:
        raise FetchFailed(f"is not there: its host answered {reply.status}", "missing")
    if reply.status != 200:
        raise FetchFailed(f"could not be fetched: its host answered {reply.status}")
    if reply.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchFailed("could not be read: its host compressed it unasked")
    body = bytearray()
    while data := await reply.read_some():
        allowance.take(len(data))
        body += data
    return Fetched(reply.headers.get("content-type", ""), bytes(body))
