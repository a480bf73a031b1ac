"""Whether destinations of the broadcast can be reached: by the test that the API makes before it saves one."""

import asyncio
import random
import time
from collections.abc import Sequence

from openrouter_gateway.broadcast.attempt import Environment, HTTPReply
from openrouter_gateway.broadcast.check import try_connection
from openrouter_gateway.broadcast.destinations.base import HTTPRequest
from openrouter_gateway.broadcast.limits import Limits
from openrouter_gateway.callers.pool import Pool
from openrouter_gateway.callers.sender import Sender
from openrouter_gateway.config.settings import Settings
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.doctor.findings import OFFLINE, Finding, failure, ok, skipped
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.destinations import Destinations

_REMEDY = "check its config: address and credentials; what it should get waits until it can be delivered"


async def check_destinations(
    settings: Settings, configured: Sequence[Destination], pool: Pool, *, stored: bool, timeout_s: float, offline: bool
) -> list[Finding]:
    """Return a finding for each destination of the configuration and, if `stored`, of the database."""
    everything = list(configured)
    if stored:
        try:
            everything += await _load_stored(settings)
        except GatewayError as error:
            return [failure("destinations", error.message, "see the ledger database")]
    sender = Sender(pool)

    async def send(request: HTTPRequest) -> HTTPReply:
        status, retry_after, body = await sender.send(request.method, request.url, request.headers, request.body)
        return HTTPReply(status=status, retry_after=retry_after, body=body)

    environment = Environment(
        send=send,
        clock=time.time,
        sleep=asyncio.sleep,
        dice=random.random,
        limits=Limits(timeout_s=timeout_s),
        directory=None,
    )
    return list(await asyncio.gather(*(_check(each, environment, offline=offline) for each in everything)))


async def _check(destination: Destination, environment: Environment, *, offline: bool) -> Finding:
    check = f"destination {destination.name}"
    if not destination.enabled:
        return skipped(check, "is switched off")
    if offline:
        return skipped(check, OFFLINE)
    try:
        reason = await try_connection(destination, environment)
    except ValueError as error:  # saved by another version of the gateway
        return failure(check, str(error), _REMEDY)
    return ok(check, f"{destination.type} accepts what is sent") if reason is None else failure(check, reason, _REMEDY)


async def _load_stored(settings: Settings) -> list[Destination]:
    async def ignore(_: Sequence[Destination]) -> None: ...

    database = Database(settings.ledger.database_url)
    await database.open()
    try:
        stored = Destinations(database, ignore)
        await stored.open(poll=False)
        return stored.all
    finally:
        await database.close()
