"""Which endpoints a request may use, and in which order."""

from typing import Any

import pytest
from gateway_samples import make_catalog, make_endpoint, make_request
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.core.catalog import Catalog, DataPolicy, Endpoint, Listing, Model
from openrouter_gateway.errors import BadRequest, ConstraintFiltered, ModelNotFound
from openrouter_gateway.routing.plan import RoutePlan, plan_route
from openrouter_gateway.routing.slug import matches_any


@pytest.mark.parametrize(
    ("tag", "name", "slug", "matches"),
    [
        ("openai", "OpenAI", "openai", True),
        ("openai", "OpenAI", "OpenAI", True),
        ("openai", "OpenAI", "OPENAI", True),
        ("openai", "OpenAI", "open", False),
        ("openai", "OpenAI", "openai/turbo", False),
        ("deepinfra/turbo", "DeepInfra", "deepinfra", True),
        ("deepinfra/turbo", "DeepInfra", "deepinfra/turbo", True),
        ("deepinfra/turbo", "DeepInfra", "DeepInfra", True),
        ("deepinfra", "DeepInfra", "deepinfra/turbo", False),
        ("google-vertex/us-east5", "Google", "google-vertex", True),
        ("google-vertex/us-east5", "Google", "google-vertex/us-east5", True),
        ("google-vertex/us-east5", "Google", "google-vertex/europe", False),
        ("google-vertex/us-east5", "Google", "google", True),
        ("openai/priority", "OpenAI", "openai", False),
        ("openai/priority", "OpenAI", "OpenAI", False),
        ("openai/priority", "OpenAI", "openai/priority", True),
        ("google-vertex/flex", "Google", "google-vertex", False),
        ("google-vertex/flex", "Google", "Google-Vertex/Flex", True),
        ("flex", "Flex", "flex", True),
    ],
)
def test_slugs(tag: str, name: str, slug: str, matches: bool) -> None:
    """A base slug or display name means all but the service tiers, a suffixed slug one endpoint; case is nothing."""
    assert matches == matches_any(make_endpoint(tag, name=name), ["other", slug])


def test_no_slugs_match_nothing() -> None:
    """An empty list names nobody."""
    assert not matches_any(make_endpoint(), [])


A, B, C = make_endpoint("alpha"), make_endpoint("beta"), make_endpoint("gamma")
ABC = make_catalog(A, B, C)


def plan(catalog: Catalog, **provider: Any) -> RoutePlan:
    """Return the plan for a model under these provider preferences."""
    return plan_route(make_request(model="a/one", provider=provider), catalog)


def tags(found: RoutePlan) -> list[str]:
    return [endpoint.tag for endpoint in found.endpoints]


def removals(found: RoutePlan) -> list[tuple[str, str]]:
    return [(removal.endpoint.tag, removal.excluded_by) for removal in found.removed]


