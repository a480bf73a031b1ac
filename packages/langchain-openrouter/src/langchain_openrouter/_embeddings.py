"""Answers to embedding requests turned into vectors and their price; pure. Source: API digest 7.3."""

import base64
import json
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec
from langchain_core.messages.ai import UsageMetadata

from langchain_openrouter._answers import decode_answer
from langchain_openrouter._decoding import Secrets, excerpt
from langchain_openrouter._replies import dict_of, usage_of
from langchain_openrouter.errors import ProtocolViolation


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The answer to one request.

    Attributes:
        vectors: One for each text, in the order of the texts.
        model: Model that answered, or None.
        provider: Provider that served it, or None.
        usage: Tokens, or None when none were reported.
        cost: `usage.cost` as reported, a `Decimal` with all its digits where it is a number with a point.
    """

    vectors: list[list[float]]
    model: object = None
    provider: object = None
    usage: UsageMetadata | None = None
    cost: object = None


class _Item(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Item]
    model: Any = None
    provider: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


_DECODER: Final = msgspec.json.Decoder(_Answer)


def parse_embeddings(body: bytes, headers: Mapping[str, str], /, *, secrets: Secrets, count: int) -> Embedded:
    """Read the answer for `count` texts.

    Raises:
        APIError: The body holds an error.
        ProtocolViolation: It does not hold one vector for each text.
    """
    answer = _decode(body)
    if answer is None or answer.error:
        decode_answer(body, headers, secrets)
        raise ProtocolViolation("the answer holds no embeddings", body=excerpt(body, secrets))
    usage = dict_of(json.loads(bytes(answer.usage), parse_float=Decimal)) or {}
    try:
        vectors = [_floats(item.embedding) for item in _in_order(answer.data, count)]
    except ValueError as cause:
        raise ProtocolViolation(str(cause), body=excerpt(body, secrets)) from None
    return Embedded(
        vectors=vectors,
        model=answer.model,
        provider=answer.provider,
        usage=usage_of(usage),
        cost=usage.get("cost"),
    )


def _decode(body: bytes) -> _Answer | None:
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _in_order(items: list[_Item], count: int) -> list[_Item]:
    if len(items) != count:
        raise ValueError(f"the answer holds {len(items)} embeddings for {count} texts")
    if all(item.index is None for item in items):
        return items
    by_index = {item.index: item for item in items}
    if by_index.keys() != set(range(count)):
        raise ValueError(f"the indices of the embeddings are not 0 to {count - 1}")
    return [by_index[index] for index in range(count)]


def _floats(embedding: list[float] | str) -> list[float]:
    """Return a vector; as text it is base64 of 32-bit floats, the lowest byte first."""
    if not isinstance(embedding, str):
        return embedding
    try:
        floats = array("f", base64.b64decode(embedding, validate=True))
    except ValueError:
        raise ValueError("an embedding is not base64 of 32-bit floats") from None
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()
