"""Sends requests: the only module that knows the HTTP library, with a synchronous and an asynchronous driver.

It is imported by the first call, so that importing the package and making a model cost no HTTP library.

Connections are pooled for the whole process: a synchronous client, and an asynchronous one per event loop, shared
by every model; those for plain HTTP are apart, because they need no certificates. The loop itself closes its client,
as it closes every asynchronous generator (`asyncio.run` does so at its end); a forked child starts with pools of its
own.
Foreign errors become ours by the table `FOREIGN`; while an answer is being read they are a `StreamBroken`.
"""

import asyncio
import atexit
import os
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, TypeAlias
from urllib.request import getproxies

import httpx2
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from langchain_openrouter._decoding import Secrets, redact
from langchain_openrouter._error_bodies import error_from_response
from langchain_openrouter._replies import parse_completion
from langchain_openrouter._request import WireRequest
from langchain_openrouter._retry import RetryPolicy, plan_waits
from langchain_openrouter._stream import ReplyStream
from langchain_openrouter.errors import (
    ConfigurationError,
    ConnectionFailed,
    OpenRouterError,
    ProtocolViolation,
    StreamBroken,
    TimedOut,
)

DEFAULT_TIMEOUT: Final = httpx2.Timeout(600.0, connect=10.0)
"""Seconds between two bytes, not of the whole answer: a slow model that keeps the line alive is never cut."""

_LIMITS: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30.0)

FOREIGN: Final[Mapping[type[Exception], type[OpenRouterError]]] = {
    httpx2.TimeoutException: TimedOut,
    httpx2.UnsupportedProtocol: ConfigurationError,
    httpx2.LocalProtocolError: ConfigurationError,
    httpx2.TransportError: ConnectionFailed,
    httpx2.DecodingError: ProtocolViolation,
    httpx2.TooManyRedirects: ProtocolViolation,
    httpx2.HTTPError: ConnectionFailed,
    httpx2.InvalidURL: ConfigurationError,
    httpx2.CookieConflict: ProtocolViolation,
    httpx2.StreamError: ConnectionFailed,
}
"""Errors of the HTTP library and what they are here; the first base class that is listed counts."""

_FOREIGN: Final = tuple(FOREIGN)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the drivers take from outside: chance and the passing of time, in seconds."""

    dice: Callable[[], float] = random.random
    sleep: Callable[[float], None] = time.sleep
    asleep: Callable[[float], Awaitable[None]] = asyncio.sleep


REAL: Final = Surroundings()


def translate(foreign: Exception, secrets: Secrets) -> OpenRouterError:
    """Return the error of this package for one of the HTTP library's, and take the secrets out of both."""
    ours = next(FOREIGN[base] for base in type(foreign).__mro__ if base in FOREIGN)
    _clean(foreign, secrets)
    return ours(f"{_WORDS[ours]}: {str(foreign) or type(foreign).__name__}")


def _clean(foreign: BaseException, secrets: Secrets) -> None:
    """Take the secrets out of an error that stays visible as the cause of ours, and out of its own causes.

    The request it holds has failed and is built anew for every try.
    """
    seen: set[int] = set()
    link: BaseException | None = foreign
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.args = tuple(redact(arg, secrets) if isinstance(arg, str) else arg for arg in link.args)
        request = getattr(link, "_request", None)
        if isinstance(request, httpx2.Request):
            for name, value in request.headers.items():
                if (hidden := redact(value, secrets)) != value:
                    request.headers[name] = hidden
        link = link.__cause__ or link.__context__


_WORDS: Final[Mapping[type[OpenRouterError], str]] = {
    TimedOut: "the server kept silent for too long",
    ConnectionFailed: "no answer from the server",
    ConfigurationError: "the request cannot be sent",
    ProtocolViolation: "the answer cannot be read",
}


# -- pools ---------------------------------------------------------------------------------------------

_Pool: TypeAlias = tuple[int, bool]
"""The process and whether the pool is for plain HTTP."""

_sync_clients: dict[_Pool, httpx2.Client] = {}
_async_clients: dict[tuple[_Pool, int], tuple[asyncio.AbstractEventLoop, httpx2.AsyncClient]] = {}
_loop_ends: dict[tuple[_Pool, int], AsyncGenerator[None]] = {}


@lru_cache(maxsize=64)
def is_plain(url: str) -> bool:
    """Return whether no TLS is spoken on the way to an address, not even to a proxy."""
    return url[:5].lower() == "http:" and not any(proxy.startswith("https:") for proxy in getproxies().values())


@cache
def _ssl_context(*, plain: bool) -> ssl.SSLContext:
    """Return the one context of every pool: loading the certificates costs 30 ms, too much for each event loop.

    A pool for plain HTTP does without, which is half of what a first call costs there: its context trusts nobody.
    """
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else httpx2.create_ssl_context()


