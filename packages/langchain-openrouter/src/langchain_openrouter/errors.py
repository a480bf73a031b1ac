"""What can go wrong, sorted by what the caller can do about it.

    OpenRouterError                 every error of this package; a LangChain `ModelError`
    ├── ConfigurationError          fix the arguments or the environment; also a ValueError
    ├── ConnectionFailed            no answer arrived: network, TLS, proxy, server gone
    │   └── TimedOut                ... within the configured time
    ├── APIError                    the server answered with an error
    │   ├── BadRequest          400
    │   │   └── ContextTooLong      ... the prompt does not fit the model
    │   ├── AuthenticationFailed 401
    │   ├── PaymentRequired     402
    │   ├── PermissionDenied    403
    │   ├── NotFound            404
    │   ├── RequestTimedOut     408
    │   ├── PayloadTooLarge     413
    │   ├── Unprocessable       422
    │   ├── RateLimited         429
    │   └── ServerFailed        5xx
    ├── StreamBroken                the answer stopped before its end; carries what had arrived
    └── ProtocolViolation           the server sent something that is not this API

Rules: every error can be pickled, its `str` is one line, and none holds the API key.
`is_retryable` says whether the same request may succeed later.
"""

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.messages import AIMessageChunk

__all__ = [
    "APIError",
    "AuthenticationFailed",
    "BadRequest",
    "ConfigurationError",
    "ConnectionFailed",
    "ContextTooLong",
    "NotFound",
    "OpenRouterError",
    "PayloadTooLarge",
    "PaymentRequired",
    "PermissionDenied",
    "ProtocolViolation",
    "RateLimited",
    "RequestTimedOut",
    "ServerFailed",
    "StreamBroken",
    "TimedOut",
    "Unprocessable",
]

MESSAGE_LIMIT: Final = 600
"""Characters of a message that `str` shows; `body` keeps the rest."""


class OpenRouterError(ModelError):
    """Base of every error this package raises.

    Attributes:
        message: What happened, in one line.
    """

    def __init__(self, message: str) -> None:
        self.message = one_line(message)
        super().__init__(self.message)


class ConfigurationError(OpenRouterError, ValueError):
    """An argument or an environment variable is missing or cannot work; nothing was sent."""


class ConnectionFailed(OpenRouterError, ModelConnectionError):
    """No answer arrived: name resolution, refused connection, TLS, proxy or a closed socket."""


class TimedOut(ConnectionFailed, ModelTimeoutError):
    """The server kept silent for longer than `timeout` allows."""


