"""Keys and credits in the database, and what the accountant makes of them."""

import asyncio
import contextlib
import datetime as dt
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import CREATED_S, make_generation
from redis_server import RedisServer, new_server
from store_servers import postgres

from openrouter_gateway.accounting.authorize import Grant, hash_key, mask_key
from openrouter_gateway.core.account import Estimate, Key, Rates
from openrouter_gateway.core.usage import Cost
from openrouter_gateway.errors import InferenceOnly, PaymentRequired, RateLimited, Unauthenticated
from openrouter_gateway.stores.accountant import Accountant, _charged
from openrouter_gateway.stores.accounts import Accounts, NewKey
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.state import Claim, SharedState, StateUnavailable, to_usd
from openrouter_gateway.stores.state_memory import MemoryState
from openrouter_gateway.stores.state_redis import RedisState

CENT = Decimal("0.01")


def wanted(**fields: Any) -> Key:
    """Return the attributes of a key to make."""
    return Key(**({"hash": "", "label": "", "name": "one", "created_at": 0.0} | fields))


async def eventually(condition: Callable[[], bool], *, within_s: float) -> None:
    """Fail unless it comes true in time."""
    for _ in range(round(within_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come true in time")


@pytest.fixture
async def accounts(database: Database) -> AsyncIterator[Accounts]:
    accounts = Accounts(database, clock=lambda: CREATED_S)
    await accounts.open(poll=False)
    yield accounts
    await accounts.close()


class TestAccounts:
    """The store, on both databases."""

    async def test_a_key_is_kept_as_its_hash(self, database: Database, accounts: Accounts) -> None:
        """All attributes come back, also in another process."""
        assert not accounts.has_keys
        rates = Rates(requests_per_minute=1, tokens_per_minute=2, concurrent_requests=3)
        made = await accounts.create(
            wanted(
                limit=Decimal("1.000000000000000001"),
                limit_reset="weekly",
                expires_at=CREATED_S + 1,
                management=True,
                include_byok_in_limit=True,
                rates=rates,
            )
        )
        assert made.secret.startswith("sk-or-v1-")
        assert len(made.secret) == len("sk-or-v1-") + 64
        assert made.key.hash == hash_key(made.secret)
        assert made.key.label == mask_key(made.secret) == f"sk-or-v1-{made.secret[9:12]}...{made.secret[-4:]}"
        assert made.secret not in repr(made)

        other = Accounts(database)
        await other.open(poll=False)
        assert dict(other.keys) == {made.key.hash: made.key} == dict(accounts.keys)
        assert made.key.rates == rates

    async def test_changes(self, accounts: Accounts) -> None:
        made = await accounts.create(wanted(limit=Decimal(1)))
        changed = await accounts.change(made.key.hash, {"limit": None, "disabled": True})
        assert changed is not None
        assert changed == accounts.keys[made.key.hash]
        assert (changed.limit, changed.disabled, changed.name) == (None, True, "one")
        assert changed.updated_at == CREATED_S
        assert await accounts.change("0" * 64, {"disabled": True}) is None

    async def test_a_deleted_key_is_gone_and_remembered(self, database: Database, accounts: Accounts) -> None:
        """The gateway does not become open to everyone when its last key goes."""
        made = await accounts.create(wanted())
        assert await accounts.delete(made.key.hash)
        assert not await accounts.delete(made.key.hash)
        assert await accounts.change(made.key.hash, {"disabled": False}) is None
        for each in (accounts, Accounts(database)):
            await each.refresh()
            assert (dict(each.keys), each.has_keys, each.hashes) == ({}, True, {made.key.hash})

    async def test_credits_add_up(self, accounts: Accounts) -> None:
        """None until the first, which is not the same as nothing."""
        assert accounts.credits is None
        assert await accounts.add_credits(Decimal("0.1")) == Decimal("0.1")
        assert await accounts.add_credits(Decimal("0.2"), "more") == Decimal("0.3")
        assert await accounts.add_credits(Decimal("-0.3")) == 0
        assert accounts.credits == 0

    async def test_other_processes_see_changes(self, url: str, accounts: Accounts) -> None:
        """Within the poll's interval: a revoked key stops working."""
        made = await accounts.create(wanted())
        database = Database(url)
        await database.open()
        other = Accounts(database)
        await other.open()
        assert made.key.hash in other.keys
        await accounts.delete(made.key.hash)
        await eventually(lambda: made.key.hash not in other.keys, within_s=2)
        await other.close()
        await database.close()

    async def test_many_changes_at_once(self, database: Database, accounts: Accounts) -> None:
        """None is missed by a reader that looks all the time."""
        other = Accounts(database)

        async def look() -> None:
            while len(other.keys) < 24:
                await other.refresh()

        makers = [accounts.create(wanted(name=str(number))) for number in range(24)]
        async with asyncio.timeout(20):
            await asyncio.gather(look(), *makers)
        assert dict(other.keys) == dict(accounts.keys)


class Setup:
    """One process: a store, a ledger, a state, a key."""

    def __init__(self, url: str, journal: Path, state: SharedState) -> None:
        self._database = Database(url)
        self.state = state
        self.ledger = Ledger(url, journal, clock=lambda: CREATED_S)
        self.now = CREATED_S
        self.accounts = Accounts(self._database, clock=lambda: self.now)
        self.accountant = Accountant(self.accounts, state, self.ledger, clock=lambda: self.now)
        self._numbers = iter(range(10**9))

    async def open(self) -> None:
        await self._database.open()
        await self.ledger.start()
        await self.state.open()
        await self.accounts.open(poll=False)
        await self.accountant.start()

    async def close(self) -> None:
        await self.accountant.close()
        await self.accounts.close()
        await self.ledger.close()
        await self.state.close()
        await self._database.close()

    async def make(self, **fields: Any) -> NewKey:
        return await self.accounts.create(wanted(**fields))

    async def call(self, made: NewKey, *, cost: Decimal = CENT, estimate: Decimal = CENT, prefix: str = "") -> None:
        """Serve one generation, as the gateway does: reserve, record, settle."""
        grant = self.accountant.admit(made.secret)
        name = f"gen-{prefix}{next(self._numbers)}"
        claim = await self.accountant.reserve(grant, name, Estimate(estimate, 10), self.now)
        assert claim is not None
        await asyncio.sleep(0)
        self.end(claim, cost=cost)

    def end(self, claim: Claim, *, cost: Decimal = CENT) -> None:
        """End what was reserved."""
        generation = make_generation(0, id=claim.id, created=self.now, cost=Cost(prompt=cost), key_hash=claim.key)
        self.ledger.record(generation)
        self.accountant.settle(claim, generation)

    async def used(self, made: NewKey) -> Decimal:
        """Return the ledger's sum."""
        await self.ledger.flush()
        return (await self.ledger.costs(key_hash=made.key.hash)).get(made.key.hash, Decimal(0))


@pytest.fixture(params=["memory", "redis"])
async def setup(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Setup]:
    with contextlib.ExitStack() as stack:
        state: SharedState = MemoryState()
        if request.param == "redis":
            server = new_server()
            stack.callback(server.remove)
            state = RedisState(server.url)
        setup = Setup(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "journal", state)
        await setup.open()
        yield setup
        await setup.close()


async def settled(setup: Setup) -> None:
    """Wait until nothing is reserved any more."""
    await eventually(lambda: "settling=0" in repr(setup.accountant), within_s=5)


class TestAdmission:
    """Who is let in."""

    async def test_before_there_is_a_key(self, setup: Setup) -> None:
        assert setup.accountant.admit(None) == Grant()

    async def test_keys(self, setup: Setup) -> None:
        """Unknown, disabled and expired ones are refused, and management keys for inference."""
        made = await setup.make(expires_at=CREATED_S + 1)
        assert setup.accountant.admit(made.secret) == Grant(key_hash=made.key.hash, key=made.key)
        for wrong in (None, "", "sk-or-v1-" + "0" * 64, made.key.hash):
            with pytest.raises(Unauthenticated):
                setup.accountant.admit(wrong)
        setup.now += 1
        with pytest.raises(Unauthenticated, match="expired"):
            setup.accountant.admit(made.secret)
        disabled = await setup.make()
        await setup.accounts.change(disabled.key.hash, {"disabled": True})
        with pytest.raises(Unauthenticated, match="disabled"):
            setup.accountant.admit(disabled.secret)
        manager = await setup.make(management=True)
        with pytest.raises(InferenceOnly):
            setup.accountant.admit(manager.secret)
        assert setup.accountant.identify(manager.secret).key == manager.key

    async def test_keys_of_the_configuration(self, setup: Setup) -> None:
        """They work beside the store's, without limits."""
        accountant = Accountant(
            setup.accounts, setup.state, setup.ledger, configured=frozenset({hash_key("config")}), clock=lambda: 0
        )
        grant = accountant.admit("config")
        assert grant == Grant(key_hash=hash_key("config"))
        assert await accountant.reserve(grant, "gen-1", Estimate(Decimal(10**9), 1), 0) is None
        with pytest.raises(Unauthenticated):
            accountant.admit(None)

    async def test_a_body_may_take_longer_than_its_key_lives(self, setup: Setup) -> None:
        """What a grant has become is asked again once the body is there."""
        stranger = setup.accountant.admit(None)
        assert setup.accountant.admit_again(stranger) == Grant()
        made = await setup.make()
        with pytest.raises(Unauthenticated, match="Missing"):
            setup.accountant.admit_again(stranger)
        grant = setup.accountant.admit(made.secret)
        assert setup.accountant.admit_again(grant) == grant
        changed = await setup.accounts.change(made.key.hash, {"limit": Decimal(1)})
        assert setup.accountant.admit_again(grant) == Grant(key_hash=made.key.hash, key=changed)
        await setup.accounts.change(made.key.hash, {"disabled": True})
        with pytest.raises(Unauthenticated, match="disabled"):
            setup.accountant.admit_again(grant)
        await setup.accounts.delete(made.key.hash)
        with pytest.raises(Unauthenticated, match="not one of"):
            setup.accountant.admit_again(grant)

    async def test_a_key_can_be_required_from_the_start(self, setup: Setup) -> None:
        accountant = Accountant(setup.accounts, setup.state, setup.ledger, required=True)
        with pytest.raises(Unauthenticated):
            accountant.admit(None)


class TestLimits:
    """Budgets and rates of keys."""

    async def test_a_thousand_at_once(self, setup: Setup) -> None:
        """A dollar is a hundred calls of a cent; the ledger and the key agree to the last digit."""
        made = await setup.make(limit=Decimal(1))
        results = await asyncio.gather(*(setup.call(made) for _ in range(1000)), return_exceptions=True)
        await settled(setup)

        assert {type(result) for result in results} == {type(None), PaymentRequired}
        assert sum(result is None for result in results) == 100
        assert await setup.used(made) == Decimal(1)
        with pytest.raises(PaymentRequired, match=r": 1 USD of this key's limit of 1 are used$"):
            await setup.call(made)

    @pytest.mark.parametrize("cost", ["0.01", "0.4", "0.5"])
    async def test_no_more_than_one_estimate_is_overspent(self, setup: Setup, cost: str) -> None:
        """However many run side by side, as long as none costs more than its estimate; one alone may always run."""
        made = await setup.make(limit=Decimal("0.3"))
        for _ in range(50):
            calls = [setup.call(made, cost=Decimal(cost), estimate=Decimal("0.5")) for _ in range(40)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            await settled(setup)
            if None not in results:
                break
        assert {type(result) for result in results} == {PaymentRequired}
        assert Decimal("0.3") <= await setup.used(made) < Decimal("0.3") + Decimal("0.5")

    @pytest.mark.parametrize("tokens", [2**53, 2**63, 10**300], ids=["2**53", "2**63", "10**300"])
    async def test_an_estimate_beyond_all_measure(self, setup: Setup, tokens: int) -> None:
        """It is served while it is alone, and leaves nothing behind: no slot, no tokens, nothing reserved."""
        rates = Rates(concurrent_requests=1, tokens_per_minute=1_000)
        made = await setup.make(limit=Decimal(1), rates=rates)
        grant = setup.accountant.admit(made.secret)
        for name in ("gen-a", "gen-b"):
            claim = await setup.accountant.reserve(grant, name, Estimate(Decimal(tokens), tokens), CREATED_S)
            assert claim is not None
            with pytest.raises(PaymentRequired, match="reserved"):
                await setup.call(made)
            setup.end(claim)
            await settled(setup)
        assert await setup.used(made) == 2 * CENT

    async def test_a_restart_goes_on_from_the_ledger(self, setup: Setup, tmp_path: Path) -> None:
        """What was used before counts, to the last digit."""
        made = await setup.make(limit=Decimal("0.02"))
        await setup.call(made, cost=Decimal("0.019999999999999999"))
        await setup.ledger.flush()
        again = Accountant(setup.accounts, MemoryState(), setup.ledger, clock=lambda: CREATED_S)
        grant = again.admit(made.secret)
        assert await again.reserve(grant, "gen-x", Estimate(Decimal(0), 1), CREATED_S) is not None
        await setup.call(made, cost=Decimal("0.000000000000000001"))
        await setup.ledger.flush()
        again = Accountant(setup.accounts, MemoryState(), setup.ledger, clock=lambda: CREATED_S)
        with pytest.raises(PaymentRequired):
            await again.reserve(grant, "gen-y", Estimate(Decimal(0), 1), CREATED_S)

    async def test_a_limit_starts_anew(self, setup: Setup) -> None:
        made = await setup.make(limit=CENT, limit_reset="daily")
        await setup.call(made)
        await settled(setup)
        with pytest.raises(PaymentRequired, match="daily limit"):
            await setup.call(made)
        setup.now += 86_400
        await setup.call(made)

    @pytest.mark.parametrize(
        ("limit", "used", "said"),
        [
            ("0", "0", "0 USD of this key's limit of 0 are"),
            ("0.000000000000000001", "0.000000000000000001", "0.000000000000000001 USD of this key's limit of 0.00"),
            ("1E+1", "10.50", "10.5 USD of this key's limit of 10 are"),
        ],
    )
    async def test_money_is_said_plainly(self, setup: Setup, limit: str, used: str, said: str) -> None:
        """As people write it: no exponents, no zeros at the end."""
        made = await setup.make(limit=Decimal(limit))
        if Decimal(used):
            await setup.call(made, cost=Decimal(used))
            await settled(setup)
        with pytest.raises(PaymentRequired) as caught:
            await setup.call(made)
        assert f"Key limit exceeded: {said}" in caught.value.message

    async def test_what_runs_is_said_to_run(self, setup: Setup) -> None:
        made = await setup.make(limit=CENT)
        grant = setup.accountant.admit(made.secret)
        claim = await setup.accountant.reserve(grant, "gen-r", Estimate(CENT, 1), setup.now)
        assert claim is not None
        with pytest.raises(PaymentRequired, match="reserved for running requests"):
            await setup.call(made)
        setup.end(claim, cost=Decimal(0))
        await settled(setup)
        await setup.call(made)

    async def test_credits_are_shared(self, setup: Setup) -> None:
        """By all keys, once any were paid in; also what was used before counts."""
        first, second = await setup.make(), await setup.make()
        await setup.call(first)
        await settled(setup)
        await setup.accounts.add_credits(Decimal("0.02"))
        await setup.call(second)
        await settled(setup)
        for made in (first, second):
            with pytest.raises(PaymentRequired, match="Insufficient credits"):
                await setup.call(made)
        await setup.accounts.add_credits(CENT)
        await setup.call(first)
        assert await setup.accountant.total_usage() <= Decimal("0.03")
        await setup.ledger.flush()
        assert await setup.accountant.total_usage() == Decimal("0.03")

    async def test_a_changed_limit_holds_at_once(self, setup: Setup) -> None:
        made = await setup.make()
        await setup.call(made)
        await settled(setup)
        await setup.accounts.change(made.key.hash, {"limit": CENT})
        with pytest.raises(PaymentRequired):
            await setup.call(made)

    @pytest.mark.parametrize("later", [0, 0.4999, 30.2, 59.4, 59.5, 60.4])
    async def test_nobody_waits_for_more_than_a_minute(self, setup: Setup, later: float) -> None:
        """Nor for less than it takes, but for the last part of a second."""
        made = await setup.make(rates=Rates(requests_per_minute=1))
        await setup.call(made)
        await settled(setup)
        setup.now += later
        with pytest.raises(RateLimited) as caught:
            await setup.call(made)
        wait = caught.value.retry_after_s
        assert wait is not None
        assert 1 <= wait <= 60
        setup.now += wait + 0.5
        await setup.call(made)

    @pytest.mark.parametrize("rate", ["requests_per_minute", "tokens_per_minute", "concurrent_requests"])
    async def test_rates(self, setup: Setup, rate: str) -> None:
        """The answer says when to come again."""
        made = await setup.make(rates=Rates(**{rate: 1}))
        grant = setup.accountant.admit(made.secret)
        claim = await setup.accountant.reserve(grant, "gen-r", Estimate(CENT, 10), setup.now)
        with pytest.raises(RateLimited) as caught:
            await setup.accountant.reserve(grant, "gen-s", Estimate(CENT, 10), setup.now)
        headers = dict(caught.value.headers())
        wait = 1 if rate == "concurrent_requests" else 61
        assert int(headers[b"retry-after"]) == min(wait, 60)
        assert headers[b"x-ratelimit-limit"] == b"1"
        assert headers[b"x-ratelimit-remaining"] == b"0"
        assert int(headers[b"x-ratelimit-reset"]) / 1000 == pytest.approx(CREATED_S + wait, abs=1)
        assert claim is not None
        setup.end(claim, cost=Decimal(0))

    @pytest.mark.parametrize("written", [False, True], ids=["still waiting for the database", "in the database"])
    @pytest.mark.parametrize("seeded", [False, True], ids=["no seed yet", "seeded without it"])
    async def test_a_server_that_has_lost_everything(self, tmp_path: Path, written: bool, seeded: bool) -> None:
        """What ran over it is charged once, so that a used-up key does not go on; and its ledger agrees."""
        server = new_server()
        setup = Setup(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "journal", RedisState(server.url))
        await setup.open()
        made = await setup.make(limit=4 * CENT)
        await setup.call(made)
        await settled(setup)
        grant = setup.accountant.admit(made.secret)
        claim = await setup.accountant.reserve(grant, "gen-r", Estimate(CENT, 1), setup.now)
        assert claim is not None
        server.stop()
        server.start()
        await setup.accountant._beat()  # notices that its connection has ended
        if seeded:
            await setup.call(made)
        if written:
            server.stop()
        setup.end(claim, cost=2 * CENT)
        if written:
            await setup.ledger.flush()
            server.start()
            await setup.accountant._beat()
        if not seeded:
            await setup.call(made)
        await settled(setup)
        assert await setup.used(made) == 4 * CENT
        with pytest.raises(PaymentRequired, match=r": 0\.04 USD of this key's limit of 0\.04 are used$"):
            await setup.call(made)
        await setup.close()
        server.remove()

    async def test_a_server_that_is_gone(self, tmp_path: Path) -> None:
        """Keys with limits wait for it, others do not, and what ran meanwhile is settled when it is back."""
        server = new_server()
        setup = Setup(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "journal", RedisState(server.url))
        await setup.open()
        limited, free = await setup.make(limit=Decimal(1)), await setup.make()
        await setup.call(limited)
        await settled(setup)
        server.stop()
        with pytest.raises(StateUnavailable):
            await setup.call(limited)
        grant = setup.accountant.admit(free.secret)
        claim = await setup.accountant.reserve(grant, "gen-f", Estimate(CENT, 1), setup.now)
        assert claim is not None
        setup.end(claim)
        server.start()
        await settled(setup)
        await setup.call(limited)
        await settled(setup)
        assert await setup.used(limited) == 2 * CENT
        await setup.accounts.change(free.key.hash, {"limit": CENT})
        with pytest.raises(PaymentRequired):
            await setup.call(free)
        await setup.close()
        server.remove()


class TestProcesses:
    """Several processes, one Redis, one PostgreSQL."""

    @pytest.fixture
    def server(self) -> RedisServer:
        return new_server()

    def start(self, url: str, server: RedisServer, journal: Path, secret: str, count: int) -> subprocess.Popen[str]:
        program = Path(__file__).with_name("accounts_process.py")
        return subprocess.Popen(
            [sys.executable, program, url, server.url, journal, secret, str(count)], stdout=subprocess.PIPE, text=True
        )

    async def test_two_share_a_budget(self, server: RedisServer, tmp_path: Path) -> None:
        """A thousand calls of a cent on each of two processes, a dollar: a hundred succeed, and the sums agree."""
        url = postgres().new_url()
        setup = Setup(url, tmp_path / "own", RedisState(server.url))
        await setup.open()
        made = await setup.make(limit=Decimal(1))
        processes = [self.start(url, server, tmp_path / name, made.secret, 1000) for name in ("one", "two")]
        outputs = [await asyncio.to_thread(process.communicate, None, 60) for process in processes]
        succeeded = [int(out.split()[-1]) for out, _ in outputs]

        assert sum(succeeded) == 100
        assert await setup.used(made) == Decimal(1)
        with pytest.raises(PaymentRequired, match=r": 1 USD of"):
            await setup.call(made)
        await setup.close()
        server.remove()

    async def test_a_killed_process_returns_its_reservations(self, server: RedisServer, tmp_path: Path) -> None:
        """Its reservations come back, and what its journal has is charged once when that has been replayed."""
        url = f"sqlite:///{tmp_path}/ledger.db"
        setup = Setup(url, tmp_path / "own", RedisState(server.url))
        await setup.open()
        made = await setup.make(limit=Decimal("0.02"))
        process = self.start(url, server, tmp_path / "other", made.secret, -1)
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "holding\n"
        setup.now = dt.datetime.now(dt.UTC).timestamp()
        grant = setup.accountant.admit(made.secret)
        with pytest.raises(PaymentRequired, match="running requests"):
            await setup.accountant.reserve(grant, "gen-a", Estimate(CENT, 1), CREATED_S)
        process.kill()
        await asyncio.to_thread(process.communicate)

        assert await setup.state.beat(setup.now + 100) == 2
        assert sorted(await setup.state.orphans()) == ["gen-recorded", "gen-unrecorded"]
        replayed = Ledger(url, tmp_path / "other")
        await replayed.start()
        await replayed.close()
        await setup.accountant._beat()
        assert await setup.state.orphans() == ["gen-unrecorded"]
        claim = await setup.accountant.reserve(grant, "gen-b", Estimate(CENT, 1), CREATED_S)
        assert claim is not None, "of two cents, one is used"
        with pytest.raises(
            PaymentRequired, match=r": 0\.01 USD of this key's limit of 0\.02 are used, and 0\.01 reserved"
        ):
            await setup.accountant.reserve(grant, "gen-c", Estimate(CENT, 1), CREATED_S)
        assert await setup.used(made) == CENT
        await setup.close()
        server.remove()


@pytest.mark.parametrize(
    "parts",
    [
        ("0.01", "0.02", "0"),
        ("0.0000000000000000005", "0.0000000000000000005", "0"),
        ("0.0000000000000000015", "0.0000000000000000005", "0.1"),
        ("999999.999999999999999999", "2", "0"),
        ("2000000", "0", "0"),
    ],
)
async def test_what_is_charged_is_what_the_ledger_adds(setup: Setup, parts: tuple[str, str, str]) -> None:
    """Also where a cost is too fine or too large to be stored as it is."""
    cost = Cost(prompt=Decimal(parts[0]), completion=Decimal(parts[1]), request=Decimal(parts[2]))
    made = await setup.make(limit=Decimal(0))
    setup.ledger.record(make_generation(1, cost=cost, key_hash=made.key.hash))
    assert await setup.used(made) == to_usd(_charged(cost))
