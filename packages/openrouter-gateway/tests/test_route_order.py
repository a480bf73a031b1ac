"""In which order endpoints are tried."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint
from route_samples import (
    LATER,
    NOW,
    catalog_of,
    healths,
    listing,
    measured,
    pairs,
    priced,
    removals,
    rolls,
    route,
    seeded,
    tags,
)

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.health import EndpointHealth, Percentiles, Verdict
from openrouter_gateway.errors import BadRequest, ConstraintFiltered
from openrouter_gateway.routing.facts import Facts, Remembered
from openrouter_gateway.routing.health import OPENS_AFTER, Health
from openrouter_gateway.routing.index import Row, index_of
from openrouter_gateway.routing.order import weights

ABC = (priced("a", "1"), priced("b", "2"), priced("c", "3"))
TOOLS = [{"type": "function", "function": {"name": "f"}}]
RECENT_OUTAGE = EndpointHealth(outage_until=LATER)
BROKEN = EndpointHealth(broken_until=LATER, failing_until=LATER)


def rows(*endpoints: Endpoint) -> list[Row]:
    return index_of(listing(*endpoints)).by_cost


class TestBalancing:
    """The default: by the inverse square of the price, among the steady."""

    @pytest.mark.parametrize(
        ("prices", "shares"),
        [
            (["1", "3"], [0.9, 0.1]),
            (["1", "2", "3"], [36 / 49, 9 / 49, 4 / 49]),
            (["2", "2"], [0.5, 0.5]),
            (["0", "0", "5"], [0.5, 0.5, 0.0]),
            (["1", None], [1.0, 0.0]),
            ([None, None], [0.5, 0.5]),
            (["0", None], [1.0, 0.0]),
        ],
    )
    def test_weights(self, prices: list[str | None], shares: list[float]) -> None:
        """Free endpoints share everything; those without a known price are only drawn among themselves."""
        found = weights(rows(*(priced(f"p{n}", price) for n, price in enumerate(prices))))

        assert [pytest.approx(share) for share in shares] == [weight / sum(found) for weight in found]

    @pytest.mark.parametrize(
        ("roll", "expected"),
        [(0.0, ["a", "c", "b"]), (0.899, ["a", "c", "b"]), (0.901, ["c", "a", "b"]), (0.9999, ["c", "a", "b"])],
    )
    def test_the_worked_example(self, roll: float, expected: list[str]) -> None:
        """A at $1, B at $2 with a recent outage, C at $3: A nine times as often as C, then the other one, then B."""
        facts = healths(ABC, b=RECENT_OUTAGE)

        assert expected == tags(route(ABC, msgspec.structs.replace(facts, dice=rolls(roll))))

    def test_draws_follow_the_weights(self) -> None:
        """Within five standard deviations, over 20,000 requests of the worked example."""
        facts = msgspec.structs.replace(healths(ABC, b=RECENT_OUTAGE), dice=seeded(1))
        count = 20_000

        first = Counter(tags(route(ABC, facts))[0] for _ in range(count))

        assert set(first) == {"a", "c"}
        assert first["c"] == pytest.approx(0.1 * count, abs=5 * (count * 0.1 * 0.9) ** 0.5)

    def test_the_rest_are_fallbacks_by_price(self) -> None:
        """Whoever was drawn first."""
        dear_first = (priced("c", "3"), priced("a", "1"), priced("b", "2"))

        assert ["c", "a", "b"] == tags(route(dear_first, Facts(dice=rolls(0.999))))

    def test_without_dice_the_cheapest_is_first(self) -> None:
        """Equal prices leave the catalogue's order; an unknown price comes last."""
        endpoints = (priced("x", None), priced("b", "2"), priced("c", "1"), priced("a", "2"))

        assert ["c", "b", "a", "x"] == tags(route(endpoints))

    def test_the_price_of_a_typical_request(self) -> None:
        """Three parts prompt, one part completion, and what a request costs."""
        endpoints = (
            make_endpoint("prompts", prompt="0.000004", completion="0"),
            make_endpoint("completions", prompt="0", completion="0.00001"),
            make_endpoint("requests", request="0.0028"),
        )

        assert ["completions", "requests", "prompts"] == tags(route(endpoints))

    @pytest.mark.parametrize(
        ("health", "expected"),
        [
            (RECENT_OUTAGE, ["b", "c", "a"]),
            (EndpointHealth(outage_until=NOW), ["a", "b", "c"]),
            (EndpointHealth(standing=1), ["b", "c", "a"]),
            (EndpointHealth(standing=2), ["b", "c", "a"]),
            (BROKEN, ["b", "c", "a"]),
            (EndpointHealth(broken_until=NOW), ["a", "b", "c"]),
        ],
    )
    def test_the_unsteady_come_behind(self, health: EndpointHealth, expected: list[str]) -> None:
        """For as long as the trouble lasts."""
        assert expected == tags(route(ABC, healths(ABC, a=health)))

    def test_degrees_of_trouble(self) -> None:
        """Steady, degraded or with an outage, down, broken."""
        endpoints = tuple(priced(tag, "1") for tag in ("broken", "both", "down", "degraded", "outage", "steady"))
        facts = healths(
            endpoints,
            broken=BROKEN,
            both=EndpointHealth(standing=2, outage_until=LATER),
            down=EndpointHealth(standing=2),
            degraded=EndpointHealth(standing=1),
            outage=RECENT_OUTAGE,
        )

        assert ["steady", "degraded", "outage", "both", "down", "broken"] == tags(route(endpoints, facts))

    @pytest.mark.parametrize(
        ("facts", "expected"),
        [(healths(ABC, c=BROKEN), ["b", "a", "c"]), (Facts(now=NOW, busy={"a/one|c"}), ["b", "a", "c"])],
    )
    def test_the_broken_are_not_drawn(self, facts: Facts, expected: list[str]) -> None:
        """The shares are those of the others: 0.8 and 0.2."""
        for roll, first in ((0.79, "a"), (0.81, "b"), (0.99, "b")):
            assert tags(route(ABC, msgspec.structs.replace(facts, dice=rolls(roll))))[0] == first
        assert expected == tags(route(ABC, msgspec.structs.replace(facts, dice=rolls(0.99))))

    def test_when_all_are_in_trouble_one_of_them_is_drawn(self) -> None:
        """The last resort stays."""
        facts = msgspec.structs.replace(healths(ABC, a=BROKEN, b=BROKEN, c=BROKEN), dice=rolls(0.99))

        assert ["c", "a", "b"] == tags(route(ABC, facts))


