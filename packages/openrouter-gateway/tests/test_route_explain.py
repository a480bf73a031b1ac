"""Plans as callers and operators read them."""

import json
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request
from route_samples import LATER, NOW, catalog_of, listing, measured, priced, rolls, route

from openrouter_gateway.core.catalog import Catalog, DataPolicy
from openrouter_gateway.core.health import EndpointHealth
from openrouter_gateway.errors import RoutingError
from openrouter_gateway.routing.explain import explain, router_metadata, unresolved
from openrouter_gateway.routing.facts import Facts, Remembered
from openrouter_gateway.routing.plan import draft_route, plan_route, refusal_of

CATALOG = catalog_of(
    listing(priced("a", "1"), priced("b", "2"), priced("c", "3"), aliases=("uno",)),
    listing(make_endpoint("d", "a/two", policy=DataPolicy(trains=False))),
)


def explained(facts: Facts | None = None, catalog: Catalog = CATALOG, **fields: Any) -> dict[str, Any]:
    """Return the explanation of a request, as it comes out of JSON."""
    request = make_request(**({"model": "a/one"} if "models" not in fields else {}) | fields)
    facts = facts or Facts(now=NOW)
    found = explain(request, draft_route(request, catalog, facts), facts)
    return json.loads(json.dumps(found, allow_nan=False))


def reasons(found: dict[str, Any]) -> dict[str, str]:
    return {row["tag"]: row["reason"] for row in found["endpoints"]}


class TestExplain:
    """`POST /route/explain`."""

    def test_the_whole(self) -> None:
        """Everything that led to the plan."""
        health = {"a/one|b": measured(50, 0.25, outage_until=LATER, failures_in_a_row=2, cooling_until=NOW - 1)}
        fields: dict[str, Any] = {
            "model": "uno",
            "plugins": [{"id": "moderation"}],
            "messages": [{"role": "user", "content": "x" * 80}],
            "provider": {"max_price": {"prompt": 2.5, "request": "1E+9"}},
        }

        found = explained(Facts(now=NOW, dice=rolls(0.0), health=health), **fields)

        percentiles = {"p50": 50, "p75": 50, "p90": 50, "p99": 50}
        assert found == {
            "requested": ["uno"],
            "strategy": "alias",
            "router": "uno",
            "models": ["a/one"],
            "ordering": "balanced",
            "allow_fallbacks": True,
            "max_price": {"prompt": "2.5", "request": "1E+9"},
            "prompt_tokens_at_least": 10,
            "plugins": ["moderation"],
            "sticky": None,
            "endpoints": [
                {
                    "position": 1,
                    "model": "a/one",
                    "provider": "A",
                    "tag": "a",
                    "reason": "drawn by price, with a probability of 1.000",
                    "price": {"prompt": "0.000001", "completion": "0.000001", "request": "0"},
                    "health": None,
                },
                {
                    "position": 2,
                    "model": "a/one",
                    "provider": "B",
                    "tag": "b",
                    "reason": "failed within the last 30 seconds",
                    "price": {"prompt": "0.000002", "completion": "0.000002", "request": "0"},
                    "health": {
                        "broken": False,
                        "recent_outage": True,
                        "standing": "normal",
                        "failures_in_a_row": 2,
                        "cooling_for_s": 0.0,
                        "latency_s": dict.fromkeys(percentiles, 0.25),
                        "tokens_per_s": percentiles,
                    },
                },
            ],
            "removed": [
                {
                    "model": "a/one",
                    "provider": "C",
                    "tag": "c",
                    "excluded_by": "max_price",
                    "reason": "costs more than provider.max_price: prompt 3, at most 2.5",
                }
            ],
            "error": None,
        }

    @pytest.mark.parametrize(
        ("fields", "facts", "expected"),
        [
            (
                {},
                {},
                {
                    "a": "drawn by price, with a probability of 0.735",
                    "b": "by price, behind the one that was drawn",
                    "c": "by price, behind the one that was drawn",
                },
            ),
            ({"provider": {"sort": "price"}}, {}, dict.fromkeys("abc", "sorted by price")),
            ({"provider": {"sort": "latency"}}, {}, dict.fromkeys("abc", "sorted by latency")),
            ({"model": "a/one:nitro"}, {}, dict.fromkeys("abc", "sorted by throughput")),
            ({"model": "a/one:exacto"}, {}, dict.fromkeys("abc", "sorted by the quality of tool calls")),
            (
                {"provider": {"order": ["C"]}},
                {},
                {
                    "c": "in provider.order",
                    "a": "not in provider.order: steady ones first, by price",
                    "b": "not in provider.order: steady ones first, by price",
                },
            ),
            ({"provider": {"only": ["b"]}}, {}, {"b": "the only one left"}),
            ({"provider": {"sort": "price"}}, {"busy": {"a/one|a"}}, {"a": "is at its concurrency limit"}),
            (
                {"provider": {"sort": "price"}},
                {"health": {"a/one|a": EndpointHealth(broken_until=LATER)}},
                {"a": "is left alone after failures, or because it asked for a pause"},
            ),
            ({}, {"health": {"a/one|a": EndpointHealth(standing=1)}}, {"a": "has been failing too often"}),
            (
                {"provider": {"preferred_max_latency": 1}},
                {"health": {"a/one|b": measured(1, 0.5)}},
                {"a": "is not known to reach the preferred throughput and latency"},
            ),
            (
                {},
                {"remembered": Remembered(model="a/one", endpoint="a/one|c")},
                {"c": "served this conversation before, and has its prompt cached"},
            ),
        ],
    )
    def test_reasons(self, fields: dict[str, Any], facts: dict[str, Any], expected: dict[str, str]) -> None:
        """Why each endpoint is where it is."""
        found = reasons(explained(Facts(now=NOW, **facts), **fields))

        assert expected.items() <= found.items()

    @pytest.mark.parametrize("fields", [{}, {"provider": {"ignore": ["c"]}}])
    def test_a_conversation_that_is_kept(self, fields: dict[str, Any]) -> None:
        """Where it is kept, also when that endpoint cannot be had."""
        found = explained(Facts(now=NOW, remembered=Remembered(model="a/one", endpoint="a/one|c")), **fields)

        assert {"model": "a/one", "tag": "c"} == found["sticky"]

    def test_nothing_is_left(self) -> None:
        """Then it is the error, and what removed whom."""
        found = explained(model="a/two", provider={"zdr": True})

        assert [] == found["endpoints"]
        assert [("d", "data_policy:zdr")] == [(row["tag"], row["excluded_by"]) for row in found["removed"]]
        assert 404 == found["error"]["code"]
        assert "privacy_restricted" == found["error"]["availability"]["code"]

    def test_a_router_has_no_choice(self) -> None:
        """Then the draft has all that it might have chosen."""
        found = explained(model="openrouter/auto", provider={"zdr": True})

        assert ("auto", "openrouter/auto", []) == (found["strategy"], found["router"], found["endpoints"])
        assert {("a/one", "a"), ("a/one", "b"), ("a/one", "c"), ("a/two", "d")} == {
            (row["model"], row["tag"]) for row in found["removed"]
        }
        assert 404 == found["error"]["code"]

    def test_old_measurements(self) -> None:
        """They are not shown, as they are not used."""
        found = explained(Facts(now=LATER + 1, health={"a/one|a": measured(50, 1)}))

        assert (None, None) == (
            found["endpoints"][0]["health"]["latency_s"],
            found["endpoints"][0]["health"]["tokens_per_s"],
        )

    def test_an_unknown_price(self) -> None:
        """It is none."""
        found = explained(catalog=catalog_of(listing(priced("x", None))))

        assert found["endpoints"][0]["price"] is None

    def test_several_models(self) -> None:
        """Each has its own order."""
        found = explained(models=["a/two", "a/one:floor"])

        assert (["a/two", "a/one"], "fallback") == (found["models"], found["strategy"])
        assert {"a": "sorted by price", "d": "the only one left"}.items() <= reasons(found).items()


