"""Embeddings by the embedded model: llama.cpp's `/v1/embeddings`, with the vector of a text's last token."""

from typing import Final

import msgspec

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.embedding import Embedding
from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.protocols.base import Address, Decoder
from openrouter_gateway.wire.protocols.openai_embeddings import Embeddings

_PASSED: Final = frozenset({"input", "encoding_format"})
"""Fields that travel on. Nothing else does, as in `local`."""


class LocalEmbeddings:
    """The codec; see `base.Codec`."""

    def __init__(self) -> None:
        self._openai = Embeddings()

    def address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """As llama.cpp's server has it."""
        return self._openai.address(request, endpoint)

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Pass texts or token ids on.

        Raises:
            Refused: content that is not text, or a length of the vectors: this model has just one.
        """
        if isinstance(request.task, Embedding) and request.task.dimensions is not None:
            raise Refused("the embedded model's vectors have one length: leave dimensions out")
        if any(isinstance(message.content, list) for message in request.params.messages):
            raise Refused("the embedded model reads text only, and an input has other content")
        fields = {name: value for name, value in request.fields.items() if name in _PASSED}
        return self._openai.encode(msgspec.structs.replace(request, fields=fields), endpoint)

    def decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """As in `openai`."""
        return self._openai.decoder(request, content_type)
