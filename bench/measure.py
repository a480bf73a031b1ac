"""Measures servers in interleaved rounds: CPU time from the kernel's accounting, latency, memory.

The load generator stands still between warm-up and measurement, so that the CPU clock of the server's process
tree, read before and after, covers exactly the requests that are counted.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from load import Failure, Job, Result
from servers import Place, Server, running

_CPUCLOCK_SCHED = 2
_CHECK_S = 0.1
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class MeasurementError(Exception):
    """A server gave wrong answers, or none; its figures would mean nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One thing to measure; CPU time is divided by requests times `units`: 1, or the events of a stream.

    `only`: the one server that can serve it.
    """

    name: str
    model: str
    connections: int
    units: int = 1
    stream: bool = False
    only: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cores:
    """Which core each part of a run has: distinct as far as there are any."""

    server: int
    upstream: int
    load: int


def choose_cores() -> Cores:
    """Return the cores to use of those this process may run on."""
    cores = sorted(os.sched_getaffinity(0))
    return Cores(server=cores[0], upstream=cores[min(1, len(cores) - 1)], load=cores[min(2, len(cores) - 1)])


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One workload on one server in one round.

    `cpu_us` is per request; `harness_busy` is the share of its core that upstream and load generator used,
    `foreign_busy` the share of the server's core that went to other processes.
    """

    server: str
    workload: str
    round: int
    requests: int
    rate: float
    cpu_us: float
    p50_us: float
    p99_us: float
    harness_busy: float
    foreign_busy: float


def list_tree(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    pids = [pid]
    for parent in pids:  # grows while it is walked
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def read_cpu_s(pid: int) -> float:
    """Return the CPU seconds a process tree has used, ended threads and waited-for children included.

    The process clock is the kernel's own sum over a process's threads, in ns (`clock_getcpuclockid(3)` makes
    its number); `/proc/<pid>/stat` has it in ticks of 10 ms only, and is read for children that have ended.
    """
    total_s = 0.0
    for member in list_tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total_s += (int(fields[13]) + int(fields[14])) * _TICK_S
            total_s += time.clock_gettime((~member << 3) | _CPUCLOCK_SCHED)
    return total_s


def read_core_busy_s(core: int) -> float:
    """Return the seconds a core has been busy for anybody, other guests of the same host included."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, line.split()[1:])
    return (user + nice + system + irq + softirq + steal) * _TICK_S


def read_rss_mb(pid: int) -> float:
    """Return the resident memory of a process tree; pages its processes share count for each."""
    total_kb = 0
    for member in list_tree(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{member}/status").read_text().splitlines()
            total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return total_kb / 1024


class LoadGenerator:
    """The load generator's process; counts what it sent to each server."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.sent: dict[str, int] = {}

    def run(
        self, server: Server, workload: Workload, *, seconds: float, clocks: list[Callable[[], float]]
    ) -> tuple[Result, list[float]]:
        """Run one job; return its result and what each clock went forward by while it was measured.

        Raises:
            MeasurementError: an answer was wrong or missing.
        """
        job = Job(
            port=server.port,
            path=server.path,
            key=server.key,
            model=server.model_prefix + workload.model,
            stream=workload.stream,
            connections=workload.connections,
            seconds=seconds,
            warmup_s=min(0.3, seconds / 3),
        )
        self._write(msgspec.json.encode(job))
        self._read_line(server, workload)
        before_s = [read_s() for read_s in clocks]
        self._write(b"")
        line = self._read_line(server, workload)
        used_s = [read_s() - before for read_s, before in zip(clocks, before_s, strict=True)]
        result = msgspec.json.decode(line, type=Result)
        sent = result.requests + result.warmup_requests
        self.sent[server.name] = self.sent.get(server.name, 0) + sent
        return result, used_s

    def _write(self, line: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def _read_line(self, server: Server, workload: Workload) -> bytes:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise MeasurementError("the load generator died")
        if b'"error"' in line:
            error = msgspec.json.decode(line, type=Failure).error
            raise MeasurementError(f"{server.name}, {workload.name}: {error}")
        return line


@contextlib.contextmanager
def start_load(place: Place) -> Generator[LoadGenerator]:
    """Start the load generator."""
    command = [sys.executable, str(Path(__file__).resolve().parent / "load.py")]
    with running("load", command, place, pipes=True) as process:
        yield LoadGenerator(process)


class Bench:
    """Measures servers against one upstream with one load generator."""

    def __init__(self, *, load: LoadGenerator, upstream: Server, cores: Cores) -> None:
        self._load = load
        self._upstream = upstream
        self._cores = cores

    def measure(self, server: Server, workload: Workload, *, round_: int, seconds: float) -> Sample:
        """Measure one workload on one server once."""
        clocks = [partial(read_cpu_s, each.process.pid) for each in (server, self._upstream)]
        clocks.append(partial(read_core_busy_s, self._cores.server))
        result, used_s = self._load.run(server, workload, seconds=seconds, clocks=[*clocks])
        server_s, upstream_s, core_s = used_s
        shared = self._cores.upstream == self._cores.load
        harness_s = upstream_s + result.cpu_s if shared else max(upstream_s, result.cpu_s)
        own_s = 0 if server is self._upstream else server_s
        return Sample(
            server=server.name,
            workload=workload.name,
            round=round_,
            requests=result.requests,
            rate=result.requests / result.seconds,
            cpu_us=server_s / result.requests * 1e6,
            p50_us=result.p50_us,
            p99_us=result.p99_us,
            harness_busy=harness_s / result.seconds,
            foreign_busy=max(0.0, core_s - own_s) / result.seconds,
        )

    def check(self, server: Server, workload: Workload) -> None:
        """Run a workload for the sake of the load generator's checks alone."""
        self._load.run(server, workload, seconds=_CHECK_S, clocks=[])

    def measure_all(
        self, servers: list[Server], workloads: list[Workload], *, rounds: int, seconds: float
    ) -> Generator[Sample]:
        """Yield the samples of interleaved rounds (A B C A B C ...), after one that is thrown away."""
        for round_ in range(rounds + 1):
            for workload in workloads:
                for server in servers:
                    if workload.only not in (None, server.name):
                        continue
                    span_s = seconds if round_ else seconds / 2
                    sample = self.measure(server, workload, round_=round_, seconds=span_s)
                    if round_:
                        yield sample
