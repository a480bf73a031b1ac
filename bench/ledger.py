"""Measure what the ledger costs: `python bench/ledger.py [--url URL]`.

Two figures, as CPU time of this process: `record`, on the way of every request, and the writer's work per row,
in a process that does nothing else. With PostgreSQL the server's own work is not in them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from generations import make_generation
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.lines import decode_line, encode_line
from openrouter_gateway.stores.rows import to_row

_ROUNDS = 7
_RECORDS = 4_000
_PER_TICK = 500
"""Records between two runs of the writer: at its interval of 250 ms, 2,000 requests per second."""


class _Clock:
    """CPU time of this process in microseconds per record, over rounds."""

    def __init__(self) -> None:
        self._rounds: dict[str, list[float]] = {}

    def measure(self, name: str, work: Callable[[], object], records: int) -> None:
        began = time.process_time()
        work()
        self.note(name, time.process_time() - began, records)

    def note(self, name: str, seconds: float, records: int) -> None:
        self._rounds.setdefault(name, []).append(seconds / records * 1e6)

    def show(self) -> None:
        for name, rounds in self._rounds.items():
            print(f"{name:<48} {statistics.median(rounds):7.2f} us  (best {min(rounds):.2f})")


async def _measure(url: str, journal: Path) -> None:
    ledger = Ledger(url, journal)
    await ledger.start()
    clock = _Clock()
    for round_number in range(_ROUNDS):
        first = round_number * _RECORDS
        generations = [make_generation(number) for number in range(first, first + _RECORDS)]
        gc.collect()
        gc.disable()
        lines = [encode_line(generation)[1] for generation in generations]
        clock.measure("encoding a line", lambda made=generations: [encode_line(one) for one in made], _RECORDS)
        clock.measure("making a row", lambda made=generations: [to_row(one) for one in made], _RECORDS)
        clock.measure("reading a line back (replay)", lambda made=lines: [decode_line(one) for one in made], _RECORDS)
        recording_s = writing_s = 0.0
        for start in range(0, _RECORDS, _PER_TICK):
            began = time.process_time()
            for generation in generations[start : start + _PER_TICK]:
                ledger.record(generation)
            recorded = time.process_time()
            await ledger.flush()
            recording_s += recorded - began
            writing_s += time.process_time() - recorded
        clock.note("record: encoding, journal, queue", recording_s, _RECORDS)
        clock.note(f"writer, per row in batches of {_PER_TICK}", writing_s, _RECORDS)
        gc.enable()
    await ledger.close()
    size = len(encode_line(make_generation(0))[1])
    print(f"{ledger!r}\nmedian of {_ROUNDS} rounds of {_RECORDS:,} records; lines of {size:,} bytes")
    clock.show()


def main() -> None:
    """Measure with a new SQLite file, or with the database that is named, which is written to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="database to write to (default: a SQLite file in a temporary directory)")
    url: str | None = parser.parse_args().url
    with tempfile.TemporaryDirectory(prefix="ledger-") as directory:
        asyncio.run(_measure(url or f"sqlite:///{directory}/ledger.db", Path(directory) / "journal"))


if __name__ == "__main__":
    main()
