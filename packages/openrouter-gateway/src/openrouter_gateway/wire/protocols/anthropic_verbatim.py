"""The conversation of a caller who speaks Anthropic's dialect, for a provider that does: unchanged where it can be."""

from typing import Any, cast

import msgspec

from openrouter_gateway.wire.anthropic import Verbatim, is_foreign
from openrouter_gateway.wire.protocols.anthropic_models import Abilities

_decode = msgspec.json.Decoder().decode
_decode_messages = msgspec.json.Decoder(list[dict[str, Any]]).decode


def own_conversation(verbatim: Verbatim, abilities: Abilities) -> dict[str, Any]:
    """Return the members `messages` and `system` where they cannot stay as they are, else nothing.

    Reasoning that another model wrote is left out, because its signature is none of Claude's. System messages after
    the first turn go to the top for models that refuse them there
    (platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages, 2026-11).
    """
    hoists = verbatim.turns and not abilities.turns
    if not verbatim.foreign and not hoists:
        return {}
    messages: list[dict[str, Any]] = []
    system: list[dict[str, Any]] = []
    for message in _decode_messages(verbatim.fields["messages"]):
        if hoists and message.get("role") == "system":
            system += [block for block in _blocks(message.get("content")) if block.get("type") == "text"]
            continue
        content = message.get("content")
        if isinstance(content, list):
            blocks = cast("list[dict[str, Any]]", content)
            message["content"] = [block for block in blocks if not is_foreign(block)]
        if message.get("content"):
            messages.append(message)
    changed: dict[str, Any] = {"messages": messages}
    if system:
        known = verbatim.fields.get("system")
        changed["system"] = [*_blocks(_decode(known) if known is not None else None), *system]
    return changed


def _blocks(content: object) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return cast("list[dict[str, Any]]", content) if isinstance(content, list) else []
