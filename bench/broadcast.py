"""What broadcast costs: `python bench/broadcast.py [--outage [REQUESTS_PER_SECOND]] [--json]`.

First the microseconds of CPU that two destinations cost a request: on its path, where its answer is gathered and its
record offered, and after it, in the task that makes and encodes traces. With `--outage` also ten simulated minutes, one
destination down: what the other misses, and how much memory and disk that takes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Raw

from generations import make_generation
from openrouter_gateway.broadcast.attempt import HTTPReply
from openrouter_gateway.broadcast.destinations.base import HTTPRequest
from openrouter_gateway.broadcast.observer import Observer, Origin
from openrouter_gateway.broadcast.queue import Broadcaster, Limits, Record
from openrouter_gateway.broadcast.transcript import Transcript
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.core.events import Event, Step
from openrouter_gateway.core.generation import Generation
from openrouter_gateway.wire.skins.chat import Chat
from report import BroadcastFigures, OutageFigures, Verdict

_ROUNDS = 9
_RECORDS = 2_000
_MESSAGES = Raw(b'[{"role":"system","content":"Be brief."},{"role":"user","content":"%b"}]' % (b"word " * 150))
_REPLY = [{"role": "assistant", "content": "word " * 100}]
_ANSWER = "word " * 100
_EVENTS = 200
_ORIGIN = Origin(traceparent=None, request_id="0123456789abcdef")
_REQUEST = Chat().parse(
    msgspec.json.encode({"model": "openai/gpt-4o-mini", "messages": _MESSAGES, "temperature": Raw(b"0.7")})
)
_FIELDS = {"model": Raw(b'"openai/gpt-4o-mini"'), "messages": _MESSAGES, "temperature": Raw(b"0.7")}
_DOWN_S = 600


def _destinations() -> list[Destination]:
    langfuse = {"publicKey": "pk-lf-1", "secretKey": "sk-lf-1", "baseUrl": "http://127.0.0.1:1"}
    return [
        Destination(id="one", type="otel-collector", name="one", config={"endpoint": "http://127.0.0.1:1"}),
        Destination(id="two", type="langfuse", name="two", config=langfuse),
    ]


async def _accept(_: HTTPRequest) -> HTTPReply:
    return HTTPReply(status=200)


def _events(count: int) -> list[list[Event]]:
    """Return an answer in so many pieces, each as a read of a provider brings it."""
    text = _ANSWER if count == 1 else "word "
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return [[Step({"id": "x", "choices": choices})] for _ in range(count)]


def _serve(observer: Observer, generations: list[Generation]) -> None:
    """Do what serving does for the broadcast."""
    (answer,) = _events(1)
    for generation in generations:
        transcript = observer.transcribe(_REQUEST)
        if transcript is not None:
            transcript.take(answer)
        observer.observe(generation, _REQUEST, transcript, _ORIGIN, None)


def _ignore(_: Generation) -> None:
    """Count nothing: that is not the broadcast's cost."""


def _time_us(run: Callable[[], object], times: int) -> float:
    gc.collect()
    gc.disable()
    began = time.process_time()
    run()
    spent = time.process_time() - began
    gc.enable()
    return spent / times * 1e6


async def _measure_cost() -> dict[str, list[float]]:
    """Return the rounds of each figure, in microseconds."""
    found: dict[str, list[float]] = {"request": [], "private": [], "unwatched": [], "event": [], "after": []}
    for _ in range(_ROUNDS):
        for name, destinations in (
            ("request", _destinations()),
            ("private", [msgspec.structs.replace(each, privacy_mode=True) for each in _destinations()]),
            ("unwatched", []),
        ):
            broadcaster = Broadcaster(send=_accept, most_records=_RECORDS)
            await broadcaster.start(destinations)
            observer = Observer(broadcaster, _ignore)
            generations = [make_generation(number, traced=True) for number in range(_RECORDS)]
            found[name].append(_time_us(partial(_serve, observer, generations), _RECORDS))
            began = time.process_time()
            while broadcaster.queued:  # noqa: ASYNC110 - the broadcaster has no event for a benchmark
                await asyncio.sleep(0.05)
            if name == "request":
                found["after"].append((time.process_time() - began) / _RECORDS * 1e6)
            assert broadcaster.dropped == 0
            await broadcaster.close()
        found["event"].append(_measure_event())
    return found


