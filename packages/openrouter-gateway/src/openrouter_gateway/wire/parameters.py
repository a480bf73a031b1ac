"""Which of a request's parameters an endpoint gets: those that it is not known to lack.

OpenRouter leaves out what a model or its provider does not support, and a caller who minds says `require_parameters`
(OpenRouter API, chat completions, 2026-08-22). Where nothing is known of an endpoint, it gets all of them. Never left
out are limits of length, which limit the bill, and tools and formats: without them the answer would be another kind of
thing, so a provider's refusal serves the caller better. Reasoning has rules of its own (`wire/reasoning`).
"""

from typing import Final

from openrouter_gateway.core.amend import amend
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest

_WORDS: Final[dict[str, frozenset[str]]] = {
    **{
        name: frozenset({name})
        for name in (
            "temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty",
            "repetition_penalty", "logit_bias", "seed", "stop", "verbosity",
        )
    },
    "logprobs": frozenset({"logprobs", "top_logprobs"}),
    "top_logprobs": frozenset({"logprobs", "top_logprobs"}),
}  # fmt: skip
"""What an endpoint that supports a parameter lists, one of them."""


def fit_parameters(request: ChatRequest, endpoint: Endpoint) -> ChatRequest:
    """Return the request without the parameters that the endpoint is known to lack."""
    known = endpoint.supported_parameters
    if known is None:
        return request
    lacking = [name for name, words in _WORDS.items() if name in request.fields and words.isdisjoint(known)]
    return amend(request, dict.fromkeys(lacking)) if lacking else request