class TestPreferences:
    """Lists of providers."""

    @pytest.mark.parametrize(
        ("provider", "expected"),
        [
            ({}, ["alpha", "beta", "gamma"]),
            ({"only": ["gamma", "alpha"]}, ["alpha", "gamma"]),
            ({"only": ["Beta"]}, ["beta"]),
            ({"ignore": ["beta"]}, ["alpha", "gamma"]),
            ({"only": ["alpha", "beta"], "ignore": ["ALPHA"]}, ["beta"]),
            ({"order": ["gamma"]}, ["gamma", "alpha", "beta"]),
            ({"order": ["gamma", "unknown", "beta"]}, ["gamma", "beta", "alpha"]),
            ({"order": ["gamma", "gamma"]}, ["gamma", "alpha", "beta"]),
            ({"order": ["unknown"]}, ["alpha", "beta", "gamma"]),
            ({"order": ["gamma", "beta"], "allow_fallbacks": False}, ["gamma", "beta"]),
            ({"order": ["gamma", "unknown"], "allow_fallbacks": False}, ["gamma"]),
            ({"order": ["gamma", "beta"], "ignore": ["gamma"]}, ["beta", "alpha"]),
            ({"order": []}, ["alpha", "beta", "gamma"]),
            ({"allow_fallbacks": False}, ["alpha"]),
            ({"allow_fallbacks": False, "ignore": ["alpha"]}, ["beta"]),
            ({"allow_fallbacks": True}, ["alpha", "beta", "gamma"]),
            (
                dict.fromkeys(["only", "ignore", "order", "allow_fallbacks", "zdr", "max_price"]),
                ["alpha", "beta", "gamma"],
            ),
        ],
    )
    def test_lists(self, provider: dict[str, object], expected: list[str]) -> None:
        """`only` and `ignore` take out, `order` puts first, `allow_fallbacks` ends the plan with what was named."""
        assert expected == tags(plan(ABC, **provider))

    def test_what_is_taken_out_is_told(self) -> None:
        """With the word of OpenRouter's vocabulary."""
        assert removals(plan(ABC, only=["alpha"])) == [("beta", "allowed_providers"), ("gamma", "allowed_providers")]

    def test_an_order_that_nobody_is_in(self) -> None:
        """Without fallbacks nothing is left."""
        with pytest.raises(ConstraintFiltered) as caught:
            plan(ABC, order=["unknown"], allow_fallbacks=False)

        assert caught.value.availability is not None
        assert caught.value.availability["excluded_by"] == ["allowed_providers"]

    def test_nothing_left(self) -> None:
        """The error says which preferences it was, and for whom."""
        with pytest.raises(ConstraintFiltered) as caught:
            plan(make_catalog(A, make_endpoint("beta", prompt="1")), ignore=["alpha"], max_price={"prompt": 1})

        availability = caught.value.availability
        assert availability is not None
        assert (caught.value.status, caught.value.error_type) == (404, "not_found")
        assert availability["code"] == "constraint_filtered"
        assert availability["excluded_by"] == ["allowed_providers", "max_price"]
        assert availability["requested_models"] == ["a/one"]
        assert False is availability["retryable"]
        assert "alpha" in caught.value.message
        assert "provider.ignore" in caught.value.message


class TestPolicy:
    """Data policies: what is not known never satisfies a request that asks for it."""

    CATALOG = make_catalog(
        make_endpoint("unknown"),
        make_endpoint("good", policy=DataPolicy(trains=False, retains=False)),
        make_endpoint("trains", policy=DataPolicy(trains=True, retains=False)),
        make_endpoint("retains", policy=DataPolicy(trains=False, retains=True)),
    )

    @pytest.mark.parametrize(
        ("provider", "expected", "word"),
        [
            ({"zdr": True}, ["good", "trains"], "data_policy:zdr"),
            ({"data_collection": "deny"}, ["good"], "data_policy:training"),
            ({"zdr": True, "data_collection": "deny"}, ["good"], "data_policy:zdr"),
        ],
    )
    def test_policies(self, provider: dict[str, object], expected: list[str], word: str) -> None:
        """Each asks for its own promise: `zdr` that nothing is kept, `deny` that nothing is trained on either."""
        found = plan(self.CATALOG, **provider)

        assert expected == tags(found)
        assert word in {removal.excluded_by for removal in found.removed}

    def test_collection_is_storing_or_training(self) -> None:
        """The reason says which of the two is not ruled out."""
        found = plan(self.CATALOG, data_collection="deny")

        assert [
            ("unknown", "is not known to keep prompts out of training"),
            ("trains", "is not known to keep prompts out of training"),
            ("retains", "is not known to store no prompts"),
        ] == [(removal.endpoint.tag, removal.detail) for removal in found.removed]

    @pytest.mark.parametrize("provider", [{"zdr": False}, {"data_collection": "allow"}, {"zdr": None}])
    def test_no_wish(self, provider: dict[str, object]) -> None:
        """Then every endpoint stays."""
        assert len(plan(self.CATALOG, **provider).endpoints) == 4

    def test_distillation(self) -> None:
        """Nobody is known to allow it yet."""
        with pytest.raises(ConstraintFiltered):
            plan(self.CATALOG, enforce_distillable_text=True)


