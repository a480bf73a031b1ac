"""Sends requests that are not chats and returns what a parser makes of their whole answers.

Built on the pools, timeouts and error table of `_http`; like it, imported by the first call.
"""

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from langchain_openrouter import _http  # noqa: TID253 - this module, too, is imported by the first call only
from langchain_openrouter._decoding import Secrets
from langchain_openrouter._request import WireRequest
from langchain_openrouter.errors import OpenRouterError

if TYPE_CHECKING:
    import httpx2

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

Waits: TypeAlias = Generator[float, OpenRouterError, None]
"""Takes each failure by `send`; yields the seconds before the next try, or raises. See `_retry.plan_waits`."""


class Parse(Protocol[T_co]):
    """Reads the body of a success, or raises the error that is in it."""

    def __call__(self, body: bytes, headers: Mapping[str, str], /, *, secrets: Secrets) -> T_co: ...


def fetch(
    call: WireRequest,
    waits: Waits,
    parse: Parse[T],
    client: "httpx2.Client | None" = None,
    around: _http.Surroundings = _http.REAL,
) -> T:
    """Send a request, a GET when it has no body, and return its parsed answer, trying again as `waits` says.

    Raises:
        OpenRouterError: Of the last try.
    """
    next(waits)
    while True:
        try:
            return _fetch_once(client or _http.shared_client(), call, parse, own=client is None)
        except OpenRouterError as failure:
            wait_s = waits.send(failure)
        around.sleep(wait_s)


async def afetch(
    call: WireRequest,
    waits: Waits,
    parse: Parse[T],
    client: "httpx2.AsyncClient | None" = None,
    around: _http.Surroundings = _http.REAL,
) -> T:
    """Do as `fetch` does, asynchronously."""
    next(waits)
    while True:
        try:
            chosen = client or await _http.shared_async_client()
            return await _afetch_once(chosen, call, parse, own=client is None)
        except OpenRouterError as failure:
            wait_s = waits.send(failure)
        await around.asleep(wait_s)


def _fetch_once(client: "httpx2.Client", call: WireRequest, parse: Parse[T], *, own: bool) -> T:
    try:
        response = client.send(_to_request(client, call, own=own))
    except tuple(_http.FOREIGN) as foreign:
        raise _http.translate(foreign, call.secrets) from foreign
    return _read(response, call, parse)


async def _afetch_once(client: "httpx2.AsyncClient", call: WireRequest, parse: Parse[T], *, own: bool) -> T:
    try:
        response = await client.send(_to_request(client, call, own=own))
    except tuple(_http.FOREIGN) as foreign:
        raise _http.translate(foreign, call.secrets) from foreign
    return _read(response, call, parse)


def _to_request(client: "httpx2.Client | httpx2.AsyncClient", call: WireRequest, *, own: bool) -> "httpx2.Request":
    request = _http._to_request(client, call, own=own)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if not call.body:  # what is built there is always a POST
        request.method = "GET"
        for name in ("content-length", "content-type"):
            request.headers.pop(name, None)
    return request


def _read(response: "httpx2.Response", call: WireRequest, parse: Parse[T]) -> T:
    if not response.is_success:
        raise _http._refusal(response, call)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return parse(response.content, response.headers, secrets=call.secrets)
