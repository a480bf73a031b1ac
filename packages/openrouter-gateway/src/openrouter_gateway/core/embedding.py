"""Embeddings: what a request asks for, and what the answer to it is (OpenRouter API, embeddings, 2026-08-22)."""

from typing import ClassVar, Literal, TypeAlias, TypedDict

from msgspec import Raw, Struct

Encoding: TypeAlias = Literal["float", "base64"]
"""Numbers as a JSON array, or as base64 text of 32-bit floats, the lowest byte first."""


class Embedding(Struct, frozen=True, kw_only=True):
    """`count` inputs are to become vectors, `dimensions` long; None: as long as the model makes them."""

    output: ClassVar[str] = "embeddings"
    """What the model must be able to give, in the words of the models API."""
    reads: ClassVar[tuple[str, ...]] = ("input",)
    """The request's fields that the model reads."""

    count: int
    encoding: Encoding = "float"
    dimensions: int | None = None


class Vector(TypedDict):
    """An entry of a reply's `data`: JSON in the encoding that was asked for. Its place is that of its input."""

    object: Literal["embedding"]
    index: int
    embedding: Raw
