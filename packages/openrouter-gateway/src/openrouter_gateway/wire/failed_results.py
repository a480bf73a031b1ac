"""Results of tools that failed, for dialects that have no field to say so: there the text says it.

The hub has Anthropic's field, `is_error` on the message of the result (platform.claude.com/docs/en/agents-and-tools/
tool-use/handle-tool-calls, 2026-11).
"""

from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import Refused

_FIELD: Final = "is_error"
_WORD: Final = "Error"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_messages = msgspec.json.Decoder(list[dict[str, Raw]]).decode


def say_failure(content: object) -> Any:
    """Return the content of a failed result, its failure in front of the text, unless the text begins with it."""
    if isinstance(content, list):
        parts = cast("list[Any]", content)
        if parts and isinstance(parts[0], dict) and isinstance(text := cast("Any", parts[0]).get("text"), str):
            return [{**parts[0], "text": say_failure(text)}, *parts[1:]]
        return [{"type": "text", "text": _WORD}, *parts]
    if not isinstance(content, str) or not content:
        return _WORD
    return content if content.lstrip().lower().startswith(_WORD.lower()) else f"{_WORD}: {content}"


def spell_failures(request: ChatRequest) -> Raw:
    """Return a request's messages without the field; where it was true, the text says it.

    Raises:
        Refused: they cannot be read.
    """
    messages = request.fields["messages"]
    if all(message.is_error is None for message in request.params.messages):
        return messages
    try:
        return Raw(_encode([_spelled(message) for message in _decode_messages(messages)]))
    except RecursionError:
        raise Refused("the request is nested too deeply") from None


def _spelled(message: dict[str, Raw]) -> dict[str, Raw]:
    bare = {member: value for member, value in message.items() if member != _FIELD}
    if bytes(message.get(_FIELD, b"")) == b"true":
        bare["content"] = Raw(_encode(say_failure(_decode(message.get("content", b"null")))))
    return bare