class TestMetadata:
    """`X-OpenRouter-Metadata: enabled`."""

    def test_a_success(self) -> None:
        """The first endpoint failed, the second one serves."""
        plan = route(CATALOG, provider={"max_price": {"prompt": 2}})
        first, second = plan.endpoints

        found = router_metadata(plan, [(first, 503), (second, 200)], second)

        assert found == {
            "requested": "a/one",
            "strategy": "direct",
            "region": None,
            "summary": "available=2, selected=B",
            "attempt": 2,
            "is_byok": False,
            "endpoints": {
                "total": 3,
                "available": [
                    {"provider": "A", "model": "a/one", "selected": False},
                    {"provider": "B", "model": "a/one", "selected": True},
                ],
            },
            "attempts": [
                {"provider": "A", "model": "a/one", "status": 503},
                {"provider": "B", "model": "a/one", "status": 200},
            ],
            "params": {},
            "pipeline": [],
        }

    def test_an_error_before_any_attempt(self) -> None:
        """Nothing was tried, nothing is selected."""
        draft = draft_route(make_request(model="a/two", provider={"zdr": True}), CATALOG)

        found = router_metadata(draft, [], None)

        assert (0, "available=0, none selected") == (found["attempt"], found["summary"])
        assert {"total": 1, "available": []} == found["endpoints"]

    @pytest.mark.parametrize(
        ("names", "strategy"),
        [
            (["no/model"], "direct"),
            (["openrouter/auto:nitro"], "auto"),
            (["openrouter/free"], "free"),
            (["~a/none-latest"], "latest"),
            (["no/model", "openrouter/auto"], "fallback"),
        ],
    )
    def test_an_error_before_any_model(self, names: list[str], strategy: str) -> None:
        """What was asked for is all there is to say."""
        found = router_metadata(unresolved(names), [], None)

        assert (names[0], strategy, 0) == (found["requested"], found["strategy"], found["attempt"])
        assert {"total": 0, "available": []} == found["endpoints"]

    def test_attempts_without_a_status(self) -> None:
        """A status is a number: there is none of a connection that failed, though it counts as an attempt."""
        plan = route(CATALOG)

        found = router_metadata(plan, [(plan.endpoints[0], None)], None)

        assert (1, []) == (found["attempt"], found["attempts"])

    def test_the_pipeline(self) -> None:
        """What other stages did is theirs to say."""
        stage = {"type": "guardrail", "name": "content-filter"}

        assert [stage] == router_metadata(route(CATALOG), [], None, pipeline=[stage])["pipeline"]


def test_drafts_and_plans() -> None:
    """A draft holds what a plan refuses with."""
    request = make_request(model="a/two", provider={"zdr": True})
    draft = draft_route(request, CATALOG)

    with pytest.raises(RoutingError) as caught:
        plan_route(request, CATALOG)

    assert refusal_of(draft).message == caught.value.message
    assert () == draft.endpoints
    assert msgspec.structs.replace(draft, endpoints=()).removed == draft.removed
