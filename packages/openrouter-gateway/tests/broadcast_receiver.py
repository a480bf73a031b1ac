"""Somewhere to broadcast to: a real HTTP server on loopback that remembers everything, and time that can be moved."""

import asyncio
import heapq
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from openrouter_gateway.broadcast.attempt import HTTPReply
from openrouter_gateway.broadcast.destinations.base import HTTPRequest
from openrouter_gateway.callers.pool import Pool, Timeouts
from openrouter_gateway.callers.sender import Sender

Behaviour = Callable[["Arrival"], int | tuple[int, str]]
"""What to answer: a status, or one with further header lines."""


@dataclass
class Arrival:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Of OTLP as JSON, with attributes as plain values."""
        return [
            span | {"attributes": plain(span["attributes"])}
            for resource_spans in self.json()["resourceSpans"]
            for scope_spans in resource_spans["scopeSpans"]
            for span in scope_spans["spans"]
        ]

    @property
    def generation_ids(self) -> list[str]:
        found = [span["attributes"].get("openrouter.generation.id") for span in self.spans]
        return [generation_id for generation_id in found if generation_id]


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return OTLP attributes as a dictionary."""
    return {attribute["key"]: _plain_value(attribute["value"]) for attribute in attributes}


def _plain_value(value: dict[str, Any]) -> Any:
    ((kind, held),) = value.items()
    if kind == "arrayValue":
        return [_plain_value(item) for item in held["values"]]
    return int(held) if kind == "intValue" else held


@dataclass
class Receiver:
    """`behave` decides each answer, `says` is its body; a `silent` one never answers.

    It takes requests while `taking` is set.
    """

    behave: Behaviour = lambda _: 200
    silent: bool = False
    says: bytes = b"{}"
    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    accepted: list[Arrival] = field(default_factory=list[Arrival])
    port: int = 0
    connections: int = 0
    taking: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        await self.taking.wait()
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        arrival = Arrival(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))
        self.arrivals.append(arrival)
        if self.silent:
            await reader.read()
            return False
        answer = self.behave(arrival)
        status, extra = answer if isinstance(answer, tuple) else (answer, "")
        if 200 <= status < 300:
            self.accepted.append(arrival)
        writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: {len(self.says)}\r\n{extra}\r\n".encode() + self.says)
        await writer.drain()
        return True

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def receiving(behave: Behaviour = lambda _: 200) -> AsyncGenerator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(behave)
    receiver.taking.set()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        receiver.close()
        await server.wait_closed()
        await settle()


@asynccontextmanager
async def sending() -> AsyncGenerator[Callable[[HTTPRequest], Any]]:
    """Return what sends requests as the gateway does."""
    pool = Pool(Timeouts(connect_s=2, idle_s=30))
    sender = Sender(pool)

    async def send(request: HTTPRequest) -> HTTPReply:
        status, retry_after, body = await sender.send(request.method, request.url, request.headers, request.body)
        return HTTPReply(status=status, retry_after=retry_after, body=body)

    try:
        yield send
    finally:
        await pool.close()


class FakeTime:
    """A clock that stands still, and sleeps that end when it is moved past them."""

    def __init__(self, now: float = 1_771_043_112.5) -> None:
        self.now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._made = 0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._made += 1
        heapq.heappush(self._sleepers, (self.now + seconds, self._made, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on, from one sleeper's end to the next; what each then does has a moment of real time."""
        end = self.now + seconds
        await settle()
        while True:
            while self._sleepers and self._sleepers[0][2].done():  # cancelled
                heapq.heappop(self._sleepers)
            if not self._sleepers or self._sleepers[0][0] > end:
                break
            when, _, future = heapq.heappop(self._sleepers)
            self.now = max(self.now, when)
            future.set_result(None)
            await settle()
        self.now = end
        await settle()


async def settle() -> None:
    """Let what is ready run, and what is on the loopback arrive."""
    for _ in range(3):
        await asyncio.sleep(0.0005)
