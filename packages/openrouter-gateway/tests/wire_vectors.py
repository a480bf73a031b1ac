"""Vectors: what goes in and what has to come out, as data that others can read, too."""

import json
from pathlib import Path
from typing import Any

import pytest

_VECTORS = Path(__file__).with_name("vectors")


def load_vectors(dialect: str, prefix: str = "") -> list[Any]:
    """Return the vectors of a dialect's files as parameters, named by the file and what they say they show."""
    return [
        pytest.param(
            vector, id=f"{file.stem}: {vector['why']}", marks=marks_of(dialect, f"{file.name}: {vector['why']}", vector)
        )
        for file in sorted((_VECTORS / dialect).glob(f"{prefix}*.json"))
        for vector in json.loads(file.read_text())
    ]


def marks_of(protocol: str, name: str, vector: dict[str, Any]) -> list[pytest.MarkDecorator]:
    """Return the mark of a vector that says what of docs/gateway/support.md it covers."""
    rows = vector.get("covers")
    return [pytest.mark.covers(f"protocols.{protocol}", *rows, name=f"vectors/{protocol}/{name}")] if rows else []


def to_named_sse(*events: Any) -> bytes:
    """Return events as Anthropic's stream has them, each with its type as its name; text is sent as it is."""
    out = b""
    for event in events:
        if isinstance(event, str):
            out += f"data: {event}\n\n".encode()
        else:
            name = event.get("type", "message") if isinstance(event, dict) else "message"
            out += f"event: {name}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
    return out
