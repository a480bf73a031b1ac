"""What a request may cost at most, before it is sent: that much of its budgets is reserved until it ends.

The prompt counts as one token per four bytes of its JSON. The answer counts as its `max_tokens`; where the request says
none, as the longest that the endpoint gives, or what is left of its context, or `MOST_UNSTATED_TOKENS`, whichever is
least. OpenRouter, too, goes by a model's longest answer then, as its 402 says (can1357/oh-my-pi on GitHub, issue 9569,
2026-08-24). Every token counts at the dearest rate that it may have.
"""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from openrouter_gateway.core.account import Estimate
from openrouter_gateway.core.catalog import Endpoint, Price
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.plugins import WEB

MOST_UNSTATED_TOKENS: Final = 128_000
"""The longest answer where nothing is known of it: that of GPT-5 (platform.openai.com/docs/models/gpt-5, 2025-08)."""
TYPICAL_COMPLETION_TOKENS: Final = 4096
"""What an unstated answer counts in rates of tokens. They are no money: the real number counts soon after."""
_UNSTATED_SEARCHES: Final = 5
_BYTES_PER_TOKEN: Final = 4
_LONGER: Final = 2
"""How many times as long a prompt may be as it counts, where its length decides what a token costs."""
_ZERO: Final = Decimal(0)
_EXTRA_FIELDS: Final = ("tools", "cache_control", "web_search_options")
_NO_EXTRAS: Final[Counter[str]] = Counter()


def estimate(request: ChatRequest, endpoints: Iterable[Endpoint]) -> Estimate:
    """Return the estimate for the dearest of the endpoints that may be tried; what has no price costs nothing.

    Tokens of images, audio and files are not known before, and count by the size of their JSON.
    """
    params = request.params
    size = request.prompt_size
    if params.tools:
        size += len(request.fields["tools"])
    prompt = -(-size // _BYTES_PER_TOKEN)
    stated = params.max_completion_tokens or params.max_tokens
    choices = 0 if request.task is not None else params.n or 1  # tasks have no completion
    extras = _read_extras(request)
    cost, most = _ZERO, 0
    for endpoint in endpoints:
        completion = _most_completion(endpoint, stated, prompt) * choices
        if completion > most:
            most = completion
        price = endpoint.price
        if price is None:
            continue
        if price.overrides:
            cost = max(cost, _most_cost(price.at(_LONGER * prompt), prompt, completion, extras))
            price = price.at(prompt)
        here = _most_cost(price, prompt, completion, extras)
        if here > cost:
            cost = here
    return Estimate(cost, prompt + (most if stated else min(most, TYPICAL_COMPLETION_TOKENS * choices)))


def _most_completion(endpoint: Endpoint, stated: int | None, prompt: int) -> int:
    limit, context = endpoint.max_completion_tokens, endpoint.context_length
    if stated is not None:
        return stated if limit is None else min(stated, limit)
    left = MOST_UNSTATED_TOKENS if context is None else min(MOST_UNSTATED_TOKENS, max(context - prompt, 1))
    return left if limit is None else min(left, limit)


def _most_cost(price: Price, prompt: int, completion: int, extras: Counter[str]) -> Decimal:
    read, written = price.dearest
    if not extras:
        return prompt * read + completion * written + price.request
    if extras["hour"]:
        read = max(read, price.cache_write_1h or _ZERO)
    if extras["image_url"]:
        read = max(read, price.image_token or _ZERO)
    if extras["input_audio"]:
        read = max(read, price.audio or _ZERO)
    return (
        prompt * read
        + completion * written
        + price.request
        + extras["image_url"] * (price.image or _ZERO)
        + extras["search"] * (price.web_search or _ZERO)
    )


def _read_extras(request: ChatRequest) -> Counter[str]:
    """Return what else may cost something: parts by type, cache entries for an hour, searches of the provider."""
    params, fields = request.params, request.fields
    parts = [part for message in params.messages if type(message.content) is list for part in message.content]
    marked = ("tools", "cache_control", "messages") if parts else ("tools", "cache_control")
    if not (parts or params.plugins or not fields.keys().isdisjoint(_EXTRA_FIELDS)):
        return _NO_EXTRAS
    found = Counter(str(part.get("type")) for part in parts)
    found["hour"] = int(any(b'"1h"' in bytes(fields[name]) for name in marked if name in fields))
    plugin = request.plugin(WEB)
    if request.wants(WEB) or "web_search_options" in fields or (b"web_search" in bytes(fields.get("tools", b""))):
        found["search"] = (plugin.max_uses if plugin else None) or _UNSTATED_SEARCHES
    return found
