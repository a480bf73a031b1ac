"""What holds for every request, catalogue and state of health."""

from typing import Any

import msgspec
from gateway_samples import make_endpoint, make_request
from hypothesis import given
from hypothesis import strategies as st
from route_samples import NOW, priced, route, seeded

from openrouter_gateway.core.catalog import AccountPolicy, Catalog, DataPolicy, Endpoint, Listing, Model, Price
from openrouter_gateway.core.health import EndpointHealth, Percentiles
from openrouter_gateway.errors import GatewayError, RoutingError
from openrouter_gateway.routing.explain import explain
from openrouter_gateway.routing.facts import Facts, Remembered
from openrouter_gateway.routing.index import RATES, index_of
from openrouter_gateway.routing.order import weights
from openrouter_gateway.routing.plan import RoutePlan, draft_route
from openrouter_gateway.routing.slug import full_names, matches_any

MODELS = ["a/one", "a/two", "a/three"]
TAGS = ["alpha", "alpha/turbo", "beta", "beta/flex", "gamma", "gamma/priority", "delta"]
NAMES = ["alpha", "Beta", "GAMMA", "alpha/turbo", "beta/flex", "gamma/priority", "nobody"]
PARAMETERS = ["temperature", "tools", "response_format", "structured_outputs", "max_tokens"]