def _measure_event() -> float:
    streams = [(Transcript(), _events(_EVENTS)) for _ in range(20)]

    def gather() -> None:
        for transcript, batches in streams:
            for events in batches:
                transcript.take(events)

    return _time_us(gather, len(streams) * _EVENTS)


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self._moved = asyncio.Event()

    def move(self, seconds: float) -> None:
        self.now += seconds
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            await self._moved.wait()


async def _measure_outage(per_s: int) -> dict[str, float]:
    clock = _Clock()
    received = 0

    async def send(request: HTTPRequest) -> HTTPReply:
        nonlocal received
        if "langfuse" in request.url:
            return HTTPReply(status=503)
        received += request.body.count(b'"openrouter.generation.id"')
        return HTTPReply(status=200)

    destinations = _destinations()
    destinations[1] = Destination(
        id="two",
        type="langfuse",
        name="two",
        config={"publicKey": "pk-lf-1", "secretKey": "sk-lf-1", "baseUrl": "http://langfuse.invalid"},
    )
    with tempfile.TemporaryDirectory(prefix="broadcast-") as directory:
        broadcaster = Broadcaster(
            send=send,
            directory=Path(directory),
            limits=Limits(),
            clock=lambda: clock.now,
            sleep=clock.sleep,
        )
        await broadcaster.start(destinations)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = 0
        for second in range(_DOWN_S):
            for number in range(per_s):
                broadcaster.offer(
                    Record(
                        generation=make_generation(second * per_s + number, traced=True),
                        request=_FIELDS,
                        reply=_REPLY,
                        size_bytes=1500,
                    )
                )
            await asyncio.sleep(0)  # the broadcaster begins to wait
            await asyncio.sleep(0)
            clock.move(1)
            while broadcaster.queued:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            in_memory = max(status.memory_bytes for status in broadcaster.status())
            peak = max(peak, in_memory)
            began = time.monotonic()  # a disk has the rest of the second, which is simulated here
            while in_memory > Limits().batch_bytes and time.monotonic() - began < 1:
                await asyncio.sleep(0.001)
                in_memory = max(status.memory_bytes for status in broadcaster.status())
        down = next(status for status in broadcaster.status() if status.failing)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        figures = {
            "requests_per_s": per_s,
            "seconds": _DOWN_S,
            "missed": _DOWN_S * per_s - received,
            "unqueued": broadcaster.dropped,
            "waiting": down.waiting,
            "dropped": down.counts.dropped,
            "disk_mib": down.disk_bytes / 2**20,
            "memory_mib": peak / 2**20,
            "grown_mib": grown / 1024,
        }
        await broadcaster.close(0)
    return figures


async def _measure(per_s: int | None) -> BroadcastFigures:
    cost = await _measure_cost()
    outage = None if per_s is None else msgspec.convert(await _measure_outage(per_s), OutageFigures)
    return BroadcastFigures(cost_us=cost, outage=outage)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--outage",
        type=int,
        nargs="?",
        const=500,
        metavar="REQUESTS_PER_SECOND",
        help="ten simulated minutes with one destination down (at 500 requests per second it takes a minute)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    figures = asyncio.run(_measure(options.outage))
    if options.json:
        print(msgspec.json.encode(figures).decode())
        return
    for line in [*figures.sheet().rows, *figures.verdicts()]:
        print(line if isinstance(line, Verdict) else "  ".join(line))


if __name__ == "__main__":
    main()