class APIError(OpenRouterError):
    """The server answered with an error, as a status or inside an answer that had begun.

    Attributes:
        status: HTTP status of the error (the one in the body when the answer itself was a 200), or None.
        code: `error.code` as sent: an integer in OpenRouter's own errors, a string from some servers.
        error_type: `error.metadata.error_type`, such as "rate_limit_exceeded", or None.
        retry_after: Seconds the server asks to wait, or None.
        provider: Name of the upstream provider that failed, or None.
        generation_id: Id of the generation (`gen-...`) for support and billing, or None.
        metadata: `error.metadata`, verbatim; empty when absent.
        body: The decoded body of the error, or its text when it was not JSON.
        partial: What had arrived before the error, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | str | None = None,
        error_type: str | None = None,
        retry_after: float | None = None,
        provider: str | None = None,
        generation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        body: object = None,
        partial: AIMessageChunk | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.error_type = error_type
        self.retry_after = retry_after
        self.provider = provider
        self.generation_id = generation_id
        self.metadata = dict(metadata or {})
        self.body = body
        self.partial = partial

    def __str__(self) -> str:
        head = " ".join(str(part) for part in (self.status or self.code, self.error_type) if part)
        tail = ", ".join(part for part in (self.provider, self.generation_id) if part)
        text = f"{head}: {self.message}" if head else self.message
        return f"{text} ({tail})" if tail else text


class BadRequest(APIError, ModelInvalidRequestError):
    """400: a parameter is malformed, the model id is unknown, or the content was refused."""


class ContextTooLong(BadRequest, ContextOverflowError):
    """400 `context_length_exceeded`: the prompt does not fit; LangChain may summarise and try again."""


class AuthenticationFailed(APIError, ModelAuthenticationError):
    """401: the key is missing, invalid or disabled."""


class PaymentRequired(APIError):
    """402: the credits of the account or of the key are used up."""


class PermissionDenied(APIError, ModelPermissionDeniedError):
    """403: not permitted, blocked by a guardrail, flagged by moderation, or a region gate."""


class NotFound(APIError, ModelNotFoundError):
    """404: nothing can serve the request with these models and provider preferences."""


class RequestTimedOut(APIError, ModelTimeoutError):
    """408: the server gave up waiting."""


class PayloadTooLarge(APIError):
    """413: the request body is too large."""


class Unprocessable(APIError, ModelInvalidRequestError):
    """422: valid JSON that makes no sense to the server."""


class RateLimited(APIError, ModelRateLimitError):
    """429: a limit of the account, or every provider is at capacity; see `retry_after`."""


class ServerFailed(APIError, ModelAPIError):
    """5xx: the server or every provider behind it failed."""


class StreamBroken(OpenRouterError):
    """The answer stopped before its end: the connection closed, it ended without a finish reason or in garbage.

    Attributes:
        partial: The chunks that had arrived, added up, or None when nothing had.
    """

    is_retryable = True

    def __init__(self, message: str, *, partial: AIMessageChunk | None = None) -> None:
        super().__init__(message)
        self.partial = partial


class ProtocolViolation(OpenRouterError):
    """The server sent something that is not this API: check `base_url`, or a proxy in between.

    Attributes:
        body: The beginning of what was sent.
    """

    def __init__(self, message: str, *, body: object = None) -> None:
        super().__init__(message)
        self.body = body


ERRORS_BY_STATUS: Final[Mapping[int, type[APIError]]] = {
    400: BadRequest,
    401: AuthenticationFailed,
    402: PaymentRequired,
    403: PermissionDenied,
    404: NotFound,
    408: RequestTimedOut,
    413: PayloadTooLarge,
    422: Unprocessable,
    429: RateLimited,
}
"""Classes by HTTP status (API digest, 2.2); `class_for` adds the 5xx family and the rest."""

STATUS_BY_ERROR_TYPE: Final[Mapping[str, int]] = {
    "authentication": 401,
    "payment_required": 402,
    "permission_denied": 403,
    "not_found": 404,
    "image_not_found": 404,
    "precondition_failed": 412,
    "payload_too_large": 413,
    "unprocessable": 422,
    "rate_limit_exceeded": 429,
    "server": 500,
    "server_error": 500,
    "unmapped": 500,
    "provider_unavailable": 502,
    "provider_overloaded": 503,
    "timeout": 504,
    "invalid_request": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "max_tokens_exceeded": 400,
    "token_limit_exceeded": 400,
    "string_too_long": 400,
    "content_policy_violation": 400,
    "refusal": 400,
    "invalid_image": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "unsupported_image_format": 400,
    "image_download_failed": 400,
}
"""The status an error type stands for, for errors whose code is a word (API digest, 2.2)."""


def class_for(status: int | None, error_type: str | None) -> type[APIError]:
    """Return the class of an error by its status and, where that is finer, its type."""
    if status is None:
        return APIError
    if status == 400 and error_type == "context_length_exceeded":
        return ContextTooLong
    if status >= 500:
        return ServerFailed
    return ERRORS_BY_STATUS.get(status, APIError)


def one_line(text: str) -> str:
    """Return `text` without line breaks or runs of blanks, cut to `MESSAGE_LIMIT` characters."""
    joined = " ".join(text.split())
    return joined if len(joined) <= MESSAGE_LIMIT else joined[: MESSAGE_LIMIT - 3] + "..."