class TestSort:
    """`provider.sort` and the suffixes."""

    FAST_DEAR = (priced("a", "1"), priced("b", "2"), priced("c", "3"), priced("unmeasured", "0.5"))
    FACTS = healths(FAST_DEAR, a=measured(10, 0.9), b=measured(20, 0.1), c=measured(30, 0.5))

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"provider": {"sort": "price"}}, ["unmeasured", "a", "b", "c"]),
            ({"provider": {"sort": "throughput"}}, ["c", "b", "a", "unmeasured"]),
            ({"provider": {"sort": "latency"}}, ["b", "c", "a", "unmeasured"]),
            ({"provider": {"sort": {"by": "latency"}}}, ["b", "c", "a", "unmeasured"]),
            ({"provider": {"sort": {"by": "price", "partition": "none"}}}, ["unmeasured", "a", "b", "c"]),
            ({"model": "a/one:nitro"}, ["c", "b", "a", "unmeasured"]),
            ({"model": "a/one:floor"}, ["unmeasured", "a", "b", "c"]),
            ({"model": "a/one:nitro", "provider": {"sort": "price"}}, ["unmeasured", "a", "b", "c"]),
            ({"model": "a/one:exacto", "provider": {"sort": "throughput"}}, ["c", "b", "a", "unmeasured"]),
            ({"provider": {"sort": "price", "order": ["c"]}}, ["c", "unmeasured", "a", "b"]),
            ({"provider": {"sort": "throughput", "allow_fallbacks": False}}, ["c"]),
        ],
    )
    def test_strict_orders(self, fields: dict[str, Any], expected: list[str]) -> None:
        """Nothing is drawn; what was not measured comes last; `order` beats a sort, a sort beats a suffix."""
        facts = msgspec.structs.replace(self.FACTS, dice=rolls(0.999))

        assert expected == tags(route(self.FAST_DEAR, facts, **fields))

    def test_measurements_grow_old(self) -> None:
        """Then they are as good as none, and price decides."""
        facts = msgspec.structs.replace(self.FACTS, now=LATER + 1)

        assert ["unmeasured", "a", "b", "c"] == tags(route(self.FAST_DEAR, facts, provider={"sort": "latency"}))

    def test_an_outage_does_not_change_a_sort(self) -> None:
        """But what is broken is the last resort."""
        facts = healths(ABC, a=RECENT_OUTAGE, b=BROKEN)

        assert ["a", "c", "b"] == tags(route(ABC, facts, provider={"sort": "price"}))

    @pytest.mark.parametrize(
        "sort", ["cheapest", "", {"by": "speed"}, {"by": "price", "partition": "all"}, {"of": "price"}, 1]
    )
    def test_what_is_no_sort(self, sort: object) -> None:
        """The field is named."""
        with pytest.raises(BadRequest, match=r"provider\.sort"):
            route(ABC, provider={"sort": sort})


