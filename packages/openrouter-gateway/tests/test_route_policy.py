"""What an account's policy leaves of the catalogue."""

import pytest
from gateway_samples import make_catalog, make_endpoint, make_request
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.core.catalog import AccountPolicy, Catalog, DataPolicy
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.plan import draft_route
from openrouter_gateway.routing.policy import permitted

SAFE = DataPolicy(trains=False, retains=False)
CATALOG = make_catalog(
    make_endpoint("alpha", "a/one", policy=SAFE),
    make_endpoint("beta/fp8", "a/one", name="Beta Cloud", policy=DataPolicy(trains=True, retains=True)),
    make_endpoint("beta", "a/two", name="Beta Cloud", policy=DataPolicy(trains=False, retains=True)),
    make_endpoint("gamma", "a/three"),
)


def offer(catalog: Catalog) -> dict[str, list[str]]:
    """Return the tags of endpoints by model."""
    return {name: [endpoint.tag for endpoint in listing.endpoints] for name, listing in catalog.listings.items()}


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        (AccountPolicy(), offer(CATALOG)),
        (AccountPolicy(zdr=True), {"a/one": ["alpha"]}),
        (AccountPolicy(deny_training=True), {"a/one": ["alpha"], "a/two": ["beta"]}),
        (AccountPolicy(allowed_providers=("BETA cloud",)), {"a/one": ["beta/fp8"], "a/two": ["beta"]}),
        (AccountPolicy(allowed_providers=()), {}),
        (AccountPolicy(ignored_providers=("Beta",)), {"a/one": ["alpha"], "a/three": ["gamma"]}),
    ],
)
def test_what_is_left(policy: AccountPolicy, left: dict[str, list[str]]) -> None:
    """Endpoints that may be used, and models that have any."""
    assert left == offer(permitted(CATALOG, policy))


PROVIDERS = st.lists(st.sampled_from(["alpha", "beta", "Beta Cloud", "beta/fp8", "delta"]), max_size=2).map(tuple)


@given(
    st.builds(
        AccountPolicy,
        allowed_providers=st.none() | PROVIDERS,
        ignored_providers=PROVIDERS,
        zdr=st.booleans(),
        deny_training=st.booleans(),
    )
)
def test_plans_agree(policy: AccountPolicy) -> None:
    """What is listed is what a request may be sent to."""
    planned: dict[str, list[str]] = {}
    for name in CATALOG.listings:
        plan = draft_route(make_request(model=name), CATALOG, Facts(policy=policy))
        if plan.endpoints:
            planned[name] = sorted(endpoint.tag for endpoint in plan.endpoints)
    assert planned == {name: sorted(tags) for name, tags in offer(permitted(CATALOG, policy)).items()}
