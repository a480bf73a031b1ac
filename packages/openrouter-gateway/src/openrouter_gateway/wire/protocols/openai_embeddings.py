"""Embeddings in the `openai` protocol, which most servers of that dialect speak.

developers.openai.com/api/reference (embeddings), docs.mistral.ai/api/endpoint/embeddings, 2026-11
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.embedding import Embedding, Vector
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Garbled
from openrouter_gateway.wire.protocols.base import Address, Decoder
from openrouter_gateway.wire.protocols.openai import GATEWAY_FIELDS, KEEP_GATEWAY_FIELDS
from openrouter_gateway.wire.protocols.task_reply import TaskDecoder, read_prompt_usage, read_reply
from openrouter_gateway.wire.protocols.vectors import to_wanted

TAKES_INPUT_TYPE: Final = "input_type"
"""Quirk: the provider has the field `input_type`. The others would refuse it, and do without the hint."""

NAMES_DIMENSION: Final = "output_dimension"
"""Quirk: `dimensions` is called so there (docs.mistral.ai/api/endpoint/embeddings, 2026-11)."""

_ADDRESS: Final = Address("/embeddings")
_encode = msgspec.json.Encoder().encode


class Embeddings:
    """The codec; see `base.Codec`."""

    def address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """The same for all."""
        return _ADDRESS

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Copy the caller's fields verbatim but for OpenRouter's own and the model's name."""
        body = to_fields(request, endpoint)
        quirks = endpoint.provider.quirks
        if TAKES_INPUT_TYPE not in quirks and KEEP_GATEWAY_FIELDS not in quirks:
            body.pop("input_type", None)
        if NAMES_DIMENSION in quirks and "dimensions" in body:
            body["output_dimension"] = body.pop("dimensions")
        return _encode(body)

    def decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """One JSON body, whatever it is called."""
        task = request.task
        assert isinstance(task, Embedding)  # noqa: S101 - the table of codecs goes by the task
        return TaskDecoder(lambda body: _read(body, task))


def to_fields(request: ChatRequest, endpoint: Endpoint) -> dict[str, Raw]:
    """Return the caller's fields as an endpoint takes those of a task: OpenRouter's own only if it is one."""
    own = frozenset[str]() if KEEP_GATEWAY_FIELDS in endpoint.provider.quirks else GATEWAY_FIELDS
    fields = {name: value for name, value in request.fields.items() if name not in own and bytes(value) != b"null"}
    fields.pop("service_tier", None)  # tasks have none
    fields["model"] = Raw(_encode(endpoint.upstream_id))
    return fields


class _Item(Struct, frozen=True):
    embedding: Raw
    index: int | None = None


class _Reply(Struct, frozen=True):
    data: list[_Item] | None = None
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Reply).decode


def _read(body: bytes, task: Embedding) -> tuple[dict[str, Any], Usage | None]:
    reply = read_reply(body, _decode)
    found = [(item.index, item.embedding) for item in reply.data or ()]
    return {"data": in_order(found, task)}, read_prompt_usage(reply.usage)


def in_order(found: list[tuple[int | None, Raw]], task: Embedding) -> list[Vector]:
    """Return the vectors in the order of the inputs, checked and in the encoding that is wanted.

    `found` has the index of each where the provider gave one: all do, or none does.

    Raises:
        Garbled: they are not one for each input.
    """
    if len(found) != task.count:
        raise Garbled(f"the provider sent {len(found)} vectors for {task.count} inputs")
    placed = {place if index is None else index: vector for place, (index, vector) in enumerate(found)}
    if placed.keys() != set(range(task.count)):
        raise Garbled("the provider's vectors do not belong to one input each")
    return [
        {"object": "embedding", "index": index, "embedding": to_wanted(placed[index], task)}
        for index in range(task.count)
    ]
