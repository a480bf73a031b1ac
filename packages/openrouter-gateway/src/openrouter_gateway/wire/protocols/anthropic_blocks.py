"""What one content block of Anthropic's reply becomes in the hub: text, reasoning, a tool's call, citations.

A block is started, grows by deltas and stops (platform.claude.com/docs/en/build-with-claude/streaming, 2026-11).
Blocks and deltas of kinds that the hub has nothing for give nothing.
"""

from typing import Any, Final, Protocol, cast

import msgspec

from openrouter_gateway.errors import Garbled
from openrouter_gateway.wire.anthropic import FORMAT

Delta = dict[str, Any]

_encode = msgspec.json.Encoder().encode


class Block(Protocol):
    """One content block. Each method returns what the choice gains, None for nothing."""

    def start(self, block: dict[str, Any]) -> Delta | None:
        """Take what the block begins with."""
        ...

    def grow(self, delta: dict[str, Any]) -> Delta | None:
        """Take a delta."""
        ...

    def stop(self) -> Delta | None:
        """Take note that the block is complete."""
        ...


class Counts:
    """What a reply has had so far: hub indices and text offsets go on over its blocks."""

    __slots__ = ("calls", "characters", "reasoning")

    def __init__(self) -> None:
        self.calls = 0
        self.characters = 0
        self.reasoning = 0


class TextBlock:
    """Text and its citations, which cite the whole block."""

    __slots__ = ("_begin", "_citations", "_counts")

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._begin = counts.characters
        self._citations: list[dict[str, Any]] = []

    def start(self, block: dict[str, Any]) -> Delta | None:
        """See `Block`."""
        given = block.get("citations")
        for citation in cast("list[Any]", given) if isinstance(given, list) else []:
            self._cite(citation)
        return self._say(block.get("text") or "")

    def grow(self, delta: dict[str, Any]) -> Delta | None:
        """See `Block`."""
        kind = delta.get("type")
        if kind == "text_delta":
            return self._say(delta.get("text"))
        if kind == "citations_delta":
            self._cite(delta.get("citation"))
        return None

    def stop(self) -> Delta | None:
        """See `Block`."""
        if not self._citations:
            return None
        end = self._counts.characters
        return {"annotations": [_to_annotation(citation, self._begin, end) for citation in self._citations]}

    def _say(self, text: object) -> Delta | None:
        if type(text) is not str:
            raise Garbled("the provider sent a text that is not a string")
        if not text:
            return None
        self._counts.characters += len(text)
        return {"content": text}

    def _cite(self, citation: object) -> None:
        if isinstance(citation, dict):
            self._citations.append(cast("dict[str, Any]", citation))


def _to_annotation(citation: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
    """Return OpenRouter's annotation of a citation of the web; of a document, one of the citation's own type."""
    url = citation.get("url") or citation.get("source")
    if not isinstance(url, str):
        kind = str(citation.get("type") or "citation")
        rest = {key: value for key, value in citation.items() if key != "type" and value is not None}
        return {"type": kind, kind: {**rest, "start_index": begin, "end_index": end}}
    cited: dict[str, Any] = {"url": url, "title": citation.get("title") or "", "start_index": begin, "end_index": end}
    if isinstance(citation.get("cited_text"), str):
        cited["content"] = citation["cited_text"]
    return {"type": "url_citation", "url_citation": cited}


class ThinkingBlock:
    """Reasoning: text in pieces, the signature at the end. All pieces of a block have one index."""

    __slots__ = ("_index",)

    def __init__(self, counts: Counts) -> None:
        self._index = counts.reasoning
        counts.reasoning += 1

    def start(self, block: dict[str, Any]) -> Delta | None:
        """See `Block`."""
        text, signature = block.get("thinking") or "", block.get("signature") or ""
        found = self._think(text)
        if not signature:
            return found
        signed = self._sign(signature)
        if found is None:
            return signed
        found["reasoning_details"][0]["signature"] = signature
        return found

    def grow(self, delta: dict[str, Any]) -> Delta | None:
        """See `Block`."""
        kind = delta.get("type")
        if kind == "thinking_delta":
            return self._think(delta.get("thinking"))
        return self._sign(delta.get("signature")) if kind == "signature_delta" else None

    def stop(self) -> Delta | None:
        """See `Block`."""
        return None

    def _think(self, text: object) -> Delta | None:
        if type(text) is not str:
            raise Garbled("the provider sent thinking that is not a string")
        if not text:
            return None
        return {
            "reasoning": text,
            "reasoning_details": [
                {"type": "reasoning.text", "text": text, "format": FORMAT, "index": self._index},
            ],
        }

    def _sign(self, signature: object) -> Delta | None:
        if type(signature) is not str:
            raise Garbled("the provider sent a signature that is not a string")
        detail = {"type": "reasoning.text", "signature": signature, "format": FORMAT, "index": self._index}
        return {"reasoning_details": [detail]}


class RedactedBlock:
    """Reasoning that only Claude can read."""

    __slots__ = ("_index",)

    def __init__(self, counts: Counts) -> None:
        self._index = counts.reasoning
        counts.reasoning += 1

    def start(self, block: dict[str, Any]) -> Delta | None:
        """See `Block`."""
        data = block.get("data")
        if type(data) is not str:
            raise Garbled("the provider sent redacted thinking without data")
        detail = {"type": "reasoning.encrypted", "data": data, "format": FORMAT, "index": self._index}
        return {"reasoning_details": [detail]}

    def grow(self, delta: dict[str, Any]) -> Delta | None:
        """See `Block`."""
        return None

    def stop(self) -> Delta | None:
        """See `Block`."""
        return None


class CallBlock:
    """A tool's call: its name first, its arguments as JSON in pieces."""

    __slots__ = ("_given", "_index", "_input")

    def __init__(self, counts: Counts) -> None:
        self._index = counts.calls
        counts.calls += 1
        self._given = False  # some of the arguments
        self._input: dict[str, Any] | None = None  # all of them, as some servers send them with the name

    def start(self, block: dict[str, Any]) -> Delta | None:
        """See `Block`."""
        call_id, name = block.get("id"), block.get("name")
        if type(name) is not str:
            raise Garbled("the provider sent the call of a tool without a name")
        given = block.get("input")
        self._input = cast("dict[str, Any]", given) if isinstance(given, dict) else None
        call = {
            "index": self._index,
            "id": call_id if type(call_id) is str and call_id else f"toolu_{self._index}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        return {"tool_calls": [call]}

    def grow(self, delta: dict[str, Any]) -> Delta | None:
        """See `Block`."""
        if delta.get("type") != "input_json_delta":
            return None
        piece = delta.get("partial_json")
        if type(piece) is not str:
            raise Garbled("the provider sent arguments of a tool that are not a string")
        return self._argue(piece) if piece else None

    def stop(self) -> Delta | None:
        """A call without arguments has none on the wire; in the hub they are a JSON document."""
        if self._given:
            return None
        return self._argue(_encode(self._input).decode() if self._input else "{}")

    def _argue(self, piece: str) -> Delta:
        self._given = True
        return {"tool_calls": [{"index": self._index, "function": {"arguments": piece}}]}


BLOCKS: Final[dict[str, type[TextBlock | ThinkingBlock | RedactedBlock | CallBlock]]] = {
    "text": TextBlock,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedBlock,
    "tool_use": CallBlock,
}