class TestPartition:
    """One list across the models of a request, or one per model."""

    CATALOG = catalog_of(
        listing(priced("a", "5"), priced("b", "2")),
        listing(priced("a", "1", "a/two"), priced("b", "3", "a/two")),
    )
    PER_MODEL = (("a/one", "b"), ("a/one", "a"), ("a/two", "a"), ("a/two", "b"))
    GLOBAL = (("a/two", "a"), ("a/one", "b"), ("a/two", "b"), ("a/one", "a"))

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, PER_MODEL),
            ({"provider": {"sort": "price"}}, PER_MODEL),
            ({"provider": {"sort": {"by": "price", "partition": "model"}}}, PER_MODEL),
            ({"provider": {"sort": {"by": "price", "partition": "none"}}}, GLOBAL),
            ({"provider": {"sort": {"partition": "none"}}}, GLOBAL),
            ({"route": "sort"}, GLOBAL),
            ({"route": "fallback"}, PER_MODEL),
            ({"route": "sort", "provider": {"sort": {"by": "price", "partition": "model"}}}, PER_MODEL),
            (
                {"route": "sort", "provider": {"order": ["a"]}},
                (("a/two", "a"), ("a/one", "a"), ("a/one", "b"), ("a/two", "b")),
            ),
        ],
    )
    def test_partitions(self, fields: dict[str, Any], expected: tuple[tuple[str, str], ...]) -> None:
        """`route` is the old word for it, and gives way to the new one."""
        assert list(expected) == pairs(route(self.CATALOG, models=["a/one", "a/two"], **fields))

    def test_one_draw_for_all(self) -> None:
        """The weights are those of all endpoints."""
        found = route(self.CATALOG, Facts(dice=rolls(0.999)), models=["a/one", "a/two"], route="sort")

        assert pairs(found)[0] == ("a/one", "a")

    def test_thresholds_reach_across(self) -> None:
        """A fallback model that is fast enough comes before the first model's slow endpoints."""
        facts = Facts(now=NOW, health={"a/two|b": measured(100, 0.1), "a/one|b": measured(10, 0.1)})
        provider = {"sort": {"by": "price", "partition": "none"}, "preferred_min_throughput": 50}

        found = route(self.CATALOG, facts, models=["a/one", "a/two"], provider=provider)

        assert pairs(found)[0] == ("a/two", "b")

    def test_without_fallbacks(self) -> None:
        """One endpoint per model, or one of all; the others are accounted for."""
        per_model = route(self.CATALOG, models=["a/one", "a/two"], provider={"allow_fallbacks": False})
        of_all = route(self.CATALOG, models=["a/one", "a/two"], route="sort", provider={"allow_fallbacks": False})

        assert [("a/one", "b"), ("a/two", "a")] == pairs(per_model)
        assert [("a/two", "a")] == pairs(of_all)
        assert (2, 3) == (len(per_model.removed), len(of_all.removed))

    def test_no_such_route(self) -> None:
        """The field is named."""
        with pytest.raises(BadRequest, match="route"):
            route(self.CATALOG, route="retry")


