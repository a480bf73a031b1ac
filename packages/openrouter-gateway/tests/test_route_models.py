"""From names of models to listings: variants, aliases, routers."""

import re
from collections import Counter
from typing import Any

import pytest
from gateway_samples import make_endpoint, make_request
from hypothesis import given
from hypothesis import strategies as st
from route_samples import catalog_of, listing, pairs, priced, rolls, route, seeded, tags

from openrouter_gateway.core.catalog import Catalog
from openrouter_gateway.errors import BadRequest, ModelNotFound, RoutingError
from openrouter_gateway.routing.facts import Facts, Remembered
from openrouter_gateway.routing.patterns import Patterns
from openrouter_gateway.routing.plan import draft_route, plan_route
from openrouter_gateway.routing.variants import is_static_variant, split_variants

TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = [{"role": "user", "content": [{"type": "image_url"}]}]


@pytest.mark.parametrize(
    ("name", "model_id", "dynamic"),
    [
        ("a/one", "a/one", set[str]()),
        ("a/one:free", "a/one:free", set[str]()),
        ("a/one:nitro", "a/one", {"nitro"}),
        ("a/one:free:nitro", "a/one:free", {"nitro"}),
        ("a/one:nitro:free:floor", "a/one:free", {"nitro", "floor"}),
        ("a/one:8b", "a/one:8b", set[str]()),
        ("a/one:8b:exacto", "a/one:8b", {"exacto"}),
        ("a/one:fast", "a/one:fast", set[str]()),
        ("nitro", "nitro", set[str]()),
        ("", "", set[str]()),
    ],
)
def test_suffixes(name: str, model_id: str, dynamic: set[str]) -> None:
    """Dynamic ones are taken off, in any place; all others belong to the id."""
    assert (model_id, dynamic) == split_variants(name)


def test_static_variants() -> None:
    """A colon alone makes no variant."""
    assert ["a/one:free", "a/one:batch"] == [
        name for name in ("a/one", "a/one:free", "a/one:batch", "a/one:8b", "a/free") if is_static_variant(name)
    ]


class TestNames:
    """What a name stands for."""

    CATALOG = catalog_of(
        listing(priced("x", "1"), priced("y", "2"), canonical_slug="a/one-2026-01-01", aliases=("a/uno", "one")),
        listing(priced("x", "0", "a/one:free"), canonical_slug="a/one-2026-01-01"),
        listing(priced("x", "1", "a/one:8b")),
        aliases={"~a/one-latest": "a/one", "~a/gone-latest": "a/gone", "a/uno": "a/one:8b"},
    )

    @pytest.mark.parametrize(
        ("name", "model_id", "strategy", "router"),
        [
            ("a/one", "a/one", "direct", None),
            ("a/one:free", "a/one:free", "direct", None),
            ("a/one:free:nitro", "a/one:free", "direct", None),
            ("a/one:8b", "a/one:8b", "direct", None),
            ("a/one:8b:floor", "a/one:8b", "direct", None),
            ("~a/one-latest", "a/one", "latest", "~a/one-latest"),
            ("~a/one-latest:nitro", "a/one", "latest", "~a/one-latest:nitro"),
            ("~a/one-latest:free", "a/one:free", "latest", "~a/one-latest:free"),
            ("a/one-2026-01-01", "a/one", "alias", "a/one-2026-01-01"),
            ("one", "a/one", "alias", "one"),
            ("a/uno", "a/one:8b", "alias", "a/uno"),
        ],
    )
    def test_names(self, name: str, model_id: str, strategy: str, router: str | None) -> None:
        """The plan says what was asked for, and how it was understood."""
        found = route(self.CATALOG, model=name)

        assert {model_id} == {endpoint.model_id for endpoint in found.endpoints}
        assert ((name,), strategy, router) == (found.requested, found.strategy, found.router)

    @pytest.mark.parametrize(
        "name", ["a/two", "a/one:fast", "a/one:free:fast", "~a/two-latest", "nitro", ":nitro", "a/one:"]
    )
    def test_unknown_names(self, name: str) -> None:
        """An unknown suffix makes an unknown model."""
        with pytest.raises(ModelNotFound, match="is not a valid model ID") as caught:
            route(self.CATALOG, models=["a/one", name])

        assert caught.value.availability is not None
        assert ["a/one", name] == caught.value.availability["requested_models"]

    def test_an_alias_of_nothing(self) -> None:
        """The model that it stands for is not here."""
        with pytest.raises(RoutingError, match="a/gone") as caught:
            route(self.CATALOG, model="~a/gone-latest")

        assert 404 == caught.value.status

    @pytest.mark.parametrize(
        "name", ["a/one:online", "a/one:free:online", "~a/one-latest:online", "openrouter/auto:online"]
    )
    def test_web_search_is_refused(self, name: str) -> None:
        """Rather than answered without a search."""
        with pytest.raises(BadRequest, match="web search"):
            route(self.CATALOG, model=name)

    def test_two_names_of_one_model(self) -> None:
        """Its endpoints are tried once, under the first name."""
        found = route(self.CATALOG, models=["a/one:floor", "a/one", "one"])

        assert [("a/one", "x"), ("a/one", "y")] == pairs(found)
        assert "fallback" == found.strategy

    def test_what_two_names_lose(self) -> None:
        """It is told once, with the first reason."""
        found = route(self.CATALOG, models=["a/one:floor", "a/one"], provider={"only": ["y"]})

        assert ["x"] == [removal.endpoint.tag for removal in found.removed]

    def test_the_default_may_be_an_alias(self) -> None:
        """It is resolved like any other name."""
        catalog = catalog_of(*self.CATALOG.listings.values(), default_model="one")

        assert "a/one" == route(catalog, models=[]).endpoints[0].model_id


