"""`GET /metrics` for Prometheus: what was served, by model and endpoint, and how the broadcast is doing.

Counts are kept in plain numbers and turned into Prometheus' shapes when they are asked for, so that a request costs two
microseconds; `prometheus-client` writes the text. With several workers, each writes its counts to a file every second,
and whichever is asked adds up all files: the client's own way for several processes costs a write to shared memory for
every count. Counts of workers that have ended stay, so that sums never shrink.

Labels come from the catalogue, from what the gateway itself calls outcomes, and from destinations' names: never from
requests.
"""

import asyncio
import contextlib
import logging
import os
import secrets
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openrouter_gateway.broadcast.courier import Counts
from openrouter_gateway.broadcast.queue import Broadcaster
from openrouter_gateway.core.generation import Generation

DIRECTORY_VARIABLE: Final = "OPENROUTER_GATEWAY_METRICS"
"""Names the directory that the workers of one server share: the process that starts them makes and removes it."""

_DURATIONS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0)
_FIRST_TOKENS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TOKENS: Final = ("prompt", "completion", "cached", "cache_write", "reasoning")
_MOST_SERIES: Final = 2_000
_WRITE_INTERVAL_S: Final = 1.0
_OTHER: Final = ("other", "other")
_log = logging.getLogger(__name__)


class Series(Struct, array_like=True):
    """The counts of one model at one endpoint."""

    model: str
    endpoint: str
    requests: dict[str, int] = {}
    tokens: list[int] = msgspec.field(default_factory=lambda: [0] * len(_TOKENS))
    cost: Decimal = Decimal(0)
    durations: list[int] = msgspec.field(default_factory=lambda: [0] * (len(_DURATIONS) + 1))
    duration_s: float = 0.0
    first_tokens: list[int] = msgspec.field(default_factory=lambda: [0] * (len(_FIRST_TOKENS) + 1))
    first_token_s: float = 0.0
    attempts: dict[str, int] = {}
    failovers: int = 0


class DestinationCounts(Struct, array_like=True):
    """How the broadcast to one destination is doing."""

    type: str
    name: str
    failing: bool
    waiting: int
    disk_bytes: int
    counts: Counts


class Snapshot(Struct, array_like=True):
    """All counts of one process."""

    pid: int
    series: list[Series]
    queued: int = 0
    dropped: int = 0
    destinations: list[DestinationCounts] = []
    contents_dropped: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