class TestThresholds:
    """`preferred_min_throughput` and `preferred_max_latency`."""

    SPREAD = Percentiles(p50=50.0, p75=40.0, p90=30.0, p99=10.0)
    SLOW = Percentiles(p50=0.2, p75=0.4, p90=1.0, p99=5.0)
    TWO = (priced("measured", "1"), priced("other", "2"))

    @pytest.mark.parametrize(
        ("provider", "stays_first"),
        [
            ({"preferred_min_throughput": 50}, True),
            ({"preferred_min_throughput": 50.1}, False),
            ({"preferred_min_throughput": {"p90": 30}}, True),
            ({"preferred_min_throughput": {"p90": 31}}, False),
            ({"preferred_min_throughput": {"p50": 10, "p75": 41}}, False),
            ({"preferred_min_throughput": {"p99": 11}}, False),
            ({"preferred_min_throughput": {}}, True),
            ({"preferred_max_latency": 0.2}, True),
            ({"preferred_max_latency": 0.19}, False),
            ({"preferred_max_latency": {"p50": 1, "p75": 1, "p90": 1, "p99": 5}}, True),
            ({"preferred_max_latency": {"p99": 4.9}}, False),
            ({"preferred_min_throughput": 10, "preferred_max_latency": 0.1}, False),
            ({"preferred_min_throughput": 60, "preferred_max_latency": 1}, False),
            ({"preferred_min_throughput": None, "preferred_max_latency": None}, True),
        ],
    )
    def test_cutoffs(self, provider: dict[str, Any], stays_first: bool) -> None:
        """A number is the median's; every cutoff must be met; who misses one is moved behind who meets all."""
        health = EndpointHealth(measured_until=LATER, throughput=self.SPREAD, latency=self.SLOW)
        facts = healths(self.TWO, measured=health, other=measured(1000, 0.001))

        found = tags(route(self.TWO, facts, provider=provider))

        assert (["measured", "other"] if stays_first else ["other", "measured"]) == found

    def test_what_is_not_measured_is_behind(self) -> None:
        """It is not known to be fast enough."""
        facts = healths(self.TWO, other=measured(100, 0.1))

        assert ["other", "measured"] == tags(route(self.TWO, facts, provider={"preferred_min_throughput": 50}))
        assert ["other", "measured"] == tags(route(self.TWO, facts, provider={"preferred_max_latency": 1}))

    def test_the_order_among_equals_stays(self) -> None:
        """Also when nobody is fast enough."""
        facts = healths(ABC, a=measured(1), b=measured(2), c=measured(3))

        assert ["a", "b", "c"] == tags(route(ABC, facts, provider={"preferred_min_throughput": 50}))
        assert ["b", "c", "a"] == tags(route(ABC, facts, provider={"preferred_min_throughput": 2}))

    def test_the_callers_list_is_not_touched(self) -> None:
        """Only what comes behind it."""
        facts = healths(ABC, a=measured(1), b=measured(2), c=measured(3))
        provider = {"preferred_min_throughput": 3, "order": ["a"]}

        assert ["a", "c", "b"] == tags(route(ABC, facts, provider=provider))

    @pytest.mark.parametrize("wanted", ["fast", {"p95": 1}, {"p50": "1"}, []])
    def test_what_is_no_threshold(self, wanted: object) -> None:
        """The field is named."""
        with pytest.raises(BadRequest, match=r"provider\.preferred_max_latency"):
            route(ABC, provider={"preferred_max_latency": wanted})


