"""The composition root: builds every object once, in the order in which they need each other."""

import asyncio
import gc
import logging
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol as Interface

import msgspec
from starlette.applications import Starlette

from openrouter_gateway.accounting.authorize import hash_key
from openrouter_gateway.broadcast.content import read_input
from openrouter_gateway.callers.base import Caller
from openrouter_gateway.callers.http import HTTPCaller
from openrouter_gateway.callers.local import (
    LocalCaller,
    LocalModel,
    LocalSettings,
    RecordedLocalCaller,
    find_default_model,
)
from openrouter_gateway.callers.plugins import Plugins
from openrouter_gateway.callers.pool import Pool, Poster, Timeouts
from openrouter_gateway.config.catalog import build_catalog, load_keys
from openrouter_gateway.config.destinations import build_destinations
from openrouter_gateway.config.plugins import build_plugins
from openrouter_gateway.config.reload import reload_settings
from openrouter_gateway.config.settings import LOCAL, LOOPBACK_NAMES, Settings, settings_from_environment
from openrouter_gateway.config.testing import build_faults, notes_of, open_recordings, provider_pool
from openrouter_gateway.core.catalog import Catalog
from openrouter_gateway.edge.accounts import Office, build_account_routes
from openrouter_gateway.edge.asgi import BASES, Edge, credential_of
from openrouter_gateway.edge.host import HostCheck
from openrouter_gateway.edge.routes import build_routes
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.logs import configure_logging
from openrouter_gateway.observability import Observability, build_observability_routes
from openrouter_gateway.routing.health import Health
from openrouter_gateway.services import Services
from openrouter_gateway.stores.accountant import Accountant
from openrouter_gateway.stores.accounts import Accounts
from openrouter_gateway.stores.answers import Answers
from openrouter_gateway.stores.contents import ContentLog
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.memory import ConversationMemory
from openrouter_gateway.stores.shared_health import SharedHealth
from openrouter_gateway.stores.shared_places import SharedPlaces
from openrouter_gateway.stores.shared_repeats import SharedRepeats
from openrouter_gateway.stores.state import SharedState
from openrouter_gateway.stores.state_memory import MemoryState
from openrouter_gateway.stores.state_redis import RedisState

_log = logging.getLogger(__name__)


