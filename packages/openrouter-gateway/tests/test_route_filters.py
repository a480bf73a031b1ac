"""Which endpoints a request may use, beyond its preferences: what it needs, what its account allows."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint
from route_samples import catalog_of, listing, priced, removals, route, tags

from openrouter_gateway.core.catalog import AccountPolicy, Catalog, DataPolicy, Endpoint, Price
from openrouter_gateway.errors import BadRequest, ConstraintFiltered, RoutingError
from openrouter_gateway.routing.facts import Facts

TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}


def knowing(tag: str, *parameters: str) -> Endpoint:
    return make_endpoint(tag, parameters=set(parameters))


def messages(characters: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "x" * characters}]


class TestLength:
    """Only what is certain to be too long is left out."""

    ENDPOINTS = (
        priced("short", "1", context_length=1000, max_completion_tokens=500),
        priced("long", "2", context_length=8000),
        priced("prompts", "3", context_length=8000, max_prompt_tokens=1000),
        priced("unknown", "4"),
    )

    @pytest.mark.parametrize(
        ("characters", "expected"),
        [
            (8007, ["short", "long", "prompts", "unknown"]),
            (8008, ["long", "unknown"]),
            (64_007, ["long", "unknown"]),
            (64_008, ["unknown"]),
        ],
    )
    def test_prompts(self, characters: int, expected: list[str]) -> None:
        """A token is at most eight characters long."""
        found = route(self.ENDPOINTS, messages=messages(characters))

        assert expected == tags(found)
        assert {"context_length"} >= set(removals(found).values())

    def test_text_alone_counts(self) -> None:
        """Not the bytes of an image, of which nobody knows how many tokens they are."""
        parts: list[dict[str, Any]] = [
            {"type": "text", "text": "x" * 4004},
            {"type": "text", "text": "x" * 4004},
            {"type": "text", "text": None},
            {"type": "image_url", "image_url": {"url": "data:" + "x" * 100_000}},
        ]

        found = route(self.ENDPOINTS, messages=[{"role": "user", "content": parts}])

        assert ["long", "unknown"] == tags(found)

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            (500, ["short", "long", "prompts", "unknown"]),
            (501, ["long", "prompts", "unknown"]),
            (8000, ["long", "prompts", "unknown"]),
            (8001, ["unknown"]),
        ],
    )
    def test_answers(self, name: str, wanted: int, expected: list[str]) -> None:
        """An endpoint writes as much as its maximum, or as its context."""
        assert expected == tags(route(self.ENDPOINTS, **{name: wanted}))

    @pytest.mark.parametrize(
        ("fields", "error_type"),
        [
            ({"messages": messages(9000)}, "context_length_exceeded"),
            ({"max_tokens": 501}, "max_tokens_exceeded"),
        ],
    )
    def test_too_long_for_all(self, fields: dict[str, Any], error_type: str) -> None:
        """A 400 with its own type, when nothing else is to blame."""
        with pytest.raises(ConstraintFiltered, match="too long") as caught:
            route(self.ENDPOINTS[:1], **fields)

        assert (400, error_type) == (caught.value.status, caught.value.error_type)
        assert caught.value.availability is not None
        assert ["context_length"] == caught.value.availability["excluded_by"]

    def test_too_long_and_not_allowed(self) -> None:
        """Then a longer endpoint may be among those that the preferences exclude."""
        with pytest.raises(ConstraintFiltered) as caught:
            route(self.ENDPOINTS, messages=messages(9000), provider={"only": ["short"]})

        assert (404, "not_found") == (caught.value.status, caught.value.error_type)
        assert "short: has a context shorter than the prompt" in caught.value.message

    def test_a_fallback_model_may_be_longer(self) -> None:
        """The endpoints of the first are left out, the plan goes on with the second."""
        catalog = catalog_of(listing(self.ENDPOINTS[0]), listing(priced("x", "9", "a/two")))

        assert ["x"] == tags(route(catalog, models=["a/one", "a/two"], messages=messages(9000)))


class TestSoftPreference:
    """Endpoints that support what the request has are used alone, if there are any."""

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, ["none", "tools", "format", "schema", "unknown"]),
            ({"tools": TOOLS}, ["tools", "unknown"]),
            ({"tools": []}, ["none", "tools", "format", "schema", "unknown"]),
            ({"response_format": {"type": "json_object"}}, ["format", "schema", "unknown"]),
            ({"response_format": SCHEMA}, ["schema", "unknown"]),
            ({"response_format": {"type": "text"}}, ["none", "tools", "format", "schema", "unknown"]),
            ({"tools": TOOLS, "response_format": {"type": "json_object"}}, ["tools", "unknown"]),
            ({"verbosity": "low"}, ["none", "tools", "format", "schema", "unknown"]),
            ({"verbosity": None}, ["none", "tools", "format", "schema", "unknown"]),
            ({"temperature": 1}, ["none", "tools", "format", "schema", "unknown"]),
        ],
    )
    def test_preferences(self, fields: dict[str, Any], expected: list[str]) -> None:
        """Nobody supports verbosity here, and temperature is no matter of preference: both are ignored."""
        endpoints = [
            knowing("none"),
            knowing("tools", "tools"),
            knowing("format", "response_format"),
            knowing("schema", "response_format", "structured_outputs"),
            make_endpoint("unknown"),
        ]

        found = route(endpoints, **fields)

        assert expected == tags(found)
        assert {"require_parameters"} >= set(removals(found).values())

    def test_a_json_mode_is_better_than_nothing(self) -> None:
        """A schema falls back to it when no endpoint is known to follow schemas."""
        found = route([knowing("none"), knowing("format", "response_format")], response_format=SCHEMA)

        assert ["format"] == tags(found)

    def test_it_never_takes_a_model_out(self) -> None:
        """Whatever other models of the request support."""
        catalog = catalog_of(listing(knowing("plain")), listing(make_endpoint("able", "a/two", parameters={"tools"})))

        assert ["plain", "able"] == tags(route(catalog, models=["a/one", "a/two"], tools=TOOLS))

    def test_it_comes_after_the_hard_filters(self) -> None:
        """An endpoint that is excluded is no reason to leave out another."""
        endpoints = [knowing("able", "tools"), knowing("plain")]

        assert ["plain"] == tags(route(endpoints, tools=TOOLS, provider={"ignore": ["able"]}))

    def test_schemas_are_parameters(self) -> None:
        """`require_parameters` asks for support of schemas when the request has one."""
        endpoints = [knowing("format", "response_format"), knowing("schema", "response_format", "structured_outputs")]
        provider = {"require_parameters": True}

        assert ["schema"] == tags(route(endpoints, response_format=SCHEMA, provider=provider))
        assert 2 == len(route(endpoints, response_format={"type": "json_object"}, provider=provider).endpoints)
        with pytest.raises(ConstraintFiltered, match="not known to support structured_outputs"):
            route(endpoints[:1], response_format=SCHEMA, provider=provider)

    @pytest.mark.parametrize(
        ("known", "sent"),
        [
            ("max_tokens", {"max_completion_tokens": 5}),
            ("max_completion_tokens", {"max_tokens": 5}),
            ("reasoning", {"reasoning_effort": "low"}),
            ("reasoning", {"include_reasoning": True}),
            ("reasoning_effort", {"reasoning": {"effort": "low"}}),
            ("include_reasoning", {"reasoning": {"effort": "low"}}),
        ],
    )
    def test_two_words_for_one_parameter(self, known: str, sent: dict[str, Any]) -> None:
        """An endpoint that has one of them supports what is sent under the other, and only that."""
        endpoints = [knowing("able", known), knowing("unable", "temperature")]
        provider = {"require_parameters": True}

        found = route(endpoints, provider=provider, **sent)

        assert ["able"] == tags(found)
        assert f"is not known to support {next(iter(sent))}" == found.removed[0].detail
        with pytest.raises(ConstraintFiltered, match="able: is not known to support temperature; unable"):
            route(endpoints, provider=provider, temperature=1, **sent)

    @pytest.mark.parametrize("sent", [{"tools": []}, {"stop": []}, {"tools": None, "stop": None}])
    def test_a_list_of_nothing_asks_for_nothing(self, sent: dict[str, Any]) -> None:
        """Providers do not get it either."""
        found = route([knowing("plain", "temperature")], provider={"require_parameters": True}, temperature=1, **sent)

        assert ["plain"] == tags(found)


class TestPrices:
    """Ceilings of what is priced apart."""

    RATES = Price(image=Decimal("0.002"), audio=Decimal("0.00004"))

    @pytest.mark.parametrize(
        ("kind", "ceiling", "passes"),
        [
            ("image", "0.002", True),
            ("image", 0.0019, False),
            ("audio", 40, True),
            ("audio", "39.99", False),
        ],
    )
    def test_images_and_audio(self, kind: str, ceiling: object, passes: bool) -> None:
        """USD per image, USD per million audio tokens."""
        endpoint = msgspec.structs.replace(make_endpoint("x"), price=self.RATES)
        part = {"type": {"image": "image_url", "audio": "input_audio"}[kind]}
        fields: dict[str, Any] = {
            "messages": [{"role": "user", "content": [part]}],
            "provider": {"max_price": {kind: ceiling}},
        }

        if passes:
            assert ["x"] == tags(route([endpoint], **fields))
            return
        with pytest.raises(ConstraintFiltered, match=f"provider.max_price: {kind}"):
            route([endpoint], **fields)

    def test_every_digit_counts(self) -> None:
        """A ceiling is no float."""
        endpoint = make_endpoint("x", prompt="0.1234567890123456789")

        assert ["x"] == tags(route([endpoint], provider={"max_price": {"prompt": "123456.7890123456789"}}))
        with pytest.raises(ConstraintFiltered):
            route([endpoint], provider={"max_price": {"prompt": "123456.7890123456788"}})

    @pytest.mark.parametrize("ceiling", ["-1E+999999999", "-1E-999999999", -1e300])
    def test_a_ceiling_of_any_size(self, ceiling: object) -> None:
        """It is told as it came: written out in full, these would fill the memory."""
        with pytest.raises(ConstraintFiltered) as caught:
            route([make_endpoint("x")], provider={"max_price": {"prompt": ceiling}})

        assert len(caught.value.message) < 300

    @pytest.mark.parametrize("ceiling", ["Infinity", "-Infinity", "NaN"])
    def test_no_number(self, ceiling: str) -> None:
        """The field is named."""
        with pytest.raises(BadRequest, match=r"provider\.max_price\.request"):
            route([make_endpoint("x")], provider={"max_price": {"request": ceiling}})


class TestAccount:
    """What an account may use bounds what a request asks for."""

    ENDPOINTS = (
        make_endpoint("alpha", policy=DataPolicy(trains=False, retains=True)),
        make_endpoint("beta", policy=DataPolicy(trains=True, retains=False)),
        make_endpoint("gamma"),
    )

    @pytest.mark.parametrize(
        ("policy", "provider", "expected"),
        [
            (AccountPolicy(), {}, ["alpha", "beta", "gamma"]),
            (AccountPolicy(allowed_providers=("alpha", "Beta")), {}, ["alpha", "beta"]),
            (AccountPolicy(allowed_providers=("alpha", "beta")), {"only": ["beta", "gamma"]}, ["beta"]),
            (AccountPolicy(allowed_providers=()), {}, []),
            (AccountPolicy(ignored_providers=("alpha",)), {"ignore": ["beta"]}, ["gamma"]),
            (AccountPolicy(ignored_providers=("alpha",)), {"only": ["alpha"]}, []),
            (AccountPolicy(zdr=True), {}, ["beta"]),
            (AccountPolicy(zdr=True), {"zdr": False}, ["beta"]),
            (AccountPolicy(deny_training=True), {}, ["alpha"]),
            (AccountPolicy(deny_training=True), {"data_collection": "allow"}, ["alpha"]),
        ],
    )
    def test_policies(self, policy: AccountPolicy, provider: dict[str, Any], expected: list[str]) -> None:
        """A request may ask for more, never for less."""
        facts = Facts(policy=policy)
        if not expected:
            with pytest.raises(ConstraintFiltered, match="this account"):
                route(self.ENDPOINTS, facts, provider=provider)
            return

        assert expected == tags(route(self.ENDPOINTS, facts, provider=provider))

    def test_a_request_without_preferences(self) -> None:
        """It has an account all the same."""
        found = route(self.ENDPOINTS, Facts(policy=AccountPolicy(ignored_providers=("beta",))))

        assert {"beta": "allowed_providers"} == removals(found)


class TestRefusal:
    """What a 404 says of the preference that left nothing."""

    ENDPOINTS = (
        make_endpoint("keeps", policy=DataPolicy(trains=False, retains=True)),
        make_endpoint("trains", policy=DataPolicy(trains=True, retains=False)),
        make_endpoint("unknown"),
    )

    def refused(self, catalog: Catalog | Iterable[Endpoint], facts: Facts | None = None, **fields: Any) -> Any:
        with pytest.raises(ConstraintFiltered) as caught:
            route(catalog, facts, **fields)
        return caught.value.availability

    @pytest.mark.parametrize(
        ("provider", "policy", "code", "field"),
        [
            ({"zdr": True, "only": ["keeps"]}, AccountPolicy(), "privacy_restricted", "provider.zdr"),
            ({"data_collection": "deny"}, AccountPolicy(), "privacy_restricted", "provider.data_collection"),
            ({"only": ["trains"]}, AccountPolicy(deny_training=True), "privacy_restricted", "provider.data_collection"),
            ({}, AccountPolicy(zdr=True, ignored_providers=("trains",)), "privacy_restricted", "provider.zdr"),
            ({"zdr": True}, AccountPolicy(deny_training=True), "privacy_restricted", "provider.data_collection"),
            ({"only": ["nobody"]}, AccountPolicy(), "constraint_filtered", "provider.only"),
            ({"only": ["nobody"], "zdr": True}, AccountPolicy(), "constraint_filtered", "provider.only"),
            ({"ignore": ["keeps", "trains", "unknown"]}, AccountPolicy(), "constraint_filtered", "provider.ignore"),
            ({"order": ["nobody"], "allow_fallbacks": False}, AccountPolicy(), "constraint_filtered", "provider.order"),
            ({"quantizations": ["fp8"]}, AccountPolicy(), "constraint_filtered", "provider.quantizations"),
            ({"max_price": {"request": -1}}, AccountPolicy(), "constraint_filtered", "provider.max_price"),
            (
                {"require_parameters": True},
                AccountPolicy(),
                "constraint_filtered",
                "provider.require_parameters",
            ),
            (
                {"enforce_distillable_text": True},
                AccountPolicy(),
                "constraint_filtered",
                "provider.enforce_distillable_text",
            ),
        ],
    )
    def test_the_constraint(self, provider: dict[str, Any], policy: AccountPolicy, code: str, field: str) -> None:
        """The code and field are those of the filter that took the last endpoints, the request's or the account's."""
        found = self.refused(self.ENDPOINTS, Facts(policy=policy), provider=provider, temperature=1)

        assert (code, field) == (found["code"], found["constraint"]["field"])
        assert found["docs_url"].endswith(f"#{code}")

    def test_two_models_with_different_reasons(self) -> None:
        """Then the field is the object that has both."""
        catalog = catalog_of(
            listing(make_endpoint("x", policy=DataPolicy(retains=True))),
            listing(make_endpoint("y", "a/two")),
        )

        found = self.refused(catalog, models=["a/one", "a/two"], provider={"only": ["x"], "zdr": True})

        assert ("constraint_filtered", "provider") == (found["code"], found["constraint"]["field"])

    @pytest.mark.parametrize(("field", "value"), [("messages", messages(900)), ("max_tokens", 6)])
    def test_too_long(self, field: str, value: Any) -> None:
        """The field is the one that is too long."""
        endpoints = [priced("x", "1", context_length=10, max_completion_tokens=5)]

        assert field == self.refused(endpoints, **{field: value})["constraint"]["field"]


class TestOthers:
    """The remaining filters."""

    def test_distillation(self) -> None:
        """The model's author must be known to allow it."""
        catalog = catalog_of(
            listing(make_endpoint("x"), distillable=True),
            listing(make_endpoint("y", "a/two")),
            listing(make_endpoint("z", "a/three"), distillable=False),
        )

        found = route(catalog, models=["a/one", "a/two", "a/three"], provider={"enforce_distillable_text": True})

        assert (["x"], {"y", "z"}) == (tags(found), set(removals(found)))

    @pytest.mark.parametrize(
        ("plugins", "expected"),
        [
            ([{"id": "web"}], ["router"]),
            ([{"id": "web", "enabled": False}], ["router", "x"]),
            ([{"id": "file-parser", "pdf": {"engine": "native"}}], ["router", "x"]),
            ([], ["router", "x"]),
            (None, ["router", "x"]),
        ],
    )
    def test_web_search(self, plugins: object, expected: list[str]) -> None:
        """Only an OpenRouter can do it: a request for it is not served by others as if nothing had been asked."""
        endpoints = [make_endpoint("router", quirks=frozenset({"openrouter_fields"})), make_endpoint("x")]

        found = route(endpoints, plugins=plugins)

        assert expected == tags(found)

    def test_plugins_are_noted(self) -> None:
        """Those that are on."""
        found = route(
            [make_endpoint("x")],
            plugins=[
                {"id": "response-healing"},
                {"id": "web", "enabled": False},
                {"id": "file-parser", "enabled": True},
            ],
        )

        assert ("response-healing", "file-parser") == found.plugins

    @pytest.mark.parametrize(("wanted", "own"), [("FP8", "fp8"), ("fp8", "FP8"), ("BF16", "bf16"), ("Fp4", "MXFP4")])
    def test_quantizations_in_any_case(self, wanted: str, own: str) -> None:
        """Model cards write them in capitals, OpenRouter does not."""
        endpoints = [make_endpoint("x", quantization=own), make_endpoint("y", quantization="int8")]

        assert ["x"] == tags(route(endpoints, provider={"quantizations": [wanted]}))

    def test_a_quantization_that_does_not_exist(self) -> None:
        """Is a misspelt one."""
        with pytest.raises(BadRequest, match=r"provider\.quantizations"):
            route([make_endpoint("x")], provider={"quantizations": ["fp9"]})

    def test_no_endpoints(self) -> None:
        """Nothing was removed, and there is nothing."""
        catalog = catalog_of(listing(model_id="a/one"))

        with pytest.raises(RoutingError, match="a/one has no endpoints") as caught:
            route(catalog)

        assert (404, "not_found") == (caught.value.status, caught.value.error_type)
        assert caught.value.availability is not None
        assert "no_endpoints" == caught.value.availability["code"]

    def test_limits_are_handed_through(self) -> None:
        """The shell sets and enforces them."""
        found = route([make_endpoint("x")], Facts(attempt_limit_s=5.0, request_limit_s=60.0))

        assert (5.0, 60.0) == (found.attempt_limit_s, found.request_limit_s)

    def test_the_catalogue_stays_as_it_is(self) -> None:
        """What planning works out about it is no part of its value."""
        catalog = catalog_of(listing(make_endpoint("x"), make_endpoint("y")))
        before = catalog_of(listing(make_endpoint("x"), make_endpoint("y")))

        route(catalog, tools=TOOLS, messages=IMAGE)

        assert before == catalog
        assert msgspec.structs.replace(catalog).derived == {}


