"""Closed-loop load over keep-alive connections, with every answer checked: a broken server cannot look fast.

Reads one job a line on standard input. For each it opens the connections, warms the server up, prints
`{"ready":true}`, waits for a line, then measures and prints the result, so that whoever asks can read the
server's CPU clock exactly before and after the counted requests. With `--port`, one job from the options.
Every job is bounded in time and in requests; a job that fails prints `{"error": ...}`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles
from typing import cast

import httptools
import msgspec
import uvloop

from workload import ANSWER, REQUEST_BYTES, WORD, Shape, parse_shape

_GRACE_S = 20
_OPEN_AT_ONCE = 64
_DEEP_CHECK_EVERY = 101


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to send where: `connections` clients in a closed loop for `seconds` or `max_requests`."""

    port: int
    path: str = "/v1/chat/completions"
    key: str = "sk-bench"
    model: str = "json"
    stream: bool = False
    connections: int = 32
    seconds: float = 1
    warmup_s: float = 0.3
    max_requests: int = 1_000_000


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; `warmup_requests` came before the measurement, `cpu_s` is this process's own."""

    requests: int
    warmup_requests: int
    seconds: float
    p50_us: float
    p99_us: float
    cpu_s: float


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job was given up."""

    error: str


class WrongAnswerError(Exception):
    """An answer is not what the upstream sent."""


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    delta: _Message = msgspec.field(default_factory=_Message)
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    total_tokens: int


class _Reply(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_reply_decoder = msgspec.json.Decoder(_Reply)
_ANSWER = ANSWER.encode()
_WORD = WORD.encode()


def encode_request(job: Job) -> bytes:
    """Return the bytes of one request, its JSON padded to about `REQUEST_BYTES` with conversation."""
    ask: dict[str, object] = {
        "model": job.model,
        "messages": [
            {"role": "system", "content": "You are a terse assistant."},
            {"role": "user", "content": ""},
        ],
        "temperature": 0.2,
        "max_tokens": 400,
        "stream": job.stream,
    }
    if job.stream:
        ask["stream_options"] = {"include_usage": True}
    filler = "Summarise what was said above in one sentence, then list open questions. " * 16
    room = REQUEST_BYTES - len(msgspec.json.encode(ask))
    ask["messages"] = [
        {"role": "system", "content": "You are a terse assistant."},
        {"role": "user", "content": filler[:room]},
    ]
    body = msgspec.json.encode(ask)
    head = (
        f"POST {job.path} HTTP/1.1\r\nhost: 127.0.0.1:{job.port}\r\nuser-agent: bench\r\naccept: */*\r\n"
        f"authorization: Bearer {job.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def check_completion(body: bytes, *, deep: bool) -> None:
    """Check a non-streamed answer; `deep` decodes it, otherwise the content is looked for in the bytes.

    Raises:
        WrongAnswerError: something of what the upstream sent is missing.
    """
    if _ANSWER not in body:
        raise WrongAnswerError(f"content missing: {body[:300]!r}")
    if not deep:
        return
    reply = _reply_decoder.decode(body)
    choice = reply.choices[0]
    if choice.message.content != ANSWER or choice.finish_reason != "stop" or not reply.usage:
        raise WrongAnswerError(f"answer changed: {body[:2000]!r}")


def check_stream(body: bytes, shape: Shape, *, deep: bool) -> None:
    """Check a streamed answer; `deep` decodes every event, otherwise events and words are counted.

    Raises:
        WrongAnswerError: an event or its content is missing, doubled or out of order.
    """
    if not body.endswith(b"data: [DONE]\n\n"):
        raise WrongAnswerError(f"stream does not end with [DONE]: ...{body[-300:]!r}")
    events, words = body.count(b"data: "), body.count(_WORD)
    if words != shape.chunks or not shape.events - 1 <= events <= shape.events:
        raise WrongAnswerError(f"{events} events with {words} words instead of {shape.events} with {shape.chunks}")
    if deep:
        _check_events(body, shape)


def _check_events(body: bytes, shape: Shape) -> None:
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]
    replies = [_reply_decoder.decode(line) for line in lines[:-1]]
    choices = [choice for reply in replies for choice in reply.choices]
    text = "".join(choice.delta.content or "" for choice in choices)
    if text != "".join(shape.words):
        raise WrongAnswerError(f"stream holds other text: {text[:300]!r}")
    finished = [choice.finish_reason for choice in choices if choice.finish_reason]
    if finished != ["stop"] or not any(reply.usage for reply in replies):
        raise WrongAnswerError(f"finish reasons {finished}, or no usage: ...{body[-2000:]!r}")


class _Batch:
    """All connections of one job and the phase (warm-up or measurement) they are in."""

    def __init__(self, job: Job) -> None:
        shape = parse_shape(job.model)
        if shape is None:
            raise WrongAnswerError(f"unknown model {job.model}")
        self.job = job
        self.shape = shape
        self.request = encode_request(job)
        self.latencies_s: list[float] = []
        self.deadline = 0.0
        self.budget = 0
        self._active = 0
        self._connections: list[_Connection] = []
        self._done: asyncio.Future[None] | None = None
        self._broken: Exception | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for at in range(0, self.job.connections, _OPEN_AT_ONCE):
            count = min(_OPEN_AT_ONCE, self.job.connections - at)
            opened = await asyncio.gather(
                *(loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.job.port) for _ in range(count))
            )
            self._connections += [connection for _, connection in opened]

    async def run(self, seconds: float) -> float:
        """Keep every connection busy for `seconds`; return how long it took until the last answer."""
        if self._broken:
            raise self._broken
        self.latencies_s.clear()
        self._done = asyncio.get_running_loop().create_future()
        self._active = len(self._connections)
        self.budget = self.job.max_requests - self._active
        started = time.perf_counter()
        self.deadline = started + seconds
        for connection in self._connections:
            connection.send()
        async with asyncio.timeout(seconds + _GRACE_S):
            await self._done
        return time.perf_counter() - started

    def rest(self) -> None:
        self._active -= 1
        if not self._active and self._done and not self._done.done():
            self._done.set_result(None)

    def fail(self, error: Exception) -> None:
        self._broken = error
        if self._done and not self._done.done():
            self._done.set_exception(error)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


class _Connection(asyncio.Protocol):
    """One client: sends, reads the answer, checks it, sends again."""

    def __init__(self, batch: _Batch) -> None:
        self._batch = batch
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        self._started = 0.0
        self._answers = 0
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self._batch.fail(exc or ConnectionError("the server closed a keep-alive connection"))

    def send(self) -> None:
        assert self._transport
        self._started = time.perf_counter()
        self._transport.write(self._batch.request)

    def close(self) -> None:
        self._closing = True
        if self._transport:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._batch.fail(error.__context__ if isinstance(error.__context__, WrongAnswerError) else error)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        batch, now = self._batch, time.perf_counter()
        body = b"".join(self._body)
        self._body.clear()
        self._check(body)
        batch.latencies_s.append(now - self._started)
        if now < batch.deadline and batch.budget > 0:
            batch.budget -= 1
            self.send()
        else:
            batch.rest()

    def _check(self, body: bytes) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            raise WrongAnswerError(f"status {status}: {body[:500]!r}")
        deep = self._answers % _DEEP_CHECK_EVERY == 0
        self._answers += 1
        if self._batch.job.stream:
            check_stream(body, self._batch.shape, deep=deep)
        else:
            check_completion(body, deep=deep)


@dataclass(kw_only=True, slots=True)
class _Session:
    """Runs jobs on one event loop; `wait` blocks between warm-up and measurement."""

    runner: asyncio.Runner
    wait: Callable[[], object]

    def measure(self, job: Job) -> Result | Failure:
        try:
            batch = _Batch(job)
            try:
                return self._measure(batch)
            finally:
                batch.close()
        except (
            WrongAnswerError,
            OSError,
            TimeoutError,
            msgspec.DecodeError,
            httptools.HttpParserError,
        ) as error:
            return Failure(error=f"{type(error).__name__}: {error}")

    def _measure(self, batch: _Batch) -> Result:
        self.runner.run(batch.open())
        self.runner.run(batch.run(batch.job.warmup_s))
        warmup_requests = len(batch.latencies_s)
        self.wait()
        before_s = time.process_time()
        seconds = self.runner.run(batch.run(batch.job.seconds))
        cpu_s = time.process_time() - before_s
        latencies_s = batch.latencies_s
        cuts = quantiles(latencies_s, n=100) if len(latencies_s) > 1 else latencies_s * 99
        return Result(
            requests=len(latencies_s),
            warmup_requests=warmup_requests,
            seconds=seconds,
            p50_us=cuts[49] * 1e6,
            p99_us=cuts[98] * 1e6,
            cpu_s=cpu_s,
        )


def _print(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _wait_for_line() -> None:
    _print(b'{"ready":true}')
    if not sys.stdin.readline():
        raise SystemExit(0)


def _parse_options() -> Job | None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, help="run one job against this loopback port")
    parser.add_argument("--path", default="/v1/chat/completions")
    parser.add_argument("--model", default="json", help="json, burst-<chunks>, paced-<chunks>-<ms apart>")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1)
    args = parser.parse_args()
    if args.port is None:
        return None
    return Job(
        port=args.port,
        path=args.path,
        model=args.model,
        stream=args.stream,
        connections=args.connections,
        seconds=args.seconds,
    )


def main() -> None:
    """Run the job of the options, or those of standard input until it ends."""
    job = _parse_options()
    gc.disable()  # bounded run, and a collection would show up as a slow answer of the server
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if job:
            _print(msgspec.json.encode(_Session(runner=runner, wait=lambda: None).measure(job)))
            return
        session = _Session(runner=runner, wait=_wait_for_line)
        for line in sys.stdin:
            _print(msgspec.json.encode(session.measure(msgspec.json.decode(line, type=Job))))


if __name__ == "__main__":
    main()
