"""The `rerank` skin: a query and documents in, the documents by relevance out (OpenRouter API, rerank, 2026-08-22)."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from openrouter_gateway.core.chat import ChatParams, ChatRequest, Message, Positive, ProviderPreferences
from openrouter_gateway.core.rerank import Document, Ranked, Rerank
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.one_shot import OneShot


class RerankParams(Struct, frozen=True, kw_only=True):
    """The fields that the gateway itself reads or checks."""

    model: Annotated[str, Meta(min_length=1)]
    query: str
    documents: Annotated[list[str | dict[str, Any]], Meta(min_length=1)]
    top_n: Positive | None = None
    provider: ProviderPreferences | None = None
    user: str | None = None
    session_id: Annotated[str, Meta(max_length=256)] | None = None
    trace: dict[str, Any] | None = None
    models: list[str] | None = None
    stream: bool | None = None


_decode_params = msgspec.json.Decoder(RerankParams).decode


def parse(body: bytes) -> ChatRequest:
    """Read a request.

    Raises:
        BadRequest: not a JSON object, or a field of the wrong type or out of range; the message names it.
    """
    form, fields = chat.read_body(body, _decode_params)
    if form.stream:
        raise BadRequest("stream: rankings are not streamed")
    if form.models:
        raise BadRequest("models: name one in model")
    documents = tuple(_read_document(document, place) for place, document in enumerate(form.documents))
    return ChatRequest(
        params=ChatParams(
            messages=[Message(role="user", content=_to_parts(form.query, document)) for document in documents],
            model=form.model,
            provider=form.provider,
            user=form.user,
            session_id=form.session_id,
            trace=form.trace,
        ),
        fields=fields,
        task=Rerank(query=form.query, documents=documents, top_n=form.top_n),
    )


def _read_document(given: str | dict[str, Any], place: int) -> Document:
    if isinstance(given, str):
        return given
    found = {name: given[name] for name in ("text", "image") if given.get(name) is not None}
    if not found or not all(isinstance(value, str) for value in found.values()):
        raise BadRequest(f"documents[{place}]: Expected a text, or an object with `text` or `image`, which are texts")
    return found


def _to_parts(query: str, document: Document) -> list[dict[str, Any]]:
    """Return what the model reads of one document: it and the query."""
    fields = {"text": document} if isinstance(document, str) else document
    parts: list[dict[str, Any]] = [{"type": "text", "text": query}]
    if "text" in fields:
        parts.append({"type": "text", "text": fields["text"]})
    if "image" in fields:
        parts.append({"type": "image_url", "image_url": {"url": fields["image"]}})
    return parts


def show(request: ChatRequest, chunk: dict[str, Any]) -> dict[str, Any]:
    """Return the answer but for its usage: with each result its document, which clients insist on."""
    assert isinstance(request.task, Rerank)  # noqa: S101 - `parse` made it
    documents = request.task.documents
    results: list[Ranked] = chunk["results"]
    return {"results": [{**result, "document": _show(documents[result["index"]])} for result in results]}


def _show(document: Document) -> dict[str, Any]:
    return {"text": document} if isinstance(document, str) else document


def show_usage(usage: Usage, cost: Cost) -> dict[str, Any]:
    """Return the wire's `usage`: tokens and search units where there are any."""
    counts = {"total_tokens": usage.total_tokens, "search_units": usage.search_units}
    return {name: count for name, count in counts.items() if count} | {"cost": cost.total}


RERANK: Final = OneShot(api_type="rerank", parse=parse, show=show, show_usage=show_usage)
