"""Zero-completion insurance: generations that gave nothing are not billed (OpenRouter API, 2026-08-22)."""

from openrouter_gateway.core.usage import Usage


def is_billed(usage: Usage, finish_reason: str | None) -> bool:
    """Return whether tokens are charged for: not after an error, nor for an empty answer without a finish reason.

    `finish_reason` is the normalised one, `error` also for what failed after output. Searches and files that were read
    before are no tokens: this says nothing of them.
    """
    if finish_reason == "error":
        return False
    return usage.completion_tokens > 0 or bool(finish_reason and finish_reason.strip())