class Gateway:
    """Everything of one process. What needs the event loop is built when the server starts up."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = load_keys(settings)
        self._catalog = build_catalog(settings, frozenset(self._keys))
        self._key_hashes = _key_hashes(settings)
        self._recordings = open_recordings(settings.recording)
        self._local = local_model(settings)
        if self._local is not None:
            self._local.check()
        record = settings.ledger
        self._ledger = Ledger(
            record.database_url,
            record.journal_directory,
            keep_days=record.keep_days,
            chores=[settings.content_log.retention().enforce],
        )
        self._ledger.check()
        self._office: Office | None = None
        self._services: Services | None = None
        self._destinations = build_destinations(settings.destinations)
        self._observability: Observability | None = None
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self.edge = Edge(
            services=self.services,
            routes=build_routes(
                services=self.services,
                ready=self.why_not_ready,
                lifespan=self._lifespan,
                bases=BASES,
                more=[
                    *build_account_routes(self.office, credential_of, BASES),
                    *build_observability_routes(self.observability),
                ],
            ),
            hosts=HostCheck(_allowed_hosts(settings)),
            max_body_bytes=settings.server.max_body_bytes,
        )

    def summary(self) -> str:
        """Return what is on offer, in one line for the operator."""
        by_provider: dict[str, int] = {}
        for listing in self._catalog.listings.values():
            for endpoint in listing.endpoints:
                by_provider[endpoint.provider.name] = by_provider.get(endpoint.provider.name, 0) + 1
        served = ", ".join(f"{name} ({count})" for name, count in by_provider.items())
        return f"{len(self._catalog.listings)}, served by {served}" if served else "none"

    def notes(self) -> list[str]:
        """Return what else the operator should know, a sentence each."""
        settings = self._settings
        return notes_of(settings.recording, self._recordings, settings.faults)

    def services(self) -> Services:
        """Return what serving needs; there once the server has started up."""
        assert self._services is not None  # noqa: S101 - servers send no request before the lifespan has begun
        return self._services

    def office(self) -> Office:
        """Return what the routes of keys and credits need; there once the server has started up."""
        assert self._office is not None  # noqa: S101 - as `services`
        return self._office

    def observability(self) -> Observability:
        """Return what watches the gateway; there once the server has started up."""
        assert self._observability is not None  # noqa: S101 - as `services`
        return self._observability

    def why_not_ready(self) -> str | None:
        """Return why requests would fail now, or None."""
        if self._services is None:
            return "starting"
        only_local = [provider.slug for provider in self._catalog.providers] == [LOCAL]
        if only_local and self._local is not None and not self._local.is_ready:
            return "the embedded model is not ready"
        return None

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        parts = self._build_parts()
        _tune_garbage_collector()
        try:
            await self._start(parts)
            with self._reload_on_hangup(parts.providers):
                yield
        finally:
            await self.edge.close()
            await self._let_generations_end()
            for part in parts.in_closing_order(self._local, self._ledger):
                await part.close()

    def _build_parts(self) -> "_Parts":
        settings = self._settings
        pool = Pool(Timeouts(connect_s=settings.upstream.connect_timeout_s, idle_s=settings.upstream.idle_timeout_s))
        providers = provider_pool(settings.recording, self._recordings, pool, lambda: self._keys.values())
        database, state = Database(settings.ledger.database_url), _shared_state(settings)
        accounts = Accounts(database)
        accountant = Accountant(
            accounts, state, self._ledger, configured=self._key_hashes, required=settings.auth.required
        )
        health = Health(shared=state.suspends)
        contents = _content_log(settings, database)
        return _Parts(
            pool=pool,
            providers=providers,
            plugins=build_plugins(settings, providers, lambda: time.strftime("%Y-%m-%d", time.gmtime())),
            database=database,
            state=state,
            accounts=accounts,
            accountant=accountant,
            observability=Observability(
                settings, self._destinations, database, accountant.identify, lambda: contents.dropped
            ),
            conversations=ConversationMemory(state),
            answers=Answers(state),
            health=health,
            shared_health=SharedHealth(health, state, clock=time.time, timer=time.perf_counter),
            places=SharedPlaces(state, time.time),
            contents=contents,
        )

    async def _start(self, parts: "_Parts") -> None:
        await self._ledger.start()
        await parts.database.open()
        await parts.state.open()
        await parts.accounts.open()
        await parts.accountant.start()
        await parts.shared_health.start()
        parts.contents.start()
        await parts.observability.start()
        self._observability = parts.observability
        self._office = Office(
            accounts=parts.accounts,
            accountant=parts.accountant,
            ledger=self._ledger,
            contents=parts.contents,
            catalog=lambda: self.services().catalog,
            policy=lambda: self.services().policy,
            health=lambda key: parts.health.report(key, time.perf_counter()),
        )
        if self._local is not None:
            await self._local.start()
        self._services = self._build_services(parts)

    def _build_services(self, parts: "_Parts") -> Services:
        settings = self._settings
        return Services(
            catalog=self._catalog,
            callers=_callers(self._catalog, HTTPCaller(parts.providers, self._keys), self._local),
            health=parts.health,
            places=parts.places,
            conversations=parts.conversations,
            answers=parts.answers,
            plugins=parts.plugins,
            policy=settings.policy.to_core(),
            ledger=self._ledger,
            accountant=parts.accountant,
            contents=parts.contents if settings.content_log.enabled else None,
            repeats=SharedRepeats(parts.state, time.time) if parts.state.suspends else None,
            observer=parts.observability.observer,
            clock=time.time,
            timer=time.perf_counter,
            dice=random.Random(os.urandom(16)),  # noqa: S311 - ids must differ, not be secret
            comment_interval_s=settings.server.comment_interval_s,
            attempt_limit_s=settings.upstream.attempt_timeout_s,
            request_limit_s=settings.upstream.request_timeout_s,
            faults=build_faults(settings.faults, _configured_keys(settings)),
        )

    @contextmanager
    def _reload_on_hangup(self, providers: Poster) -> Generator[None]:
        """Read the configuration again at SIGHUP, where there is one and this thread may listen to it."""
        if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def start() -> None:
            task = loop.create_task(self._reload(providers))
            self._reloads.add(task)
            task.add_done_callback(self._reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, start)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            for task in self._reloads:
                task.cancel()

    async def _reload(self, providers: Poster) -> None:
        """Serve later requests as the configuration says now; running ones keep the services they began with."""
        async with self._reloading:
            try:
                found = await asyncio.to_thread(reload_settings, self._settings)
            except ConfigError as error:
                log_refused_config(error)
                return
            except Exception:  # noqa: BLE001 - the last line of defence of a task that nobody waits for
                _log.exception("The configuration cannot be read again: the one before goes on")
                return
            faults = self.services().faults
            if found.settings.faults != self._settings.faults:  # else they go on counting
                faults = build_faults(found.settings.faults, _configured_keys(found.settings))
            self._settings, self._keys, self._catalog = found.settings, found.keys, found.catalog
            self._key_hashes = _key_hashes(found.settings)
            self._services = msgspec.structs.replace(
                self.services(),
                catalog=found.catalog,
                callers=_callers(found.catalog, HTTPCaller(providers, found.keys), self._local),
                policy=found.settings.policy.to_core(),
                faults=faults,
            )
            self._destinations = found.destinations
            await self.observability().reconfigure(found.destinations)
            self.services().accountant.configured = self._key_hashes
            self.services().health.retain(found.catalog.endpoint_keys())
        if found.waiting:
            _log.warning("Changes of these sections take effect at the next start: %s", ", ".join(found.waiting))
        _log.info("The configuration is reloaded. Models: %s", self.summary())

    async def _let_generations_end(self) -> None:
        """The server has cancelled what outlasted its drain time: give those tasks a moment to write their records."""
        for _ in range(50):
            if not self.edge.in_flight:
                return
            await asyncio.sleep(0.02)


class _Closing(Interface):
    """What is to be closed."""

    async def close(self) -> None:
        """End, and lose nothing."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """What lives as long as the event loop."""

    pool: Pool
    providers: Poster
    plugins: Plugins
    database: Database
    state: SharedState
    accounts: Accounts
    accountant: Accountant
    observability: Observability
    conversations: ConversationMemory
    answers: Answers
    health: Health
    shared_health: SharedHealth
    places: SharedPlaces
    contents: ContentLog

    def in_closing_order(self, local: LocalModel | None, ledger: Ledger) -> list[_Closing]:
        """Those that send before what they send with, those that write before what they write to."""
        return [
            self.observability,
            *([] if local is None else [local]),
            self.plugins,
            self.pool,
            self.providers,
            self.shared_health,
            self.places,
            self.accountant,
            self.accounts,
            self.conversations,
            self.answers,
            self.contents,
            self.state,
            ledger,
            self.database,
        ]


def log_refused_config(error: ConfigError) -> None:
    """Say why a changed configuration is not taken."""
    for line in str(error).splitlines():
        _log.error("The configuration is not reloaded, the old one goes on: %s", line)


def create_app() -> Edge:
    """Build the application from the environment: what every worker process calls."""
    settings = settings_from_environment()
    configure_logging(settings.log_format)
    _end_with_parent()
    return Gateway(settings).edge


def _end_with_parent() -> None:
    """Let a worker process drain and exit when the process that started it is gone: nobody else would end it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent watch", daemon=True).start()