def shared_client(*, plain: bool = False) -> httpx2.Client:
    """Return the client of this process."""
    key = (os.getpid(), plain)
    # No lock: of two threads that come first at once, one client is kept and the other never opens a socket.
    return _sync_clients.get(key) or _sync_clients.setdefault(
        key, httpx2.Client(verify=_ssl_context(plain=plain), limits=_LIMITS, timeout=DEFAULT_TIMEOUT)
    )


async def shared_async_client(*, plain: bool = False) -> httpx2.AsyncClient:
    """Return the client of the running event loop."""
    loop = asyncio.get_running_loop()
    key = ((os.getpid(), plain), id(loop))
    known = _async_clients.get(key)
    if known is not None and known[0] is loop:
        return known[1]
    for stale, (other, _) in list(_async_clients.items()):
        if other.is_closed():  # a loop that was closed without ending its generators
            _async_clients.pop(stale, None)
            _loop_ends.pop(stale, None)
    client = httpx2.AsyncClient(verify=_ssl_context(plain=plain), limits=_LIMITS, timeout=DEFAULT_TIMEOUT)
    _async_clients[key] = (loop, client)
    _loop_ends[key] = _until_loop_ends(key, client)
    await anext(_loop_ends[key])
    return client


async def _until_loop_ends(key: tuple[_Pool, int], client: httpx2.AsyncClient) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        _async_clients.pop(key, None)
        _loop_ends.pop(key, None)
        await client.aclose()


def close_shared_clients() -> None:
    """Close the idle connections of this process's synchronous pools; the next call opens new ones."""
    for plain in (False, True):
        if client := _sync_clients.pop((os.getpid(), plain), None):
            client.close()


atexit.register(close_shared_clients)


def _to_request(client: httpx2.Client | httpx2.AsyncClient, call: WireRequest, *, own: bool) -> httpx2.Request:
    """Build the request; a client of the user adds its own headers, cookies and timeout."""
    timeout = _to_timeout(call.timeout)
    if not own:
        _refuse_closed(client)
        chosen: Any = httpx2.USE_CLIENT_DEFAULT if timeout is None else timeout
        return client.build_request("POST", call.url, content=call.body, headers=call.headers, timeout=chosen)
    extensions = {"timeout": (timeout or DEFAULT_TIMEOUT).as_dict()}
    return httpx2.Request("POST", _parsed(call.url), content=call.body, headers=call.headers, extensions=extensions)


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx2.URL:
    return httpx2.URL(url)


def _to_timeout(value: Any) -> httpx2.Timeout | None:
    if value is None or isinstance(value, httpx2.Timeout):
        return value
    if isinstance(value, int | float):
        # A plain number bounds silence; connecting keeps its own, shorter limit.
        return httpx2.Timeout(value, connect=min(value, 10.0))
    return httpx2.Timeout(tuple(value))


def _refuse_closed(client: httpx2.Client | httpx2.AsyncClient) -> None:
    if client.is_closed:
        raise ConfigurationError("the http_client of this model has been closed")


# -- whole answers -------------------------------------------------------------------------------------


def complete(
    call: WireRequest, policy: RetryPolicy, client: httpx2.Client | None = None, around: Surroundings = REAL
) -> ChatResult:
    """Send a request and return its whole answer, trying again as the policy says.

    Raises:
        OpenRouterError: Of the last try.
    """
    waits = plan_waits(policy, around.dice)
    next(waits)
    while True:
        try:
            return _complete_once(client or shared_client(plain=is_plain(call.url)), call, own=client is None)
        except OpenRouterError as failure:
            wait_s = waits.send(failure)
        around.sleep(wait_s)


async def acomplete(
    call: WireRequest,
    policy: RetryPolicy,
    client: httpx2.AsyncClient | None = None,
    around: Surroundings = REAL,
) -> ChatResult:
    """Do as `complete` does, asynchronously."""
    waits = plan_waits(policy, around.dice)
    next(waits)
    while True:
        try:
            chosen = client or await shared_async_client(plain=is_plain(call.url))
            return await _acomplete_once(chosen, call, own=client is None)
        except OpenRouterError as failure:
            wait_s = waits.send(failure)
        await around.asleep(wait_s)


def _complete_once(client: httpx2.Client, call: WireRequest, *, own: bool) -> ChatResult:
    try:
        response = client.send(_to_request(client, call, own=own))
    except _FOREIGN as foreign:
        raise translate(foreign, call.secrets) from foreign
    return _read_answer(response, call)


async def _acomplete_once(client: httpx2.AsyncClient, call: WireRequest, *, own: bool) -> ChatResult:
    try:
        response = await client.send(_to_request(client, call, own=own))
    except _FOREIGN as foreign:
        raise translate(foreign, call.secrets) from foreign
    return _read_answer(response, call)


