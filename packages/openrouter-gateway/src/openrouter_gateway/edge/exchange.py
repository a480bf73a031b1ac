"""ASGI on one side, `serve` on the other: reads the body, sends the answer, notices that the caller hung up."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from openrouter_gateway.delivery import Client
from openrouter_gateway.errors import BadRequest, PayloadTooLarge, Unavailable

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

JSON_TYPE: Final = (b"content-type", b"application/json")


class CallerGone(Exception):
    """Nobody is there to answer."""


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """Return the whole body.

    Raises:
        PayloadTooLarge: more than `limit` bytes are announced or come.
        CallerGone: the connection closed before the body was complete.
        Unavailable: the gateway stopped before it was.
    """
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit():
        raise BadRequest("The Content-Length header is not a number")
    if int(announced) > limit:
        raise _too_large(limit)
    try:
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            pieces = bytearray(body)
            while message.get("more_body") and len(pieces) <= limit:
                message = await receive()
                pieces += message.get("body", b"")
            body = bytes(pieces)
    except asyncio.CancelledError:
        # What is still coming in is cancelled for one reason. The server would answer with a page and a stack trace.
        raise Unavailable("The gateway is shutting down; please send the request again") from None
    if message["type"] == "http.disconnect":
        raise CallerGone
    if len(body) > limit:
        raise _too_large(limit)
    return body


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that tells of a body that has been read, then of what comes behind it."""
    told: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return told.pop() if told else await receive()

    return receive_again


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The request body is larger than {limit} bytes, the limit of this gateway (server.max_body_bytes)"
    )


async def send_json(
    send: Send, status: int, body: bytes, headers: Headers | None = None, *, head: bool = False
) -> None:
    """Send a complete JSON answer; `head` leaves the body out, as HEAD asks."""
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [JSON_TYPE, (b"content-length", b"%d" % len(body)), *(headers or ())],
    }
    await send(start)
    await send({"type": "http.response.body", "body": b"" if head else body})


class ASGIClient(Client):
    """The caller of one inference request."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def start_stream(self, content_type: bytes, headers: Headers) -> None:
        """See `Client`. `no-cache` and the buffering hint keep proxies in between from holding events back."""
        self.started = True
        self.writes += 1
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", content_type),
                    (b"cache-control", b"no-cache"),
                    (b"x-accel-buffering", b"no"),
                    *headers,
                ],
            }
        )

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """See `Client`."""
        self.finished = last
        self.writes += 1
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """See `Client`."""
        self.started = self.finished = True
        await send_json(self._send, status, body, headers)


class HangupWatch:
    """Cancels the tasks that serve callers who hang up. One per process.

    ASGI tells of a hang-up through `receive`, so somebody has to wait there. A task for that is a tenth of what a short
    request costs, and a timer of its own still a few hundredths; so one timer looks after all requests, and only those
    that it meets for the second time get a task. A hang-up that already happened is told to it at once.
    """

    _TICK_S: Final = 0.03

    def __init__(self) -> None:
        self._new: set[Watched] = set()
        self._seen: set[Watched] = set()
        self._ticking = False

    def start(self, watched: "Watched") -> None:
        """Look after a request from now on."""
        self._new.add(watched)
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(self._TICK_S, self._tick)

    def stop(self, watched: "Watched") -> None:
        """The request is over."""
        self._new.discard(watched)
        self._seen.discard(watched)
        watched.stop()

    def _tick(self) -> None:
        for watched in self._seen:
            watched.start()
        self._seen, self._new = self._new, set()
        self._ticking = bool(self._seen)
        if self._ticking:
            asyncio.get_running_loop().call_later(self._TICK_S, self._tick)


class Watched:
    """One request under watch."""

    __slots__ = ("_client", "_receive", "_task", "_watcher")

    def __init__(self, receive: Receive, client: ASGIClient, task: asyncio.Task[Any]) -> None:
        self._receive = receive
        self._client = client
        self._task = task
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Wait for the hang-up."""
        self._watcher = self._task.get_loop().create_task(self._watch())

    def stop(self) -> None:
        """Wait no longer."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._client.finished:
            self._client.gone = True
            self._task.cancel("the caller hung up")
