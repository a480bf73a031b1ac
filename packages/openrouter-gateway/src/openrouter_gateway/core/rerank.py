"""Reranking: what a request asks for, and what the answer to it is (OpenRouter API, rerank, 2026-08-22)."""

from typing import Any, ClassVar, TypeAlias, TypedDict

from msgspec import Struct

Document: TypeAlias = str | dict[str, Any]
"""Text, or an object with `text`, `image` or both."""


class Rerank(Struct, frozen=True, kw_only=True):
    """`documents` are to be put in the order of their relevance to `query`; the first `top_n` of them are wanted."""

    output: ClassVar[str] = "rerank"
    reads: ClassVar[tuple[str, ...]] = ("query", "documents")

    query: str
    documents: tuple[Document, ...]
    top_n: int | None = None


class Ranked(TypedDict):
    """An entry of a reply's `results`, the most relevant first; `index` is the document's place in the request."""

    index: int
    relevance_score: float