class TestList:
    """`provider.order`."""

    def test_nothing_is_drawn(self) -> None:
        """Steady and cheap ones lead behind the list, and among several endpoints of one name in it."""
        endpoints = (
            priced("x/fast", "3"), priced("x", "2"), priced("a", "5"), priced("b", "1"), priced("c", "4")
        )  # fmt: skip
        facts = msgspec.structs.replace(healths(endpoints, b=RECENT_OUTAGE), dice=rolls(0.99))

        assert ["x", "x/fast", "c", "a", "b"] == tags(route(endpoints, facts, provider={"order": ["X"]}))

    def test_a_recent_outage_does_not_change_the_list(self) -> None:
        """But what is broken is the last resort."""
        facts = healths(ABC, c=RECENT_OUTAGE, b=BROKEN)

        assert ["c", "a", "b"] == tags(route(ABC, facts, provider={"order": ["c", "b"]}))
        assert ["c", "b"] == tags(route(ABC, facts, provider={"order": ["c", "b"], "allow_fallbacks": False}))

    def test_a_rate_limit_does_not_change_the_list(self) -> None:
        """What is listed is tried first all the same, what is not comes last; an open circuit is another matter."""
        throttled = EndpointHealth(broken_until=LATER, cooling_until=LATER)
        failing = EndpointHealth(broken_until=LATER, cooling_until=LATER, failing_until=LATER)

        for listed in ({"order": ["c", "b"]}, {"order": ["C"]}, {"order": ["c", "b"], "allow_fallbacks": False}):
            assert "c" == tags(route(ABC, healths(ABC, c=throttled), provider=listed))[0]
            assert "c" == tags(route(ABC, healths(ABC, c=failing), provider=listed))[-1]
        assert ["c", "b", "a"] == tags(route(ABC, healths(ABC, a=throttled), provider={"order": ["c"]}))
        assert ["a", "b", "c"] == tags(route(ABC, healths(ABC, c=throttled), provider={"sort": "price"}))

    def test_one_429_and_five_failures(self) -> None:
        """As they are recorded: the first leaves the list as it is, the others open the circuit."""
        cases: dict[Verdict, tuple[int, list[str]]] = {
            "throttled": (1, ["c", "a", "b"]),
            "failed": (OPENS_AFTER, ["a", "b", "c"]),
        }
        for verdict, (times, expected) in cases.items():
            health = Health()
            for _ in range(times):
                health.record("a/one|c", NOW, verdict)
            assert expected == tags(route(ABC, Facts(now=NOW, health=health.views), provider={"order": ["c"]}))

    def test_who_is_not_in_the_list_is_accounted_for(self) -> None:
        """When there are no fallbacks."""
        found = route(ABC, provider={"order": ["c", "b"], "allow_fallbacks": False})

        assert {"a": "allowed_providers"} == removals(found)
        assert "provider.order" in found.removed[0].detail


class TestBroken:
    """The last resort."""

    def test_at_the_concurrency_limit(self) -> None:
        """They come last, in any order."""
        facts = Facts(now=NOW, busy={"a/one|a"})

        for provider in ({}, {"sort": "price"}, {"order": ["a"]}, {"sort": "latency"}):
            assert ["b", "c", "a"] == tags(route(ABC, facts, provider=provider))

    def test_behind_the_model_not_behind_the_next(self) -> None:
        """A broken endpoint of the first model is still tried before the fallback model."""
        catalog = catalog_of(listing(*ABC), listing(priced("a", "1", "a/two")))
        facts = healths(ABC, a=BROKEN)

        found = route(catalog, facts, models=["a/one", "a/two"])

        assert [("a/one", "b"), ("a/one", "c"), ("a/one", "a"), ("a/two", "a")] == pairs(found)

    def test_the_only_one_is_tried(self) -> None:
        """Whatever its state."""
        assert ["a"] == tags(route(ABC[:1], healths(ABC, a=BROKEN)))