AUTO = catalog_of(
    *(listing(priced("x", str(n), f"author-{n % 2}/m{n:02}"), created=n) for n in range(1, 11)),
    listing(priced("x", None, "a/unpriced")),
    listing(priced("x", "9", "a/speech"), output_modalities=("audio",)),
    listing(priced("x", "9", "a/m:batch")),
    listing(priced("x", "5", "~a/latest")),
)


class TestAuto:
    """`openrouter/auto` over the local catalogue."""

    def choices(self, catalog: Catalog = AUTO, facts: Facts | None = None, **fields: Any) -> list[str]:
        plugin = {"id": "auto-router"} | fields.pop("plugin", {})
        fields = {"model": "openrouter/auto", "plugins": [plugin]} | fields
        return [endpoint.model_id for endpoint in route(catalog, facts, **fields).endpoints]

    @pytest.mark.parametrize(
        ("plugin", "expected"),
        [
            ({}, ["author-0/m04", "author-1/m03"]),
            ({"cost_tier": "low"}, ["author-0/m02", "author-1/m01"]),
            ({"cost_tier": "medium"}, ["author-0/m04", "author-1/m03"]),
            ({"cost_tier": "max"}, ["author-0/m10", "author-1/m09"]),
            ({"allowed_models": ["author-0/*"]}, ["author-0/m04"]),
            ({"allowed_models": ["*/m03", "author-1/m01"]}, ["author-1/m03"]),
            ({"excluded_models": ["author-0/*"]}, ["author-1/m03"]),
            ({"allowed_models": ["author-0/*"], "excluded_models": ["*/m04"]}, ["author-0/m02"]),
            ({"allowed_models": ["*/m09"]}, ["author-1/m09"]),
            ({"allowed_models": ["*/m09", "*/m01"], "cost_tier": "high"}, ["author-1/m01"]),
            ({"enabled": False, "cost_tier": "max"}, ["author-0/m04", "author-1/m03"]),
            ({"id": "auto-beta-router", "cost_tier": "max"}, ["author-0/m04", "author-1/m03"]),
        ],
    )
    def test_choices(self, plugin: dict[str, Any], expected: list[str]) -> None:
        """The dearest of the band of cost; an empty band gives way to the next cheaper one, then to a dearer one."""
        assert expected == self.choices(plugin=plugin)

    def test_beta(self) -> None:
        """Each slug reads its own plugin."""
        plugins = [{"id": "auto-router", "cost_tier": "low"}, {"id": "auto-beta-router", "cost_tier": "max"}]

        assert ["author-0/m10", "author-1/m09"] == self.choices(model="openrouter/auto-beta", plugins=plugins)

    def test_at_most_three(self) -> None:
        """A first choice and two fallbacks, the newest first among equals."""
        catalog = catalog_of(*(listing(priced("x", "1", f"a/m{n:02}"), created=n) for n in range(25)))

        assert ["a/m09", "a/m08", "a/m07"] == self.choices(catalog)

    @pytest.mark.parametrize(
        "fields",
        [
            {"plugin": {"allowed_models": ["nobody/*"]}},
            {"plugin": {"allowed_models": []}},
            {"plugin": {"excluded_models": ["*"]}},
            {"provider": {"only": ["nobody"]}},
            {"provider": {"zdr": True}},
        ],
    )
    def test_no_candidates(self, fields: dict[str, Any]) -> None:
        """404 in OpenRouter's words."""
        with pytest.raises(RoutingError, match="No models match your request and model restrictions") as caught:
            self.choices(**fields)

        assert 404 == caught.value.status

    def test_why_there_are_no_candidates(self) -> None:
        """Every endpoint is listed with what removed it: by the plugin, by a preference, or for what it cannot do."""
        catalog = catalog_of(
            listing(priced("x", "1", "a/dear")),
            listing(make_endpoint("x", "b/other", prompt="0.0000001")),
            listing(make_endpoint("y", "a/plain", prompt="0.0000001", parameters=set())),
        )
        request = make_request(
            model="openrouter/auto",
            plugins=[{"id": "auto-router", "allowed_models": ["a/*"]}],
            provider={"max_price": {"prompt": "0.5"}},
            tools=TOOLS,
        )

        found = draft_route(request, catalog)

        assert {
            ("a/dear", "max_price", "costs more than provider.max_price: prompt 1, at most 0.5"),
            ("b/other", "allowed_providers", "is of a model that the router's plugin does not allow"),
            ("a/plain", "require_parameters", "does not support tools"),
        } == {(removal.endpoint.model_id, removal.excluded_by, removal.detail) for removal in found.removed}
        assert ((), "auto", "openrouter/auto") == (found.endpoints, found.strategy, found.router)
        with pytest.raises(RoutingError, match="a/plain at y: does not support tools") as caught:
            plan_route(request, catalog)
        assert caught.value.availability is not None
        assert [removal.excluded_by for removal in found.removed] == caught.value.availability["excluded_by"]

    def test_many_candidates_are_counted(self) -> None:
        """The reasons of a whole catalogue are told once each."""
        catalog = catalog_of(*(listing(make_endpoint("x", f"a/m{n}")) for n in range(21)))

        with pytest.raises(RoutingError) as caught:
            self.choices(catalog, provider={"zdr": True})

        assert caught.value.message == (
            "No models match your request and model restrictions. is not known to retain no data (21 endpoints)"
        )

    def test_a_router_without_a_choice_gives_way(self) -> None:
        """The next of `models` serves, and what the router could not use is in the plan."""
        found = route(AUTO, models=["openrouter/free", "author-1/m01"])
        refused = self.choices(models=["openrouter/auto", "author-1/m01"], plugin={"allowed_models": ["nobody/*"]})

        assert ["author-1/m01"] == [endpoint.model_id for endpoint in found.endpoints] == refused

    def test_what_the_request_needs(self) -> None:
        """Models that cannot take it are passed over; what is not known of a model is no hindrance."""
        catalog = catalog_of(
            listing(make_endpoint("x", "a/blind", modalities={"text"}, prompt="0.1")),
            listing(make_endpoint("x", "a/plain", modalities={"text", "image"}, parameters=set(), prompt="0.1")),
            listing(make_endpoint("x", "a/able", parameters={"tools"}, prompt="0.1")),
            listing(make_endpoint("x", "a/unknown", prompt="0.1")),
        )

        assert "a/blind" not in {*self.choices(catalog, messages=IMAGE, plugin={"cost_tier": "low"})}
        for tier in ("low", "medium", "high", "xhigh", "max"):
            found = self.choices(catalog, messages=IMAGE, tools=TOOLS, plugin={"cost_tier": tier})
            assert {*found} <= {"a/able", "a/unknown"}

    def test_models_without_a_price(self) -> None:
        """They are candidates when there are no others."""
        catalog = catalog_of(listing(priced("x", None, "a/one")), listing(priced("x", None, "a/two")))

        assert self.choices(catalog)

    def test_the_plan_says_so(self) -> None:
        """Strategy, router, and the concrete models."""
        found = route(AUTO, model="openrouter/auto:floor")

        assert ("auto", "openrouter/auto:floor", "price") == (found.strategy, found.router, found.ordering)

    def test_a_conversation_stays_with_its_model(self) -> None:
        """While that is among the choices."""
        kept = Facts(remembered=Remembered(model="author-1/m03", endpoint="author-1/m03|x"))
        gone = Facts(remembered=Remembered(model="author-1/m09", endpoint="author-1/m09|x"))

        assert ["author-1/m03", "author-0/m04"] == self.choices(facts=kept)
        assert ["author-0/m04", "author-1/m03"] == self.choices(facts=gone)

    @pytest.mark.parametrize(
        ("last", "pin", "first"),
        [
            ("author-1/m09", True, "author-1/m09"),
            ("author-1/m09", False, "author-0/m04"),
            ("author-1/m09", None, "author-0/m04"),
            ("author-1/m03", True, "author-1/m03"),
            ("a/unknown", True, "author-0/m04"),
            (None, True, "author-0/m04"),
        ],
    )
    def test_pinning(self, last: str | None, pin: bool | None, first: str) -> None:
        """The model that the last assistant message is from goes on, where it may serve."""
        turns: list[dict[str, Any]] = [
            {"role": "assistant", "content": "Hi", "model": "author-1/m01"},
            {"role": "assistant", "content": "Hello", "model": last},
            {"role": "user", "content": "Bye"},
        ]

        assert first == self.choices(messages=turns, plugin={"pin_model": pin})[0]

    def test_a_model_of_that_name(self) -> None:
        """An operator's own row goes before the router: it may be an OpenRouter that serves it."""
        catalog = catalog_of(listing(make_endpoint("openrouter", "openrouter/auto")))

        assert "direct" == route(catalog, model="openrouter/auto").strategy

    def test_among_fallback_models(self) -> None:
        """A router takes its place in the list."""
        found = route(AUTO, models=["author-1/m01", "openrouter/auto"])

        assert ["author-1/m01", "author-0/m04", "author-1/m03"] == [e.model_id for e in found.endpoints]

    @pytest.mark.parametrize(
        "plugin",
        [
            {"allowed_models": ["x" * 1025]},
            {"cost_tier": "cheap"},
            {"allowed_models": "a/*"},
            {"excluded_models": ["*"] * 1025},
        ],
    )
    def test_malformed_restrictions(self, plugin: dict[str, Any]) -> None:
        """They are not ignored."""
        with pytest.raises(BadRequest, match="plugins"):
            self.choices(plugin=plugin)

    def test_too_many_characters(self) -> None:
        """Within the limits of each pattern and of their number."""
        with pytest.raises(BadRequest, match="65536"):
            self.choices(plugin={"allowed_models": ["x" * 1024] * 65})