class TestEndpointFilters:
    """Properties of an endpoint."""

    @pytest.mark.parametrize(
        ("quantization", "wanted", "passes"),
        [
            ("fp8", ["fp8"], True),
            ("fp8", ["fp16", "bf16"], False),
            ("mxfp4", ["fp4"], True),
            ("nvfp4", ["fp4"], True),
            ("mxfp8", ["fp8"], True),
            ("mxfp4", ["mxfp4"], True),
            ("fp4", ["mxfp4"], False),
            ("mxfp4", ["nvfp4"], False),
            ("mxfp4", ["fp8"], False),
            (None, ["unknown"], True),
            (None, ["fp8"], False),
        ],
    )
    def test_quantizations(self, quantization: str | None, wanted: list[str], passes: bool) -> None:
        """A width includes its microscaling forms, not the other way round; what is not known is `unknown`."""
        catalog = make_catalog(
            make_endpoint("int8", quantization="int8"), make_endpoint("q", quantization=quantization)
        )

        found = plan(catalog, quantizations=[*wanted, "int8"])

        assert passes == ("q" in tags(found))

    @pytest.mark.parametrize(
        ("ceiling", "passes"),
        [
            ({"prompt": 2.5}, True),
            ({"prompt": "2.5"}, True),
            ({"prompt": 2.49}, False),
            ({"prompt": "2.4999999"}, False),
            ({"completion": 10}, True),
            ({"completion": 9}, False),
            ({"request": "0.01"}, True),
            ({"request": 0.009}, False),
            ({"prompt": 3, "completion": 9}, False),
            ({"prompt": None, "image": 0}, True),
            ({}, True),
        ],
    )
    def test_max_price(self, ceiling: dict[str, object], passes: bool) -> None:
        """USD per million tokens, per request; as numbers and as text; the ceiling itself passes."""
        priced = make_endpoint("priced", prompt="0.0000025", completion="0.00001", request="0.01")

        found = plan(make_catalog(A, priced), max_price=ceiling)

        assert passes == ("priced" in tags(found))
        assert passes or removals(found) == [("priced", "max_price")]

    @pytest.mark.parametrize(
        ("ceiling", "passes"),
        [({"prompt": 1000}, False), ({"request": 0}, False), ({}, True), ({"prompt": None}, True)],
    )
    def test_a_price_that_is_not_known(self, ceiling: dict[str, object], passes: bool) -> None:
        """It is over any ceiling."""
        found = plan(make_catalog(A, make_endpoint("unpriced", prompt=None)), max_price=ceiling)

        assert passes == ("unpriced" in tags(found))
        assert passes or removals(found) == [("unpriced", "max_price")]

    @pytest.mark.parametrize(
        ("kind", "ceiling", "passes"),
        [
            ("image_url", {"image": 1}, False),
            ("image_url", {"audio": 1}, True),
            ("input_audio", {"audio": "1"}, False),
            ("input_audio", {"image": 1}, True),
            ("text", {"image": 1, "audio": 1}, True),
        ],
    )
    def test_ceilings_of_other_input(self, kind: str, ceiling: dict[str, object], passes: bool) -> None:
        """Prices of images and audio are not known: a request that has them and limits them is not served."""
        content = [{"role": "user", "content": [{"type": kind}]}]
        request = make_request(model="a/one", messages=content, provider={"max_price": ceiling})

        if passes:
            assert tags(plan_route(request, ABC)) == ["alpha", "beta", "gamma"]
            return
        with pytest.raises(ConstraintFiltered, match=r"price of (image|audio) input that is not known") as caught:
            plan_route(request, ABC)
        assert caught.value.availability is not None
        assert caught.value.availability["excluded_by"] == ["max_price"]

    @pytest.mark.parametrize("price", ["cheap", "", "NaN", "sNaN", "1,5"])
    @pytest.mark.parametrize("kind", ["prompt", "completion", "request", "image", "audio"])
    def test_a_price_that_is_no_number(self, kind: str, price: str) -> None:
        """The caller is told which field it is."""
        with pytest.raises(BadRequest, match="max_price"):
            plan(ABC, max_price={kind: price})

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"temperature": 1}, ["knows", "most"]),
            ({"temperature": 1, "tools": [{"type": "function", "function": {"name": "f"}}]}, ["knows"]),
            ({"temperature": 1, "tools": []}, ["knows", "most"]),
            ({"temperature": 1, "tools": None}, ["knows", "most"]),
            ({"max_price": 1, "unknown_field": 1, "stream": True}, ["unknown", "knows", "most"]),
        ],
    )
    def test_require_parameters(self, fields: dict[str, object], expected: list[str]) -> None:
        """Parameters that are set must be supported; null and empty lists are not set, other fields no parameters."""
        catalog = make_catalog(
            make_endpoint("unknown"),
            make_endpoint("knows", parameters={"temperature", "tools"}),
            make_endpoint("most", parameters={"temperature"}),
        )
        request = make_request(model="a/one", provider={"require_parameters": True}, **fields)

        assert expected == tags(plan_route(request, catalog))

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("text", ["unknown", "text", "image"]),
            ("image_url", ["unknown", "image"]),
            ("input_audio", ["unknown"]),
            ("video_url", ["unknown"]),
            ("input_video", ["unknown"]),
            ("file", ["unknown"]),
            (None, ["unknown", "text", "image"]),
            ({}, ["unknown", "text", "image"]),
            (["image_url"], ["unknown", "text", "image"]),
        ],
    )
    def test_modalities(self, kind: object, expected: list[str]) -> None:
        """A part of a message needs an endpoint that takes it, or whose kinds are not known."""
        catalog = make_catalog(
            make_endpoint("unknown"),
            make_endpoint("text", modalities={"text"}),
            make_endpoint("image", modalities={"text", "image"}),
        )
        request = make_request(model="a/one", messages=[{"role": "user", "content": [{"type": kind}, {}]}])

        assert expected == tags(plan_route(request, catalog))


