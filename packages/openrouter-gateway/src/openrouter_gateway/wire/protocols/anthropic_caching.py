"""Cache breakpoints in a request to Anthropic's API (platform.claude.com/docs/en/build-with-claude/prompt-caching).

Read 2026-11: at most four blocks may have one, in the order tools, system, messages; blocks of thinking none.
"""

from collections.abc import Iterator
from typing import Any, Final

from openrouter_gateway.wire.protocols.anthropic_messages import Conversation

_MOST: Final = 4
_UNMARKABLE: Final = frozenset({"thinking", "redacted_thinking"})


def mark_end(conversation: Conversation, tools: list[dict[str, Any]], mark: dict[str, Any]) -> None:
    """Put OpenRouter's automatic breakpoint on the last block that takes one.

    Not every server of this dialect knows the field at the top that does the same.
    """
    blocks = [*_blocks(conversation, tools)]
    last = next((block for block in reversed(blocks) if block.get("type") not in _UNMARKABLE), None)
    if last is not None:
        last.setdefault("cache_control", mark)


def keep_last_marks(conversation: Conversation, tools: list[dict[str, Any]]) -> None:
    """Take out the first breakpoints of more than four: what they cache is in the prefix of the later ones."""
    marked = [block for block in _blocks(conversation, tools) if "cache_control" in block]
    for block in marked[: max(len(marked) - _MOST, 0)]:
        del block["cache_control"]


def _blocks(conversation: Conversation, tools: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from tools
    yield from conversation.system
    for turn in conversation.turns:
        yield from turn["content"]
