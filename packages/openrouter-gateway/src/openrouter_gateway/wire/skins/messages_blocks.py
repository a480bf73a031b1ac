"""Content blocks of Anthropic's dialect as content parts, reasoning and calls of the hub.

What the hub has no form for stays the caller's own block: the `anthropic` protocol passes it on, others refuse it.
Sources: OpenRouter API, Anthropic messages (2026-08-22); platform.claude.com/docs/en/api/messages (2026-11).
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from openrouter_gateway.errors import BadRequest
from openrouter_gateway.wire.anthropic import FOREIGN, FORMAT

Block = dict[str, Any]

_PDF_NAME: Final = "document.pdf"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def to_parts(content: str | list[Block], where: str) -> str | list[dict[str, Any]]:
    """Return content of the hub: one plain text as a string.

    Raises:
        BadRequest: a block whose members are missing or of the wrong type, named by its place.
    """
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for place, block in enumerate(content):
        kind = text_of(block, "type", f"{where}[{place}]")
        encode = _PARTS.get(kind)
        parts += [block] if encode is None else [_marked(part, block) for part in encode(block, f"{where}[{place}]")]
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def text_of(block: Block, key: str, where: str) -> str:
    """Return a member that has to be a string."""
    value = block.get(key)
    if not isinstance(value, str):
        raise BadRequest(f"{where}.{key}: Expected `str`")
    return value


def _object_of(block: Block, key: str, where: str) -> dict[str, Any]:
    value = block.get(key)
    if not isinstance(value, dict):
        raise BadRequest(f"{where}.{key}: Expected `object`")
    return cast("dict[str, Any]", value)


def _marked(part: dict[str, Any], block: Block) -> dict[str, Any]:
    if isinstance(block.get("cache_control"), dict):
        part["cache_control"] = block["cache_control"]
    return part


def _text(block: Block, where: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text_of(block, "text", where)}]


def _image(block: Block, where: str) -> list[dict[str, Any]]:
    source = _object_of(block, "source", where)
    where = f"{where}.source"
    match source.get("type"):
        case "base64":
            data = f"data:{text_of(source, 'media_type', where)};base64,{text_of(source, 'data', where)}"
            return [{"type": "image_url", "image_url": {"url": data}}]
        case "url":
            return [{"type": "image_url", "image_url": {"url": text_of(source, "url", where)}}]
        case _:
            return [block]


def _document(block: Block, where: str) -> list[dict[str, Any]]:
    source = _object_of(block, "source", where)
    title = block.get("title")
    name = title if isinstance(title, str) and title else _PDF_NAME
    where = f"{where}.source"
    match source.get("type"):
        case "base64":
            data = f"data:{text_of(source, 'media_type', where)};base64,{text_of(source, 'data', where)}"
            return [{"type": "file", "file": {"filename": name, "file_data": data}}]
        case "url":
            return [{"type": "file", "file": {"filename": name, "file_data": text_of(source, "url", where)}}]
        case "text":
            return [{"type": "text", "text": text_of(source, "data", where)}]
        case "file":
            return [{"type": "file", "file": {"file_id": text_of(source, "file_id", where)}}]
        case "content" if isinstance(source.get("content"), str | list):
            return _as_list(to_parts(source["content"], f"{where}.content"))
        case _:
            return [block]


def _search_result(block: Block, where: str) -> list[dict[str, Any]]:
    head = f"{text_of(block, 'title', where)} ({text_of(block, 'source', where)})"
    content = block.get("content")
    parts = _as_list(to_parts(cast("list[Block]", content), f"{where}.content")) if isinstance(content, list) else []
    return [{"type": "text", "text": head}, *parts]


def _as_list(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


_PARTS: Final[dict[str, Callable[[Block, str], list[dict[str, Any]]]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
}


def to_call(block: Block, where: str) -> dict[str, Any]:
    """Return the hub's call of a tool."""
    function = {
        "name": text_of(block, "name", where),
        "arguments": _encode(block.get("input") or {}).decode(),
    }
    return {"id": text_of(block, "id", where), "type": "function", "function": function}


def to_detail(block: Block, index: int, where: str) -> dict[str, Any] | None:
    """Return the hub's detail of reasoning; None for what another gateway wrote in a way of its own."""
    if block["type"] == "redacted_thinking":
        data = text_of(block, "data", where)
        if data.startswith(FOREIGN):
            detail = _unpack(data)
            return None if detail is None else detail | {"index": index}
        return {"type": "reasoning.encrypted", "data": data, "format": FORMAT, "index": index}
    detail = {"type": "reasoning.text", "text": text_of(block, "thinking", where), "index": index}
    signature = block.get("signature")
    if not isinstance(signature, str) or not signature:
        return detail
    if not signature.startswith(FOREIGN):
        return {**detail, "signature": signature, "format": FORMAT}
    packed = _unpack(signature) or {}
    if packed.get("type") == "reasoning.summary":
        detail["summary"] = detail.pop("text")
    return detail | packed


def pack(detail: dict[str, Any]) -> str:
    """Return other models' reasoning as a signature or data of this dialect: `to_detail` reads it."""
    return FOREIGN + base64.b64encode(_encode(detail)).decode()


def _unpack(text: str) -> dict[str, Any] | None:
    try:
        value = _decode(base64.b64decode(text.removeprefix(FOREIGN), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
