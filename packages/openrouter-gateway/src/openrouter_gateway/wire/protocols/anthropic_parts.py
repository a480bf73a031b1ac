"""Content parts of the hub's messages as blocks of Anthropic's Messages API.

Sources: platform.claude.com/docs/en/build-with-claude/{vision,pdf-support,files,prompt-caching}, 2026-11.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable
from typing import Any, Final, NoReturn, cast
from urllib.parse import unquote_to_bytes

from openrouter_gateway.errors import Refused

Block = dict[str, Any]

_IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TEXT_TYPES: Final = frozenset({"application/json", "application/xml", "application/yaml"})
_PDF: Final = "application/pdf"
_EPHEMERAL: Final = {"type": "ephemeral"}


def to_blocks(content: str | list[dict[str, Any]] | None, where: str) -> list[Block]:
    """Return the blocks of a message's content. Texts without a letter are left out: the API refuses them.

    Raises:
        Refused: a part that the API has no block for, named by its place.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    blocks: list[Block] = []
    for place, part in enumerate(content):
        kind = part.get("type")
        encode = _PARTS.get(kind) if isinstance(kind, str) else None
        # A kind that the hub does not know is the caller's own block of this dialect.
        block = dict(part) if encode is None else encode(part, f"{where}[{place}]")
        if block is not None:
            blocks.append(_marked(block, part))
    return blocks


def _marked(block: Block, part: dict[str, Any]) -> Block:
    """Return the block with the part's cache breakpoint, in either of OpenRouter's spellings (prompt caching)."""
    block.pop("prompt_cache_breakpoint", None)
    mark = part.get("cache_control")
    if isinstance(mark, dict):
        block["cache_control"] = mark
    elif part.get("prompt_cache_breakpoint"):
        block["cache_control"] = dict(_EPHEMERAL)
    else:
        block.pop("cache_control", None)
    return block


def _text(part: dict[str, Any], where: str) -> Block | None:
    text = part.get("text", part.get("refusal"))
    if not isinstance(text, str):
        _refuse(where, "a text part without text")
    block: Block = {"type": "text", "text": text}
    if isinstance(part.get("citations"), list):
        block["citations"] = part["citations"]
    return block if text.strip() else None


def _image(part: dict[str, Any], where: str) -> Block:
    given = part.get("image_url")
    url = cast("dict[str, Any]", given).get("url") if isinstance(given, dict) else given
    if not isinstance(url, str):
        _refuse(where, "an image without a URL")
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": _checked(url, where)}}
    kind, data = _split_data_url(url, where)
    return _inline_image(kind, data, where)


def _inline_image(kind: str, data: str, where: str) -> Block:
    kind = "image/jpeg" if kind == "image/jpg" else kind
    if kind not in _IMAGE_TYPES:
        raise Refused(
            f"{where}: images of type {kind or 'unknown'} are not taken by this provider",
            error_type="unsupported_image_format",
        )
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def _file(part: dict[str, Any], where: str) -> Block:
    given: object = part.get("file")
    file = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    data, name = file.get("file_data"), file.get("filename")
    if isinstance(file.get("file_id"), str) and not data:
        block: Block = {"type": "document", "source": {"type": "file", "file_id": file["file_id"]}}
    elif not isinstance(data, str) or not data:
        _refuse(where, "a file without `file_data` or `file_id`")
    elif data.startswith("data:"):
        kind, payload = _split_data_url(data, where)
        if kind.startswith("image/"):
            return _inline_image(kind, payload, where)
        block = {"type": "document", "source": _inline_document(kind, payload, where)}
    elif data.startswith(("http://", "https://")):
        block = {"type": "document", "source": {"type": "url", "url": data}}
    else:
        block = {"type": "document", "source": {"type": "base64", "media_type": _PDF, "data": data}}
    if isinstance(name, str) and name:
        block["title"] = name
    return block


def _inline_document(kind: str, data: str, where: str) -> dict[str, Any]:
    if kind == _PDF:
        return {"type": "base64", "media_type": _PDF, "data": data}
    if not kind.startswith("text/") and kind not in _TEXT_TYPES:
        _refuse(where, f"files of type {kind or 'unknown'} are not taken by this provider")
    try:
        text = b64decode(data).decode()
    except (binascii.Error, ValueError):
        _refuse(where, "a text file that is not UTF-8 in base64")
    return {"type": "text", "media_type": "text/plain", "data": text}


def _split_data_url(url: str, where: str) -> tuple[str, str]:
    """Return the media type and the data in base64."""
    head, comma, data = url.partition(",")
    if not comma:
        _refuse(where, "a data URL without data")
    kind, *options = head.removeprefix("data:").lower().split(";")
    if "base64" not in options:
        data = binascii.b2a_base64(unquote_to_bytes(data), newline=False).decode()
    return kind.strip() or "text/plain", data


def _checked(url: str, where: str) -> str:
    if not url.startswith(("http://", "https://")):
        _refuse(where, "a URL that is neither http, https nor data")
    return url


def _not_taken(part: dict[str, Any], where: str) -> NoReturn:
    _refuse(where, f"`{part['type']}` is not taken by this provider")


def _refuse(where: str, why: str) -> NoReturn:
    raise Refused(f"{where}: {why}")


_PARTS: Final[dict[str, Callable[[dict[str, Any], str], Block | None]]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "file": _file,
    "input_audio": _not_taken,
    "video_url": _not_taken,
    "input_video": _not_taken,
}
