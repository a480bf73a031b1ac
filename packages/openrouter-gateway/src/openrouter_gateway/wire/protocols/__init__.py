"""The outbound dialects. Adding one: write its file and its line in this table; its tasks have a table of their own."""

from collections.abc import Sequence
from typing import Final

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.embedding import Embedding
from openrouter_gateway.core.rerank import Rerank
from openrouter_gateway.errors import Unavailable
from openrouter_gateway.wire.parameters import fit_parameters
from openrouter_gateway.wire.protocols.anthropic import Anthropic
from openrouter_gateway.wire.protocols.base import Codec, Protocol
from openrouter_gateway.wire.protocols.gemini import Gemini
from openrouter_gateway.wire.protocols.gemini_embeddings import GeminiEmbeddings
from openrouter_gateway.wire.protocols.local import Local
from openrouter_gateway.wire.protocols.local_embeddings import LocalEmbeddings
from openrouter_gateway.wire.protocols.openai import KEEP_GATEWAY_FIELDS, OpenAI
from openrouter_gateway.wire.protocols.openai_embeddings import Embeddings
from openrouter_gateway.wire.protocols.openai_responses import OpenAIResponses
from openrouter_gateway.wire.protocols.reranking import Reranking

PROTOCOLS: dict[str, Protocol] = {
    "anthropic": Anthropic(),
    "openai": OpenAI(),
    "gemini": Gemini(),
    "openai_responses": OpenAIResponses(),
    "local": Local(),
}

_OPENAI: Final[dict[str, Codec]] = {Embedding.output: Embeddings(), Rerank.output: Reranking()}

TASKS: dict[str, dict[str, Codec]] = {
    "openai": _OPENAI,
    "gemini": {Embedding.output: GeminiEmbeddings()},
    "openai_responses": _OPENAI,  # another way to chat with the same servers
    "local": {Embedding.output: LocalEmbeddings()},
}
"""What can be asked for besides chat, by protocol and by what the model gives."""


class _Chat:
    """A protocol's chat as a codec."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self.address = protocol.chat_address
        self.decoder = protocol.chat_decoder

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Return the body, without parameters that the endpoint lacks; another OpenRouter leaves them out itself."""
        if KEEP_GATEWAY_FIELDS not in endpoint.provider.quirks:
            request = fit_parameters(request, endpoint)
        return self._protocol.encode_chat(request, endpoint)


_CHAT: Final[dict[str, Codec]] = {name: _Chat(protocol) for name, protocol in PROTOCOLS.items()}
_TASK_OUTPUTS: Final = frozenset({Embedding.output, Rerank.output})


def codec_of(protocol: str, request: ChatRequest) -> Codec:
    """Return how a request is put to an endpoint of a provider with this protocol.

    Raises:
        Unavailable: the protocol has no such task.
    """
    if request.task is None:
        return _CHAT[protocol]
    codec = TASKS.get(protocol, {}).get(request.task.output)
    if codec is None:
        raise Unavailable(f"there is no {request.task.output} in the protocol {protocol}")
    return codec


def can_serve(protocol: str, outputs: Sequence[str]) -> bool:
    """Return whether anything that a model gives can be had through a protocol."""
    return any(output not in _TASK_OUTPUTS or output in TASKS.get(protocol, {}) for output in outputs)
