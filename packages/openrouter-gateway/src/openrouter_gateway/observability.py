"""What watches the gateway, built as one: metrics, the broadcast, and its destinations, configured and stored."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.routing import Route

from openrouter_gateway.accounting.authorize import Grant, allow_management
from openrouter_gateway.broadcast.attempt import HTTPReply
from openrouter_gateway.broadcast.check import keep_usable
from openrouter_gateway.broadcast.destinations.base import HTTPRequest
from openrouter_gateway.broadcast.observer import Observer
from openrouter_gateway.broadcast.queue import Broadcaster
from openrouter_gateway.broadcast.record import Record
from openrouter_gateway.broadcast.spool import remove_abandoned
from openrouter_gateway.callers.pool import Pool, Timeouts
from openrouter_gateway.callers.sender import Sender
from openrouter_gateway.config.settings import Settings
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.edge.asgi import BASES, credential_of
from openrouter_gateway.edge.destinations import Observatory, build_destination_routes
from openrouter_gateway.edge.metrics import DIRECTORY_VARIABLE, Metrics, build_metrics_route
from openrouter_gateway.logs import log_generation
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.destinations import Destinations

_ABANDONED_S: Final = 7 * 86_400.0
_logger = logging.getLogger(__name__)


class Observability:
    """One per process, made in its event loop. `observer` is what serving tells of generations.

    Its connections are its own: what destinations do to theirs does not touch those to providers.
    """

    def __init__(
        self,
        settings: Settings,
        configured: Sequence[Destination],
        database: Database,
        identify: Callable[[str | None], Grant],
        contents_dropped: Callable[[], int] = lambda: 0,
    ) -> None:
        broadcast, workers = settings.broadcast, settings.server.workers
        self._configured = list(configured)
        self._stored: list[Destination] = []
        self._identify = identify
        self._spool_directory = broadcast.spool_directory
        self._flush_timeout_s = broadcast.flush_timeout_s
        timeouts = Timeouts(connect_s=min(settings.upstream.connect_timeout_s, broadcast.timeout_s))
        self._pool = Pool(timeouts)
        self._sender = Sender(self._pool)
        self._broadcaster = Broadcaster(
            send=self._send,
            directory=broadcast.spool_directory,
            limits=broadcast.limits(workers),
            observe=_log if broadcast.log_generations else None,
        )
        self._destinations = Destinations(database, self._use)
        self.metrics = Metrics(
            broadcaster=self._broadcaster,
            directory=_shared_directory(workers),
            contents_dropped=contents_dropped,
        )
        self.observer = Observer(self._broadcaster, self.metrics.observe)
        self._sharing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin. The database is open.

        Raises:
            DatabaseUnavailable: the destinations in it cannot be read.
        """
        await self._broadcaster.start(self._configured)
        await self._destinations.open()
        await self._forget_abandoned()
        self._sharing = asyncio.create_task(self.metrics.share(), name="metrics")

    async def _forget_abandoned(self) -> None:
        """Remove what waits for destinations that went while no gateway ran: it may hold what callers asked.

        It is let lie for a while, because a destination may come back, or be another gateway's.
        """
        kept = {each.id for each in (*self._configured, *self._destinations.all)}
        try:
            await asyncio.to_thread(remove_abandoned, self._spool_directory, kept, time.time() - _ABANDONED_S)
        except OSError as error:
            _logger.warning("cannot look for traces that nobody waits for: %s", error.strerror)

    async def reconfigure(self, configured: Sequence[Destination]) -> None:
        """Broadcast to these from now on, and to those of the database."""
        self._configured = list(configured)
        await self._use(self._stored)

    async def close(self) -> None:
        """Deliver what can be delivered in time, and leave the rest on disk."""
        await self._destinations.close()
        await self._broadcaster.close(self._flush_timeout_s)
        if self._sharing is not None:
            self._sharing.cancel()
            await asyncio.gather(self._sharing, return_exceptions=True)
        await self._pool.close()

    def observatory(self) -> Observatory:
        """Return what the routes of destinations need."""
        return Observatory(
            destinations=self._destinations,
            broadcaster=self._broadcaster,
            identify=self._identify,
            configured=self._configured,
        )

    async def allow_metrics(self, request: Request) -> None:
        """Let in who manages, and everyone where nobody needs a key.

        Raises:
            AccessError: the key may not see what others use, or is none.
        """
        grant = self._identify(credential_of(dict(request.scope["headers"])))
        if grant.key_hash is not None:
            allow_management(grant)

    async def _use(self, stored: Sequence[Destination]) -> None:
        self._stored = list(stored)  # at once: a reload that comes while this waits must not bring back what was before
        await self._broadcaster.set_destinations([*self._configured, *keep_usable(stored)])

    async def _send(self, request: HTTPRequest) -> HTTPReply:
        status, retry_after, body = await self._sender.send(request.method, request.url, request.headers, request.body)
        return HTTPReply(status=status, retry_after=retry_after, body=body)


def build_observability_routes(observability: Callable[[], Observability]) -> list[Route]:
    """Return the routes of destinations and metrics."""

    async def allow(request: Request) -> None:
        await observability().allow_metrics(request)

    return [
        *build_destination_routes(lambda: observability().observatory(), credential_of, BASES),
        build_metrics_route(lambda: observability().metrics, allow),
    ]


def _log(record: Record) -> None:
    log_generation(record.generation, record.request_id)


def _shared_directory(workers: int) -> Path | None:
    """Return where workers tell each other their counts; alone there is nobody to tell."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    return Path(named) if named and workers > 1 else None
