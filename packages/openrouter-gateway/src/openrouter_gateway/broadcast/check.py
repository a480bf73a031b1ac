"""Whether a destination can be used: as it is configured, and by trying it."""

import asyncio
import logging
from collections.abc import Iterable

from openrouter_gateway.broadcast.attempt import Environment
from openrouter_gateway.broadcast.destinations import KINDS
from openrouter_gateway.broadcast.destinations.base import parse_config
from openrouter_gateway.broadcast.selection import select
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.errors import GatewayError

_log = logging.getLogger(__name__)


def check_destination(destination: Destination) -> None:
    """Raise `ValueError` for a destination that cannot be used as it is configured; no value is quoted."""
    kind = KINDS.get(destination.type)
    if kind is None:
        raise ValueError(f"type: {destination.type!r} is not known; these are: {', '.join(sorted(KINDS))}")
    parse_config(kind, destination.config)
    select(destination)


def keep_usable(destinations: Iterable[Destination]) -> list[Destination]:
    """Return those that can be used; another version of the gateway may have kept some that cannot."""
    kept: list[Destination] = []
    for destination in destinations:
        try:
            check_destination(destination)
        except ValueError as error:
            _log.error("destination %r (%s) is passed over: %s", destination.name, destination.type, error)
        else:
            kept.append(destination)
    return kept


async def try_connection(destination: Destination, environment: Environment) -> str | None:
    """Return why a destination cannot be reached, None if it can.

    Raises:
        ValueError: it cannot be used as it is configured.
    """
    check_destination(destination)
    kind = KINDS[destination.type]
    trial = kind.trial(parse_config(kind, destination.config), environment.clock())
    try:
        async with asyncio.timeout(environment.limits.timeout_s):
            reply = await environment.send(trial)
    except GatewayError as error:
        return error.message
    except TimeoutError:
        return "it does not answer in time"
    except OSError:
        return "it cannot be reached"
    return None if kind.passes(reply.status) else f"it answers {reply.status}"