class TestFree:
    """`openrouter/free` draws among what costs nothing."""

    CATALOG = catalog_of(
        *(listing(priced("x", "0", f"a/free-{n}")) for n in range(4)),
        listing(priced("x", "0", "a/m:free")),
        listing(priced("x", "1", "a/paid")),
        listing(priced("x", "0", "a/half"), priced("y", "1", "a/half")),
        listing(priced("x", None, "a/unpriced")),
    )

    def test_draws(self) -> None:
        """Each free model is as likely as the others; nothing that might cost is drawn."""
        dice = seeded(1)
        count = 2000

        first = Counter(
            route(self.CATALOG, Facts(dice=dice), model="openrouter/free").endpoints[0].model_id for _ in range(count)
        )

        assert {"a/free-0", "a/free-1", "a/free-2", "a/free-3", "a/m:free"} == set(first)
        assert all(value == pytest.approx(count / 5, rel=0.2) for value in first.values())

    def test_two_fallbacks(self) -> None:
        """Three models, none twice; the same for the same dice."""
        first = pairs(route(self.CATALOG, Facts(dice=rolls(0.5, 0.2, 0.9)), model="openrouter/free"))
        again = pairs(route(self.CATALOG, Facts(dice=rolls(0.5, 0.2, 0.9)), model="openrouter/free"))

        assert 3 == len({model_id for model_id, _ in first})
        assert first == again

    def test_needed_features(self) -> None:
        """A model that is known to lack one is not drawn."""
        catalog = catalog_of(
            listing(make_endpoint("x", "a/plain", parameters=set(), modalities={"text"})),
            listing(make_endpoint("x", "a/able", parameters={"tools"}, modalities={"text", "image"})),
        )

        found = route(catalog, model="openrouter/free", tools=TOOLS, messages=IMAGE)

        assert ("free", ["a/able"]) == (found.strategy, [e.model_id for e in found.endpoints])

    def test_nothing_is_free(self) -> None:
        """Then nothing is served."""
        with pytest.raises(RoutingError, match="No models match") as caught:
            route(catalog_of(listing(priced("x", "1"))), model="openrouter/free")
        assert caught.value.availability is not None
        assert "no_endpoints" == caught.value.availability["code"]

    def test_what_is_free_is_excluded(self) -> None:
        """Then the reason is told."""
        with pytest.raises(RoutingError, match=r"No models match.* x: is not in provider\.only"):
            route(catalog_of(listing(priced("x", "0"))), model="openrouter/free", provider={"only": ["y"]})


