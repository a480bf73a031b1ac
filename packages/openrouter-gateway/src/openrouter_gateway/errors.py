"""Every failure that the gateway reports, by whose fault it is.

GatewayError
|- RequestError            the caller's request: BadRequest, MediaRefused, PayloadTooLarge, Unprocessable, NotFound
|                          (UnknownRoute), MethodNotAllowed, DeadlineExceeded
|- AccessError             the caller's rights: Unauthenticated, HostRefused, ManagementOnly, InferenceOnly,
|                          PaymentRequired, RateLimited
|- RoutingError            nothing can serve it: ModelNotFound, WrongEndpoint, ConstraintFiltered
|                          (PrivacyRestricted)
|- UpstreamError           a provider's fault, each with `failover`:
|  |- Refused, Throttled (AtCapacity), Unavailable (NotRecorded), TimedOut, Garbled, Cut
|- ConfigError             the operator's settings; never on the wire
|- InternalError           our fault; its message is masked on the wire

Messages are written for the caller and never hold a secret. How an error looks on the wire is a skin's matter
(`wire/skins`). Status codes and error types: OpenRouter API, errors (openrouter.ai/docs, 2026-08-22).
"""

from collections.abc import Mapping
from typing import ClassVar


class GatewayError(Exception):
    """Base of all; `status` is the HTTP status and the wire's integer `code`."""

    status: int = 500
    error_type: str = "server"

    def __init__(self, message: str, *, metadata: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, object] = dict(metadata or {})
        self.retry_after_s: int | None = None
        self.availability: dict[str, object] | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that go with its status."""
        return [] if self.retry_after_s is None else [(b"retry-after", b"%d" % self.retry_after_s)]


class RequestError(GatewayError):
    """The request itself cannot be served by anyone."""

    status = 400
    error_type = "invalid_request"


class BadRequest(RequestError):
    """Not JSON, a wrong type, a missing or contradictory field."""


class MediaRefused(RequestError):
    """What a message refers to by URL cannot be fetched, or is not what its part says that it is."""

    error_type = "image_download_failed"

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        error_type: str = "image_download_failed",
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, metadata=metadata)
        self.status = status
        self.error_type = error_type


class PayloadTooLarge(RequestError):
    """The body is over the configured limit."""

    status = 413
    error_type = "payload_too_large"


class Unprocessable(RequestError):
    """It can be read, but contradicts what came before."""

    status = 422
    error_type = "unprocessable"


class Conflict(RequestError):
    """The same request is being served; it may be sent again after `retry_after_s`, if that is known."""

    status = 409

    def __init__(
        self, message: str, *, retry_after_s: int | None = None, metadata: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message, metadata=metadata)
        self.retry_after_s = retry_after_s


class NotFound(RequestError):
    """The resource that the path names does not exist."""

    status = 404
    error_type = "not_found"


class UnknownRoute(NotFound):
    """No such path."""


class MethodNotAllowed(RequestError):
    """The path exists, the method does not."""

    status = 405


class DeadlineExceeded(RequestError):
    """The gateway's own limit for a whole request is over."""

    status = 408
    error_type = "timeout"


class AccessError(GatewayError):
    """The caller may not do this."""

    status = 403
    error_type = "permission_denied"


class Unauthenticated(AccessError):
    """No key, or one that is not known."""

    status = 401
    error_type = "authentication"


class HostRefused(AccessError):
    """The `Host` or `Origin` header names a site that this gateway does not serve (DNS rebinding)."""


class ManagementOnly(AccessError):
    """An inference key on a management route."""


class InferenceOnly(AccessError):
    """A management key on an inference route."""


class PaymentRequired(AccessError):
    """The key's limit or the account's credits are used up, or taken by requests that are still running."""

    status = 402
    error_type = "payment_required"