class Metrics:
    """The counts of one process. `directory` is shared with the other workers, if there are any.

    `contents_dropped` returns how many generations' content found no room in the content log.
    """

    def __init__(
        self,
        *,
        broadcaster: Broadcaster | None = None,
        directory: Path | None = None,
        contents_dropped: Callable[[], int] = lambda: 0,
    ) -> None:
        self._broadcaster = broadcaster
        self._contents_dropped = contents_dropped
        self._series: dict[tuple[str, str], Series] = {}
        self._file = None if directory is None else directory / f"{os.getpid()}-{secrets.token_hex(4)}.metrics"
        self._written = b""

    def __repr__(self) -> str:
        return f"<Metrics series={len(self._series)}>"

    def observe(self, generation: Generation) -> None:
        """Count one generation. Never waits, never raises."""
        attempts = generation.attempts
        tag = generation.endpoint or (attempts[-1].tag if attempts else "")
        series = self._find(generation.model or "", tag)
        kind = f"{generation.status} {generation.ending}"
        requests = series.requests
        requests[kind] = requests.get(kind, 0) + 1
        usage, tokens = generation.usage, series.tokens
        tokens[0] += usage.prompt_tokens
        tokens[1] += usage.completion_tokens
        tokens[2] += usage.cached_tokens
        tokens[3] += usage.cache_write_tokens
        tokens[4] += usage.reasoning_tokens
        series.cost += generation.cost.total
        series.durations[bisect_left(_DURATIONS, generation.duration_s)] += 1
        series.duration_s += generation.duration_s
        first = generation.latency_s
        if first is not None:
            series.first_tokens[bisect_left(_FIRST_TOKENS, first)] += 1
            series.first_token_s += first
        before = ""
        for attempt in attempts:
            tried = series if attempt.tag == tag else self._find(attempt.model or generation.model or "", attempt.tag)
            outcomes = tried.attempts
            outcomes[attempt.outcome] = outcomes.get(attempt.outcome, 0) + 1
            if before and before != attempt.tag:
                tried.failovers += 1
            before = attempt.tag

    def _find(self, model: str, endpoint: str) -> Series:
        key = (model, endpoint)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= _MOST_SERIES:
                key = _OTHER
            series = self._series.setdefault(key, Series(*key))
        return series

    def snapshot(self) -> Snapshot:
        """Return the counts as they are; they change with the next generation."""
        broadcaster = self._broadcaster
        snapshot = Snapshot(os.getpid(), list(self._series.values()), contents_dropped=self._contents_dropped())
        if broadcaster is not None:
            snapshot.queued, snapshot.dropped = broadcaster.queued, broadcaster.dropped
            snapshot.destinations = [
                DestinationCounts(each.type, each.name, each.failing, each.waiting, each.disk_bytes, each.counts)
                for each in (*broadcaster.status(), *broadcaster.gone())
            ]
        return snapshot

    async def share(self) -> None:
        """Write the counts for the other workers, every second, until cancelled. Returns at once if there are none."""
        if self._file is None:
            return
        try:
            while True:
                await self._write()
                await asyncio.sleep(_WRITE_INTERVAL_S)
        finally:
            await self._write()

    async def _write(self) -> None:
        content = _encode(self.snapshot())
        if self._file is None or content == self._written:
            return
        try:
            await asyncio.to_thread(_replace, self._file, content)
        except OSError as error:
            _log.error("cannot write %s: %s", self._file, error.strerror)
        else:
            self._written = content

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the counts of all workers as text, and its content type."""
        return await asyncio.to_thread(_render, _encode(self.snapshot()), self._file, accept)


def build_metrics_route(metrics: Callable[[], Metrics], allow: Callable[[Request], Awaitable[None]]) -> Route:
    """Return the route. `allow` raises for who may not see what others use."""

    async def show(request: Request) -> Response:
        await allow(request)
        content, kind = await metrics().render(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    return Route("/metrics", show, methods=["GET"])


def _replace(file: Path, content: bytes) -> None:
    """Let readers see the old content or the new."""
    temporary = file.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(file)


def _render(own: bytes, file: Path | None, accept: str) -> tuple[bytes, str]:
    snapshots = [_decode(own)]
    if file is not None:
        for other in sorted(file.parent.glob("*.metrics")):
            if other != file:
                with contextlib.suppress(OSError, msgspec.DecodeError):
                    snapshots.append(_decode(other.read_bytes()))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(snapshots))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class _Families(Collector):
    """Snapshots in Prometheus' shapes."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._series = _add_up(each for snapshot in snapshots for each in snapshot.series)
        self._snapshots = snapshots
        self._alive = [snapshot for snapshot in snapshots if _is_alive(snapshot.pid)]

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        yield from self._counters()
        yield self._histogram("request_duration", "Seconds from request to the end of the answer", _DURATIONS)
        yield self._histogram("time_to_first_token", "Seconds from request to the first output", _FIRST_TOKENS)
        yield from self._broadcast()

    def _counters(self) -> Iterable[Metric]:
        labels = ["model", "endpoint"]
        requests = _counter("requests", "Generations by HTTP status and how they ended", [*labels, "status", "ending"])
        tokens = _counter(
            "tokens", "Tokens; cached and cache_write are of the prompt, reasoning of the completion", [*labels, "kind"]
        )
        cost = _counter("cost_usd", "USD", labels)
        attempts = _counter("attempts", "Attempts at endpoints by outcome", [*labels, "outcome"])
        failovers = _counter("failovers", "Attempts at an endpoint after another one had failed", labels)
        for series in self._series:
            names = [series.model, series.endpoint]
            for kind, count in series.requests.items():
                requests.add_metric([*names, *kind.split(" ")], count)
            for kind, count in series.attempts.items():
                attempts.add_metric([*names, kind], count)
            if series.requests:
                cost.add_metric(names, float(series.cost))
                for kind, count in zip(_TOKENS, series.tokens, strict=True):
                    tokens.add_metric([*names, kind], count)
            if series.failovers:
                failovers.add_metric(names, series.failovers)
        return requests, tokens, cost, attempts, failovers

    def _histogram(self, what: str, documentation: str, bounds: Sequence[float]) -> Metric:
        family = HistogramMetricFamily(
            f"openrouter_gateway_{what}_seconds", documentation, labels=["model", "endpoint"]
        )
        is_first = what == "time_to_first_token"
        for series in self._series:
            counts = series.first_tokens if is_first else series.durations
            if any(counts):
                total = 0
                buckets: list[tuple[str, float]] = []
                for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
                    total += count
                    buckets.append((bound, total))
                sum_s = series.first_token_s if is_first else series.duration_s
                family.add_metric([series.model, series.endpoint], buckets, sum_s)
        return family

    def _broadcast(self) -> Iterable[Metric]:
        queued = _gauge("broadcast_queued", "Generations that are not traces yet", [])
        queued.add_metric([], sum(snapshot.queued for snapshot in self._alive))
        lost = _counter("broadcast_queue_dropped", "Generations for which the queue had no room", [])
        lost.add_metric([], sum(snapshot.dropped for snapshot in self._snapshots))
        unkept = _counter("content_log_dropped", "Generations whose content found no room in the content log", [])
        unkept.add_metric([], sum(snapshot.contents_dropped for snapshot in self._snapshots))
        yield from (queued, lost, unkept)
        labels = ["type", "destination"]
        traces = _counter("broadcast_traces", "Traces by what became of them", [*labels, "outcome"])
        retries = _counter("broadcast_retries", "Requests to a destination that did not succeed", labels)
        waiting = _gauge("broadcast_waiting", "Traces to be delivered, in memory and on disk", labels)
        disk = _gauge("broadcast_disk_bytes", "Bytes of traces on disk", labels)
        failing = _gauge("broadcast_failing", "Workers that cannot reach a destination", labels)
        for (type_, name), held in self._destinations(self._snapshots).items():
            counts = [each.counts for each in held]
            for outcome in ("delivered", "rejected", "dropped", "unencodable"):
                traces.add_metric([type_, name, outcome], sum(getattr(each, outcome) for each in counts))
            retries.add_metric([type_, name], sum(each.retries for each in counts))
        for (type_, name), held in self._destinations(self._alive).items():
            waiting.add_metric([type_, name], sum(each.waiting for each in held))
            disk.add_metric([type_, name], sum(each.disk_bytes for each in held))
            failing.add_metric([type_, name], sum(each.failing for each in held))
        yield from (traces, retries, waiting, disk, failing)

    def _destinations(self, snapshots: Iterable[Snapshot]) -> dict[tuple[str, str], list[DestinationCounts]]:
        found: dict[tuple[str, str], list[DestinationCounts]] = {}
        for snapshot in snapshots:
            for each in snapshot.destinations:
                found.setdefault((each.type, each.name), []).append(each)
        return found


def _counter(name: str, documentation: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"openrouter_gateway_{name}", documentation, labels=labels)


def _gauge(name: str, documentation: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"openrouter_gateway_{name}", documentation, labels=labels)


def _add_up(all_series: Iterable[Series]) -> list[Series]:
    """Return the sums of the series of several processes."""
    sums: dict[tuple[str, str], Series] = {}
    for series in all_series:
        known = sums.setdefault((series.model, series.endpoint), Series(series.model, series.endpoint))
        for held, added in ((known.requests, series.requests), (known.attempts, series.attempts)):
            for kind, count in added.items():
                held[kind] = held.get(kind, 0) + count
        known.tokens = _add(known.tokens, series.tokens)
        known.durations = _add(known.durations, series.durations)
        known.first_tokens = _add(known.first_tokens, series.first_tokens)
        known.cost += series.cost
        known.duration_s += series.duration_s
        known.first_token_s += series.first_token_s
        known.failovers += series.failovers
    return [sums[key] for key in sorted(sums)]


def _add(one: list[int], other: list[int]) -> list[int]:
    return [first + second for first, second in zip(one, other, strict=True)]


def _is_alive(pid: int) -> bool:
    """Gauges of a worker that has ended say nothing."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
