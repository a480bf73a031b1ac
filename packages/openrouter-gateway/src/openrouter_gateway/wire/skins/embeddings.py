"""The `embeddings` skin: texts and other inputs in, vectors out (OpenRouter API, embeddings, 2026-08-22)."""

from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta, Raw, Struct

from openrouter_gateway.core.chat import ChatParams, ChatRequest, Message, Positive, ProviderPreferences
from openrouter_gateway.core.embedding import Embedding, Encoding
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.one_shot import OneShot

_MOST_INPUTS: Final = 2048
"""As OpenAI has it (developers.openai.com/api/reference, embeddings, 2026-11): more cannot be one request there."""

_encode = msgspec.json.Encoder().encode


class EmbeddingParams(Struct, frozen=True, kw_only=True):
    """The fields that the gateway itself reads or checks. `input` is checked further once it is decoded."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | list[Any]
    dimensions: Positive | None = None
    encoding_format: Encoding | None = None
    input_type: str | None = None
    provider: ProviderPreferences | None = None
    user: str | None = None
    session_id: Annotated[str, Meta(max_length=256)] | None = None
    trace: dict[str, Any] | None = None
    models: list[str] | None = None
    stream: bool | None = None


_decode_params = msgspec.json.Decoder(EmbeddingParams).decode


def parse(body: bytes) -> ChatRequest:
    """Read a request.

    Raises:
        BadRequest: not a JSON object, or a field of the wrong type or out of range; the message names it.
    """
    form, fields = chat.read_body(body, _decode_params)
    if form.stream:
        raise BadRequest("stream: embeddings are not streamed")
    if form.models:
        raise BadRequest("models: vectors of different models cannot be compared, so name one in model")
    inputs = _read_inputs(form.input)
    if any(isinstance(content, list) for content in inputs) and (texts := _as_texts(inputs)) is not None:
        inputs = list(texts)
        fields = fields | {"input": Raw(_encode(texts))}
    return ChatRequest(
        params=ChatParams(
            messages=[Message(role="user", content=content) for content in inputs],
            model=form.model,
            provider=form.provider,
            user=form.user,
            session_id=form.session_id,
            trace=form.trace,
        ),
        fields=fields,
        task=Embedding(count=len(inputs), encoding=form.encoding_format or "float", dimensions=form.dimensions),
    )


def _read_inputs(given: str | list[Any]) -> list[str | list[dict[str, Any]] | None]:
    """Return the content of each input; None for token ids, which only the provider understands."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise BadRequest("input: Expected `array` of length >= 1")
    if len(given) > _MOST_INPUTS and not _is_tokens(given):
        raise BadRequest(f"input: at most {_MOST_INPUTS} at a time")
    if all(type(each) is str for each in given):
        return list(given)
    if _is_tokens(given):
        return [None]
    if all(type(each) is list and each and _is_tokens(each) for each in given):
        return [None] * len(given)
    return [_read_parts(each, place) for place, each in enumerate(given)]


def _is_tokens(given: list[Any]) -> bool:
    return all(type(each) is int and each >= 0 for each in given)


def _read_parts(given: Any, place: int) -> list[dict[str, Any]]:
    content = cast("dict[str, Any]", given).get("content") if isinstance(given, dict) else None
    if not isinstance(content, list) or not content:
        raise BadRequest(
            f"input[{place}]: inputs are all texts, all lists of token ids, or all objects with a list as `content`"
        )
    for position, part in enumerate(cast("list[Any]", content)):
        if not isinstance(part, dict) or not isinstance(cast("dict[str, Any]", part).get("type"), str):
            raise BadRequest(f"input[{place}].content[{position}]: Expected an object with a `type`")
    return cast("list[dict[str, Any]]", content)


def _as_texts(inputs: list[str | list[dict[str, Any]] | None]) -> list[str] | None:
    """Return what is nothing but text as text, which more providers take; None if there is more."""
    texts: list[str] = []
    for parts in inputs:
        pieces = [part.get("text") for part in cast("list[dict[str, Any]]", parts) if part["type"] == "text"]
        if len(pieces) != len(parts or ()) or not all(isinstance(piece, str) for piece in pieces):
            return None
        texts.append("\n".join(cast("list[str]", pieces)))
    return texts


def show(request: ChatRequest, chunk: dict[str, Any]) -> dict[str, Any]:
    """Return the answer but for its usage."""
    return {"object": "list", "data": chunk["data"]}


def show_usage(usage: Usage, cost: Cost) -> dict[str, Any]:
    """Return the wire's `usage` of a request that is all prompt."""
    whole = chat.usage_object(usage, cost)
    names = ("prompt_tokens", "total_tokens", "cost", "is_byok", "cost_details", "prompt_tokens_details")
    return {name: whole[name] for name in names}


EMBEDDINGS: Final = OneShot(api_type="embeddings", parse=parse, show=show, show_usage=show_usage)
