"""Plans as others read them: for `POST /route/explain`, and as the router metadata of real answers.

Both are values for a JSON encoder. Router metadata: OpenRouter API, router metadata (2026-08-22).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from openrouter_gateway.core.catalog import Endpoint, Price
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.health import EndpointHealth
from openrouter_gateway.routing.facts import Facts, Remembered
from openrouter_gateway.routing.order import Arrangement, Ordering, is_broken, weights
from openrouter_gateway.routing.plan import RoutePlan, refusal_of
from openrouter_gateway.routing.resolve import ROUTERS, Strategy
from openrouter_gateway.routing.variants import split_variants

_BY: Final[dict[Ordering, str]] = {
    "balanced": "by price, behind the one that was drawn",
    "order": "not in provider.order: steady ones first, by price",
    "price": "sorted by price",
    "throughput": "sorted by throughput",
    "latency": "sorted by latency",
    "exacto": "sorted by the quality of tool calls",
}


def explain(request: ChatRequest, plan: RoutePlan, facts: Facts) -> dict[str, Any]:
    """Return a draft or plan with all that led to it: the endpoints in order, and what was removed by what."""
    places = {
        id(row.endpoint): (arrangement, place)
        for arrangement in plan.arrangements
        for place, row in enumerate(arrangement.rows)
    }
    listed = _listed(request)
    error = None
    if not plan.endpoints:
        refusal = refusal_of(plan)
        error = {"code": refusal.status, "message": refusal.message, "availability": refusal.availability}
    preferences = request.params.provider
    return {
        "requested": list(plan.requested),
        "strategy": plan.strategy,
        "router": plan.router,
        "models": list(dict.fromkeys(endpoint.model_id for endpoint in plan.endpoints)),
        "ordering": plan.ordering,
        "allow_fallbacks": plan.allow_fallbacks,
        "max_price": _show_ceilings(preferences.max_price) if preferences and preferences.max_price else None,
        "prompt_tokens_at_least": plan.prompt_tokens,
        "plugins": list(plan.plugins),
        "sticky": _show_sticky(facts.remembered),
        "endpoints": [
            {
                "position": position,
                **_identify(endpoint),
                "reason": _reason(*places[id(endpoint)], listed),
                "price": _show_price(endpoint.price),
                "health": _show_health(facts.health.get(endpoint.key), facts.now),
            }
            for position, endpoint in enumerate(plan.endpoints, 1)
        ],
        "removed": [
            {**_identify(removal.endpoint), "excluded_by": removal.excluded_by, "reason": removal.detail}
            for removal in plan.removed
        ],
        "error": error,
    }


def router_metadata(
    plan: RoutePlan,
    attempts: Sequence[tuple[Endpoint, int | None]],
    selected: Endpoint | None,
    *,
    pipeline: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the `openrouter_metadata` of an answer or error.

    `attempts` are all endpoints tried so far with the status of each, `selected` the one that serves; None on errors.
    """
    total = len(plan.endpoints)
    chosen = f"selected={selected.provider.name}" if selected else "none selected"
    found: dict[str, Any] = {
        "requested": plan.requested[0] if plan.requested else "",
        "strategy": plan.strategy,
        "region": None,
        "summary": f"available={total}, {chosen}",
        "attempt": len(attempts),
        "is_byok": False,
        "endpoints": {
            "total": total + len(plan.removed),
            "available": [
                {
                    "provider": endpoint.provider.name,
                    "model": endpoint.model_id,
                    "selected": endpoint is selected,
                }
                for endpoint in plan.endpoints
            ],
        },
        "attempts": [
            {"provider": endpoint.provider.name, "model": endpoint.model_id, "status": status}
            for endpoint, status in attempts
            if status is not None
        ],
        "params": {},
        "pipeline": list(pipeline),
    }
    return found


def unresolved(names: Sequence[str]) -> RoutePlan:
    """Return the plan, without endpoints, of names that do not lead to models: for the metadata of that error."""
    base, _ = split_variants(names[0]) if names else ("", None)
    strategy: Strategy = ROUTERS.get(base) or ("latest" if base.startswith("~") else "direct")
    return RoutePlan((), requested=tuple(names), strategy="fallback" if len(names) > 1 else strategy)


def _listed(request: ChatRequest) -> frozenset[str]:
    preferences = request.params.provider
    return frozenset(name.lower() for name in (preferences.order or ())) if preferences else frozenset()


def _identify(endpoint: Endpoint) -> dict[str, str]:
    return {"model": endpoint.model_id, "provider": endpoint.provider.name, "tag": endpoint.tag}


def _reason(arrangement: Arrangement, place: int, listed: frozenset[str]) -> str:
    row = arrangement.rows[place]
    if (note := arrangement.notes.get(row.key)) is not None:
        return note
    if arrangement.by == "order" and not listed.isdisjoint(row.names):
        return "in provider.order"
    if len(arrangement.rows) == 1 and not arrangement.pool:
        return "the only one left"
    if place == 0 and row in arrangement.pool:
        shares = weights(arrangement.pool)
        share = shares[arrangement.pool.index(row)] / sum(shares)
        return f"drawn by price, with a probability of {share:.3f}"
    return _BY[arrangement.by]


def _show_price(price: Price | None) -> dict[str, str] | None:
    """Without what long prompts cost: by that nothing is routed."""
    if price is None:
        return None
    rates: dict[str, Decimal | None] = msgspec.structs.asdict(msgspec.structs.replace(price, overrides=()))
    return {kind: f"{rate:f}" for kind, rate in rates.items() if isinstance(rate, Decimal)}


def _show_ceilings(ceilings: Any) -> dict[str, str]:
    found: dict[str, Decimal | None] = msgspec.structs.asdict(ceilings)
    return {kind: str(ceiling) for kind, ceiling in found.items() if ceiling is not None}


def _show_sticky(remembered: Remembered | None) -> dict[str, str] | None:
    """Return where the request's conversation is kept, also when that endpoint cannot be had now."""
    if remembered is None:
        return None
    return {"model": remembered.model, "tag": remembered.endpoint.partition("|")[2]}


def _show_health(health: EndpointHealth | None, now: float) -> dict[str, Any] | None:
    if health is None:
        return None
    measured = health.measured_until >= now
    return {
        "broken": is_broken(health, now),
        "recent_outage": health.outage_until > now,
        "standing": ("normal", "degraded", "down")[health.standing],
        "failures_in_a_row": health.failures_in_a_row,
        "cooling_for_s": max(0.0, health.cooling_until - now),
        "latency_s": _show_percentiles(health, "latency") if measured else None,
        "tokens_per_s": _show_percentiles(health, "throughput") if measured else None,
    }


def _show_percentiles(health: EndpointHealth, name: str) -> dict[str, float] | None:
    found = getattr(health, name)
    return None if found is None else {key: round(value, 4) for key, value in msgspec.structs.asdict(found).items()}
