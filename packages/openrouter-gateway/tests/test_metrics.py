"""`/metrics`: what Prometheus reads of one worker, and of several."""

import asyncio
import multiprocessing
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from broadcast_receiver import FakeTime, receiving, sending
from broadcast_samples import failed_attempt, make_destination, make_record
from ledger_samples import make_generation
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import Message

from openrouter_gateway.broadcast.queue import Broadcaster
from openrouter_gateway.core.generation import AttemptRecord
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.edge.metrics import Metrics, build_metrics_route
from openrouter_gateway.errors import ManagementOnly

ONE = {"model": "a/one", "endpoint": "acme/fp8"}


async def read(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples, as Prometheus' own parser understands them."""
    content, kind = await metrics.render()
    assert kind.startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def of(
    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float],
    name: str,
    labels: Mapping[str, str] = ONE,
    **more: str,
) -> float:
    return samples[f"openrouter_gateway_{name}", frozenset((labels | more).items())]


class TestCounts:
    """One worker."""

    async def test_a_generation(self) -> None:
        metrics = Metrics()
        usage = Usage(prompt_tokens=30, completion_tokens=20, total_tokens=50, cached_tokens=10, reasoning_tokens=5)
        for number in range(3):
            metrics.observe(make_generation(number, usage=usage, cost=Cost(prompt=Decimal("0.1"))))
        samples = await read(metrics)
        assert 3 == of(samples, "requests_total", status="200", ending="finished")
        kinds = ("prompt", "completion", "cached", "cache_write", "reasoning")
        assert [90, 60, 30, 0, 15] == [of(samples, "tokens_total", kind=kind) for kind in kinds]
        assert 0.3 == of(samples, "cost_usd_total"), "added up as decimals"
        assert 3 == of(samples, "attempts_total", outcome="served")
        assert (3, 1.5) == (
            of(samples, "request_duration_seconds_count"),
            of(samples, "request_duration_seconds_sum"),
        )
        assert [0, 3] == [of(samples, "request_duration_seconds_bucket", le=bound) for bound in ("0.25", "0.5")]
        assert [0, 3] == [of(samples, "time_to_first_token_seconds_bucket", le=bound) for bound in ("0.1", "0.25")]

    async def test_buckets_include_their_bounds(self) -> None:
        metrics = Metrics()
        for duration_s in (0.05, 0.0501, 1000.0):
            metrics.observe(make_generation(1, duration_s=duration_s))
        samples = await read(metrics)
        bounds = ("0.05", "0.1", "300.0", "+Inf")
        assert [1, 2, 2, 3] == [of(samples, "request_duration_seconds_bucket", le=bound) for bound in bounds]

    async def test_failover(self) -> None:
        """Each attempt counts for its own endpoint, the generation for the one that served."""
        metrics = Metrics()
        served = AttemptRecord(provider="b", tag="b", outcome="served", status=200, duration_s=0.2, model="a/one")
        metrics.observe(make_generation(1, attempts=[failed_attempt(), failed_attempt(), served], endpoint="b"))
        samples = await read(metrics)
        other = ONE | {"endpoint": "b"}
        assert 2 == of(samples, "attempts_total", outcome="Unavailable")
        assert 1 == of(samples, "attempts_total", other, outcome="served")
        assert 1 == of(samples, "failovers_total", other)
        assert ("openrouter_gateway_failovers_total", frozenset(ONE.items())) not in samples
        assert 1 == of(samples, "requests_total", other, status="200", ending="finished")
        assert ("openrouter_gateway_cost_usd_total", frozenset(ONE.items())) not in samples

    async def test_what_never_reached_an_endpoint(self) -> None:
        """It has no model that could be a label: what callers write is none."""
        metrics = Metrics()
        metrics.observe(
            make_generation(
                1,
                model=None,
                endpoint=None,
                attempts=[],
                requested_models=["made/up"],
                status=404,
                ending="failed",
                latency_s=None,
            )
        )
        content, _ = await metrics.render()
        assert b"made/up" not in content
        assert 1 == of(
            await read(metrics), "requests_total", {"model": "", "endpoint": ""}, status="404", ending="failed"
        )

    async def test_series_are_bounded(self) -> None:
        """Beyond what any catalogue should have, the others are one."""
        metrics = Metrics()
        for number in range(2_050):
            metrics.observe(make_generation(number, endpoint=f"tag-{number}", attempts=[]))
        content, _ = await metrics.render()
        other = b'requests_total{ending="finished",endpoint="other",model="other",status="200"} 50.0'
        assert b"openrouter_gateway_" + other in content.splitlines()
        assert "<Metrics series=2001>" == repr(metrics)

    async def test_open_metrics(self) -> None:
        """For who asks for it."""
        metrics = Metrics()
        metrics.observe(make_generation(1))
        content, kind = await metrics.render("application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert content.endswith(b"# EOF\n")


async def test_broadcast() -> None:
    """How the destinations are doing."""
    async with receiving() as receiver, sending() as send:
        receiver.behave = lambda _: 503
        time = FakeTime()
        broadcaster = Broadcaster(send=send, clock=time.clock, sleep=time.sleep, most_records=2)
        await broadcaster.start([make_destination(name="mine", config={"url": receiver.url})])
        metrics = Metrics(broadcaster=broadcaster)
        for number in range(3):
            broadcaster.offer(make_record(number))
        samples = await read(metrics)
        assert (2, 1) == (
            of(samples, "broadcast_queued", {}),
            of(samples, "broadcast_queue_dropped_total", {}),
        )
        await time.advance(1)
        labels = {"type": "webhook", "destination": "mine"}
        samples = await read(metrics)
        assert (2, 1, 1) == (
            of(samples, "broadcast_waiting", labels),
            of(samples, "broadcast_failing", labels),
            of(samples, "broadcast_retries_total", labels),
        )
        receiver.behave = lambda _: 200
        await time.advance(10)
        samples = await read(metrics)
        assert 2 == of(samples, "broadcast_traces_total", labels, outcome="delivered")
        assert 0 == of(samples, "broadcast_waiting", labels)
        receiver.behave = lambda _: 503
        broadcaster.offer(make_record(4))
        await time.advance(1)
        await broadcaster.set_destinations([])
        samples = await read(metrics)
        assert (2, 1) == tuple(
            of(samples, "broadcast_traces_total", labels, outcome=outcome) for outcome in ("delivered", "dropped")
        ), "also when it is gone"
        assert (0, 0) == (of(samples, "broadcast_waiting", labels), of(samples, "broadcast_failing", labels))
        await broadcaster.close()


def count_and_end(directory: Path, count: int) -> None:
    """Be a worker that has served so many."""

    async def work() -> None:
        metrics = Metrics(directory=directory)
        for number in range(count):
            metrics.observe(make_generation(number))
        sharing = asyncio.create_task(metrics.share())
        await asyncio.sleep(0)
        sharing.cancel()
        await asyncio.gather(sharing, return_exceptions=True)

    asyncio.run(work())


class TestWorkers:
    """Several processes behind one address."""

    async def test_any_of_them_answers_for_all(self, tmp_path: Path) -> None:
        """Also for those that have ended: sums never shrink."""
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=count_and_end, args=(tmp_path, count)) for count in (3, 4)]
        for process in processes:
            process.start()
        for process in processes:
            await asyncio.to_thread(process.join)
        metrics = Metrics(directory=tmp_path)
        metrics.observe(make_generation(1))
        samples = await read(metrics)
        assert 8 == of(samples, "requests_total", status="200", ending="finished")
        assert 8 == of(samples, "time_to_first_token_seconds_count")

    async def test_what_the_content_log_lost(self, tmp_path: Path) -> None:
        """Of all workers, as it is when somebody asks."""
        lost = [2]
        other = Metrics(directory=tmp_path, contents_dropped=lambda: 5)
        sharing = asyncio.create_task(other.share())
        await asyncio.sleep(0)
        sharing.cancel()
        await asyncio.gather(sharing, return_exceptions=True)
        metrics = Metrics(directory=tmp_path, contents_dropped=lambda: lost[0])
        assert 7 == of(await read(metrics), "content_log_dropped_total", {})
        lost[0] += 1
        assert 8 == of(await read(metrics), "content_log_dropped_total", {})

    async def test_files_are_whole_or_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "1-x.metrics").write_bytes(b"half a ")
        metrics = Metrics(directory=tmp_path)
        metrics.observe(make_generation(1))
        assert 1 == of(await read(metrics), "requests_total", status="200", ending="finished")

    async def test_alone_there_is_nothing_to_share(self) -> None:
        await asyncio.wait_for(Metrics().share(), 1)


@pytest.mark.parametrize(("allowed", "expected"), [(True, 200), (False, 403)])
async def test_route(allowed: bool, expected: int) -> None:
    """Who may not see what others use is told so."""

    async def allow(_: Request) -> None:
        if not allowed:
            raise ManagementOnly("no")

    metrics = Metrics()
    metrics.observe(make_generation(1))
    routes = Starlette(routes=[build_metrics_route(lambda: metrics, allow)])
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/metrics", "query_string": b"", "headers": []}
    try:
        await routes(scope, receive, send)
    except ManagementOnly:
        assert expected == 403
        return
    assert expected == sent[0]["status"]
    assert b"openrouter_gateway_requests_total" in sent[1]["body"]