class TestModels:
    """`model` and `models`."""

    CATALOG = make_catalog(
        make_endpoint("alpha", "a/one"),
        make_endpoint("beta", "a/one"),
        make_endpoint("alpha", "a/two"),
        make_endpoint("beta", "a/two"),
        default_model="a/two",
    )

    def order_of(self, **fields: object) -> list[tuple[str, str]]:
        found = plan_route(make_request(**fields), self.CATALOG)
        return [(endpoint.model_id, endpoint.tag) for endpoint in found.endpoints]

    def test_fallback_models(self) -> None:
        """All endpoints of the first model come before those of the next."""
        expected = [("a/two", "alpha"), ("a/two", "beta"), ("a/one", "alpha"), ("a/one", "beta")]

        assert expected == self.order_of(model="a/two", models=["a/one", "a/two"])
        assert expected == self.order_of(models=["a/two", "a/one"])

    def test_an_order_of_providers_is_within_a_model(self) -> None:
        """It does not try a fallback model while the first model has endpoints left."""
        expected = [("a/one", "beta"), ("a/one", "alpha"), ("a/two", "beta"), ("a/two", "alpha")]

        assert expected == self.order_of(models=["a/one", "a/two"], provider={"order": ["beta"]})
        assert expected == self.order_of(models=["a/one", "a/two"], provider={"order": ["beta", "alpha"]})

    def test_the_default_model(self) -> None:
        """It answers where none is named."""
        assert self.order_of() == [("a/two", "alpha"), ("a/two", "beta")]

    def test_no_model_and_no_default(self) -> None:
        """The field is named."""
        with pytest.raises(BadRequest, match="model"):
            plan_route(make_request(), ABC)

    def test_an_unknown_model(self) -> None:
        """400 in OpenRouter's words."""
        with pytest.raises(ModelNotFound) as caught:
            plan_route(make_request(model="acme/x"), ABC)

        assert (caught.value.status, caught.value.error_type) == (400, "invalid_request")
        assert caught.value.message == "acme/x is not a valid model ID"
        assert caught.value.availability == {
            "code": "model_not_found",
            "retryable": False,
            "requested_models": ["acme/x"],
            "docs_url": "https://openrouter.ai/docs/errors#model_not_found",
        }

    def test_one_endpoint_under_two_names_is_tried_once(self) -> None:
        """The same endpoint may stand in for several models."""
        listings = {name: Listing(model=Model(id=name, name=name), endpoints=(A,)) for name in ("a/one", "a/two")}
        catalog = Catalog(listings=listings, providers=(A.provider,))

        assert plan_route(make_request(models=["a/one", "a/two"]), catalog).endpoints == (A,)