class TestTiers:
    """Service tiers are used when asked for, and not otherwise."""

    ENDPOINTS = (
        priced("x", "4"),
        priced("x/priority", "8"),
        priced("x/flex", "2"),
        priced("y", "3"),
        priced("y/us", "6", tier="priority"),
    )
    FACTS = msgspec.structs.replace(
        healths(
            ENDPOINTS,
            x=measured(30),
            y=measured(20),
            **{"x/priority": measured(50), "y/us": measured(60), "x/flex": measured(99)},
        )
    )

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, ["y", "x"]),
            ({"service_tier": "default"}, ["y", "x"]),
            ({"service_tier": "auto"}, ["y", "x"]),
            ({"service_tier": "scale"}, ["y", "x"]),
            ({"service_tier": None}, ["y", "x"]),
            ({"service_tier": "priority"}, ["y/us", "x/priority", "x", "y"]),
            ({"service_tier": "fast"}, ["y/us", "x/priority", "x", "y"]),
            ({"service_tier": "priority", "provider": {"sort": "price"}}, ["y/us", "x/priority", "y", "x"]),
            ({"service_tier": "priority", "provider": {"only": ["x"]}}, ["x/priority", "x"]),
            ({"service_tier": "priority", "provider": {"ignore": ["x"]}}, ["y/us", "y"]),
            ({"service_tier": "priority", "provider": {"order": ["x"]}}, ["x", "x/priority", "y", "y/us"]),
            ({"service_tier": "flex"}, ["x/flex"]),
            ({"service_tier": "flex", "provider": {"only": ["y"]}}, ["y"]),
            ({"provider": {"only": ["x/priority", "y/us"]}}, ["y/us", "x/priority"]),
            ({"provider": {"only": ["x"]}}, ["x"]),
            ({"provider": {"ignore": ["x"]}}, ["y"]),
            ({"provider": {"order": ["x/flex"]}}, ["x/flex", "y", "x"]),
            ({"provider": {"order": ["x/flex"], "allow_fallbacks": False}}, ["x/flex"]),
            ({"model": "a/one:nitro"}, ["y/us", "x/priority", "x", "y"]),
            ({"model": "a/one:floor"}, ["x/flex", "y", "x"]),
            ({"model": "a/one:nitro", "service_tier": "default"}, ["x", "y"]),
            ({"model": "a/one:floor", "service_tier": "default"}, ["y", "x"]),
            ({"model": "a/one:floor", "provider": {"order": ["x"]}}, ["x", "y"]),
        ],
    )
    def test_pools(self, fields: dict[str, Any], expected: list[str]) -> None:
        """The table of section 3.12; what is left out says so."""
        found = route(self.ENDPOINTS, self.FACTS, **fields)

        assert expected == tags(found)
        assert {e.tag for e in self.ENDPOINTS} == {*expected, *removals(found)}

    def test_flex_has_no_fallbacks(self) -> None:
        """Its capacity error is the caller's to see; without a flex endpoint the normal ones serve."""
        two = (*self.ENDPOINTS, priced("y/flex", "1"))

        flex = route(two, service_tier="flex")
        normal = route((self.ENDPOINTS[0], self.ENDPOINTS[3]), service_tier="flex")

        assert (["y/flex"], False) == (tags(flex), flex.allow_fallbacks)
        assert (["y", "x"], True) == (tags(normal), normal.allow_fallbacks)

    def test_a_tier_under_one_of_two_names(self) -> None:
        """What the second name does not admit is not lost: it is in the plan."""
        found = route(self.ENDPOINTS, self.FACTS, models=["a/one:nitro", "a/one"])

        assert ["y/us", "x/priority", "x", "y"] == tags(found)
        assert {"x/flex": "allowed_providers"} == removals(found)

    def test_a_provider_by_the_name_of_a_tier(self) -> None:
        """Is a provider."""
        assert ["flex", "priority"] == tags(route([priced("flex", "1"), priced("priority", "2")]))

    def test_a_model_that_has_tiers_alone(self) -> None:
        """It cannot be had without asking for one."""
        with pytest.raises(ConstraintFiltered, match="service tier"):
            route([priced("x/flex", "1")])


class TestMemory:
    """An endpoint that served the conversation before."""

    FACTS = Facts(now=NOW, remembered=Remembered(model="a/one", endpoint="a/one|c"))

    @pytest.mark.parametrize(
        ("provider", "expected"),
        [
            ({}, ["c", "a", "b"]),
            ({"sort": "price"}, ["c", "a", "b"]),
            ({"order": ["b"]}, ["b", "a", "c"]),
            ({"ignore": ["c"]}, ["a", "b"]),
        ],
    )
    def test_it_goes_first(self, provider: dict[str, Any], expected: list[str]) -> None:
        """Unless the caller has a list, or has excluded it."""
        assert expected == tags(route(ABC, self.FACTS, provider=provider))

    def test_not_when_it_is_broken(self) -> None:
        """A recent outage alone leaves it where its cache is."""
        broken = msgspec.structs.replace(self.FACTS, health={"a/one|c": BROKEN})
        shaken = msgspec.structs.replace(self.FACTS, health={"a/one|c": RECENT_OUTAGE})

        assert ["a", "b", "c"] == tags(route(ABC, broken))
        assert ["c", "a", "b"] == tags(route(ABC, shaken))

    def test_within_its_model(self) -> None:
        """A fallback model does not overtake the first one."""
        catalog = catalog_of(listing(*ABC), listing(priced("a", "1", "a/two"), priced("b", "2", "a/two")))
        facts = Facts(remembered=Remembered(model="a/two", endpoint="a/two|b"))

        assert ["a", "b", "c", "b", "a"] == tags(route(catalog, facts, models=["a/one", "a/two"]))

    def test_an_endpoint_that_is_gone(self) -> None:
        """It is forgotten."""
        facts = Facts(remembered=Remembered(model="a/one", endpoint="a/one|z"))

        assert ["a", "b", "c"] == tags(route(ABC, facts))


