"""Embeddings in the `gemini` protocol: Google's batchEmbedContents (ai.google.dev/api/embeddings, 2026-11).

It reads text and counts no tokens, so the gateway estimates them.
"""

from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.embedding import Embedding
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.protocols.base import Address, Decoder
from openrouter_gateway.wire.protocols.openai_embeddings import in_order
from openrouter_gateway.wire.protocols.task_reply import TaskDecoder, read_reply

_TASK_TYPES: Final = {
    "search_query": "RETRIEVAL_QUERY",
    "search_document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}
"""What `input_type` usually says, in Cohere's words (docs.cohere.com/reference/embed, 2026-11). Others are no hint."""

_NULL: Final = Raw(b"null")
_encode = msgspec.json.Encoder().encode
_decode_hint = msgspec.json.Decoder(str | None).decode


class GeminiEmbeddings:
    """The codec; see `base.Codec`."""

    def address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """The model is part of the path."""
        return Address(f"/{_resource(endpoint)}:batchEmbedContents")

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Return one request for each input.

        Raises:
            Refused: an input is not text.
        """
        task = _task_of(request)
        shared: dict[str, Any] = {"model": _resource(endpoint)}
        hint = _TASK_TYPES.get(_decode_hint(request.fields.get("input_type", _NULL)) or "")
        if hint is not None:
            shared["taskType"] = hint
        if task.dimensions is not None:
            shared["outputDimensionality"] = task.dimensions
        requests: list[dict[str, Any]] = []
        for message in request.params.messages:
            if not isinstance(message.content, str):
                raise Refused("this model reads text only, and an input has other content, or token ids")
            requests.append({**shared, "content": {"parts": [{"text": message.content}]}})
        return _encode({"requests": requests})

    def decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """One JSON body."""
        task = _task_of(request)
        return TaskDecoder(lambda body: _read(body, task))


def _task_of(request: ChatRequest) -> Embedding:
    assert isinstance(request.task, Embedding)  # noqa: S101 - the table of codecs goes by the task
    return request.task


def _resource(endpoint: Endpoint) -> str:
    return "models/" + quote(endpoint.upstream_id.removeprefix("models/"), safe="")


class _Vector(Struct, frozen=True):
    values: Raw


class _Reply(Struct, frozen=True):
    embeddings: list[_Vector] = []
    error: Any = None


_decode = msgspec.json.Decoder(_Reply).decode


def _read(body: bytes, task: Embedding) -> tuple[dict[str, Any], Usage | None]:
    reply = read_reply(body, _decode)
    return {"data": in_order([(None, vector.values) for vector in reply.embeddings], task)}, None