def _key_hashes(settings: Settings) -> frozenset[str]:
    return frozenset([*_configured_keys(settings), *settings.auth.key_hashes])


def _configured_keys(settings: Settings) -> dict[str, str]:
    """Return the keys that the configuration has, by hash."""
    return {hash_key(key.get_secret_value()): key.get_secret_value() for key in settings.auth.keys}


def _shared_state(settings: Settings) -> SharedState:
    return MemoryState() if settings.state.url is None else RedisState(settings.state.url)


def _content_log(settings: Settings, database: Database) -> ContentLog:
    wanted = settings.content_log
    return ContentLog(
        database,
        wanted.retention(),
        max_generation_bytes=wanted.max_generation_bytes,
        without_media=read_input,
    )


def local_model(settings: Settings) -> LocalModel | None:
    """Return the embedded model; None if it is switched off.

    Raises:
        ConfigError: it is not installed.
    """
    embedded = settings.embedded
    if not embedded.enabled or settings.recording.replays:
        return None
    return LocalModel(
        LocalSettings(
            model_path=embedded.model_path or find_default_model(),
            context_length=embedded.context_length,
            parallel=embedded.parallel,
            threads=embedded.threads or _default_threads(settings.server.workers),
        )
    )


def _callers(catalog: Catalog, http: HTTPCaller, local: LocalModel | None) -> dict[str, Caller]:
    callers: dict[str, Caller] = {provider.slug: http for provider in catalog.providers}
    if local is not None:
        callers[LOCAL] = LocalCaller(local, http)
    elif any(provider.protocol == LOCAL for provider in catalog.providers):
        callers[LOCAL] = RecordedLocalCaller(http)
    return callers


def _allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """Without keys the names are always checked; with keys only where the operator lists them."""
    listed = frozenset(name.lower() for name in settings.server.allowed_hosts)
    if settings.has_keys and not listed:
        return None
    return listed | LOOPBACK_NAMES | {settings.server.host.lower()}


def _tune_garbage_collector() -> None:
    """Leave what was built at start-up out of every later collection, and collect less often.

    A request makes hundreds of objects and no cycles to speak of; with the default thresholds the collector walks
    the whole process all the time and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _default_threads(workers: int) -> int:
    """Half of the processors, shared by the workers' models.

    llama.cpp's threads wait for each other by spinning: one of them kept off its processor slows down all, twenty
    times when two models shared two processors (measured 2026-11-23). The other half is for everything else here.
    """
    return max(1, (os.cpu_count() or 1) // 2 // workers)
