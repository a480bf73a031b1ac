"""What a key's limits cost a request in CPU: look-up, reservation and settlement, with the state in memory.

Run it with the interpreter of `.venv`; it takes a few seconds and prints microseconds per request.
"""

import asyncio
import statistics
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from openrouter_gateway.accounting.budget import estimate
from openrouter_gateway.core.account import Key, Rates
from openrouter_gateway.core.catalog import Endpoint, Price, Provider
from openrouter_gateway.core.generation import Generation
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.stores.accountant import Accountant
from openrouter_gateway.stores.accounts import Accounts
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.state_memory import MemoryState
from openrouter_gateway.wire.skins import chat

REQUESTS = 20_000
ROUNDS = 5
REQUEST = chat.parse(b'{"model":"a/one","max_tokens":100,"messages":[{"role":"user","content":"%s"}]}' % (b"x" * 800))
ENDPOINT = Endpoint(
    model_id="a/one",
    provider=Provider(slug="acme", name="Acme", protocol="openai"),
    upstream_id="one",
    tag="acme",
    price=Price(prompt=Decimal("0.000003"), completion=Decimal("0.000015")),
)
GENERATION = Generation(
    id="gen-0",
    created=time.time(),
    ending="finished",
    requested_models=["a/one"],
    model="a/one",
    provider="acme",
    streamed=False,
    usage=Usage(prompt_tokens=200, completion_tokens=100, total_tokens=300),
    cost=Cost(prompt=Decimal("0.000615"), completion=Decimal("0.001485")),
    finish_reason="stop",
    native_finish_reason="stop",
    error_type=None,
    status=200,
    attempts=[],
    latency_s=0.1,
    duration_s=0.5,
)


async def measure(directory: Path) -> list[float]:
    """Return microseconds per request, one figure per round."""
    url = f"sqlite:///{directory}/ledger.db"
    database, ledger = Database(url), Ledger(url, directory / "journal")
    await database.open()
    await ledger.start()
    accounts = Accounts(database)
    await accounts.open(poll=False)
    accountant = Accountant(accounts, MemoryState(), ledger)
    rates = Rates(requests_per_minute=10**9, tokens_per_minute=10**12, concurrent_requests=100)
    wanted = Key(hash="", label="", name="bench", created_at=0, limit=Decimal(10**6), limit_reset="daily", rates=rates)
    secret = (await accounts.create(wanted)).secret
    figures: list[float] = []
    for turn in range(ROUNDS + 1):
        now = time.time()
        began = time.process_time()
        for number in range(REQUESTS):
            grant = accountant.admit(secret)
            claim = await accountant.reserve(grant, f"gen-{number}", estimate(REQUEST, (ENDPOINT,)), now)
            assert claim is not None
            accountant.settle(claim, GENERATION)
        if turn:  # the first one warms up
            figures.append((time.process_time() - began) / REQUESTS * 1e6)
    await ledger.close()
    await database.close()
    return figures


def main() -> None:
    """Print the median and the range."""
    with tempfile.TemporaryDirectory() as directory:
        figures = asyncio.run(measure(Path(directory)))
    low, median, high = min(figures), statistics.median(figures), max(figures)
    print(f"look-up, estimate, reserve, settle: {median:.1f} us per request ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
