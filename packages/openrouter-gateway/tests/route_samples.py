"""Endpoints, catalogues and circumstances for the tests of route planning."""

import random
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import chain, repeat
from typing import Any

import msgspec
from gateway_samples import make_endpoint, make_request

from openrouter_gateway.core.catalog import Catalog, Endpoint, Listing, Model, Price
from openrouter_gateway.core.health import EndpointHealth, Percentiles
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.plan import RoutePlan, plan_route

NOW = 1000.0
LATER = NOW + 10


def priced(tag: str, usd: str | None, model_id: str = "a/one", **fields: Any) -> Endpoint:
    """Return an endpoint that costs so many USD per million tokens, of prompt as of completion; None: not known."""
    price = None
    if usd is not None:
        rate = Decimal(usd) / 1_000_000
        price = Price(prompt=rate, completion=rate)
    return msgspec.structs.replace(make_endpoint(tag, model_id), price=price, **fields)


def listing(*endpoints: Endpoint, model_id: str | None = None, **model: Any) -> Listing:
    """Return the listing of a model with these endpoints."""
    model_id = model_id or endpoints[0].model_id
    return Listing(model=Model(id=model_id, name=model_id, **model), endpoints=endpoints)


def catalog_of(*listings: Listing, **fields: Any) -> Catalog:
    """Return a catalogue of these listings."""
    providers = {e.provider.slug: e.provider for each in listings for e in each.endpoints}
    return Catalog(listings={each.model.id: each for each in listings}, providers=tuple(providers.values()), **fields)


def route(
    catalog: Catalog | Iterable[Endpoint],
    facts: Facts | None = None,
    *,
    model: str = "a/one",
    provider: dict[str, Any] | None = None,
    **fields: Any,
) -> RoutePlan:
    """Return the plan of a request for a model under these preferences."""
    if not isinstance(catalog, Catalog):
        catalog = catalog_of(listing(*catalog))
    if "models" not in fields:
        fields["model"] = model
    if provider is not None:
        fields["provider"] = provider
    return plan_route(make_request(**fields), catalog, facts or Facts(now=NOW))


def tags(plan: RoutePlan) -> list[str]:
    """Return the tags of a plan's endpoints."""
    return [endpoint.tag for endpoint in plan.endpoints]


def pairs(plan: RoutePlan) -> list[tuple[str, str]]:
    """Return the models and tags of a plan's endpoints."""
    return [(endpoint.model_id, endpoint.tag) for endpoint in plan.endpoints]


def removals(plan: RoutePlan) -> dict[str, str]:
    """Return by what each removed endpoint was excluded, by tag."""
    return {removal.endpoint.tag: removal.excluded_by for removal in plan.removed}


def rolls(*values: float) -> Callable[[], float]:
    """Return dice that show these numbers, then the last one for ever."""
    numbers = chain(values, repeat(values[-1]))
    return lambda: next(numbers)


def seeded(seed: int) -> Callable[[], float]:
    """Return dice that fall as this seed has it."""
    return random.Random(seed).random  # noqa: S311


def measured(throughput: float | None = None, latency: float | None = None, **fields: Any) -> EndpointHealth:
    """Return the health of an endpoint whose percentiles are all the same."""
    return EndpointHealth(
        measured_until=LATER,
        throughput=None if throughput is None else Percentiles(*[throughput] * 4),
        latency=None if latency is None else Percentiles(*[latency] * 4),
        **fields,
    )


def healths(endpoints: Iterable[Endpoint], **by_tag: EndpointHealth) -> Facts:
    """Return the circumstances in which the endpoints with these tags are in this health."""
    return Facts(now=NOW, health={e.key: by_tag[e.tag] for e in endpoints if e.tag in by_tag})
