"""One attempt to deliver a payload: what is sent, and what the answer means. No state."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import Struct

from openrouter_gateway.broadcast.backoff import parse_retry_after
from openrouter_gateway.broadcast.destinations.base import HTTPRequest, Kind, Payload, Verdict, judge
from openrouter_gateway.broadcast.limits import Limits
from openrouter_gateway.errors import GatewayError

_SAYS_WAIT: Final = frozenset({408, 425, 429, 502, 503, 504})
"""Answers that are about the destination, never about what was sent."""

_ABOUT_CONTENT: Final = frozenset({400, 413, 422})
"""Answers that may be about one of the traces that were sent, or how many they are."""


class HTTPReply(Struct, frozen=True, kw_only=True):
    """What a destination answered."""

    status: int
    retry_after: str | None = None


Send: TypeAlias = Callable[[HTTPRequest], Awaitable[HTTPReply]]
"""Sends a request and reads its answer.

It raises `GatewayError`, `OSError` or `TimeoutError` when there is none. It follows no redirect.
"""


class Environment(Struct, frozen=True, kw_only=True):
    """What couriers need from outside. `clock` gives unix seconds, `dice` a number from 0 to 1."""

    send: Send
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    dice: Callable[[], float]
    limits: Limits
    directory: Path | None


class Outcome(Struct, frozen=True, kw_only=True):
    """How an attempt ended. `asked_s` is how long the destination wants to be left alone, `reason` is for the log."""

    verdict: Verdict
    reason: str
    asked_s: float | None = None
    status: int | None = None

    @property
    def is_about_content(self) -> bool:
        """Whether less of what was sent might be accepted."""
        return self.status in _ABOUT_CONTENT

    @property
    def may_be_poison(self) -> bool:
        """Whether what was sent may be why the destination fails."""
        return self.status is not None and self.status >= 500 and self.status not in _SAYS_WAIT


async def attempt(kind: Kind, config: Any, payload: Payload, environment: Environment) -> Outcome:
    """Send a payload to a destination."""
    request = kind.request(config, payload, environment.clock())
    try:
        async with asyncio.timeout(environment.limits.timeout_s):
            reply = await environment.send(request)
    except (GatewayError, OSError, TimeoutError) as error:
        reason = error.message if isinstance(error, GatewayError) else type(error).__name__
        return Outcome(verdict="retry", reason=reason)
    return Outcome(
        verdict=judge(reply.status),
        reason=f"it answers {reply.status}",
        asked_s=parse_retry_after(reply.retry_after, environment.clock()),
        status=reply.status,
    )
