"""What broadcast costs: `python bench/broadcast.py [--outage [REQUESTS_PER_SECOND]]`.

By default the microseconds of CPU that two destinations cost a request: on its path, where a record is made and
offered, and after it, in the task that makes and encodes traces. With `--outage` ten simulated minutes, one destination
down: what the other misses, and how much memory and disk that takes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import statistics
import tempfile
import time
from pathlib import Path

from msgspec import Raw

from generations import make_generation
from openrouter_gateway.broadcast.courier import HTTPReply
from openrouter_gateway.broadcast.destinations.base import HTTPRequest
from openrouter_gateway.broadcast.queue import Broadcaster, Limits, Record
from openrouter_gateway.core.destination import Destination

BAR_US = 5.0
"""On the path of a request, with two destinations."""

_ROUNDS = 9
_RECORDS = 2_000
_MESSAGES = Raw(b'[{"role":"system","content":"Be brief."},{"role":"user","content":"%b"}]' % (b"word " * 150))
_REPLY = [{"role": "assistant", "content": "word " * 100}]
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


async def _measure_cost() -> None:
    broadcaster = Broadcaster(send=_accept, most_records=_RECORDS)
    await broadcaster.start(_destinations())
    offering: list[float] = []
    working: list[float] = []
    for _ in range(_ROUNDS):
        generations = [make_generation(number, traced=True) for number in range(_RECORDS)]
        gc.collect()
        gc.disable()
        began = time.process_time()
        for generation in generations:
            broadcaster.offer(
                Record(generation=generation, request=_FIELDS, reply=_REPLY, traceparent=None, size_bytes=1500)
            )
        offered = time.process_time()
        while broadcaster.queued:  # noqa: ASYNC110 - the broadcaster has no event for a benchmark
            await asyncio.sleep(0.05)
        offering.append((offered - began) / _RECORDS * 1e6)
        working.append((time.process_time() - offered) / _RECORDS * 1e6)
        gc.enable()
    assert broadcaster.dropped == 0
    await broadcaster.close()
    print(f"median of {_ROUNDS} rounds of {_RECORDS:,} records, two destinations (OTLP as JSON, Langfuse)")
    best, middle = min(offering), statistics.median(offering)
    verdict = "within" if best <= BAR_US else "OVER"
    print(
        f"{'on the path of a request: Record and offer':<48}{middle:8.2f} us  (best {best:.2f}; {verdict} {BAR_US} us)"
    )
    print(f"{'after it: traces, encoding, batches':<48}{statistics.median(working):8.2f} us  (best {min(working):.2f})")


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


async def _measure_outage(per_s: int) -> None:
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
            peak = max(peak, *(status.memory_bytes for status in broadcaster.status()))
        down = next(status for status in broadcaster.status() if status.failing)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"{_DOWN_S * per_s:,} requests in {_DOWN_S} simulated seconds, one of two destinations down")
        print(f"the other received {received:,}; {broadcaster.dropped:,} found no room in the queue")
        print(f"for the one that is down {down.waiting:,} wait on {down.disk_bytes / 2**20:.0f} MiB of disk,")
        print(f"  {down.counts.dropped:,} were dropped as the oldest; at most {peak / 2**20:.1f} MiB were in memory")
        print(f"the process grew by {grown / 1024:.0f} MiB")
        await broadcaster.close(0)


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
    per_s: int | None = parser.parse_args().outage
    asyncio.run(_measure_cost() if per_s is None else _measure_outage(per_s))


if __name__ == "__main__":
    main()
