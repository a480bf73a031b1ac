"""A provider that does what the model's name says, good or bad: a real server on loopback, raw bytes on the wire.

    answer           a JSON answer, or a stream of it; answer:TIER says with its JSON which service tier it was
    slow-first:S     nothing for S seconds, then as `answer`
    endless          a stream that never ends by itself
    hang             takes the request and never answers
    status:N         an error with that status
    throttled        429 with `Retry-After: 7`
    garbage          200 with bytes that are no JSON and no events
    cut              a stream that breaks off after two pieces of text
    streamed-cut     the same, also where no stream was asked for
    cut-at-once      closes the connection instead of answering
    error-chunk      a stream with an error after two pieces of text
    error-first      a stream whose first event is an error
    role-then-cut    a stream that breaks off after a chunk with nothing but the role
    key-error        a stream with an error that quotes the key it was sent
    bad-framing      a stream whose second HTTP chunk is none
    no-usage         a stream without token counts
    paced:N          N pieces of text, a tenth of a second apart
    says:TEXT        that text
    nothing          an answer without text, tokens or a reason for its end
    thinker          thinks and calls the first tool; with a result, answers if its thoughts came back as they were

Embeddings and rerank are answered, too (`task_answers`), with the same faults.

What came in is kept in `requests`; how often a caller hung up on an unfinished answer, in `hangups`.
"""

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fakes.task_answers import answer_embeddings, answer_rerank
from fakes.thinker import Turn, think
from fakes.threads import running_loop