class TestStandIns:
    """What answers in place of every model answers requests as they were written for those."""

    ENDPOINTS = (
        priced(
            "local",
            "0",
            stands_in=True,
            context_length=4096,
            max_completion_tokens=4096,
            input_modalities=frozenset({"text"}),
            supported_parameters=frozenset({"temperature"}),
        ),
    )

    @pytest.mark.parametrize(
        "fields",
        [
            {"max_tokens": 64_000},
            {"messages": IMAGE},
            {"provider": {"only": ["openai"]}},
            {"provider": {"ignore": ["local"]}},
            {"provider": {"order": ["openai"], "allow_fallbacks": False}},
            {"provider": {"quantizations": ["fp8"]}},
            {"provider": {"require_parameters": True}, "reasoning": {"effort": "high"}, "seed": 1},
            {"provider": {"max_price": {"prompt": "1"}}},
        ],
    )
    def test_who_may_answer_is_no_matter(self, fields: dict[str, Any]) -> None:
        """Nor are limits that the model asked for does not have."""
        assert ["local"] == tags(route(self.ENDPOINTS, **fields))

    @pytest.mark.parametrize(
        ("provider", "policy"),
        [
            ({"zdr": True}, AccountPolicy()),
            ({"data_collection": "deny"}, AccountPolicy()),
            (None, AccountPolicy(allowed_providers=("openai",))),
            (None, AccountPolicy(ignored_providers=("local",))),
        ],
    )
    def test_policies_are_kept(self, provider: dict[str, Any] | None, policy: AccountPolicy) -> None:
        """Where data goes, and what the account allows, is never passed over."""
        with pytest.raises(ConstraintFiltered):
            route(self.ENDPOINTS, Facts(now=0, policy=policy), provider=provider)

    def test_too_long_a_prompt_is_too_long(self) -> None:
        """The model's own context is all there is."""
        with pytest.raises(ConstraintFiltered):
            route(self.ENDPOINTS, messages=messages(40_000))
