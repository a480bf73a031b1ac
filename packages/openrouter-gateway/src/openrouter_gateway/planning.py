"""What a plan depends on, fetched; and the dry run: how a request would be routed, without sending it."""

from typing import Any

import msgspec

from openrouter_gateway.callers.plugins import RUNS
from openrouter_gateway.core.catalog import Catalog
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.routing.explain import explain
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.plan import draft_route
from openrouter_gateway.routing.sticky import Conversation, conversation_of
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


async def recall(
    services: Services, request: ChatRequest, facts: Facts, *, account: str | None, session_id: str | None, now: float
) -> tuple[Conversation | None, Facts]:
    """Return the conversation that a request belongs to, and the facts with where it was served last.

    `account` is the hash of the caller's key, `session_id` the header's, `now` in unix seconds.
    """
    conversation = conversation_of(request, services.catalog, account=account or "", session_id=session_id)
    if conversation is not None:
        remembered = await services.conversations.get(conversation.key, now)
        if remembered is not None:
            facts = msgspec.structs.replace(facts, remembered=remembered)
    return conversation, facts


def parse_dry_run(body: bytes, catalog: Catalog) -> ChatRequest:
    """Return the chat completion whose route is to be explained.

    Raises:
        BadRequest: the body is no request.
    """
    return lift_online(Chat().parse(body), catalog.listings)


async def explain_plan(
    services: Services, body: bytes, *, account: str | None, session_id: str | None
) -> dict[str, Any]:
    """Return how a chat completion with this body would be routed now, and why; nothing is sent.

    `account` and `session_id` are as for `recall`.

    Raises:
        GatewayError: the body is no request, or its models cannot be resolved.
    """
    request = parse_dry_run(body, services.catalog)
    facts = facts_of(services, services.timer())
    _, facts = await recall(services, request, facts, account=account, session_id=session_id, now=services.clock())
    return explain(request, draft_route(request, services.catalog, facts), facts)
