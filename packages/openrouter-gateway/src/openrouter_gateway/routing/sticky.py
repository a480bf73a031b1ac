"""Sticky routing: later turns of a conversation go where its prompt is cached (OpenRouter API, 2026-08-22).

The shell keeps, for ten minutes after the last success, what `remember` returns under the key of `conversation_of`,
and passes it to the next plan as `Facts.remembered`. Nothing is changed when an attempt fails.
"""

import hashlib
from typing import Final

import msgspec
from msgspec import Struct

from openrouter_gateway.core.catalog import Catalog, Endpoint
from openrouter_gateway.core.chat import ChatRequest, Message
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.routing.facts import Remembered
from openrouter_gateway.routing.index import index_of

TTL_S: Final = 600
_encode = msgspec.json.Encoder().encode


class Conversation(Struct, frozen=True):
    """`key` says whose conversation with which model it is; `named`: the caller gave a session id."""

    key: str
    named: bool


def conversation_of(
    request: ChatRequest, catalog: Catalog, *, account: str = "", session_id: str | None = None
) -> Conversation | None:
    """Return the conversation that a request belongs to; None where stickiness has no say.

    That is so for tasks, when `provider.order` decides, and for a model with a single endpoint or none that makes
    cached tokens cheaper. `session_id` is the header's; the body's comes first.
    """
    params = request.params
    if request.task is not None or (params.provider is not None and params.provider.order):
        return None
    model = params.model or next(iter(params.models or ()), catalog.default_model) or ""
    listing = None if params.models else catalog.listings.get(model)
    if listing is not None:
        index = index_of(listing)
        if len(index.rows) < 2 or not index.discounting:
            return None
    if named := params.session_id or session_id:
        return Conversation(_digest(account, model, "session", named), named=True)
    if params.prompt_cache_key:
        return Conversation(_digest(account, model, "cache", params.prompt_cache_key), named=False)
    return Conversation(_digest(account, model, "messages", *_opening(params.messages)), named=False)


def remember(conversation: Conversation, endpoint: Endpoint, usage: Usage) -> Remembered | None:
    """Return what to keep after a success; None for nothing.

    Without a session id a conversation becomes sticky once the provider has read or written its cache.
    """
    if not endpoint.discounts_cache:
        return None
    if not (conversation.named or usage.cached_tokens or usage.cache_write_tokens):
        return None
    return Remembered(model=endpoint.model_id, endpoint=endpoint.key)


def _opening(messages: list[Message]) -> tuple[object, object]:
    """Return the contents of the first system or developer message and of the first other one."""
    instructions = next((m.content for m in messages if m.role in {"system", "developer"}), None)
    first = next((m.content for m in messages if m.role not in {"system", "developer"}), None)
    return instructions, first


def _digest(*parts: object) -> str:
    return hashlib.blake2b(_encode(parts), digest_size=16).hexdigest()
