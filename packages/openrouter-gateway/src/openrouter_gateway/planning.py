"""What a plan depends on, fetched; and the dry run: how a request would be routed, without sending it."""

from typing import Any

from openrouter_gateway.callers.plugins import RUNS
from openrouter_gateway.routing.explain import explain
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.plan import draft_route
from openrouter_gateway.routing.variants import lift_online
from openrouter_gateway.services import Services
from openrouter_gateway.wire.skins.chat import Chat


def facts_of(services: Services, now: float) -> Facts:
    """Return the circumstances of a request at `now`, a reading of the timer; conversations are yet to be recalled."""
    return Facts(
        now=now,
        dice=services.dice.random,
        health=services.health.views,
        busy=services.places.busy,
        policy=services.policy,
        runs=RUNS,
        search_engine=services.plugins.search_engine,
        attempt_limit_s=services.attempt_limit_s,
        request_limit_s=services.request_limit_s,
    )


def explain_plan(services: Services, body: bytes) -> dict[str, Any]:
    """Return how a chat completion with this body would be routed now, and why; nothing is sent.

    Raises:
        GatewayError: the body is no request, or its models cannot be resolved.
    """
    request = lift_online(Chat().parse(body), services.catalog.listings)
    facts = facts_of(services, services.timer())
    return explain(request, draft_route(request, services.catalog, facts), facts)
