"""How many tokens a prompt is, as far as that can be said without the model's tokenizer."""

from typing import Any, Final, cast

from openrouter_gateway.core.chat import ChatRequest

_BYTES_PER_TOKEN: Final = 4
"""As budgets are reserved: one token per four bytes of JSON."""

_TOKENS: Final = {"image_url": 1_600, "file": 3_000}
"""Pictures of the size that models scale them to, and one page of a document: what they weigh in bytes says nothing
(platform.claude.com/docs/en/build-with-claude/{vision,pdf-support}, 2026-11)."""

_INLINE: Final = {"image_url": "url", "file": "file_data"}


def count_prompt_tokens(request: ChatRequest) -> int:
    """Return an estimate of the tokens of messages and tools; inline pictures and files count by the piece."""
    fields = request.fields
    size = len(bytes(fields["messages"]))
    if request.params.tools:
        size += len(bytes(fields["tools"]))
    tokens = 0
    for message in request.params.messages:
        for part in message.content if isinstance(message.content, list) else ():
            kind = part.get("type")
            if isinstance(kind, str) and kind in _TOKENS:
                tokens += _TOKENS[kind]
                size -= _inline_size(part, kind)
    return tokens + -(-size // _BYTES_PER_TOKEN)


def _inline_size(part: dict[str, Any], kind: str) -> int:
    holder = part.get(kind)
    data = cast("dict[str, Any]", holder).get(_INLINE[kind]) if isinstance(holder, dict) else None
    return len(data) if isinstance(data, str) else 0
