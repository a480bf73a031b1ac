"""Turns samples into tables, ratios and verdicts, for the terminal and for RESULTS.md.

Figures are medians over the rounds. A ratio is taken within each round, so that what slows the whole machine
for a while cancels out; its median is shown with the smallest and the largest of the rounds.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from measure import Sample, Workload
from workload import REQUEST_BYTES

DIRECT = "upstream"
REFERENCE = "reference"
GATEWAY = "gateway"
TRANSLATED = "translated"
"""Streams of the Messages API upstream that become chat completions."""
_HARNESS_HEADROOM = 3
_FOREIGN_BUSY = 0.1
_NONE = "-"
_CLIENT_LABELS = {
    "invoke": "per invoke",
    "ainvoke": "per ainvoke",
    "stream": "per streamed chunk",
    "astream": "per streamed chunk, async",
    "construct": "one more model",
    "startup": "start to first answer; the floor is importing langchain-core",
}
_BROADCAST_LABELS = {
    "request": "CPU us on the path of a request that is answered with JSON",
    "private": "the same, both destinations in privacy mode",
    "unwatched": "the same, without any destination",
    "event": "CPU us on the path of each event of a stream",
    "after": "CPU us after a request: traces, encoding, batches",
}
_CLIENT_BARS = {"invoke": 1.6, "ainvoke": 1.6, "stream": 1.8, "astream": 1.8}
_LABELS = {
    DIRECT: "direct, no proxy",
    REFERENCE: "reference (uvicorn + aiohttp)",
    "nginx": "nginx, 1 worker",
    GATEWAY: "openrouter-gateway",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Resident memory of a server before any load and after all of it."""

    server: str
    idle_mb: float
    loaded_mb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """A table: the first column names the row."""

    title: str
    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """A median with the smallest and largest of the rounds."""

    value: float
    low: float
    high: float

    @classmethod
    def from_values(cls, values: Iterable[float]) -> Spread:
        """Summarise one value for each round."""
        ordered = sorted(values)
        return cls(value=median(ordered), low=ordered[0], high=ordered[-1])

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f}..{self.high:.2f})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One bar of the benchmark, and whether it is met."""

    what: str
    measured: Spread
    at_most: float

    @property
    def met(self) -> bool:
        """The median decides; the spread says how sure it is."""
        return self.measured.value <= self.at_most

    def __str__(self) -> str:
        mark = "met   " if self.met else "MISSED"
        unsure = "; the spread crosses the bar" if self.measured.low <= self.at_most < self.measured.high else ""
        return f"{mark}  {self.what}: {self.measured}, at most {self.at_most:g}{unsure}"


class Report:
    """The samples of one run and what follows from them; `complaints` say what a server failed to do."""

    def __init__(
        self, samples: list[Sample], memory: list[Memory], workloads: list[Workload], complaints: list[str]
    ) -> None:
        self.complaints = complaints
        self._memory = {row.server: row for row in memory}
        self._workloads = {workload.name: workload for workload in workloads}
        self._servers = list(dict.fromkeys(sample.server for sample in samples))
        self._cells: dict[tuple[str, str], list[Sample]] = {}
        for sample in samples:
            self._cells.setdefault((sample.server, sample.workload), []).append(sample)

    def _cpu_us(self, server: str, workload: str) -> list[float]:
        units = self._workloads[workload].units
        return [sample.cpu_us / units for sample in self._cells[server, workload]]

    def _rate(self, server: str, workload: str) -> float:
        return median(sample.rate for sample in self._cells[server, workload])

    def ratio(self, server: str, workload: str) -> Spread:
        """CPU time of a server as a multiple of the reference's in the same round."""
        pairs = zip(self._cpu_us(server, workload), self._cpu_us(REFERENCE, workload), strict=True)
        return Spread.from_values(own / reference for own, reference in pairs)

    def added_us(self, server: str, workload: str, percentile: str) -> Spread:
        """Latency through a server minus that of the upstream alone in the same round."""
        pairs = zip(self._cells[server, workload], self._cells[DIRECT, workload], strict=True)
        field = f"{percentile}_us"
        return Spread.from_values(getattr(own, field) - getattr(direct, field) for own, direct in pairs)

    def _show_ratio(self, server: str, workload: str) -> str:
        return "1" if server == REFERENCE else str(self.ratio(server, workload))

    def sheets(self) -> list[Sheet]:
        """Everything measured, as tables."""
        return [self._requests(), self._streams(), self._latencies()]

    def _requests(self) -> Sheet:
        rows: list[list[str]] = []
        for server in self._servers:
            rate = f"{self._rate(server, 'json-32'):,.0f}"
            if server == DIRECT:
                rows.append([_LABELS[server], _NONE, _NONE, _NONE, rate, _NONE, _NONE])
                continue
            cpu_us = median(self._cpu_us(server, "json-32"))
            memory = self._memory[server]
            figures = [f"{cpu_us:.0f}", self._show_ratio(server, "json-32"), f"{1e6 / cpu_us:,.0f}", rate]
            rows.append([_LABELS[server], *figures, f"{memory.idle_mb:.0f}", f"{memory.loaded_mb:.0f}"])
        header = ["", "CPU us per request", "of reference", "requests/s per core", "requests/s reached"]
        title = f"JSON, {REQUEST_BYTES / 1024:.0f} KB requests, 32 connections"
        return Sheet(title=title, header=[*header, "RSS MB idle", "RSS MB loaded"], rows=rows)

    def _streams(self) -> Sheet:
        rows: list[list[str]] = []
        for server in self._servers:
            rate = f"{self._rate(server, 'burst') * self._workloads['burst'].units:,.0f}"
            if server == DIRECT:
                rows.append([_LABELS[server], _NONE, _NONE, _NONE, rate, _NONE, _NONE])
                continue
            row = [_LABELS[server]]
            burst_us, paced_us = median(self._cpu_us(server, "burst")), median(self._cpu_us(server, "paced"))
            per_stream_us = burst_us * self._workloads["burst"].units
            row += [f"{burst_us:.2f}", self._show_ratio(server, "burst"), f"{per_stream_us:,.0f}", rate]
            rows.append([*row, f"{paced_us:.1f}", self._show_ratio(server, "paced")])
        burst, paced = self._workloads["burst"], self._workloads["paced"]
        header = [
            "",
            "CPU us per burst event",
            "of reference",
            "CPU us per burst stream",
            "burst events/s reached",
        ]
        shapes = [f"{each.model} ({each.units} events a stream)" for each in (burst, paced)]
        title = f"SSE, 32 connections: {' and '.join(shapes)}"
        return Sheet(title=title, header=[*header, "CPU us per paced event", "of reference"], rows=rows)

    def _latencies(self) -> Sheet:
        names = [name for name, workload in self._workloads.items() if not workload.stream]
        names.sort(key=lambda name: self._workloads[name].connections)
        rows: list[list[str]] = []
        for server in self._servers:
            row = [_LABELS[server]]
            for name in names:
                for percentile in ("p50", "p99"):
                    if server == DIRECT:
                        own = median(getattr(sample, f"{percentile}_us") for sample in self._cells[server, name])
                        row.append(f"({own / 1000:.2f})")
                    else:
                        row.append(f"{self.added_us(server, name, percentile).value / 1000:.2f}")
            rows.append(row)
        pairs = [(self._workloads[name].connections, percent) for name in names for percent in ("p50", "p99")]
        header = ["", *(f"{percent}, {count} conn." for count, percent in pairs)]
        title = "Latency in ms added to the upstream's own (first row), JSON, closed loop"
        return Sheet(title=title, header=header, rows=rows)

    def verdicts(self) -> list[Verdict]:
        """The gateway against its bars; none when it was not measured."""
        if GATEWAY not in self._servers:
            return []
        added_us = self.added_us(GATEWAY, "json-1", "p50")
        added_ms = Spread.from_values(value / 1000 for value in (added_us.low, added_us.value, added_us.high))
        return [
            Verdict(
                what="gateway CPU per request / reference",
                measured=self.ratio(GATEWAY, "json-32"),
                at_most=1.8,
            ),
            Verdict(
                what="gateway CPU per burst SSE event / reference",
                measured=self.ratio(GATEWAY, "burst"),
                at_most=2.2,
            ),
            Verdict(what="gateway added p50 at one connection, ms", measured=added_ms, at_most=1),
            Verdict(
                what="CPU per event of a stream that is translated / of one that is not",
                measured=Spread.from_values(
                    own / same
                    for own, same in zip(self._cpu_us(GATEWAY, TRANSLATED), self._cpu_us(GATEWAY, "burst"), strict=True)
                ),
                at_most=2.5,
            ),
            Verdict(
                what="added p50 of a stream that is translated / of one that is not, one connection",
                measured=Spread.from_values(self._translated_delays()),
                at_most=2.5,
            ),
        ]

    def _translated_delays(self) -> Iterator[float]:
        workloads = (f"{TRANSLATED}-1", "stream-1")
        own, same = ([sample.p50_us for sample in self._cells[GATEWAY, name]] for name in workloads)
        direct = [sample.p50_us for sample in self._cells[DIRECT, "stream-1"]]
        for translated_us, same_us, direct_us in zip(own, same, direct, strict=True):
            yield (translated_us - direct_us) / (same_us - direct_us)

    def warnings(self) -> list[str]:
        """What makes the figures doubtful."""
        found = [*self.complaints]
        for name in ("json-32", "burst"):
            headroom = self._rate(DIRECT, name) / self._rate(REFERENCE, name)
            if headroom < _HARNESS_HEADROOM:
                found.append(f"{name}: upstream and load generator alone reach only {headroom:.1f}x the reference")
        foreign = median(sample.foreign_busy for cell in self._cells.values() for sample in cell)
        if foreign > _FOREIGN_BUSY:
            found.append(f"the machine is not quiet: other processes took {foreign:.0%} of the server's core")
        return found

    def notes(self) -> list[str]:
        """How to read the tables."""
        busy = {
            server: median(sample.harness_busy for sample in self._cells[server, "json-32"])
            for server in self._servers
            if server != DIRECT
        }
        shares = ", ".join(f"{server} {share:.0%}" for server, share in busy.items())
        return [
            "CPU: the kernel's clock of the server's whole process tree, over exactly the requests counted.",
            "Requests/s per core is 1e6 / CPU us per request.",
            "At 32 and 256 connections in a closed loop a server is saturated: latency is mostly waiting.",
            f"Core of upstream and load generator busy at JSON, 32 connections: {shares}.",
            "The reference decodes and encodes JSON and does nothing else; nginx does not look at the JSON.",
        ]


class ClientFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What `bench/client.py --json` prints.

    `cpu_us` has medians by metric and subject; `ratios`, round by round, ours to floor + raw.
    """

    events: int
    cpu_us: dict[str, dict[str, float]]
    ratios: dict[str, list[float]]
    sockets_of_100_models: int

    def sheet(self) -> Sheet:
        """The figures as a table."""
        subjects = list(dict.fromkeys(name for row in self.cpu_us.values() for name in row))
        rows = [
            [
                _CLIENT_LABELS[metric],
                *(f"{row[name]:,.1f}" if name in row else _NONE for name in subjects),
                str(Spread.from_values(self.ratios[metric])) if metric in self.ratios else _NONE,
            ]
            for metric, row in self.cpu_us.items()
        ]
        title = f"Client, CPU us; {self.events} chunks a stream; ratio = ours / (floor + raw)"
        return Sheet(title=title, header=["", *subjects, "ratio"], rows=rows)

    def verdicts(self) -> list[Verdict]:
        """The client against its bars."""
        calls = [
            Verdict(
                what=f"client CPU {_CLIENT_LABELS[metric]} / (LangChain floor + raw httpx2)",
                measured=Spread.from_values(self.ratios[metric]),
                at_most=bar,
            )
            for metric, bar in _CLIENT_BARS.items()
        ]
        startup = Spread.from_values(self.ratios["startup"])
        construction = Spread.from_values([self.cpu_us["construct"]["ours"] / 1e3])
        sockets = Spread.from_values([self.sockets_of_100_models])
        return [
            *calls,
            Verdict(
                what="client CPU, start to first answer / importing langchain-core", measured=startup, at_most=1.25
            ),
            Verdict(what="client CPU of one more model, ms", measured=construction, at_most=0.4),
            Verdict(what="sockets opened by making 100 models", measured=sockets, at_most=0),
        ]


class OutageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Simulated seconds with one of two destinations down. `missed` by the other, `dropped` of what waited for it."""

    requests_per_s: int
    seconds: int
    missed: int
    unqueued: int
    waiting: int
    dropped: int
    disk_mib: float
    memory_mib: float
    grown_mib: float


class BroadcastFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What `bench/broadcast.py --json` prints: `cost_us` has the rounds of each figure."""

    cost_us: dict[str, list[float]]
    outage: OutageFigures | None = None

    def sheet(self) -> Sheet:
        """The figures as a table."""
        rows = [[label, f"{Spread.from_values(self.cost_us[name])}"] for name, label in _BROADCAST_LABELS.items()]
        if (outage := self.outage) is not None:
            title = f"{outage.seconds} simulated seconds at {outage.requests_per_s}/s, one of two destinations down"
            rows += [
                [f"{title}: missed by the other", f"{outage.missed:,}"],
                ["waiting for the one that is down", f"{outage.waiting:,}"],
                ["of these on disk, MiB", f"{outage.disk_mib:.0f}"],
                ["dropped as the oldest", f"{outage.dropped:,}"],
                ["traces in memory at most, MiB", f"{outage.memory_mib:.1f}"],
                ["growth of the process, MiB", f"{outage.grown_mib:.0f}"],
            ]
        return Sheet(title="Broadcast to two destinations (OTLP as JSON, Langfuse)", header=["", ""], rows=rows)

    def verdicts(self) -> list[Verdict]:
        """The broadcast against its bars."""
        path = Spread.from_values(self.cost_us["request"])
        found = [Verdict(what="broadcast to two destinations, CPU us on a request's path", measured=path, at_most=5)]
        if (outage := self.outage) is not None:
            lost = Spread.from_values([outage.missed + outage.unqueued])
            memory = Spread.from_values([outage.memory_mib])
            found += [
                Verdict(what="one destination down: traces that the other misses", measured=lost, at_most=0),
                Verdict(what="one destination down: MiB of traces in memory", measured=memory, at_most=16),
            ]
        return found


def print_sheet(console: Console, sheet: Sheet) -> None:
    """Print one table to the terminal."""
    table = Table(title=sheet.title, title_justify="left")
    for at, name in enumerate(sheet.header):
        table.add_column(name, justify="right" if at else "left", no_wrap=not at)
    for row in sheet.rows:
        table.add_row(*row)
    console.print(table)


def encode_markdown(sheet: Sheet) -> str:
    """Return one table as Markdown."""
    lines = [sheet.header, ["---"] + ["---:"] * (len(sheet.header) - 1), *sheet.rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"### {sheet.title}\n\n{table}\n"


def describe_machine(nginx: str | None) -> list[str]:
    """Return processor, cores and versions; nothing that tells which machine it was."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    packages = ("uvicorn", "uvloop", "httptools", "aiohttp", "httpx2", "msgspec", "langchain-core")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    if nginx:
        output = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
        versions.append("nginx " + output.partition("nginx/")[2].split()[0])
    return [
        f"{[*names, platform.machine()][0]}, {len(os.sched_getaffinity(0))} cores, {platform.system()}",
        f"{platform.python_implementation()} {platform.python_version()}, {', '.join(versions)}",
    ]


def encode_results(
    report: Report | None,
    broadcast: BroadcastFigures | None,
    client: ClientFigures | None,
    *,
    machine: list[str],
    options: str,
) -> str:
    """Return the whole of RESULTS.md."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    parts = ["# Benchmark results\n", f"Written by `bench/run.py {options}` on {today}.\n"]
    parts.append(_encode_list(machine))
    if report:
        parts += ["## Gateway\n", _encode_list(map(str, report.verdicts()))]
        parts += [encode_markdown(sheet) for sheet in report.sheets()]
        parts.append(_encode_list([*report.notes(), *report.warnings()]))
    if broadcast:
        parts += ["## Broadcast\n", _encode_list(map(str, broadcast.verdicts())), encode_markdown(broadcast.sheet())]
    if client:
        parts += ["## Client\n", _encode_list(map(str, client.verdicts())), encode_markdown(client.sheet())]
    return "\n".join(parts)


def _encode_list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) + "\n"