WORDS = ["Hello", ", ", "this ", "is ", "the ", "provider", "."]
TEXT = "".join(WORDS)
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass
class FakeProvider:
    """The running server's address, and what happened to it."""

    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    hangups: Counter[str] = field(default_factory=Counter[str])
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    hung_up: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def base_url(self) -> str:
        """Where the gateway is to send."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.headers.append(headers)
        self.requests.append(body)
        self.arrived.release()
        behaviour, _, argument = str(body["model"]).partition(":")
        if behaviour == "key-error":
            argument = headers["authorization"]
        path = request_line.split(" ")[1]
        answer = asyncio.ensure_future(self._answer(behaviour, argument, path, body, writer))
        # Nothing may follow the request: if the connection has something to read, it is its end.
        end = asyncio.ensure_future(_wait_for_end(reader))
        done, _ = await asyncio.wait([answer, end], return_when=asyncio.FIRST_COMPLETED)
        if answer not in done:
            answer.cancel()
            await asyncio.wait([answer])
            self.hangups[behaviour] += 1
            self.hung_up.release()
            return False
        end.cancel()
        await asyncio.wait([end])
        return answer.result()

    async def _answer(
        self, behaviour: str, argument: str, path: str, body: dict[str, Any], writer: asyncio.StreamWriter
    ) -> bool:
        """Write the answer; return whether the connection may be used again."""
        match behaviour:
            case "slow-first":
                await asyncio.sleep(float(argument))
            case "hang":
                await asyncio.sleep(3600)
            case "cut-at-once":
                return False
            case "status":
                return await _send_json(writer, int(argument), _error("It broke.", code="broken"))
            case "throttled":
                return await _send_json(writer, 429, _error("Too fast.", code="rate_limited"), "Retry-After: 7\r\n")
            case "garbage":
                return await _send(writer, 200, "application/json", b"<html>not what you asked for")
            case _:
                pass
        if path.endswith("/embeddings"):
            return await _send_json(writer, 200, answer_embeddings(body, behaviour))
        if path.endswith("/rerank"):
            return await _send_json(writer, 200, answer_rerank(body))
        turn = _scripted(behaviour, argument, body)
        if not body.get("stream") and behaviour != "streamed-cut":
            tier = {"service_tier": argument} if behaviour == "answer" and argument else {}
            return await _send_json(writer, 200, turn.whole if turn else _whole_answer() | tier)
        await _start_stream(writer)
        if turn:
            return await _end_stream(
                writer, [*(_chunk(delta) for delta in turn.deltas), _chunk({}, turn.finish_reason)]
            )
        return await self._stream(behaviour, argument, writer)

    async def _stream(self, behaviour: str, argument: str, writer: asyncio.StreamWriter) -> bool:
        if behaviour == "error-first":
            return await _end_stream(writer, [_error("Overloaded.", code=503)])
        if behaviour == "key-error":
            return await _end_stream(writer, [_error(f"What is {argument}?", code=500)])
        if behaviour == "role-then-cut":
            await _send_event(writer, _chunk({"role": "assistant", "content": ""}))
            await asyncio.sleep(0.2)
            return False
        if behaviour == "bad-framing":
            await _send_event(writer, _chunk({"content": WORDS[0]}))
            await asyncio.sleep(0.2)
            writer.write(b"ZZZ\r\n")
            await asyncio.sleep(3600)
        if behaviour in ("cut", "streamed-cut", "error-chunk"):
            for word in WORDS[:2]:
                await _send_event(writer, _chunk({"content": word}))
            await asyncio.sleep(0.2)  # so that the text is read, and given out, before the fault
            if behaviour.endswith("cut"):
                return False
            return await _end_stream(writer, [_chunk({}) | _error("It broke in the middle.", code=500)])
        if behaviour in ("endless", "paced"):
            for count in range(int(argument or 10**9)):
                await _send_event(writer, _chunk({"content": f"{count} "}))
                await asyncio.sleep(0.1)
            return await _end_stream(writer, [_chunk({}, "stop"), _usage_chunk()])
        for word in WORDS:
            await _send_event(writer, _chunk({"content": word}))
        usage = [] if behaviour == "no-usage" else [_usage_chunk()]
        return await _end_stream(writer, [_chunk({}, "stop"), *usage])


async def _wait_for_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read(1)


def _scripted(behaviour: str, text: str, body: dict[str, Any]) -> Turn | None:
    match behaviour:
        case "thinker":
            return think(body)
        case "says":
            return Turn("stop", {"content": text}, [{"role": "assistant", "content": text}])
        case "nothing":
            return Turn(None, {"content": ""}, [{"role": "assistant", "content": ""}], tokens=0)
        case _:
            return None


def _whole_answer() -> dict[str, Any]:
    message = {"role": "assistant", "content": TEXT, "tool_calls": None}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1,
        "model": "fake",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "vendor_field": {"kept": True}}],
        "usage": USAGE,
    }


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [choice]}


def _usage_chunk() -> dict[str, Any]:
    return _chunk({}) | {"choices": [], "usage": USAGE}


def _error(message: str, code: str | int) -> dict[str, Any]:
    return {"error": {"message": message, "code": code}}


async def _send(writer: asyncio.StreamWriter, status: int, kind: str, body: bytes, extra: str = "") -> bool:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return True


async def _send_json(writer: asyncio.StreamWriter, status: int, body: dict[str, Any], extra: str = "") -> bool:
    return await _send(writer, status, "application/json", json.dumps(body).encode(), extra)


async def _start_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    await writer.drain()


async def _send_event(writer: asyncio.StreamWriter, event: dict[str, Any] | str) -> None:
    text = event if isinstance(event, str) else json.dumps(event)
    data = f"data: {text}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
    await writer.drain()


async def _end_stream(writer: asyncio.StreamWriter, events: list[dict[str, Any]]) -> bool:
    for event in events:
        await _send_event(writer, event)
    await _send_event(writer, "[DONE]")
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


@contextmanager
def running_provider() -> Generator[FakeProvider]:
    """Run a fake provider in a thread of its own."""
    provider = FakeProvider()

    async def main(ready: threading.Event, stopping: asyncio.Event) -> None:
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        provider.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopping.wait()
        server.close()
        connections = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    with running_loop(main):
        yield provider
