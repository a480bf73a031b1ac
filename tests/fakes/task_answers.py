"""What the scriptable provider answers to embeddings and rerank: a vector that tells its text, scores by length."""

import base64
import struct
from typing import Any, cast


def vector_of(text: Any) -> list[float]:
    """Return the vector of an input: its length, what it begins with, one half. Exact in 32 bits."""
    return [float(len(text)), float(ord(text[0])) if isinstance(text, str) and text else 0.0, 0.5]


def answer_embeddings(body: dict[str, Any], behaviour: str) -> dict[str, Any]:
    """Answer with numbers, or, where the model is called so, with `base64` whatever was asked for, or one too `few`."""
    given: Any = body["input"]
    one = isinstance(given, str) or isinstance(given[0], int)
    inputs = cast("list[Any]", [given] if one else given)
    vectors: list[Any] = [vector_of(each) for each in inputs]
    if behaviour == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in vectors]
    data = [{"object": "embedding", "embedding": vector, "index": index} for index, vector in enumerate(vectors)]
    if behaviour == "few":
        data.pop()
    return {"object": "list", "data": data, "model": "fake", "usage": {"prompt_tokens": 6, "total_tokens": 6}}


def answer_rerank(body: dict[str, Any]) -> dict[str, Any]:
    """Answer that longer documents are more relevant, in the order of the request."""
    results = [
        {"index": index, "relevance_score": len(str(document)) / 100}
        for index, document in enumerate(body["documents"])
    ]
    return {"id": "rerank-1", "results": results, "meta": {"billed_units": {"search_units": 1}}}
