"""A process that calls with a key, run by the accounts' tests.

Arguments: database URL, Redis URL, journal directory, key, how many calls of a cent at once; prints how many were let
in. With -1 it takes two reservations of a cent, records one of the generations without settling it, prints `holding`,
and waits to be killed.
"""

import asyncio
import os
import sys
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ledger_samples import CREATED_S, make_generation

from openrouter_gateway.core.account import Estimate
from openrouter_gateway.core.usage import Cost
from openrouter_gateway.errors import PaymentRequired
from openrouter_gateway.stores.accountant import Accountant
from openrouter_gateway.stores.accounts import Accounts
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.state_redis import RedisState

CENT = Decimal("0.01")


async def main(url: str, redis: str, journal: str, secret: str, count: int) -> None:
    """Call."""
    database, ledger, state = Database(url), Ledger(url, Path(journal)), RedisState(redis)
    accounts = Accounts(database)
    accountant = Accountant(accounts, state, ledger)
    await database.open()
    await ledger.start()
    await state.open()
    await accounts.open()
    await accountant.start()
    grant = accountant.admit(secret)

    if count < 0:
        for name in ("recorded", "unrecorded"):
            await accountant.reserve(grant, f"gen-{name}", Estimate(CENT, 1), CREATED_S)
        ledger.record(make_generation(0, id="gen-recorded", cost=Cost(prompt=CENT), key_hash=grant.key_hash))
        os.write(1, b"holding\n")
        await asyncio.sleep(600)

    async def call(number: int) -> bool:
        name = f"gen-{os.getpid()}-{number}"
        try:
            claim = await accountant.reserve(grant, name, Estimate(CENT, 10), CREATED_S)
        except PaymentRequired:
            return False
        assert claim is not None
        await asyncio.sleep(0.002)
        generation = make_generation(0, id=name, cost=Cost(prompt=CENT), key_hash=grant.key_hash)
        ledger.record(generation)
        accountant.settle(claim, generation)
        return True

    succeeded = sum(await asyncio.gather(*(call(number) for number in range(count))))
    await accountant.close()
    await accounts.close()
    await ledger.close()
    await state.close()
    await database.close()
    os.write(1, b"%d\n" % succeeded)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5], int(sys.argv[5])))