class TestQuality:
    """Auto Exacto, as far as a gateway's own measurements go."""

    ENDPOINTS = tuple(priced(f"p{n}", str(n + 1)) for n in range(6))

    def facts(self, *speeds: float, successes: tuple[float | None, ...] = (), attempts: int = 100) -> Facts:
        found: dict[str, EndpointHealth] = {}
        for place, speed in enumerate(speeds):
            success = successes[place] if successes else None
            found[f"p{place}"] = measured(
                speed, attempts_30m=attempts, tool_success=success, tool_requests=0 if success is None else 200
            )
        return healths(self.ENDPOINTS, **found)

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"tools": TOOLS}, ["p1", "p2", "p3", "p4", "p5", "p0"]),
            ({}, ["p0", "p1", "p2", "p3", "p4", "p5"]),
            ({"tools": TOOLS, "provider": {"sort": "price"}}, ["p0", "p1", "p2", "p3", "p4", "p5"]),
            ({"tools": TOOLS, "model": "a/one:floor"}, ["p0", "p1", "p2", "p3", "p4", "p5"]),
            ({"tools": TOOLS, "provider": {"order": ["p0"]}}, ["p0", "p1", "p2", "p3", "p4", "p5"]),
            ({"model": "a/one:exacto"}, ["p1", "p2", "p3", "p4", "p5", "p0"]),
            ({"provider": {"sort": "exacto"}}, ["p1", "p2", "p3", "p4", "p5", "p0"]),
        ],
    )
    def test_a_slow_one_is_put_behind(self, fields: dict[str, Any], expected: list[str]) -> None:
        """When the request has tools, or asks for it; not when price was asked for, or a list."""
        facts = self.facts(10, 100, 101, 102, 103, 104)

        assert expected == tags(route(self.ENDPOINTS, facts, **fields))

    def test_bad_tool_calls(self) -> None:
        """The shares of well-formed calls are compared as speeds are; an explicit sort goes by them."""
        facts = self.facts(*[100] * 6, successes=(0.5, 0.97, 0.99, 0.98, 0.96, 0.95))

        assert tags(route(self.ENDPOINTS, facts, tools=TOOLS))[-1] == "p0"
        assert ["p2", "p3", "p1", "p4", "p5", "p0"] == tags(route(self.ENDPOINTS, facts, model="a/one:exacto"))

    def test_too_little_is_known_of_one(self) -> None:
        """It comes behind the good ones, and before the bad ones."""
        facts = self.facts(10, 100, 101, 102, 103)

        assert ["p1", "p2", "p3", "p4", "p5", "p0"] == tags(route(self.ENDPOINTS, facts, tools=TOOLS))

    @pytest.mark.parametrize(
        "facts",
        [
            pytest.param({"speeds": (10, 100, 101)}, id="three providers"),
            pytest.param({"speeds": (10, 100, 101, 102, 103, 104), "attempts": 99}, id="few attempts"),
        ],
    )
    def test_too_little_to_compare(self, facts: dict[str, Any]) -> None:
        """Then price alone decides."""
        found = self.facts(*facts["speeds"], attempts=facts.get("attempts", 100))

        assert ["p0", "p1", "p2", "p3", "p4", "p5"] == tags(route(self.ENDPOINTS, found, tools=TOOLS))

    def test_an_outage_counts_more(self) -> None:
        """The steady come first, good or not."""
        facts = self.facts(10, 100, 101, 102, 103, 104)
        shaken = {
            key: msgspec.structs.replace(facts.health[key], outage_until=LATER) for key in ("a/one|p1", "a/one|p2")
        }
        facts = msgspec.structs.replace(facts, health={**facts.health, **shaken})

        assert ["p3", "p4", "p5", "p0", "p1", "p2"] == tags(route(self.ENDPOINTS, facts, tools=TOOLS))
