"""A process whose files may not grow for a while. Run by the ledger's tests, because the limit is a process's.

Arguments: URL, journal directory. Prints what it sees, one line each.
"""

import asyncio
import logging
import os
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ledger_samples import make_generation

from openrouter_gateway.stores.ledger import Ledger

_MEMORY_BYTES = 20_000


def say(*values: object) -> None:
    """Write a line: to a pipe, which is no file that could not grow."""
    os.write(1, " ".join(map(str, values)).encode() + b"\n")


async def main(url: str, journal: str) -> None:
    """Fill the disk while generations end, and make room again."""
    ledger = Ledger(url, Path(journal), max_memory_bytes=_MEMORY_BYTES)
    await ledger.start()
    ledger.record(make_generation(0))
    await ledger.flush()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        ledger.record(make_generation(1))
        say("ready with one in memory:", ledger.why_not_ready())
        number = 2
        while ledger.why_not_ready() is None and number < 1_000:
            ledger.record(make_generation(number))
            number += 1
        say("then:", ledger.why_not_ready())
        held = number
        await asyncio.sleep(0.5)  # the writer tries, and fails where the database is on the same disk
        while not ledger.lost and number < 1_000:
            ledger.record(make_generation(number))
            number += 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await ledger.flush()
    say("recorded", ledger.recorded, "lost", ledger.lost, "held", held)
    ledger.record(make_generation(number))
    await ledger.flush()
    say("in the end:", ledger.why_not_ready())
    costs = await ledger.costs()
    say("costs", *costs.values())
    await ledger.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    asyncio.run(main(sys.argv[1], sys.argv[2]))
