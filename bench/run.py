"""Measure the gateway against reference servers, then the client: `make bench`.

The server under test has one core for itself, the upstream and the load generator the others. Everything runs
on loopback, as child processes that end with this one. Exit status: 0 when every bar is met, 1 when one is
missed or the gateway lost records, 2 when something could not be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console

from measure import (
    Bench,
    LoadGenerator,
    MeasurementError,
    Sample,
    Workload,
    choose_cores,
    read_rss_mb,
    start_load,
)
from report import (
    DIRECT,
    GATEWAY,
    TRANSLATED,
    BroadcastFigures,
    ClientFigures,
    Memory,
    Report,
    describe_machine,
    encode_results,
    print_sheet,
)
from servers import (
    Place,
    Server,
    ServerError,
    count_generations,
    find_nginx,
    running,
    start_gateway,
    start_nginx,
    start_reference,
    start_upstream,
)
from workload import CLAUDE, parse_shape

_HERE = Path(__file__).resolve().parent
_SERVERS = ("reference", "nginx", GATEWAY)
_CLIENT = "client"
_BROADCAST = "broadcast"
_SCRIPT_TIMEOUT_S = 900
_Figures = TypeVar("_Figures")
_WIDTH = 132
_LEDGER_WAIT_S = 30


def _streaming(name: str, model: str, *, connections: int = 32, only: str | None = None) -> Workload:
    shape = parse_shape(model)
    assert shape
    return Workload(name=name, model=model, connections=connections, units=shape.events, stream=True, only=only)


WORKLOADS = [
    Workload(name="json-32", model="json", connections=32),
    Workload(name="json-1", model="json", connections=1),
    Workload(name="json-256", model="json", connections=256),
    _streaming("burst", "burst-200"),
    _streaming("paced", "paced-50-5"),
    _streaming("stream-1", "burst-20", connections=1),
    _streaming(TRANSLATED, f"{CLAUDE}burst-200", only=GATEWAY),
    _streaming(f"{TRANSLATED}-1", f"{CLAUDE}burst-20", connections=1, only=GATEWAY),
]
# Bursts arrive whole and paced events one by one, so a server that mishandles a cut event would pass unseen.
CHECK = _streaming("cut", "cut-30-1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the command line asks for."""

    only: list[str]
    rounds: int
    seconds: float
    quick: bool
    json: Path | None
    write: bool

    @property
    def servers(self) -> list[str]:
        """The servers to measure: the reference always, since all others are compared with it."""
        wanted = [name for name in _SERVERS if not self.only or name in self.only]
        return list(dict.fromkeys(["reference", *wanted])) if wanted else []

    @property
    def broadcast(self) -> bool:
        """Whether the broadcast to destinations is measured too."""
        return not self.only or _BROADCAST in self.only

    @property
    def client(self) -> bool:
        """Whether the client is measured too."""
        return not self.only or _CLIENT in self.only


def _parse_options() -> tuple[Options, str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute, rougher figures")
    names = [*_SERVERS, _BROADCAST, _CLIENT]
    parser.add_argument("--only", action="append", choices=names, help="measure this (may be repeated)")
    parser.add_argument("--rounds", type=int, help="rounds to take the median of (5; with --quick 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to a file")
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md")
    args = parser.parse_args()
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds must be at least 1")
    if args.write and args.only:
        parser.error("--write is for a whole run: without --only")
    quick = bool(args.quick)
    options = Options(
        only=args.only or [],
        rounds=args.rounds or (2 if quick else 5),
        seconds=0.4 if quick else 1.5,
        quick=quick,
        json=args.json,
        write=args.write,
    )
    shown = (["--quick"] if quick else []) + [f"--only {name}" for name in options.only]
    return options, " ".join([*shown, f"--rounds {options.rounds}"])


def _start(options: Options, stack: ExitStack, place: Place, upstream: Server, console: Console) -> list[Server]:
    models = sorted({workload.model for workload in [*WORKLOADS, CHECK]})
    nginx = find_nginx()
    starters: dict[str, Callable[[], contextlib.AbstractContextManager[Server]]] = {
        "reference": lambda: start_reference(place, upstream),
        GATEWAY: lambda: start_gateway(place, upstream, models),
    }
    if nginx:
        starters["nginx"] = lambda: start_nginx(place, upstream, nginx)
    elif "nginx" in options.servers:
        console.print("nginx is not installed: measured without it")
    return [stack.enter_context(starters[name]()) for name in options.servers if name in starters]


def _check_ledger(server: Server, load: LoadGenerator) -> list[str]:
    """Return a complaint unless the gateway did all its work: one record for each request it was sent."""
    if server.ledger is None:
        return []
    give_up = time.monotonic() + _LEDGER_WAIT_S
    while (records := count_generations(server.ledger)) < load.sent[server.name] and time.monotonic() < give_up:
        time.sleep(0.1)
    if records == load.sent[server.name]:
        return []
    return [f"the gateway's ledger holds {records:,} records of {load.sent[server.name]:,} requests"]


def _measure_servers(options: Options, directory: Path, console: Console) -> tuple[Report, list[Sample]]:
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.load})
    samples: list[Sample] = []
    with ExitStack() as outer:
        place = Place(directory=directory, cores=frozenset({cores.upstream}))
        upstream = outer.enter_context(start_upstream(place))
        load = outer.enter_context(start_load(Place(directory=directory, cores=frozenset({cores.load}))))
        with ExitStack() as stack:
            place = Place(directory=directory, cores=frozenset({cores.server}))
            servers = _start(options, stack, place, upstream, console)
            idle_mb = [read_rss_mb(server.process.pid) for server in servers]
            bench = Bench(load=load, upstream=upstream, cores=cores)
            for server in servers:
                bench.check(server, CHECK)
            plan = bench.measure_all([upstream, *servers], WORKLOADS, rounds=options.rounds, seconds=options.seconds)
            names = [DIRECT, *(server.name for server in servers)]
            total = sum(each.only in (None, name) for each in WORKLOADS for name in names)
            for sample in plan:
                samples.append(sample)
                if len(samples) % total == 0:
                    console.print(f"round {len(samples) // total} of {options.rounds} done")
            memory = [
                Memory(server=server.name, idle_mb=before, loaded_mb=read_rss_mb(server.process.pid))
                for server, before in zip(servers, idle_mb, strict=True)
            ]
            complaints = [line for server in servers for line in _check_ledger(server, load)]
    return Report(samples, memory, WORKLOADS, complaints), samples


