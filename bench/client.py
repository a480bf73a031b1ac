"""Measures the CPU time that `ChatOpenRouter` adds to LangChain and to its HTTP library.

Compared in interleaved rounds, by medians, each subject a process of its own, against a fast fake server:
* floor: a `BaseChatModel` that builds the same messages and does no I/O, which no integration can beat;
* raw: `httpx2` sending the same request and reading the same bytes, unparsed;
* ours, and its ratio to floor + raw;
* with `--others`, `ChatOpenAI` and the existing `langchain-openrouter`, installed into an environment of their own
  from `others/requirements.lock`.

Start-up is the CPU of a new process that imports langchain-core (the floor) and a client, makes a model and gets a
first answer.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
sys.path.append(str(_HERE.parent / "tests"))

from conformance.environments import Environment  # noqa: E402 - the tests' way to make an environment of a lock

EVENTS = 200
"""Content events per stream."""

ROUNDS = 7
METRICS = {"invoke": 1, "ainvoke": 1, "stream": EVENTS, "astream": EVENTS}
"""What is measured, and the units in one run of it: calls, or streamed chunks."""

LABELS = {
    "invoke": "per invoke",
    "ainvoke": "per ainvoke",
    "stream": "per streamed chunk",
    "astream": "per chunk, async",
    "construct": "one more model",
    "startup": "start to first answer",
}
OWN = ("floor", "raw", "ours")
OTHERS = ("chat-openai", "existing")
_CORE = "import langchain_core.language_models.chat_models, langchain_core.messages"
_IMPORTS = {
    "ours": "from langchain_openrouter import ChatOpenRouter as Model",
    "existing": "from langchain_openrouter import ChatOpenRouter as Model",
    "chat-openai": "from langchain_openai import ChatOpenAI as Model",
}
_FIRST_CALL = "Model(model='acme/one', base_url={url!r}, api_key='key').invoke('Say a word')"
_PRINT_CPU = "import time; print(time.process_time())"


class Subject:
    """A running subject."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, metric: str, times: int) -> float:
        """Return the CPU seconds of so many runs (of `sockets`: how many are open after making so many models)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{metric} {times}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextmanager
def fake_server() -> Generator[str]:
    """Run the fake server as a process; give its base URL."""
    command = [sys.executable, str(_HERE / "client_server.py"), str(EVENTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/api/v1"
        finally:
            process.stdin.close()


@contextmanager
def running_subject(python: str, name: str, url: str) -> Generator[Subject]:
    """Run one subject."""
    command = [python, str(_HERE / "client_subject.py"), name, url, str(EVENTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            yield Subject(process)
        finally:
            process.stdin.close()


Samples = dict[str, dict[str, list[float]]]
"""Figures of the rounds by metric and subject."""


def measure_calls(subjects: Mapping[str, Subject], seconds: float) -> Samples:
    """Return microseconds of CPU per unit."""
    pairs = [(metric, name) for metric in METRICS for name in subjects]
    share = seconds / len(pairs) / ROUNDS
    times: dict[tuple[str, str], int] = {}
    for metric, name in pairs:
        subjects[name].ask(metric, 3)
        times[metric, name] = max(3, int(share / max(subjects[name].ask(metric, 5) / 5, 1e-6)))
    samples: Samples = {metric: {name: [] for name in subjects} for metric in METRICS}
    for _ in range(ROUNDS):
        for metric, name in pairs:
            count = times[metric, name]
            samples[metric][name].append(subjects[name].ask(metric, count) / count / METRICS[metric] * 1e6)
    return samples


def measure_startup(pythons: Mapping[str, str], url: str) -> dict[str, list[float]]:
    """Return microseconds of CPU of a new process that makes its first call.

    The process of ours imports langchain-core first and says what that took, which is the floor: between two processes
    the machine changes more than we add.
    """
    clients = [name for name in pythons if name in _IMPORTS]
    samples: dict[str, list[float]] = {name: [] for name in ["floor", *clients]}
    for _ in range(ROUNDS):
        for name in clients:
            steps = [_IMPORTS[name], _FIRST_CALL.format(url=url), _PRINT_CPU]
            if name == "ours":
                steps = [_CORE, _PRINT_CPU, *steps]
            command = [pythons[name], "-c", "\n".join(steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
            *floor, total = (float(line) * 1e6 for line in done.stdout.split())
            samples["floor"] += floor
            samples[name].append(total)
    return samples


def measure_construction(subjects: Mapping[str, Subject]) -> dict[str, list[float]]:
    """Return microseconds of CPU for one more model."""
    samples: dict[str, list[float]] = {name: [] for name in subjects if name != "raw"}
    for _ in range(ROUNDS):
        for name, values in samples.items():
            values.append(subjects[name].ask("construct", 50) / 50 * 1e6)
    return samples


def measure(url: str, pythons: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """Return every figure: medians, and ours against the floor (and raw, for calls) round by round."""
    with ExitStack() as stack:
        subjects = {name: stack.enter_context(running_subject(python, name, url)) for name, python in pythons.items()}
        samples = measure_calls(subjects, seconds)
        samples["construct"] = measure_construction(subjects)
        sockets = subjects["ours"].ask("sockets", 0), subjects["ours"].ask("sockets", 100)
    samples["startup"] = measure_startup(pythons, url)
    return {
        "python": platform.python_version(),
        "events": EVENTS,
        "cpu_us": {
            metric: {name: statistics.median(values) for name, values in row.items()} for metric, row in samples.items()
        },
        "ratios": {metric: ratios_of(row) for metric, row in samples.items() if metric != "construct"},
        "sockets_of_100_models": int(sockets[1] - sockets[0]),
    }


def ratios_of(row: Mapping[str, list[float]]) -> list[float]:
    """Return ours / (floor + raw) of each round, so that what slows the whole machine for a while cancels out."""
    base = [sum(values) for values in zip(*(row[name] for name in ("floor", "raw") if name in row), strict=True)]
    return [ours / below for ours, below in zip(row["ours"], base, strict=True)]


def pythons_of(names: tuple[str, ...]) -> dict[str, str]:
    """Return the interpreter of each subject; make the others' environment if one of them is asked for."""
    pythons: dict[str, str] = dict.fromkeys(OWN, sys.executable)
    others = [name for name in names if name in OTHERS]
    if others:
        environment = Environment(
            name="bench-others", script=_HERE / "client_subject.py", lock=_HERE / "others" / "requirements.lock"
        )
        environment.ensure(lambda line: print(line, file=sys.stderr))
        pythons |= {name: str(environment.python) for name in others}
    return pythons


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    table = figures["cpu_us"]
    names = list(table["invoke"])
    print(f"Python {figures['python']}, {platform.machine()}; CPU in us, {EVENTS} chunks per stream")
    print(f"{'':24}" + "".join(f"{name:>13}" for name in [*names, "ratio"]))
    for metric, row in table.items():
        values = "".join(f"{row[name]:13.1f}" if name in row else f"{'-':>13}" for name in names)
        ratios = figures["ratios"].get(metric)
        print(f"{LABELS[metric]:24}{values}" + (f"{statistics.median(ratios):13.2f}" if ratios else ""))
    print("ratio = ours / (floor + raw); the floor of a first answer is importing langchain-core")
    print(f"Sockets opened by making 100 models: {figures['sockets_of_100_models']}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU cost of ChatOpenRouter")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--others", action="store_true", help="measure other clients too, in their own environment")
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds to spend on calls, about (at most 50)")
    options = parser.parse_args()
    pythons = pythons_of(OTHERS if options.others else ())
    with fake_server() as url:
        figures = measure(url, pythons, min(options.seconds, 50.0))
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
