"""A real HTTP/1.1 server on loopback that answers what a test wrote down, faults included."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer.

    Attributes:
        status: HTTP status.
        headers: Headers beside framing.
        pieces: Parts of the body, each written by itself.
        wait_s: Seconds before the status line.
        gap_s: Seconds before each piece.
        cut: Close the connection after the pieces, without ending the body.
        drop: Close the connection without answering.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    pieces: tuple[bytes, ...] = ()
    wait_s: float = 0.0
    gap_s: float = 0.0
    cut: bool = False
    drop: bool = False


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as it arrived; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Json


def json_reply(body: object, status: int = 200, **options: Any) -> Reply:
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    return Reply(status=status, headers=headers, pieces=(json.dumps(body).encode(),), **options)


def sse_reply(*events: object, done: bool = True, **options: Any) -> Reply:
    """Stream events: dicts as JSON, bytes as they are."""
    pieces = [e if isinstance(e, bytes) else b"data: " + json.dumps(e).encode() + b"\n\n" for e in events]
    if done:
        pieces.append(b"data: [DONE]\n\n")
    return Reply(headers={"content-type": "text/event-stream"}, pieces=tuple(pieces), **options)


def completion(content: Any = "Hello", **changes: Any) -> Json:
    """Return the smallest complete answer; `changes` replace keys of its message."""
    return {
        "id": "gen-1",
        "object": "chat.completion",
        "created": 1771043112,
        "model": "acme/one",
        "provider": "Acme",
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "native_finish_reason": "end_turn",
                "logprobs": None,
                "message": {"role": "assistant", "content": content, **changes},
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.5},
    }


def event(delta: Json | None = None, finish: str | None = None, **top: Any) -> Json:
    """Return one streamed chunk."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {
        "id": "gen-1",
        "object": "chat.completion.chunk",
        "created": 1771043112,
        "model": "acme/one",
        "provider": "Acme",
        "choices": [choice],
        **top,
    }


class ScriptedServer:
    """Answers each request with the next reply of the script, and the last one from then on."""

    def __init__(self) -> None:
        self.script: list[Reply] = [json_reply(completion())]
        self.seen: list[Seen] = []
        self.connections = 0
        self.disconnects = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """Base URL for a model."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def answer(self, *replies: Reply) -> None:
        """Write the script anew."""
        self.script = list(replies)

    def wait_for(self, condition: Callable[[Self], bool], timeout_s: float = 5.0) -> None:
        """Return when the condition holds; fail after `timeout_s`."""
        end = time.monotonic() + timeout_s
        while not condition(self):
            assert time.monotonic() < end, "the server never saw what the test waits for"
            time.sleep(0.005)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._main())

    async def _main(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        ends = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ends):
            while True:
                self.seen.append(await _read_request(reader))
                reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if reply.drop or not await self._write(reader, writer, reply):
                    break
        with contextlib.suppress(*ends):
            writer.close()
            await writer.wait_closed()

    async def _write(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        if await self._gone(reader, reply.wait_s):
            return False
        head = {"transfer-encoding": "chunked", **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{k}: {v}" for k, v in head.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for piece in reply.pieces:
            if await self._gone(reader, reply.gap_s):
                return False
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        if reply.cut:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _gone(self, reader: asyncio.StreamReader, wait_s: float) -> bool:
        """Wait, and tell whether the client hung up meanwhile."""
        if not wait_s:
            return False
        try:
            ended = await asyncio.wait_for(reader.read(1), wait_s)
        except TimeoutError:
            return False
        except ConnectionError:
            ended = b""
        self.disconnects += not ended
        return True


async def _read_request(reader: asyncio.StreamReader) -> Seen:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("utf-8").split("\r\n")
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(": ") for line in lines if line):
        # A header that comes twice is one with a comma (RFC 9110, 5.3), so that tests notice.
        headers[name.lower()] = ", ".join(filter(None, (headers.get(name.lower()), value)))
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(path=first.split(" ")[1], headers=headers, body=json.loads(raw or b"{}"))