POLICIES = st.builds(
    DataPolicy, trains=st.sampled_from([None, True, False]), retains=st.sampled_from([None, True, False])
)
ENDPOINTS = st.lists(
    st.builds(
        make_endpoint,
        st.sampled_from(["alpha", "beta", "beta/turbo", "beta/flex", "gamma"]),
        st.sampled_from(["a/one", "a/two"]),
        policy=POLICIES,
        prompt=st.sampled_from(["0", "0.000001", "0.000002"]),
        quantization=st.sampled_from([None, "fp4", "mxfp4"]),
        parameters=st.none() | st.sets(st.sampled_from(["temperature", "tools"])),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda endpoint: (endpoint.tag, endpoint.model_id),
)
SLUGS = st.lists(st.sampled_from(["alpha", "Beta", "beta/turbo", "beta/flex", "nobody"]), max_size=3)
PREFERENCES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "only": SLUGS,
        "ignore": SLUGS,
        "order": SLUGS,
        "allow_fallbacks": st.booleans(),
        "zdr": st.booleans(),
        "data_collection": st.sampled_from(["allow", "deny"]),
        "quantizations": st.lists(st.sampled_from(["fp4", "unknown"]), max_size=2),
        "max_price": st.fixed_dictionaries({"prompt": st.sampled_from([0, 1, "1.5", 2])}),
        "require_parameters": st.booleans(),
    },
)


@given(ENDPOINTS, PREFERENCES)
def test_every_endpoint_is_planned_or_accounted_for(endpoints: list[Endpoint], provider: dict[str, Any]) -> None:
    """Nothing that was excluded is in a plan, nothing is in it twice, and nothing vanishes without a reason."""
    models = list(dict.fromkeys(endpoint.model_id for endpoint in endpoints))
    request = make_request(models=models, temperature=1, provider=provider)
    refused: ConstraintFiltered | None = None
    found = RoutePlan(())
    try:
        found = plan_route(request, make_catalog(*endpoints))
    except ConstraintFiltered as error:
        refused = error

    if refused is not None:
        assert refused.availability is not None
        assert refused.availability["excluded_by"]
        return
    assert found.endpoints
    assert len(found.endpoints) == len(set(found.endpoints))
    assert [removal for removal in found.removed if removal.endpoint in found.endpoints] == []
    for endpoint in found.endpoints:
        assert not provider.get("only") or is_allowed(endpoint, provider)
        assert not matches_any(endpoint, provider.get("ignore", ()))
        assert not provider.get("zdr") or False is endpoint.provider.policy.retains
        assert provider.get("data_collection") != "deny" or DataPolicy(trains=False, retains=False) == (
            endpoint.provider.policy
        )
    planned = [endpoint.model_id for endpoint in found.endpoints]
    assert sorted(planned, key=models.index) == planned
    if provider.get("allow_fallbacks", True):
        accounted = {*found.endpoints, *(removal.endpoint for removal in found.removed)}
        assert set(endpoints) == accounted


def is_allowed(endpoint: Endpoint, provider: dict[str, Any]) -> bool:
    """Whether `only` has it; a service tier that `order` names is one of its provider's endpoints like any other."""
    if matches_any(endpoint, provider["only"]):
        return True
    names = {endpoint.provider.slug, endpoint.provider.name.lower()}
    return endpoint.tag in provider.get("order", ()) and any(name.lower() in names for name in provider["only"])
