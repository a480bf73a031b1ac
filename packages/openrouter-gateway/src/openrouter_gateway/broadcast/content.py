"""Messages as they are broadcast: text, tool calls and reasoning; images, audio and files are left out."""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

MAX_CONTENT_BYTES: Final = 8 * 1024 * 1024
"""Content beyond this is not read: parsing it would hold up the process for tens of milliseconds."""

_TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text"})
_INPUTS: Final = ("messages", "input", "prompt", "query")
"""The request's fields that hold what the model reads, by API."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def to_json(value: object) -> str:
    """Return a JSON document as text."""
    return _encode(value).decode()


def read(value: Any) -> Any:
    """Return a JSON value, decoded if it was not; None for what cannot be read, or is too long to be."""
    if not isinstance(value, Raw):
        return value
    if len(value) > MAX_CONTENT_BYTES:
        return None
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return None


def read_input(request: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """Return what a request gave the model to read, as messages; None if that is not known."""
    if request is None:
        return None
    return next((_to_messages(read(request[name]), "user") for name in _INPUTS if name in request), None)


def read_reply(reply: Any) -> list[dict[str, Any]] | None:
    """Return the answer's messages; None if they are not known."""
    return _to_messages(read(reply() if callable(reply) else reply), "assistant")


def _to_messages(value: Any, role: str) -> list[dict[str, Any]] | None:
    if value is None:
        return None
    items = cast("list[Any]", value if isinstance(value, list) else [value])
    return [_to_message(item, role) for item in items]


def _to_message(item: Any, role: str) -> dict[str, Any]:
    return _strip(cast("dict[str, Any]", item), role) if isinstance(item, dict) else _say(item, role)


def _say(item: Any, role: str) -> dict[str, Any]:
    return {"role": role, "content": item if isinstance(item, str) else to_json(item)}


def _strip(message: dict[str, Any], role: str) -> dict[str, Any]:
    """Keep what is text."""
    kept: dict[str, Any] = {"role": str(message.get("role") or role)}
    content = message.get("content")
    if isinstance(content, str):
        kept["content"] = content
    elif isinstance(content, list):
        kept["content"] = [_strip_part(part) for part in cast("list[Any]", content)]
    for name in ("name", "reasoning", "tool_call_id"):
        if isinstance(message.get(name), str):
            kept[name] = message[name]
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        kept["tool_calls"] = [_strip_call(call) for call in cast("list[Any]", calls)]
    return kept


def _strip_part(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    fields = _fields(part)
    kind = str(fields.get("type"))
    text = fields.get("text")
    return {"type": "text", "text": text if kind in _TEXT_PARTS and isinstance(text, str) else f"[{kind} omitted]"}


def _strip_call(call: Any) -> dict[str, Any]:
    fields = _fields(call)
    named = _fields(fields.get("function"))
    return {
        "id": fields.get("id"),
        "type": "function",
        "function": {"name": str(named.get("name") or ""), "arguments": str(named.get("arguments") or "")},
    }


def _fields(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def to_semantic(messages: list[dict[str, Any]], finish_reason: str | None = None) -> list[dict[str, Any]]:
    """Return messages in the shape of OpenTelemetry's conventions.

    The schemas gen-ai-input-messages.json and gen-ai-output-messages.json of open-telemetry/semantic-conventions-genai
    (2026-11-27). Output messages have a finish reason each.
    """
    shaped: list[dict[str, Any]] = []
    for message in messages:
        converted: dict[str, Any] = {"role": message["role"], "parts": _to_parts(message)}
        if "name" in message:
            converted["name"] = message["name"]
        if finish_reason is not None:
            converted["finish_reason"] = finish_reason
        shaped.append(converted)
    return shaped


def _to_parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if "reasoning" in message:
        parts.append({"type": "reasoning", "content": message["reasoning"]})
    content: Any = message.get("content")
    if message["role"] == "tool":
        return [*parts, {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}]
    if isinstance(content, str):
        parts.append({"type": "text", "content": content})
    else:
        parts += [{"type": "text", "content": part["text"]} for part in content or ()]
    for call in message.get("tool_calls", ()):
        function = call["function"]
        parts.append(
            {
                "type": "tool_call",
                "id": call["id"],
                "name": function["name"],
                "arguments": _parse_arguments(function["arguments"]),
            }
        )
    return parts


def _parse_arguments(text: str) -> Any:
    """Arguments are an object there; what is no JSON stays text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def to_text(messages: list[dict[str, Any]] | None) -> str | None:
    """Return all that messages say, one per line, for filters to look through."""
    if messages is None:
        return None
    said: list[str] = []
    for message in messages:
        content: Any = message.get("content")
        if isinstance(content, str):
            said.append(content)
        else:
            said += [part["text"] for part in content or ()]
    return "\n".join(said)