class RateLimited(AccessError):
    """The key is at one of its rate limits.

    `limit` and `reset_ms` (unix milliseconds) become `X-RateLimit-*`; nothing remains.
    """

    status = 429
    error_type = "rate_limit_exceeded"

    def __init__(
        self,
        message: str,
        *,
        limit: int = 0,
        retry_after_s: int = 1,
        reset_ms: int = 0,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, metadata=metadata)
        self.retry_after_s = retry_after_s
        self.limit = limit
        self.reset_ms = reset_ms

    def headers(self) -> list[tuple[bytes, bytes]]:
        """See `GatewayError`."""
        return [
            *super().headers(),
            (b"x-ratelimit-limit", b"%d" % self.limit),
            (b"x-ratelimit-remaining", b"0"),
            (b"x-ratelimit-reset", b"%d" % self.reset_ms),
        ]


class RoutingError(GatewayError):
    """No endpoint can take the request."""

    status = 404
    error_type = "not_found"
    availability_code: ClassVar[str] = "no_endpoints"
    constraint_field: ClassVar[str] = "provider"

    def __init__(
        self,
        message: str,
        *,
        requested_models: list[str],
        excluded_by: list[str] | None = None,
        detail: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.availability = {
            "code": self.availability_code,
            "retryable": False,
            "requested_models": requested_models,
            "docs_url": f"https://openrouter.ai/docs/errors#{self.availability_code}",
        }
        if excluded_by:
            self.availability["excluded_by"] = excluded_by
        if detail:
            self.availability["constraint"] = {"field": field or self.constraint_field, "detail": detail}


class ModelNotFound(RoutingError):
    """The catalogue has no such model."""

    status = 400
    error_type = "invalid_request"
    availability_code = "model_not_found"


class WrongEndpoint(RoutingError):
    """The model does something else than this path is for; `detail` names the right one."""

    status = 400
    error_type = "invalid_request"
    availability_code = "wrong_endpoint"
    constraint_field = "model"


class ConstraintFiltered(RoutingError):
    """The request's own preferences removed every endpoint."""

    availability_code = "constraint_filtered"


class PrivacyRestricted(ConstraintFiltered):
    """They left some, and what is asked of data policies, by the request or for the account, removed the rest."""

    availability_code = "privacy_restricted"


class UpstreamError(GatewayError):
    """A provider failed. `failover` says whether the next endpoint may be tried."""

    status = 502
    error_type = "provider_unavailable"
    failover: bool = True

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        provider_status: int | None = None,
        provider_code: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, metadata=metadata)
        self.provider = provider
        self.provider_status = provider_status
        self.provider_code = provider_code


class Refused(UpstreamError):
    """The provider says that the request is at fault (400, 413, 422, ...): another endpoint would say the same."""

    failover = False

    def __init__(self, message: str, *, status: int = 400, error_type: str = "invalid_request", **rest: object) -> None:
        super().__init__(message, **rest)  # pyright: ignore[reportArgumentType]
        self.status = status
        self.error_type = error_type


class Throttled(UpstreamError):
    """The provider is at its rate limit (429)."""

    status = 429
    error_type = "rate_limit_exceeded"


class AtCapacity(Throttled):
    """The endpoint has as many requests at a time as the configuration allows; the provider was not asked.

    When one of them ends is not known, so the caller may ask again soon.
    """

    def __init__(self, message: str, **rest: object) -> None:
        super().__init__(message, **rest)  # pyright: ignore[reportArgumentType]
        self.retry_after_s = 1


class Unavailable(UpstreamError):
    """The provider cannot be reached, refuses our key, or answers 5xx."""


class NotRecorded(Unavailable):
    """Answers come from recordings, and there is none of this request; no provider was asked."""


class TimedOut(UpstreamError):
    """The provider did not answer in time."""

    status = 504
    error_type = "timeout"


class Garbled(UpstreamError):
    """The provider answered something that is not its protocol."""


class Cut(UpstreamError):
    """The provider's answer stopped before its end."""


class ConfigError(GatewayError):
    """The settings are wrong. The message names the file or variable, the key, and what to do."""


class InternalError(GatewayError):
    """A defect of the gateway. The cause goes to the log, never to the caller."""