def _measure_script(name: str, extent: list[str], figures: type[_Figures], directory: Path) -> _Figures:
    """Run another benchmark in a process of its own.

    Raises:
        MeasurementError: it failed, or did not end.
    """
    command = [sys.executable, str(_HERE / f"{name}.py"), "--json", *extent]
    place = Place(directory=directory, cores=frozenset(os.sched_getaffinity(0)))
    with running(name, command, place, pipes=True) as process:
        try:
            output, _ = process.communicate(timeout=_SCRIPT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"bench/{name}.py took more than {_SCRIPT_TIMEOUT_S} s") from None
    if process.returncode:
        tail = place.log(name).read_text(errors="replace")[-3000:]
        raise MeasurementError(f"bench/{name}.py exited with {process.returncode}\n{tail}")
    try:
        return msgspec.json.decode(output, type=figures)
    except msgspec.DecodeError as error:
        raise MeasurementError(f"bench/{name}.py printed something else than its figures: {error}") from None


def _measure_broadcast(options: Options, directory: Path) -> BroadcastFigures:
    extent = ["--outage", "100" if options.quick else "500"]
    return _measure_script(_BROADCAST, extent, BroadcastFigures, directory)


def _measure_client(options: Options, directory: Path) -> ClientFigures:
    extent = ["--seconds", "6"] if options.quick else ["--seconds", "40", "--others"]
    return _measure_script(_CLIENT, extent, ClientFigures, directory)


def _print_lines(console: Console, lines: Iterable[object]) -> None:
    for line in lines:
        console.print(str(line), highlight=False, markup=False)


def _run(options: Options, shown: str, console: Console, directory: Path) -> bool:
    """Measure what is asked for, print and write it; return whether every bar is met."""
    cores = os.sched_getaffinity(0)
    machine = describe_machine(find_nginx())
    _print_lines(console, machine)
    report, broadcast, client, samples = None, None, None, list[Sample]()
    if options.servers:
        report, samples = _measure_servers(options, directory, console)
        os.sched_setaffinity(0, cores)
        for sheet in report.sheets():
            print_sheet(console, sheet)
        _print_lines(console, [*report.notes(), *report.warnings()])
    if options.broadcast:
        broadcast = _measure_broadcast(options, directory)
        print_sheet(console, broadcast.sheet())
    if options.client:
        client = _measure_client(options, directory)
        print_sheet(console, client.sheet())
    verdicts = [verdict for part in (report, broadcast, client) if part for verdict in part.verdicts()]
    _print_lines(console, verdicts)
    if options.json:
        rows = [asdict(verdict) | {"met": verdict.met} for verdict in verdicts]
        document = {"machine": machine, "samples": samples, "broadcast": broadcast, "client": client, "verdicts": rows}
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    if options.write:
        text = encode_results(report, broadcast, client, machine=machine, options=shown)
        (_HERE / "RESULTS.md").write_text(text)
    return not (report and report.complaints) and all(verdict.met for verdict in verdicts)


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def main() -> int:
    """Run the benchmark; see the module's text for the exit status."""
    options, shown = _parse_options()
    signal.signal(signal.SIGTERM, _end)
    console = Console(width=_WIDTH)
    try:
        with tempfile.TemporaryDirectory(prefix="openrouter-bench-") as directory:
            return 0 if _run(options, shown, console, Path(directory)) else 1
    except (ServerError, MeasurementError) as error:
        console.print(f"not measured: {error}", markup=False, highlight=False, style="red")
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    raise SystemExit(main())
