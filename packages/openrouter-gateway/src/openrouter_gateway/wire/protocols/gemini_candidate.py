"""One candidate of a reply of Google's: its parts to deltas, and what only its end can tell."""

from hashlib import sha256
from typing import Any, Final, cast

import msgspec

from openrouter_gateway.core.events import ChoiceStep
from openrouter_gateway.core.finish import to_finish_reason
from openrouter_gateway.errors import Garbled
from openrouter_gateway.wire.protocols.gemini_citations import to_annotations
from openrouter_gateway.wire.protocols.gemini_contents import FORMAT

_REASONS: Final = {
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "CONTINUATION": "length",  # there is more to be had with a token that is not asked for here
    "LANGUAGE": "error",
    "OTHER": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "PUP_LIMITED_DISABLED": "error",
    "MALFORMED_RESPONSE": "error",
    "NO_IMAGE": "error",
    "IMAGE_OTHER": "error",
}
"""Reasons that only Google gives (google-genai 3.6.1, `FinishReason`)."""

_OPEN: Final = frozenset({"content", "index"})
"""Keys of a candidate that say nothing of its end."""

_encode = msgspec.json.Encoder().encode


class CallNamer:
    """Gives calls their ids: Google's own where there is one, otherwise one that no other reply has.

    The latter are made of the response's id, or of the request's messages (`seed`), which no two turns share.
    """

    __slots__ = ("_count", "_response_id", "_seed", "_taken")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._response_id = b""
        self._taken: set[str] = set()
        self._count = 0

    def note(self, response_id: object) -> None:
        """Take note of the response's id."""
        if not self._response_id and type(response_id) is str:
            self._response_id = response_id.encode()

    def name(self, given: object) -> str:
        """Return the id of the next call."""
        number = self._count
        self._count += 1
        if type(given) is str and given and given not in self._taken:
            self._taken.add(given)
            return given
        digest = sha256(self._response_id or self._seed).hexdigest()[:20]
        return f"call_{digest}_{number}"


