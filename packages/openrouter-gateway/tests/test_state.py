"""The shared state's contract, kept alike in memory and in Redis."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_server import new_server, shared_server

from openrouter_gateway.core.account import Rates
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.stores.state import (
    DEAD_AFTER_S,
    NEWS_S,
    Budget,
    Claim,
    Exhausted,
    Seed,
    SharedState,
    StateUnavailable,
    Throttle,
    Unknown,
    to_units,
    to_usd,
)
from openrouter_gateway.stores.state_memory import MemoryState
from openrouter_gateway.stores.state_redis import RedisState

NOW = 1_771_043_112.25
KEY = "5e" * 32
USD = 10**18
ENDED_US = 1_771_043_113_500_000
_NUMBERS = itertools.count()


async def redis_state() -> RedisState:
    """A process's view of the shared server."""
    state = RedisState(shared_server().url)
    await state.open()
    return state


async def empty_redis() -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(shared_server().url) as client:
        await client.flushall()


@pytest.fixture(params=["memory", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[SharedState]:
    if request.param == "memory":
        yield MemoryState()
        return
    await empty_redis()
    found = await redis_state()
    yield found
    await found.close()


def make_claim(number: int = 0, *, limit: int | None = USD, now: float = NOW, **fields: Any) -> Claim:
    """Return a claim of one cent and ten tokens on the scope `s`."""
    values: dict[str, Any] = {
        "id": f"gen-{number}",
        "key": KEY,
        "budgets": (Budget("s", limit),),
        "rates": Rates(),
        "estimate": USD // 100,
        "tokens": 10,
        "now": now,
    }
    return Claim(**(values | fields))


async def used_or_unknown(state: SharedState, scope: str = "s") -> object:
    """Return what a claim that can never be let in is told."""
    return await state.reserve(make_claim(id="probe", budgets=(Budget(scope, 0),)))


async def used(state: SharedState, scope: str = "s") -> tuple[int, int]:
    """Return what is used and reserved of a scope, as a claim that can never be let in is told."""
    refusal = await used_or_unknown(state, scope)
    assert isinstance(refusal, Exhausted)
    return refusal.used, refusal.reserved


class TestBudgets:
    """Reservations and costs."""

    async def test_a_scope_has_to_be_seeded_once(self, state: SharedState) -> None:
        claim = make_claim(budgets=(Budget("s", USD), Budget("other", None)))
        assert await state.reserve(claim) == Unknown(("s", "other"))
        await state.seed("s", Seed(used=7))
        await state.seed("s", Seed(used=9))
        assert await state.reserve(claim) == Unknown(("other",))
        await state.seed("other", Seed(used=0))
        assert await state.reserve(claim) is None
        assert await used(state) == (7, USD // 100)

    async def test_a_reservation_becomes_the_cost(self, state: SharedState) -> None:
        await state.seed("s", Seed(used=5))
        claim = make_claim()
        await state.reserve(claim)
        assert await state.settle(claim, 3, 10, ENDED_US) == ()
        assert await state.settle(claim, 3, 10, ENDED_US) == (), "settled twice"
        assert await used(state) == (8, 0)

    async def test_a_claim_that_is_sent_twice_reserves_once(self, state: SharedState) -> None:
        """As it is when the answer to the first was lost."""
        await state.seed("s", Seed(used=5))
        assert await state.reserve(make_claim()) is None
        assert await state.reserve(make_claim()) is None
        assert await used(state) == (5, USD // 100)

    async def test_a_used_up_budget_is_said_with_both_sums(self, state: SharedState) -> None:
        await state.seed("s", Seed(used=USD - USD // 100))
        assert await state.reserve(make_claim(1)) is None
        assert await state.reserve(make_claim(2)) == Exhausted(Budget("s", USD), USD - USD // 100, USD // 100)

    async def test_of_two_budgets_both_have_to_have_room(self, state: SharedState) -> None:
        """The one that has is left as it was."""
        await state.seed("s", Seed(used=0))
        await state.seed("other", Seed(used=USD))
        claim = make_claim(budgets=(Budget("s", USD), Budget("other", USD)))
        assert await state.reserve(claim) == Exhausted(Budget("other", USD), USD, 0)
        assert await used(state) == (0, 0)

    @pytest.mark.parametrize("used_before", [0, USD - 1])
    async def test_one_may_overspend_alone(self, state: SharedState, used_before: int) -> None:
        """However little is left; another has to wait until it is known what the first did cost."""
        await state.seed("s", Seed(used=used_before))
        first, second = make_claim(1, estimate=5 * USD), make_claim(2, estimate=1)
        assert await state.reserve(first) is None
        assert await state.reserve(second) == Exhausted(Budget("s", USD), used_before, 5 * USD)
        await state.settle(first, 0, 0, ENDED_US)
        assert await state.reserve(second) is None

    @pytest.mark.parametrize(("estimate", "fits"), [(USD // 2, True), (USD // 2 + 1, False), (0, True)])
    async def test_beside_others_the_estimate_has_to_fit(self, state: SharedState, estimate: int, fits: bool) -> None:
        """To the last unit: so no more than one request's estimate is ever overspent."""
        await state.seed("s", Seed(used=USD // 2 - 1))
        assert await state.reserve(make_claim(1, estimate=1)) is None
        assert (await state.reserve(make_claim(2, estimate=estimate)) is None) is fits

    @pytest.mark.parametrize("limit", [0, 1, USD, 5_000_000 * USD, 2 * USD - 1])
    async def test_the_last_unit_counts(self, state: SharedState, limit: int) -> None:
        await state.seed("s", Seed(used=limit))
        assert isinstance(await state.reserve(make_claim(1, limit=limit)), Exhausted)
        assert await state.reserve(make_claim(2, limit=limit + 1)) is None

    async def test_a_thousand_at_once(self, state: SharedState) -> None:
        """A dollar is a hundred calls of a cent, however many try."""
        await state.seed("s", Seed(used=0))

        async def call(number: int) -> bool:
            claim = make_claim(number)
            if await state.reserve(claim) is not None:
                return False
            await asyncio.sleep(0)
            await state.settle(claim, USD // 100, 10, ENDED_US)
            return True

        assert sum(await asyncio.gather(*(call(number) for number in range(1000)))) == 100
        assert await used(state) == (USD, 0)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    costs=st.lists(
        st.tuples(st.integers(0, 3 * 10**18), st.integers(0, 3 * 10**18)) | st.tuples(st.just(1), st.just(10**9 - 1)),
        max_size=12,
    )
)
async def test_sums_are_exact(state: SharedState, costs: list[tuple[int, int]]) -> None:
    """To the last of eighteen digits, reserved and used, in any order."""
    scope = f"exact-{next(_NUMBERS)}"  # the state outlives examples
    await state.seed(scope, Seed(used=10**9 - 1))
    before = await used(state, scope)
    claims = [
        make_claim(number, id=f"{scope}-{number}", budgets=(Budget(scope, None),), estimate=estimate)
        for number, (estimate, _) in enumerate(costs)
    ]
    for claim in claims:
        assert await state.reserve(claim) is None
    assert await used(state, scope) == (before[0], before[1] + sum(claim.estimate for claim in claims))
    for claim, (_, cost) in reversed(list(zip(claims, costs, strict=True))):
        await state.settle(claim, cost, 0, ENDED_US)
    assert await used(state, scope) == (before[0] + sum(cost for _, cost in costs), before[1])


class TestRates:
    """Requests and tokens of a minute, and requests at once."""

    async def test_requests(self, state: SharedState) -> None:
        """The third has to wait until the first is a minute ago."""
        await state.seed("s", Seed(used=0))
        rates = Rates(requests_per_minute=2)
        assert await state.reserve(make_claim(1, rates=rates, now=NOW)) is None
        assert await state.reserve(make_claim(2, rates=rates, now=NOW + 20)) is None
        refusal = await state.reserve(make_claim(3, rates=rates, now=NOW + 30))
        assert refusal == Throttle("requests", int(NOW) + 61)
        assert isinstance(await state.reserve(make_claim(3, rates=rates, now=NOW + 60)), Throttle)
        assert await state.reserve(make_claim(3, rates=rates, now=int(NOW) + 61.0)) is None

    async def test_tokens_are_corrected(self, state: SharedState) -> None:
        """The estimate counts until the request is over, then what it used."""
        await state.seed("s", Seed(used=0))
        rates = Rates(tokens_per_minute=10)
        claim = make_claim(1, rates=rates, tokens=10)
        assert await state.reserve(claim) is None
        assert await state.reserve(make_claim(2, rates=rates)) == Throttle("tokens", int(NOW) + 61)
        await state.settle(claim, 0, 9, ENDED_US)
        assert await state.reserve(make_claim(2, rates=rates, tokens=5)) is None
        assert isinstance(await state.reserve(make_claim(3, rates=rates)), Throttle)

    async def test_a_correction_of_what_is_forgotten_changes_nothing(self, state: SharedState) -> None:
        await state.seed("s", Seed(used=0))
        rates = Rates(tokens_per_minute=5)
        old = make_claim(1, rates=rates, tokens=3)
        assert await state.reserve(old) is None
        later = NOW + 200
        assert await state.reserve(make_claim(2, rates=rates, tokens=4, now=later)) is None
        await state.settle(old, 0, 1_000_000, ENDED_US)
        assert await state.reserve(make_claim(3, rates=rates, tokens=4, now=later)) is None

    async def test_concurrency(self, state: SharedState) -> None:
        await state.seed("s", Seed(used=0))
        rates = Rates(concurrent_requests=1)
        claim = make_claim(1, rates=rates)
        assert await state.reserve(claim) is None
        assert await state.reserve(make_claim(2, rates=rates)) == Throttle("concurrency", None)
        await state.settle(claim, 0, 0, ENDED_US)
        assert await state.reserve(make_claim(2, rates=rates)) is None

    async def test_a_refused_request_takes_nothing(self, state: SharedState) -> None:
        """Neither of budgets nor of the other rates."""
        await state.seed("s", Seed(used=0))
        rates = Rates(requests_per_minute=1, tokens_per_minute=1000, concurrent_requests=5)
        assert await state.reserve(make_claim(1, rates=rates)) is None
        for number in range(2, 20):
            assert isinstance(await state.reserve(make_claim(number, rates=rates)), Throttle)
        assert await used(state) == (0, USD // 100)
        assert await state.reserve(make_claim(99, rates=Rates(concurrent_requests=2, tokens_per_minute=11))) is None

    async def test_both_states_decide_alike(self) -> None:
        """A long series of claims at all kinds of distances."""
        await empty_redis()
        memory, shared = MemoryState(), await redis_state()
        rates = Rates(requests_per_minute=5, tokens_per_minute=40, concurrent_requests=4)
        now, running = NOW, list[Claim]()
        for number in range(400):
            now += (number * 7919 % 37) / 3 if number % 50 else 500
            claim = make_claim(number, now=now, rates=rates, tokens=number % 17, limit=None)
            for state in (memory, shared):
                await state.seed("s", Seed(used=0))
            verdict = await memory.reserve(claim)
            assert await shared.reserve(claim) == verdict, number
            if verdict is None:
                running.append(claim)
            if running and number % 3:
                ended = running.pop(number % len(running))
                for state in (memory, shared):
                    await state.settle(ended, number, number % 23, ENDED_US)
        await shared.close()


class TestNews:
    """What processes tell each other."""

    async def test_nobody_hears_itself(self, state: SharedState) -> None:
        now = time.time()
        await state.tell(b"one", now)
        assert [] == await state.hear(now)

    async def test_everybody_hears_it_once(self) -> None:
        """In order, also one that comes later."""
        await empty_redis()
        one, other = await redis_state(), await redis_state()
        now = time.time()
        assert [] == await other.hear(now)
        await one.tell(b"first", now)
        await one.tell(b"second", now)
        await other.tell(b"mine", now)
        assert [b"first", b"second"] == [news.content for news in await other.hear(now)]
        assert [] == await other.hear(now)
        late = await redis_state()
        (age, *_) = [news.age_s for news in await late.hear(now + 60)]
        assert 59 <= age <= 61
        assert [b"mine"] == [news.content for news in await one.hear(now)]
        for process in (one, other, late):
            await process.close()

    async def test_what_is_old_is_not_told(self) -> None:
        await empty_redis()
        one, late = await redis_state(), await redis_state()
        await one.tell(b"old", time.time())
        assert [] == await late.hear(time.time() + NEWS_S + 1)
        await one.close()
        await late.close()


class TestSticky:
    """What conversations are kept with."""

    async def test_a_value_has_its_time(self, state: SharedState) -> None:
        assert await state.get_value("c", NOW) is None
        await state.put_value("c", b"one", 100, NOW)
        await state.put_value("c", b"two", 100, NOW)
        assert await state.get_value("c", NOW + 1) == b"two"

    async def test_the_first_value_stays(self, state: SharedState) -> None:
        """Whoever comes second is told what is there."""
        assert await state.add_value("c", b"one", 100, NOW) is None
        assert await state.add_value("c", b"two", 100, NOW) == b"one"
        assert await state.get_value("c", NOW) == b"one"

    async def test_a_value_in_place_of_another(self, state: SharedState) -> None:
        """Only of the one that is named; nothing in its place leaves room for the next."""
        await state.add_value("c", b"one", 100, NOW)

        assert not await state.swap_value("c", b"other", b"two", 100, NOW)
        assert await state.swap_value("c", b"one", b"two", 100, NOW)
        assert await state.get_value("c", NOW) == b"two"
        assert await state.swap_value("c", b"two", None, 100, NOW)
        assert not await state.swap_value("c", b"two", None, 100, NOW)
        assert await state.add_value("c", b"three", 100, NOW) is None

    async def test_in_memory_it_ends(self) -> None:
        state = MemoryState()
        await state.put_value("c", b"one", 100, NOW)
        assert await state.get_value("c", NOW + 100) is None


class TestCrash:
    """Two processes on one server, one of which is gone."""

    async def test_reservations_return_and_costs_are_found(self) -> None:
        """Nothing is charged twice, whoever comes when."""
        await empty_redis()
        crashed, other = await redis_state(), await redis_state()
        await other.seed("s", Seed(used=0))
        rates = Rates(concurrent_requests=1)
        claim = make_claim(1, rates=rates)
        await crashed.beat(NOW)
        await other.beat(NOW)
        assert await crashed.reserve(claim) is None
        assert await other.beat(NOW + DEAD_AFTER_S - 1) == 0
        assert await used(other) == (0, USD // 100)

        assert await other.beat(NOW + DEAD_AFTER_S + 1) == 1
        assert await used(other) == (0, 0)
        assert await other.orphans() == ["gen-1"]
        assert await other.reserve(make_claim(2, rates=rates)) is None, "the slot is free"

        await other.forget("gen-1", NOW + 3600)
        assert await other.orphans() == ["gen-1"], "a week has not passed"
        await other.adopt("gen-1", 7, ENDED_US, NOW)
        await other.adopt("gen-1", 7, ENDED_US, NOW)
        assert await crashed.settle(claim, 7, 10, ENDED_US) == (), "it was only slow"
        assert await used(other) == (7, USD // 100)
        assert await other.orphans() == []
        await crashed.close()
        await other.close()

    async def test_a_slow_process_settles_itself(self) -> None:
        await empty_redis()
        slow, other = await redis_state(), await redis_state()
        await other.seed("s", Seed(used=0))
        claim = make_claim(1)
        await slow.beat(NOW)
        await slow.reserve(claim)
        await other.beat(NOW + DEAD_AFTER_S + 1)
        await slow.settle(claim, 9, 10, ENDED_US)
        await other.adopt("gen-1", 9, ENDED_US, NOW)
        assert await used(other) == (9, 0)
        assert await other.orphans() == []
        await slow.close()
        await other.close()

    async def test_a_slot_alone_leaves_nothing(self) -> None:
        """It is free once the process is gone, and nobody looks for what it cost."""
        await empty_redis()
        crashed, other = await redis_state(), await redis_state()
        rates = Rates(concurrent_requests=1)
        await crashed.beat(NOW)
        assert await crashed.reserve(make_claim(1, budgets=(), rates=rates)) is None
        assert Throttle("concurrency", None) == await other.reserve(make_claim(2, budgets=(), rates=rates))
        assert await other.beat(NOW + DEAD_AFTER_S + 1) == 1
        assert await other.reserve(make_claim(3, budgets=(), rates=rates)) is None
        assert await other.orphans() == []
        await crashed.close()
        await other.close()

    async def test_an_orphan_is_given_up_after_a_week(self) -> None:
        await empty_redis()
        crashed, other = await redis_state(), await redis_state()
        await other.seed("s", Seed(used=0))
        await crashed.beat(NOW)
        await crashed.reserve(make_claim(1))
        await other.beat(NOW + 100)
        await other.forget("gen-1", NOW + 8 * 86_400)
        assert await other.orphans() == []
        await crashed.close()
        await other.close()


class TestServer:
    """Of Redis alone."""

    async def test_a_lost_scope_is_asked_for(self) -> None:
        """After the server has lost everything, settling says what is to be seeded; it does not make sums up."""
        await empty_redis()
        state = await redis_state()
        await state.seed("s", Seed(used=0))
        claim = make_claim()
        await state.reserve(claim)
        await empty_redis()
        assert await state.settle(claim, 5, 5, ENDED_US) == ("s",)
        assert await used_or_unknown(state) == Unknown(("s",))
        await state.seed("s", Seed(used=5, later=[claim.id]))
        assert await state.settle(claim, 5, 5, ENDED_US) == ()
        assert await used(state) == (5, 0), "it was in the seed"
        await state.close()

    @pytest.mark.parametrize(
        ("seed", "charged"),
        [
            (Seed(used=5), True),
            (Seed(used=5, until_us=ENDED_US - 1, later=["gen-8", "gen-9"]), True),
            (Seed(used=5, until_us=ENDED_US - 1, later=["gen-8", "gen-0"]), False),
            (Seed(used=5, until_us=ENDED_US), False),
        ],
    )
    @pytest.mark.parametrize("repeats", [0, 2])
    async def test_a_lost_reservation_is_charged_once(self, seed: Seed, charged: bool, repeats: int) -> None:
        """Unless what the scope was seeded with had it already; however often it is sent."""
        await empty_redis()
        state = await redis_state()
        claim = make_claim(budgets=(Budget("s", USD), Budget("other", None)))
        await state.seed("s", Seed(used=0))
        await state.seed("other", Seed(used=0))
        await state.reserve(claim)
        await empty_redis()
        await state.seed("s", seed)
        for _ in range(1 + repeats):
            assert await state.settle(claim, 3, 10, ENDED_US) == ("other",)
        await state.seed("other", Seed(used=7))
        for _ in range(1 + repeats):
            assert await state.settle(claim, 3, 10, ENDED_US) == ()
        assert await used(state) == (5 + 3 * charged, 0)
        assert await used(state, "other") == (7 + 3, 0)
        await state.close()

    async def test_a_scope_that_was_seeded_anew(self) -> None:
        """Leases of the seeding before it are asked for, too, and give nothing back to the new one."""
        from redis.asyncio import Redis

        await empty_redis()
        state = await redis_state()
        await state.seed("s", Seed(used=5))
        before, counted = make_claim(1), make_claim(2)
        await state.reserve(before)
        await state.reserve(counted)
        async with Redis.from_url(shared_server().url) as client:
            await client.delete("{openrouter-gateway}:scope:s")
        await state.seed("s", Seed(used=7, later=[counted.id]))
        assert await state.settle(before, 3, 10, ENDED_US) == ()
        assert await state.settle(counted, 2, 10, ENDED_US) == ()
        assert await used(state) == (7 + 3, 0)
        await state.close()

    async def test_what_was_charged_is_forgotten_in_time(self) -> None:
        """Once its process has heard of it; one that was taken for gone may still come with it for a day."""
        from redis.asyncio import Redis

        await empty_redis()
        slow, other = await redis_state(), await redis_state()
        await slow.seed("s", Seed(used=0))
        claims = [make_claim(number) for number in range(2)]
        await slow.beat(NOW)
        for claim in claims:
            await slow.reserve(claim)
            await slow.settle(claim, 3, 10, ENDED_US)
        async with Redis.from_url(shared_server().url) as client:
            assert len(await client.hkeys(slow._leases)) == 2
            assert await other.beat(NOW + DEAD_AFTER_S + 1) == 0
            assert await client.hkeys(slow._leases) == []
            for claim in claims:
                assert await slow.settle(claim, 3, 10, ENDED_US) == ()
            assert await used(other) == (6, 0)
            third = make_claim(3)
            await slow.reserve(third)
            await slow.settle(third, 1, 10, ENDED_US)
            await slow.beat(NOW + 90_000)
            assert await client.hkeys(slow._leases) == []
            assert await client.zcard("{openrouter-gateway}:settled") == 0
        await slow.close()
        await other.close()

    async def test_a_cancelled_caller_spoils_nothing(self) -> None:
        """What it sent is sent, and the others have their own answers."""
        await empty_redis()
        state = await redis_state()
        await state.seed("s", Seed(used=0))
        claims = [make_claim(number, budgets=(Budget("s", None),)) for number in range(300)]
        tasks = [asyncio.ensure_future(state.reserve(claim)) for claim in claims]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results[:2]] == [asyncio.CancelledError, type(None)]
        assert await used(state) == (0, 300 * USD // 100)
        await state.close()

    async def test_a_server_that_is_gone(self) -> None:
        server = new_server()
        state = RedisState(server.url)
        await state.open()
        server.stop()
        with pytest.raises(StateUnavailable, match="cannot be reached"):
            await state.reserve(make_claim())
        with pytest.raises(ConfigError, match=r"state\.url"):
            await state.open()
        server.start()
        assert await state.reserve(make_claim()) == Unknown(("s",))
        await state.close()
        server.remove()

    def test_a_wrong_url(self) -> None:
        with pytest.raises(ConfigError, match=r"state\.url"):
            RedisState("http://user:secret@localhost")


@given(st.decimals(min_value=-(10**7), max_value=10**7, places=18))
def test_units_are_exact(amount: Decimal) -> None:
    assert to_usd(to_units(amount)) == amount
