"""What a request is expected to cost at most, before it is sent: that much of its budgets is reserved until it ends.

The prompt counts as one token per four bytes of its JSON, the answer as its `max_tokens`, or as what the endpoint can
give, though then at most `UNSTATED_COMPLETION_TOKENS`: a caller who does not say how much he wants rarely wants it
all, and reserving the longest answer of a large model would leave nothing for the requests beside it.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from openrouter_gateway.core.account import Estimate
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest

UNSTATED_COMPLETION_TOKENS: Final = 4096
_BYTES_PER_TOKEN: Final = 4
_ZERO: Final = Decimal(0)


def estimate(request: ChatRequest, endpoints: Iterable[Endpoint]) -> Estimate:
    """Return the estimate for the dearest of the endpoints that may be tried; what has no price costs nothing.

    Tokens of images, audio and files are not known before, and count by the size of their JSON.
    """
    params = request.params
    fields = request.fields
    size = request.prompt_size
    if params.tools:
        size += len(bytes(fields["tools"]))
    prompt = -(-size // _BYTES_PER_TOKEN)
    stated = params.max_completion_tokens or params.max_tokens
    choices = 0 if request.task is not None else params.n or 1  # tasks have no completion
    cost = _ZERO
    most = 0
    for endpoint in endpoints:
        limit = endpoint.max_completion_tokens
        if stated is None:
            completion = UNSTATED_COMPLETION_TOKENS if limit is None else min(limit, UNSTATED_COMPLETION_TOKENS)
        else:
            completion = stated if limit is None else min(stated, limit)
        completion *= choices
        most = max(most, completion)
        price = endpoint.price
        if price is not None:
            cost = max(cost, prompt * price.prompt + completion * price.completion + price.request)
    return Estimate(cost, prompt + most)