class Candidate:
    """The state of one candidate. `native` is its finish reason, once it has one."""

    __slots__ = (
        "_block", "_calls", "_citations", "_grounding", "_images", "_index", "_message", "_namer", "_spoke", "_text",
        "_thinking", "native",
    )  # fmt: skip

    def __init__(self, index: int, namer: CallNamer) -> None:
        self.native: str | None = None
        self._index = index
        self._namer = namer
        self._message: str | None = None  # says more of the finish reason
        self._calls = 0
        self._images = 0
        self._block = -1  # the last block of reasoning
        self._thinking = False  # that block is thoughts and may go on
        self._spoke = False
        self._text: list[str] = []
        self._grounding: dict[str, Any] | None = None
        self._citations: dict[str, Any] | None = None

    def read(self, fields: dict[str, Any]) -> ChoiceStep | None:
        """Return what the candidate gained with a chunk, if anything.

        Raises:
            Garbled: its shape is wrong in a way that no client could read.
        """
        delta: dict[str, Any] = {}
        for part in _parts_of(fields.get("content")):
            if len(part) == 1 and type(text := part.get("text")) is str:  # the usual piece of text
                self._add_text(text, delta)
            else:
                self._read_part(part, delta)
        self._note_end(fields)
        logprobs = fields.get("logprobsResult")
        if not delta and not isinstance(logprobs, dict):
            return None
        self._spoke = True
        choice: ChoiceStep = {"index": self._index, "delta": delta, "finish_reason": None}
        if isinstance(logprobs, dict):
            choice["logprobs"] = _to_logprobs(cast("dict[str, Any]", logprobs))
        return choice

    def end(self) -> ChoiceStep:
        """Return the last step: why it ended, and what the text is based on."""
        native = self.native
        reason = "stop" if native is None else _REASONS.get(native) or to_finish_reason(native)
        if reason == "stop" and self._calls:
            reason = "tool_calls"  # STOP is all that Google says of it
        delta: dict[str, Any] = {} if self._spoke else {"content": ""}
        annotations = to_annotations("".join(self._text), self._grounding, self._citations)
        if annotations:
            delta["annotations"] = annotations
        choice: ChoiceStep = {"index": self._index, "delta": delta, "finish_reason": reason}
        if native is not None:
            choice["native_finish_reason"] = native
        if reason == "error" and self._message:
            choice["error"] = {"code": 502, "message": self._message}
        return choice

    def _note_end(self, fields: dict[str, Any]) -> None:
        if fields.keys() <= _OPEN:
            return
        native, message = fields.get("finishReason"), fields.get("finishMessage")
        if type(native) is str and native:
            self.native = native
        if type(message) is str:
            self._message = message
        # Both may come again and again, whole each time, and empty at first.
        grounding, citations = fields.get("groundingMetadata"), fields.get("citationMetadata")
        if isinstance(grounding, dict) and grounding:
            self._grounding = cast("dict[str, Any]", grounding)
        if isinstance(citations, dict) and citations:
            self._citations = cast("dict[str, Any]", citations)

    def _read_part(self, part: dict[str, Any], delta: dict[str, Any]) -> None:
        signature = part.get("thoughtSignature")
        signature = signature if type(signature) is str and signature else None
        identifier: str | None = None
        text = part.get("text")
        if text is not None:
            if type(text) is not str:
                raise Garbled("the provider's `text` is not a string")
            if part.get("thought"):
                self._add_thought(text, signature, delta)
                return
            self._add_text(text, delta)
        elif part.get("functionCall") is not None:
            identifier = self._add_call(part["functionCall"], delta)
        elif part.get("inlineData") is not None:
            if part.get("thought"):
                return  # a draft of the image to come
            identifier = self._add_media(part["inlineData"], delta)
        else:
            self._add_text(_describe(part), delta)
        if signature is not None:
            self._remember({"type": "reasoning.encrypted", "data": signature}, identifier, delta)

    def _add_text(self, text: str, delta: dict[str, Any]) -> None:
        if text:
            delta["content"] = delta.get("content", "") + text
            self._text.append(text)

    def _add_thought(self, text: str, signature: str | None, delta: dict[str, Any]) -> None:
        if not text and signature is None:
            return
        if text:
            delta["reasoning"] = delta.get("reasoning", "") + text
        entry = {"type": "reasoning.text", "text": text}
        if signature is not None:
            entry["signature"] = signature
        goes_on = self._thinking
        self._remember(entry, None, delta, goes_on=goes_on)
        self._thinking = signature is None  # a signature closes its block

    def _remember(
        self, entry: dict[str, Any], identifier: str | None, delta: dict[str, Any], *, goes_on: bool = False
    ) -> None:
        """Add an entry of reasoning: each block has an index of its own, so that clients can join its pieces."""
        if not goes_on:
            self._block += 1
        self._thinking = False
        if identifier is not None:
            entry["id"] = identifier
        delta.setdefault("reasoning_details", []).append({**entry, "format": FORMAT, "index": self._block})

    def _add_call(self, call: object, delta: dict[str, Any]) -> str:
        fields = cast("dict[str, Any]", call) if isinstance(call, dict) else {}
        name, arguments = fields.get("name"), fields.get("args")
        if type(name) is not str or not name:
            raise Garbled("the provider sent a call without the name of its function")
        if arguments is not None and type(arguments) is not dict:
            raise Garbled("the provider sent a call whose arguments are not an object")
        identifier = self._namer.name(fields.get("id"))
        delta.setdefault("tool_calls", []).append(
            {
                "index": self._calls,
                "id": identifier,
                "type": "function",
                "function": {"name": name, "arguments": _encode(arguments or {}).decode()},
            }
        )
        self._calls += 1
        return identifier

    def _add_media(self, blob: object, delta: dict[str, Any]) -> str | None:
        fields = cast("dict[str, Any]", blob) if isinstance(blob, dict) else {}
        kind, data = fields.get("mimeType"), fields.get("data")
        if type(kind) is not str or type(data) is not str:
            raise Garbled("the provider sent media without a type or without data")
        if kind.startswith("audio/"):
            delta["audio"] = {"data": data}
            return None
        if not kind.startswith("image/"):
            self._add_text(f"[{kind}](data:{kind};base64,{data})", delta)
            return None
        image = {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        delta.setdefault("images", []).append(image)
        self._images += 1
        return f"image_{self._images - 1}"


def _parts_of(content: object) -> list[dict[str, Any]]:
    if content is None:
        return []
    if not isinstance(content, dict):
        raise Garbled("the provider's `content` is not an object")
    parts = cast("dict[str, object]", content).get("parts")
    if parts is None:
        return []
    if not isinstance(parts, list):
        raise Garbled("the provider's `parts` is not a list")
    for part in cast("list[object]", parts):
        if type(part) is not dict:
            raise Garbled("the provider sent a part that is not an object")
    return cast("list[dict[str, Any]]", parts)


def _describe(part: dict[str, Any]) -> str:
    """Return code that the model ran, what came of it, and files, as text; nothing of parts that are not known."""
    for key, write in _WRITERS.items():
        value = part.get(key)
        if isinstance(value, dict):
            return write(cast("dict[str, Any]", value))
    return ""


def _write_code(code: dict[str, Any]) -> str:
    return f"\n```{str(code.get('language', '')).lower()}\n{code.get('code', '')}\n```\n"


def _write_result(result: dict[str, Any]) -> str:
    outcome = result.get("outcome")
    failed = "" if outcome == "OUTCOME_OK" else f"{outcome}\n"
    return f"\n```\n{failed}{result.get('output', '')}\n```\n"


def _write_file(file: dict[str, Any]) -> str:
    return f"[{file.get('mimeType', 'file')}]({file.get('fileUri', '')})"


_WRITERS: Final = {"executableCode": _write_code, "codeExecutionResult": _write_result, "fileData": _write_file}


def _to_logprobs(result: dict[str, Any]) -> dict[str, Any]:
    """Return `logprobs` as OpenAI has them: the chosen tokens, each with the likeliest of its place."""
    tops = [_tokens_of(_object_of(top).get("candidates")) for top in _list_of(result.get("topCandidates"))]
    content = _tokens_of(result.get("chosenCandidates"))
    for place, token in enumerate(content):
        token["top_logprobs"] = tops[place] if place < len(tops) else []
    return {"content": content}


def _tokens_of(value: object) -> list[dict[str, Any]]:
    tokens: list[dict[str, Any]] = []
    for candidate in _list_of(value):
        fields = _object_of(candidate)
        token, logprob = fields.get("token"), fields.get("logProbability")
        text = token if type(token) is str else ""
        number = logprob if type(logprob) in (int, float) else 0.0
        tokens.append({"token": text, "logprob": number, "bytes": list(text.encode())})
    return tokens


def _object_of(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list_of(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
