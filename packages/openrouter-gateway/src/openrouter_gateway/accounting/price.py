"""What a generation costs: token buckets times the endpoint's prices, exact in Decimal USD."""

from decimal import Decimal

from openrouter_gateway.core.catalog import Price
from openrouter_gateway.core.usage import Cost, Usage

_ZERO = Decimal(0)
_FREE = Cost()


def price_usage(usage: Usage, price: Price | None) -> Cost:
    """Return the cost in USD. Where the price is not known, it is what the provider says, as a price per request, or 0.

    Cached and cache-writing tokens are part of the prompt and priced at their own rates; entries that live an hour
    have one where the price table does. A price per request counts once, or as often as the provider counted search
    units; what is paid per request includes searches that the provider ran.
    """
    if price is None:
        return Cost(request=usage.reported_cost) if usage.reported_cost else _FREE
    if not (price.prompt or price.completion or price.request):
        return _FREE
    read_rate = price.prompt if price.cache_read is None else price.cache_read
    write_rate = price.prompt if price.cache_write is None else price.cache_write
    plain = max(usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens, 0)
    prompt = plain * price.prompt
    if usage.cached_tokens:
        prompt += usage.cached_tokens * read_rate
    if usage.cache_write_tokens:
        hourly = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
        prompt += (usage.cache_write_tokens - hourly) * write_rate
        if hourly:
            prompt += hourly * (write_rate if price.cache_write_1h is None else price.cache_write_1h)
    requests = usage.search_units or (1 if usage.total_tokens else 0)
    request = requests * price.request if requests else _ZERO
    if usage.web_search_requests and price.web_search:
        request += usage.web_search_requests * price.web_search
    return Cost(prompt=prompt, completion=usage.completion_tokens * price.completion, request=request)
