"""Reranking as Cohere and Jina have it, and the servers that follow them: vLLM, llama.cpp, Together, Novita.

docs.cohere.com/reference/rerank, api.jina.ai/redoc, docs.vllm.ai (serving, rerank API), github.com/ggml-org/llama.cpp
(tools/server), docs.together.ai/reference/rerank, 2026-11. They agree on the request and differ a little in the reply.
"""

from typing import Any, Final, cast

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.rerank import Document, Ranked, Rerank
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Garbled
from openrouter_gateway.wire.protocols.base import Address, Decoder
from openrouter_gateway.wire.protocols.openai_embeddings import to_fields
from openrouter_gateway.wire.protocols.task_reply import TaskDecoder, read_prompt_usage, read_reply
from openrouter_gateway.wire.tolerant import as_count

_ADDRESS: Final = Address("/rerank")
_encode = msgspec.json.Encoder().encode


class Reranking:
    """The codec; see `base.Codec`."""

    def address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """The same for all."""
        return _ADDRESS

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Copy the caller's fields; documents that are nothing but text go as text, which all servers take."""
        task = _task_of(request)
        body = to_fields(request, endpoint)
        body["documents"] = Raw(_encode([_plain(document) for document in task.documents]))
        return _encode(body)

    def decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """One JSON body, whatever it is called."""
        task = _task_of(request)
        return TaskDecoder(lambda body: _read(body, task))


def _task_of(request: ChatRequest) -> Rerank:
    assert isinstance(request.task, Rerank)  # noqa: S101 - the table of codecs goes by the task
    return request.task


def _plain(document: Document) -> Document:
    return document["text"] if isinstance(document, dict) and document.keys() == {"text"} else document


class _Item(Struct, frozen=True):
    index: int
    relevance_score: float | None = None
    score: float | None = None

    @property
    def relevance(self) -> float:
        """The score, under either name."""
        found = self.score if self.relevance_score is None else self.relevance_score
        if found is None:
            raise Garbled("the provider sent a document without a score")
        return found


class _Reply(Struct, frozen=True):
    results: list[_Item] | None = None
    data: list[_Item] | None = None
    usage: Any = None
    meta: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Reply).decode


def _read(body: bytes, task: Rerank) -> tuple[dict[str, Any], Usage | None]:
    reply = read_reply(body, _decode)
    found = reply.results if reply.results is not None else reply.data or []
    wanted = min(task.top_n or len(task.documents), len(task.documents))
    known = {item.index for item in found}
    if len(known) != len(found) or not known <= set(range(len(task.documents))):
        raise Garbled("the provider's results are not about one document each")
    if len(found) < wanted:
        raise Garbled(f"the provider ranked {len(found)} documents, and {wanted} were asked for")
    ranked: list[Ranked] = [{"index": item.index, "relevance_score": item.relevance} for item in found]
    ranked.sort(key=lambda result: (-result["relevance_score"], result["index"]))
    return {"results": ranked[:wanted]}, _read_usage(reply)


def _read_usage(reply: _Reply) -> Usage | None:
    """Return what was counted: tokens, search units (Cohere's `meta.billed_units`), or both."""
    usage = _object(reply.usage)
    billed = _object(_object(reply.meta).get("billed_units"))
    tokens = _object(_object(reply.meta).get("tokens"))
    counted = usage or {"prompt_tokens": tokens.get("input_tokens"), "completion_tokens": tokens.get("output_tokens")}
    units = as_count(usage.get("search_units")) or as_count(billed.get("search_units"))
    found = read_prompt_usage(counted) or Usage()
    if not (units or found.total_tokens):
        return None
    return msgspec.structs.replace(found, search_units=units)


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
