"""What a request says of reasoning, in all of its spellings (OpenRouter API, reasoning, 2026-08-22)."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import Refused


class Reasoning(Struct, frozen=True, kw_only=True):
    """The request's `reasoning` object."""

    effort: str | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None


_decode_reasoning = msgspec.json.Decoder(Reasoning | None).decode
_decode_any = msgspec.json.Decoder().decode


def read_reasoning(fields: Mapping[str, Raw]) -> Reasoning:
    """Return what the request says of reasoning, its older spellings included.

    Raises:
        Refused: a member of the wrong type.
    """
    try:
        found = _decode_reasoning(fields["reasoning"]) if "reasoning" in fields else None
    except msgspec.DecodeError as error:
        raise Refused(f"reasoning: {error}") from None
    reasoning = found or Reasoning()
    if reasoning.effort is None and (effort := read_word(fields, "reasoning_effort")) is not None:
        reasoning = msgspec.structs.replace(reasoning, effort=effort)
    if reasoning.exclude is None and bytes(fields.get("include_reasoning", b"")) == b"false":
        reasoning = msgspec.structs.replace(reasoning, exclude=True)
    return reasoning


def read_word(fields: Mapping[str, Raw], name: str) -> str | None:
    """Return a field that should be a string; None if it is not there or something else."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        word: object = _decode_any(value)
    except msgspec.DecodeError:
        return None
    return word if isinstance(word, str) else None


def hides_reasoning(request: ChatRequest) -> bool:
    """Return whether the model may reason but the caller does not want to see it."""
    fields = request.fields
    if "reasoning" not in fields and "include_reasoning" not in fields:
        return False
    try:
        return read_reasoning(fields).exclude is True
    except Refused:
        return False
