"""When to try again and how long to wait first: a policy written as a generator, free of clock and sleep.

The drivers in `_http` send each failure into `plan_waits` and sleep for what it yields.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from langchain_openrouter.errors import APIError, OpenRouterError

RETRY_AFTER_CAP_S: Final = 60.0
"""The longest wait a server may ask for; a longer `Retry-After` waits this long."""

RETRYABLE_STATUSES: Final = frozenset({408, 429, 500, *range(502, 600)})
"""All that may pass: what stands before an API has statuses of its own (524 and 529, digest 2.2, are not all of them).
501 says that the server cannot do this at all."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently to try again.

    Attributes:
        max_retries: Further tries after the first one; 0 turns retries off.
        first_wait_s: Back-off before the first retry; it doubles each time.
        longest_wait_s: Upper bound of the back-off.
        retry_after_cap_s: Upper bound of a wait that the server asks for.
    """

    max_retries: int = 2
    first_wait_s: float = 0.5
    longest_wait_s: float = 8.0
    retry_after_cap_s: float = RETRY_AFTER_CAP_S


def plan_waits(policy: RetryPolicy, dice: Callable[[], float]) -> Generator[float, OpenRouterError, None]:
    """Take each failure by `send`; yield the seconds to wait before the next try, or raise the failure.

    Args:
        policy: Bounds.
        dice: Returns a number in [0, 1); spreads the back-off over its upper half, so that
            clients that failed together do not come back together.
    """
    failure = yield 0.0
    for retry in range(policy.max_retries):
        if not may_retry(failure):
            raise failure
        asked_s = failure.retry_after if isinstance(failure, APIError) else None
        if asked_s is not None:
            failure = yield min(max(asked_s, 0.0), policy.retry_after_cap_s)
            continue
        backoff_s = min(policy.first_wait_s * 2**retry, policy.longest_wait_s)
        failure = yield backoff_s * (0.5 + dice() / 2)
    raise failure


def may_retry(failure: OpenRouterError) -> bool:
    """Tell whether the same request may succeed later: see `RETRYABLE_STATUSES` and `is_retryable`."""
    if isinstance(failure, APIError) and failure.status is not None:
        return failure.status in RETRYABLE_STATUSES
    return failure.is_retryable


def parse_retry_after(headers: Mapping[str, str], now: Callable[[], float]) -> float | None:
    """Read `retry-after-ms` (milliseconds) or `Retry-After` (seconds or an HTTP date).

    Args:
        headers: Response headers; lookup must ignore case.
        now: Returns the time as a Unix timestamp in seconds; called for a date only.

    Returns:
        Seconds to wait, never negative, or None when the server gave no usable hint.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    raw = headers.get("retry-after")
    if raw is None:
        return None
    if (seconds := _number(raw)) is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(raw)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment.timestamp() - now(), 0.0)


def _number(raw: str | None) -> float | None:
    """Return a finite number that is not negative, or None."""
    try:
        value = float(raw or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
