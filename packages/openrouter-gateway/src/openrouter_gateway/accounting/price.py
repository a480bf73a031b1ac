"""What a generation costs: token buckets times the endpoint's prices, exact in Decimal USD."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from openrouter_gateway.core.catalog import Endpoint, Price, Tier
from openrouter_gateway.core.usage import Cost, Usage

_ZERO = Decimal(0)
_FREE = Cost()
_TIERS: Final[dict[str, Tier | None]] = {
    "default": None,
    "standard": None,
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
"""Words of providers for tiers that have prices; others, such as `scale`, are contracts of whoever runs the gateway."""
_OTHER_WORDS: Final = frozenset({"anthropic"})
"""Protocols whose `service_tier` is such a contract (platform.claude.com/docs/en/api/service-tiers, 2026-11)."""


def price_usage(usage: Usage, price: Price | None) -> Cost:
    """Return the cost in USD. Where the price is not known, it is what the provider says, as a price per request, or 0.

    Buckets that are priced apart are taken out of the prompt and the completion, in which they are contained; of what
    several could be in, each token is charged once. A bucket without a rate of its own has that of the tokens around
    it. A price per request counts once, or as often as the provider counted search units; what is paid per request
    includes searches that the provider ran.
    """
    if price is None:
        return Cost(request=usage.reported_cost) if usage.reported_cost else _FREE
    price = price.at(usage.prompt_tokens)
    return Cost(
        prompt=_price_prompt(usage, price),
        completion=_price_completion(usage, price),
        request=_price_request(usage, price),
    )


def price_served(endpoint: Endpoint, served: str | None, others: Iterable[Endpoint]) -> Price | None:
    """Return the price of the tier that the provider says it served, of the same model there.

    `others` are the model's endpoints. The endpoint's own price holds where the provider says nothing of tiers, or
    where the tier that it names has no price of its own.
    """
    if served is None or endpoint.protocol in _OTHER_WORDS:
        return endpoint.price
    tier = _TIERS.get(served.lower(), endpoint.service_tier)
    if tier == endpoint.service_tier:
        return endpoint.price
    for other in others:
        same = other.provider.slug == endpoint.provider.slug and other.upstream_id == endpoint.upstream_id
        if same and other.service_tier == tier and other.price is not None:
            return other.price
    return endpoint.price


def _price_prompt(usage: Usage, price: Price) -> Decimal:
    """What is read from or written to the cache counts in full, also where a provider leaves it out of the prompt."""
    left = max(usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens, 0)
    cost = _ZERO
    if usage.cached_tokens:
        read_rate = price.prompt if price.cache_read is None else price.cache_read
        audio = min(usage.cached_audio_tokens, usage.cached_tokens)
        cost += (usage.cached_tokens - audio) * read_rate
        if audio:
            cost += audio * (read_rate if price.audio_cache_read is None else price.audio_cache_read)
    if usage.cache_write_tokens:
        write_rate = price.prompt if price.cache_write is None else price.cache_write
        hourly = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
        cost += (usage.cache_write_tokens - hourly) * write_rate
        if hourly:
            cost += hourly * (write_rate if price.cache_write_1h is None else price.cache_write_1h)
    if usage.prompt_audio_tokens and price.audio is not None:
        audio = min(max(usage.prompt_audio_tokens - usage.cached_audio_tokens, 0), left)
        cost += audio * price.audio
        left -= audio
    if usage.prompt_image_tokens and price.image_token is not None:
        images = min(usage.prompt_image_tokens, left)
        cost += images * price.image_token
        left -= images
    return cost + left * price.prompt


def _price_completion(usage: Usage, price: Price) -> Decimal:
    left = usage.completion_tokens
    cost = _ZERO
    if usage.completion_audio_tokens and price.audio_output is not None:
        audio = min(usage.completion_audio_tokens, left)
        cost += audio * price.audio_output
        left -= audio
    if usage.image_tokens and price.image_output is not None:
        images = min(usage.image_tokens, left)
        cost += images * price.image_output
        left -= images
    # OpenRouter's lists have "0" here for models whose reasoning costs as much as their answers do.
    if usage.reasoning_tokens and price.internal_reasoning:
        thoughts = min(usage.reasoning_tokens, left)
        cost += thoughts * price.internal_reasoning
        left -= thoughts
    return cost + left * price.completion


def _price_request(usage: Usage, price: Price) -> Decimal:
    requests = usage.search_units or (1 if usage.total_tokens else 0)
    cost = requests * price.request if requests else _ZERO
    if usage.web_search_requests and price.web_search:
        cost += usage.web_search_requests * price.web_search
    return cost
