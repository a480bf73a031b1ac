"""What both sides of Anthropic's Messages dialect share: the protocol that speaks it and the skin that is spoken to.

Sources: the types of PyPI's anthropic 2.14.0 (2026-11) and platform.claude.com/docs/en/api/messages (2026-11).
"""

import re
from typing import Any, Final

from msgspec import Raw, Struct

from openrouter_gateway.core.chat import ChatRequest

FORMAT: Final = "anthropic-claude-v1"
"""What OpenRouter calls reasoning that Claude signed (OpenRouter API, reasoning, 2026-08-22)."""

FOREIGN: Final = "openrouter.reasoning:"
"""What signatures and data of other models' reasoning begin with in this dialect, which has no field for their kind."""

NATIVE: Final = "native"
"""The member of a step's chunk that holds the provider's own event, for a caller who speaks the same dialect."""

STOP_REASONS: Final = frozenset(
    {
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
        "compaction",
    }
)

ECHO: Final = "anthropic"
"""Where a request's `echo` holds its `Verbatim`."""


class Verbatim(Struct, frozen=True, kw_only=True):
    """A request as its caller wrote it in this dialect: `fields`, undecoded.

    `messages` and `tools` are the hub's fields that were made of it. As long as a request still has these, a provider
    that speaks the dialect gets the caller's own. `foreign`: some reasoning in it is not Claude's; `turns`: some
    system messages are not at the beginning.
    """

    fields: dict[str, Raw]
    messages: Raw
    tools: Raw | None
    foreign: bool = False
    turns: bool = False


def verbatim_of(request: ChatRequest) -> Verbatim | None:
    """Return what the caller wrote, unless it was another dialect or the hub's request has changed since."""
    verbatim: Verbatim | None = request.echo.get(ECHO)
    if verbatim is None or request.fields.get("messages") is not verbatim.messages:
        return None
    return verbatim if request.fields.get("tools") is verbatim.tools else None


def is_foreign(block: dict[str, Any]) -> bool:
    """Whether a block is reasoning that Claude did not sign: the API refuses it."""
    match block.get("type"):
        case "thinking":
            signature = block.get("signature")
            return not isinstance(signature, str) or not signature or signature.startswith(FOREIGN)
        case "redacted_thinking":
            data = block.get("data")
            return isinstance(data, str) and data.startswith(FOREIGN)
        case _:
            return False


_NOT_IN_IDS: Final = re.compile("[^a-zA-Z0-9_-]")


def as_tool_id(text: str) -> str:
    """Return the id of a tool call as this dialect takes it: ^[a-zA-Z0-9_-]+$. Other providers' ids have dots."""
    return _NOT_IN_IDS.sub("_", text) or "_"
