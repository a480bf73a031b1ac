"""One attempt to deliver a payload: what is sent, and what the answer means. No state."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from openrouter_gateway.broadcast.backoff import parse_retry_after
from openrouter_gateway.broadcast.destinations.base import HTTPRequest, Kind, Payload, Verdict, judge
from openrouter_gateway.broadcast.limits import Limits
from openrouter_gateway.broadcast.partial import Partial, parse_partial
from openrouter_gateway.errors import GatewayError

_SAYS_WAIT: Final = frozenset({408, 425, 429, 502, 503, 504})
"""Answers that are about the destination, never about what was sent."""

_ABOUT_CONTENT: Final = frozenset({400, 413, 422})
"""Answers that may be about one of the traces that were sent, or how many they are."""

_SHORTEST_SECRET: Final = 6
_LONGEST_REASON: Final = 200


class HTTPReply(Struct, frozen=True, kw_only=True):
    """What a destination answered; of the body the beginning is enough."""

    status: int
    retry_after: str | None = None
    body: bytes = b""

    def __repr__(self) -> str:
        return f"<HTTPReply {self.status} of {len(self.body)} bytes>"


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
    """How an attempt ended. `asked_s` is how long the destination wants to be left alone, `reason` is for the log.

    `rejected_spans` were not taken of a payload that was accepted.
    """

    verdict: Verdict
    reason: str
    asked_s: float | None = None
    status: int | None = None
    rejected_spans: int = 0

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
    verdict, reason = judge(reply.status), f"it answers {reply.status}"
    partial = parse_partial(payload.name, reply.body) if verdict == "accepted" else Partial()
    if partial.rejected_spans:
        reason = f"it does not take {partial.rejected_spans} spans: {_to_line(partial.error_message, request)}"
    return Outcome(
        verdict=verdict,
        reason=reason,
        asked_s=parse_retry_after(reply.retry_after, environment.clock()),
        status=reply.status,
        rejected_spans=partial.rejected_spans,
    )


def _to_line(text: str, request: HTTPRequest) -> str:
    """Return what a destination says as it may be logged: one short line, without the credentials of the request."""
    parts = urlsplit(request.url)
    values = [*request.headers.values(), parts.password or "", *(value for _, value in parse_qsl(parts.query))]
    for secret in {word for value in values for word in (value, *value.split()) if len(word) >= _SHORTEST_SECRET}:
        text = text.replace(secret, "********")
    line = "".join(character if character.isprintable() else " " for character in text)
    return line[:_LONGEST_REASON] or "it does not say why"