@st.composite
def endpoints(draw: st.DrawFn) -> Endpoint:
    """Return any endpoint."""
    optional_bool = st.sampled_from([None, True, False])
    rate = st.sampled_from(["0", "0.000001", "0.000002", "0.000003"])
    base = make_endpoint(
        draw(st.sampled_from(TAGS)),
        draw(st.sampled_from(MODELS)),
        policy=DataPolicy(trains=draw(optional_bool), retains=draw(optional_bool)),
        prompt=draw(st.none() | rate),
        completion=draw(rate),
        quantization=draw(st.sampled_from([None, "fp4", "mxfp4", "fp8"])),
        parameters=draw(st.none() | st.sets(st.sampled_from(PARAMETERS))),
        modalities=draw(st.none() | st.sets(st.sampled_from(["text", "image"]))),
    )
    return msgspec.structs.replace(
        base,
        context_length=draw(st.sampled_from([None, 5, 100])),
        max_completion_tokens=draw(st.sampled_from([None, 10, 1000])),
    )


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Return any catalogue of up to three models and twelve endpoints."""
    found = draw(
        st.lists(endpoints(), min_size=1, max_size=12, unique_by=lambda endpoint: (endpoint.tag, endpoint.model_id))
    )
    distillable = draw(st.sampled_from([None, True, False]))
    listings = {
        model_id: Listing(
            model=Model(id=model_id, name=model_id, distillable=distillable),
            endpoints=tuple(e for e in found if e.model_id == model_id),
        )
        for model_id in {e.model_id for e in found}
    }
    return Catalog(listings=listings, providers=tuple({e.provider.slug: e.provider for e in found}.values()))


CUTOFFS = st.sampled_from([0.5, 50, {"p50": 1}, {"p90": 50, "p99": 1}])
EACH_PREFERENCE: dict[str, st.SearchStrategy[Any]] = {
    "only": st.lists(st.sampled_from(NAMES), max_size=4),
    "ignore": st.lists(st.sampled_from(NAMES), max_size=2),
    "order": st.lists(st.sampled_from(NAMES), max_size=3),
    "allow_fallbacks": st.booleans(),
    "zdr": st.booleans(),
    "data_collection": st.sampled_from(["allow", "deny"]),
    "enforce_distillable_text": st.booleans(),
    "quantizations": st.lists(st.sampled_from(["fp4", "fp8", "unknown"]), max_size=2),
    "max_price": st.fixed_dictionaries({}, optional={"prompt": st.integers(0, 3), "completion": st.integers(0, 3)}),
    "require_parameters": st.booleans(),
    "sort": st.sampled_from(
        ["price", "throughput", "latency", "exacto", {"by": "price", "partition": "none"}, {"partition": "none"}]
    ),
    "preferred_min_throughput": CUTOFFS,
    "preferred_max_latency": CUTOFFS,
}
FEW_PREFERENCES: st.SearchStrategy[dict[str, Any]] = st.lists(
    st.sampled_from(sorted(EACH_PREFERENCE)), max_size=3, unique=True
).flatmap(lambda names: st.fixed_dictionaries({name: EACH_PREFERENCE[name] for name in names}))
"""Many at once leave no endpoint to go wrong with."""
PREFERENCES = FEW_PREFERENCES | st.fixed_dictionaries({}, optional=EACH_PREFERENCE)
MESSAGES = st.sampled_from(
    [
        [{"role": "user", "content": "Hello"}],
        [{"role": "user", "content": "x" * 100}],
        [{"role": "user", "content": [{"type": "image_url"}]}],
    ]
)
FIELDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"messages": MESSAGES},
    optional={
        "provider": PREFERENCES,
        "tools": st.just([{"type": "function", "function": {"name": "f"}}]),
        "response_format": st.sampled_from(
            [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "n"}}]
        ),
        "temperature": st.just(0.5),
        "max_tokens": st.sampled_from([5, 500]),
        "service_tier": st.sampled_from(["priority", "flex", "default"]),
        "route": st.sampled_from(["fallback", "sort"]),
    },
)
TIMES = st.sampled_from([0.0, NOW - 1, NOW + 1])
PERCENTILES = st.none() | st.builds(Percentiles, *[st.sampled_from([0.4, 5.0, 60.0])] * 4)
BREAKS = st.sampled_from([(0.0, 0.0), (NOW - 1, NOW - 1), (NOW + 1, 0.0), (NOW + 1, NOW + 1)])
"""Until when an endpoint is broken, and until when that is because it fails: never longer."""
HEALTH = st.builds(
    lambda breaks, **fields: EndpointHealth(broken_until=breaks[0], failing_until=breaks[1], **fields),
    BREAKS,
    outage_until=TIMES,
    standing=st.sampled_from([0, 0, 1, 2]),
    measured_until=TIMES,
    latency=PERCENTILES,
    throughput=PERCENTILES,
    attempts_30m=st.sampled_from([0, 500]),
    tool_requests=st.sampled_from([0, 500]),
    tool_success=st.none() | st.floats(0, 1),
)
KEYS = st.sampled_from([f"{model_id}|{tag}" for model_id in MODELS for tag in TAGS])
POLICIES = st.builds(
    AccountPolicy,
    allowed_providers=st.none() | st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple),
    ignored_providers=st.lists(st.sampled_from(NAMES), max_size=1).map(tuple),
    zdr=st.booleans(),
    deny_training=st.booleans(),
)


@st.composite
def circumstances(draw: st.DrawFn) -> tuple[Facts, int]:
    """Return facts and the seed of their dice."""
    seed = draw(st.integers(0, 99))
    facts = Facts(
        now=NOW,
        dice=seeded(seed),
        health=draw(st.dictionaries(KEYS, HEALTH, max_size=8)),
        busy=draw(st.sets(KEYS, max_size=2)),
        policy=draw(st.just(AccountPolicy()) | POLICIES),
        remembered=draw(st.none() | KEYS.map(lambda key: Remembered(model=key.partition("|")[0], endpoint=key))),
    )
    return facts, seed


def draft_of(catalog: Catalog, facts: Facts, fields: dict[str, Any], suffix: str) -> RoutePlan:
    names = [name + suffix for name in MODELS if name in catalog.listings]
    return draft_route(make_request(models=names, **fields), catalog, facts)


def candidates_of(catalog: Catalog) -> list[Endpoint]:
    return [endpoint for listing in catalog.listings.values() for endpoint in listing.endpoints]


SUFFIXES = st.sampled_from(["", ":nitro", ":floor", ":exacto"])


@given(catalogs(), circumstances(), FIELDS, SUFFIXES)
def test_nothing_is_lost_and_nothing_comes_twice(
    catalog: Catalog, given_facts: tuple[Facts, int], fields: dict[str, Any], suffix: str
) -> None:
    """Every endpoint is planned once or removed once, with a reason; the explanation has them all."""
    facts, _ = given_facts
    plan = draft_of(catalog, facts, fields, suffix)

    kept = [id(endpoint) for endpoint in plan.endpoints]
    removed = [id(removal.endpoint) for removal in plan.removed]
    assert sorted(kept + removed) == sorted(id(endpoint) for endpoint in candidates_of(catalog))
    assert all(removal.detail and removal.excluded_by for removal in plan.removed)
    shown = explain(make_request(**fields), plan, facts)
    assert (len(kept), len(removed)) == (len(shown["endpoints"]), len(shown["removed"]))
    assert (shown["error"] is None) == bool(kept)


@given(catalogs(), circumstances(), FIELDS, SUFFIXES)
def test_no_excluded_endpoint_is_planned(
    catalog: Catalog, given_facts: tuple[Facts, int], fields: dict[str, Any], suffix: str
) -> None:
    """Whatever else is asked for."""
    facts, _ = given_facts
    provider, policy = fields.get("provider", {}), facts.policy
    for endpoint in draft_of(catalog, facts, fields, suffix).endpoints:
        names = full_names(endpoint)
        for only in (provider.get("only"), policy.allowed_providers):
            assert not only or not names.isdisjoint(name.lower() for name in only)
        for ignored in (provider.get("ignore", ()), policy.ignored_providers):
            assert names.isdisjoint(name.lower() for name in ignored)
        denies = provider.get("data_collection") == "deny"
        if denies or provider.get("zdr") or policy.zdr:
            assert endpoint.provider.policy.retains is False
        if denies or policy.deny_training:
            assert endpoint.provider.policy.trains is False
        if provider.get("enforce_distillable_text"):
            assert catalog.listings[endpoint.model_id].model.distillable is True
        check_needs(endpoint, fields)
        check_price(endpoint.price, provider.get("max_price", {}))
        check_tier(endpoint, fields, suffix)


def check_needs(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    content = fields["messages"][0]["content"]
    if type(content) is not str:
        assert endpoint.input_modalities is None or "image" in endpoint.input_modalities
    elif len(content) == 100:
        assert endpoint.context_length != 5
    wanted = fields.get("max_tokens", 0)
    assert (endpoint.max_completion_tokens or endpoint.context_length or wanted) >= wanted
    if fields.get("provider", {}).get("require_parameters"):
        sent = {name for name in PARAMETERS if name in fields}
        assert sent <= (endpoint.supported_parameters or set())
    if quantizations := fields.get("provider", {}).get("quantizations"):
        own = endpoint.quantization or "unknown"
        assert own in quantizations or (own == "mxfp4" and "fp4" in quantizations)


def check_price(price: Price | None, ceilings: dict[str, int]) -> None:
    for kind, ceiling in ceilings.items():
        assert price is not None
        rate = RATES[kind](price)
        assert rate is not None
        assert rate <= ceiling


def check_tier(endpoint: Endpoint, fields: dict[str, Any], suffix: str) -> None:
    if endpoint.service_tier is None:
        return
    provider, wanted = fields.get("provider", {}), fields.get("service_tier")
    by_suffix = {":nitro": "priority", ":floor": "flex"}.get(suffix)
    assert (
        wanted == endpoint.service_tier
        or (by_suffix == endpoint.service_tier and wanted != "default" and not provider.get("order"))
        or matches_any(endpoint, [*provider.get("only", ()), *provider.get("order", ())])
    )


@given(catalogs(), circumstances(), FIELDS, SUFFIXES)
def test_the_order_is_the_callers(
    catalog: Catalog, given_facts: tuple[Facts, int], fields: dict[str, Any], suffix: str
) -> None:
    """Models in their order, unless they are one list; listed providers first, in theirs; the broken ones last."""
    facts, _ = given_facts
    plan = draft_of(catalog, facts, fields, suffix)
    provider = fields.get("provider", {})
    sort = provider.get("sort")
    one_list = isinstance(sort, dict) or fields.get("route") == "sort"
    models = [endpoint.model_id for endpoint in plan.endpoints]
    if not one_list:
        assert sorted(models, key=MODELS.index) == models
    for model_id in [None] if one_list else dict.fromkeys(models):
        part = [endpoint for endpoint in plan.endpoints if model_id in (None, endpoint.model_id)]
        check_part(part, facts, provider, tier_wanted=fields.get("service_tier"))


def check_part(part: list[Endpoint], facts: Facts, provider: dict[str, Any], tier_wanted: str | None) -> None:
    def is_broken(endpoint: Endpoint) -> bool:
        health = facts.health.get(endpoint.key)
        listed = [name.lower() for name in provider.get("order") or ()]
        if endpoint.key in facts.busy or health is None:
            return endpoint.key in facts.busy
        return (health.broken_until if full_names(endpoint).isdisjoint(listed) else health.failing_until) > facts.now

    broken = [is_broken(endpoint) for endpoint in part]
    assert sorted(broken) == broken
    whole = [endpoint for endpoint, is_last in zip(part, broken, strict=True) if not is_last]
    if order := provider.get("order"):
        listed = [name.lower() for name in order]
        places = [
            min((at for at, name in enumerate(listed) if name in full_names(e)), default=len(listed)) for e in whole
        ]
        assert sorted(places) == places
    elif provider.get("sort") == "price" and tier_wanted is None and not thresholds(provider):
        costs = [index_of_endpoint(e) for e in whole if facts.remembered is None or e.key != facts.remembered.endpoint]
        assert sorted(costs) == costs


def thresholds(provider: dict[str, Any]) -> bool:
    return "preferred_min_throughput" in provider or "preferred_max_latency" in provider


def index_of_endpoint(endpoint: Endpoint) -> float:
    model = Model(id=endpoint.model_id, name="x")
    return index_of(Listing(model=model, endpoints=(endpoint,))).rows[0].cost


@given(catalogs(), circumstances(), FIELDS, SUFFIXES)
def test_plans_depend_on_their_arguments_alone(
    catalog: Catalog, given_facts: tuple[Facts, int], fields: dict[str, Any], suffix: str
) -> None:
    """Equal dice make equal plans; only what comes first in a balanced order depends on them."""
    facts, seed = given_facts
    once = draft_of(catalog, facts, fields, suffix)
    again = draft_of(catalog, msgspec.structs.replace(facts, dice=seeded(seed)), fields, suffix)
    undrawn = draft_of(catalog, msgspec.structs.replace(facts, dice=None), fields, suffix)

    assert once.endpoints == again.endpoints
    assert {id(removal.endpoint) for removal in once.removed} == {id(removal.endpoint) for removal in again.removed}
    if fields.get("provider", {}).get("allow_fallbacks", True) and fields.get("service_tier") != "flex":
        assert {e.key for e in once.endpoints} == {e.key for e in undrawn.endpoints}
    if once.ordering != "balanced":
        assert once.endpoints == undrawn.endpoints


@given(st.lists(st.none() | st.integers(0, 10), min_size=1, max_size=8), st.floats(0, 1, exclude_max=True))
def test_only_who_has_weight_is_drawn(prices: list[int | None], roll: float) -> None:
    """The shares add up, and dice that show any number pick somebody who has one."""
    found = [priced(f"p{n}", None if price is None else str(price)) for n, price in enumerate(prices)]
    rows = index_of(Listing(model=Model(id="a/one", name="One"), endpoints=tuple(found))).by_cost
    shares = dict(zip([row.key for row in rows], weights(rows), strict=True))

    first = route(found, Facts(dice=lambda: roll)).endpoints[0]

    assert sum(shares.values()) > 0
    assert shares[first.key] > 0


ANY_FIELD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a/one", "price", "alpha", "x", "NaN"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["by", "p50", "id", "prompt"]), inner),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(["model", "models", "route", "provider", "plugins", "service_tier", "session_id", "tools"]),
        ANY_FIELD,
    ),
    st.dictionaries(st.sampled_from(["order", "only", "sort", "max_price", "preferred_max_latency"]), ANY_FIELD),
)
def test_whatever_is_sent(fields: dict[str, Any], provider: dict[str, Any]) -> None:
    """There is a plan, or an error that is the caller's."""
    if provider:
        fields["provider"] = provider
    error: GatewayError | None = None
    endpoints: tuple[Endpoint, ...] = ()
    try:
        endpoints = route([make_endpoint("alpha"), make_endpoint("beta")], **{"models": ["a/one"], **fields}).endpoints
    except GatewayError as caught:
        error = caught

    assert bool(endpoints) == (error is None)
    assert error is None or isinstance(error, RoutingError) or error.status == 400