class TestPatterns:
    """Patterns of model ids."""

    @pytest.mark.parametrize(
        ("pattern", "name", "matches"),
        [
            ("a/one", "a/one", True),
            ("a/one", "a/one:free", False),
            ("a/*", "a/one", True),
            ("a/*", "ab/one", False),
            ("a/gpt-5*", "a/gpt-5.1", True),
            ("*/claude-*", "anthropic/claude-x", True),
            ("*/claude-*", "claude-x", False),
            ("*", "", True),
            ("", "", True),
            ("", "a", False),
            ("a*a", "a", False),
            ("a*a", "aa", True),
            ("*b*b*", "abcb", True),
            ("*b*b*", "abc", False),
            ("a*b*c", "abc", True),
            ("a*bc*c", "abc", False),
            ("**", "x", True),
        ],
    )
    def test_matches(self, pattern: str, name: str, matches: bool) -> None:
        """A star is any characters, none among them; all else is itself."""
        assert matches == Patterns([pattern]).match(name)

    @given(st.lists(st.text("ab*", max_size=5), max_size=4), st.text("ab", max_size=8))
    def test_like_regular_expressions(self, patterns: list[str], name: str) -> None:
        """Which mean the same, but may take for ever."""
        expected = any(re.fullmatch(re.escape(p).replace(r"\*", ".*"), name) for p in patterns)

        assert expected == Patterns(patterns).match(name)


def test_tags_of_a_variant() -> None:
    """A variant's endpoints are its own."""
    assert ["x"] == tags(route(TestNames.CATALOG, model="a/one:free"))
