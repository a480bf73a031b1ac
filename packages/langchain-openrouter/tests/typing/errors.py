# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What errors carry, and what they can be caught as."""

from typing import Any, assert_type

from langchain_core.exceptions import ContextOverflowError, ModelError, ModelRateLimitError, ModelTimeoutError
from langchain_core.messages import AIMessageChunk

from langchain_openrouter import (
    APIError,
    ConfigurationError,
    ConnectionFailed,
    ContextTooLong,
    OpenRouterError,
    ProtocolViolation,
    RateLimited,
    ServerFailed,
    StreamBroken,
    TimedOut,
)

error = RateLimited("Too fast.", status=429, retry_after=7.5)
assert_type(error.message, str)
assert_type(error.status, int | None)
assert_type(error.code, int | str | None)
assert_type(error.error_type, str | None)
assert_type(error.retry_after, float | None)
assert_type(error.provider, str | None)
assert_type(error.generation_id, str | None)
assert_type(error.metadata, dict[str, Any])
assert_type(error.body, object)
assert_type(error.partial, AIMessageChunk | None)
assert_type(error.is_retryable, bool)
assert_type(StreamBroken("It broke.").partial, AIMessageChunk | None)
assert_type(ProtocolViolation("What is this?").body, object)

# Theirs and LangChain's own names for the same.
limit: ModelRateLimitError = error
timeout: ModelTimeoutError = TimedOut("Silence.")
overflow: ContextOverflowError = ContextTooLong("Too long.")
mistake: ValueError = ConfigurationError("No key.")
anything: tuple[ModelError, ...] = (error, timeout, overflow)
ours: tuple[OpenRouterError, ...] = (error, ConnectionFailed("No answer."), ConfigurationError("No key."))
answered: tuple[APIError, ...] = (error, ServerFailed("It broke.", metadata={"a": 1}))


def rejected() -> None:
    """What type checkers must find."""
    RateLimited()  # pyright: ignore[reportCallIssue]
    RateLimited("Too fast.", status="429")  # pyright: ignore[reportArgumentType]
    RateLimited("Too fast.", stat=429)  # pyright: ignore[reportCallIssue]
    del StreamBroken("It broke.").status  # pyright: ignore[reportAttributeAccessIssue]
    APIError.__str__(ConfigurationError("No key."))  # pyright: ignore[reportArgumentType]