def _read_answer(response: httpx2.Response, call: WireRequest) -> ChatResult:
    if not response.is_success:
        raise _refusal(response, call)
    return parse_completion(response.content, response.headers, secrets=call.secrets)


def _refusal(response: httpx2.Response, call: WireRequest) -> OpenRouterError:
    """Return the error for an answer whose body has been read and that is no success."""
    status = response.status_code
    if status < 400:
        location = response.headers.get("location", "")
        answered = redact(f"the server answered {status} {location}".strip(), call.secrets)
        return ProtocolViolation(f"{answered}: check base_url")
    return error_from_response(status, response.headers, response.content, secrets=call.secrets)


# -- streamed answers ----------------------------------------------------------------------------------


def stream(
    call: WireRequest,
    policy: RetryPolicy,
    client: httpx2.Client | None = None,
    *,
    with_usage: bool = True,
    around: Surroundings = REAL,
) -> Iterator[ChatGenerationChunk]:
    """Send a request and yield its answer as it arrives; tries again only while nothing has been yielded.

    Raises:
        StreamBroken: The answer stopped before its end.
        OpenRouterError: Of the last try.
    """
    waits = plan_waits(policy, around.dice)
    next(waits)
    while True:
        started = False
        try:
            for chunk in _stream_once(
                client or shared_client(plain=is_plain(call.url)), call, own=client is None, usage=with_usage
            ):
                started = True
                yield chunk
        except OpenRouterError as failure:
            if started:
                raise
            wait_s = waits.send(failure)
        else:
            return
        around.sleep(wait_s)


async def astream(
    call: WireRequest,
    policy: RetryPolicy,
    client: httpx2.AsyncClient | None = None,
    *,
    with_usage: bool = True,
    around: Surroundings = REAL,
) -> AsyncIterator[ChatGenerationChunk]:
    """Do as `stream` does, asynchronously."""
    waits = plan_waits(policy, around.dice)
    next(waits)
    while True:
        started = False
        try:
            chosen = client or await shared_async_client(plain=is_plain(call.url))
            once = _astream_once(chosen, call, own=client is None, usage=with_usage)
            async with aclosing(once):
                async for chunk in once:
                    started = True
                    yield chunk
        except OpenRouterError as failure:
            if started:
                raise
            wait_s = waits.send(failure)
        else:
            return
        await around.asleep(wait_s)


def _stream_once(client: httpx2.Client, call: WireRequest, *, own: bool, usage: bool) -> Iterator[ChatGenerationChunk]:
    try:
        response = client.send(_to_request(client, call, own=own), stream=True)
    except _FOREIGN as foreign:
        raise translate(foreign, call.secrets) from foreign
    reply = ReplyStream(response.headers, secrets=call.secrets, with_usage=usage)
    with closing(response):
        try:
            if not _is_event_stream(response):
                response.read()
                yield _read_unstreamed(response, call, reply)
                return
            encoded = "content-encoding" in response.headers
            for piece in response.iter_bytes() if encoded else response.iter_raw():
                yield from reply.feed(piece)
        except _FOREIGN as foreign:
            if not reply.done:  # what happens to the connection after the end marker is no loss
                raise _cut(foreign, call, reply) from foreign
    yield from reply.finish()


async def _astream_once(
    client: httpx2.AsyncClient, call: WireRequest, *, own: bool, usage: bool
) -> AsyncGenerator[ChatGenerationChunk]:
    try:
        response = await client.send(_to_request(client, call, own=own), stream=True)
    except _FOREIGN as foreign:
        raise translate(foreign, call.secrets) from foreign
    reply = ReplyStream(response.headers, secrets=call.secrets, with_usage=usage)
    async with aclosing(response):
        try:
            if not _is_event_stream(response):
                await response.aread()
                yield _read_unstreamed(response, call, reply)
                return
            encoded = "content-encoding" in response.headers
            async for piece in response.aiter_bytes() if encoded else response.aiter_raw():
                for chunk in reply.feed(piece):
                    yield chunk
        except _FOREIGN as foreign:
            if not reply.done:  # what happens to the connection after the end marker is no loss
                raise _cut(foreign, call, reply) from foreign
    for chunk in reply.finish():
        yield chunk


def _cut(foreign: Exception, call: WireRequest, reply: ReplyStream) -> StreamBroken:
    return reply.broken(str(translate(foreign, call.secrets)))


def _is_event_stream(response: httpx2.Response) -> bool:
    kind = response.headers.get("content-type", "").lower()
    return response.is_success and not kind.startswith(("application/json", "text/html"))


def _read_unstreamed(response: httpx2.Response, call: WireRequest, reply: ReplyStream) -> ChatGenerationChunk:
    """Return the answer of a server that does not stream as the one chunk it is; raise its error."""
    return reply.whole(_read_answer(response, call))
