"""A process that records generations until it is told to stop, or killed. Run by the ledger's tests.

Arguments: URL, journal directory, first number, how many (0: until killed), and what else: `abrupt` ends without
closing the ledger. Prints `ready`, then each number when `record` has returned for it.
"""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ledger_samples import make_generation

from openrouter_gateway.stores.ledger import Ledger


async def main(url: str, journal: str, first: int, count: int, *, abrupt: bool) -> None:
    """Record."""
    ledger = Ledger(url, Path(journal))
    await ledger.start()
    os.write(1, b"ready\n")
    number = first
    while not count or number < first + count:
        ledger.record(make_generation(number))
        os.write(1, b"%d\n" % number)
        number += 1
        await asyncio.sleep(0)
    if abrupt:
        os._exit(0)
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), abrupt="abrupt" in sys.argv[5:]))
