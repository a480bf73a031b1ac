"""Writes down what is exchanged with providers, for `replay` to answer from: one file for each exchange.

Several processes may share the directory. Names begin with the time at which the request began, so that their order is
that of the requests. A file is there as a whole or not at all. What a caller or a time limit broke off is not recorded:
how it would have gone on is not known.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from openrouter_gateway.callers.pool import Answer, Poster, Target
from openrouter_gateway.errors import ConfigError, UpstreamError
from openrouter_gateway.wire.recording import Exchange, encode_recording, to_recording

_log = logging.getLogger(__name__)


def make_directory(directory: Path) -> None:
    """Make sure that recordings can be written, for this user alone to read: they hold what callers asked.

    Raises:
        ConfigError: they cannot.
    """
    probe = directory / f".{secrets.token_hex(8)}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"cannot write recordings to {directory}: {error.strerror}") from None


class RecordingPool:
    """Posts through another pool and keeps what comes back. `hidden` gives the secrets that no file may hold."""

    def __init__(
        self,
        pool: Poster,
        directory: Path,
        hidden: Callable[[], Iterable[str]],
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._pool = pool
        self._directory = directory
        self._hidden = hidden
        self._clock = clock
        self.timer = timer
        self._process = secrets.token_hex(4)  # process ids are the same in several containers
        self._count = 0
        self._writer = ThreadPoolExecutor(1, "recordings")

    def __repr__(self) -> str:
        return f"<RecordingPool {self._directory} of {self._pool!r}>"

    async def post(self, target: Target, body: bytes) -> Answer:
        """See `Pool.post`."""
        take = _Take(self, *self._name(), target, body)
        try:
            reply = await self._pool.post(target, body)
        except UpstreamError as error:
            take.end("failed", error)
            raise
        return _RecordedReply(reply, take)

    async def close(self) -> None:
        """Return when all is written. The other pool stays open."""
        await asyncio.to_thread(self._writer.shutdown)

    def keep(self, name: str, exchange: Exchange, hidden: Iterable[str]) -> None:
        """Write an exchange, aside. What ends after `close` is lost."""
        with suppress(RuntimeError):
            self._writer.submit(self._write, name, exchange, frozenset([*self._hidden(), *hidden]))

    def _name(self) -> tuple[str, str]:
        """Return the name of the next file, and the time in it."""
        self._count += 1
        begun = datetime.fromtimestamp(self._clock(), UTC)
        return f"{begun:%Y%m%dT%H%M%S.%fZ}-{self._process}-{self._count:06}", f"{begun:%Y-%m-%dT%H:%M:%S.%fZ}"

    def _write(self, name: str, exchange: Exchange, hidden: frozenset[str]) -> None:
        new = self._directory / f".{name}.new"
        try:
            new.touch(mode=0o600)
            new.write_bytes(encode_recording(to_recording(exchange, hidden)))
            new.replace(self._directory / f"{name}.json")
        except OSError as error:
            _log.error("An exchange is not recorded: cannot write to %s: %s", self._directory, error.strerror)
            with suppress(OSError):
                new.unlink(missing_ok=True)
        except Exception:  # noqa: BLE001 - nobody asks this thread how it went
            _log.exception("An exchange is not recorded")


class _Take:
    """One exchange while it runs."""

    def __init__(self, pool: RecordingPool, name: str, begun: str, target: Target, body: bytes) -> None:
        self._pool = pool
        self._name = name
        self._begun = begun
        self._target = target
        self._body = body
        self._heard_at = pool.timer()
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._delay_ms = 0.0
        self._pieces: list[tuple[float, bytes]] = []
        self._over = False

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer has arrived."""
        self._status, self._headers, self._delay_ms = status, dict(headers), self._elapsed_ms()

    def piece(self, data: bytes) -> None:
        """Some of its body has."""
        self._pieces.append((self._elapsed_ms(), data))

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self._over = True

    def end(self, how: Literal["complete", "failed", "closed"], failure: UpstreamError | None = None) -> None:
        """Nothing more will be read of it. The first end counts."""
        if self._over:
            return
        self._over = True
        method, url, headers = self._target.to_parts()
        exchange = Exchange(
            recorded_at=self._begun,
            method=method,
            url=url,
            headers=headers,
            body=self._body,
            status=self._status,
            reply_headers=self._headers,
            delay_ms=self._delay_ms,
            pieces=self._pieces,
            ended=how,
            failure=failure,
        )
        self._pool.keep(self._name, exchange, self._target.secrets)

    def _elapsed_ms(self) -> float:
        before, self._heard_at = self._heard_at, self._pool.timer()
        return round((self._heard_at - before) * 1000, 3)


class _RecordedReply:
    """A reply whose bytes are kept as they are read."""

    def __init__(self, reply: Answer, take: _Take) -> None:
        self._reply = reply
        self._take = take
        take.head(reply.status, reply.headers)

    @property
    def status(self) -> int:
        return self._reply.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._reply.headers

    async def read_some(self) -> bytes:
        try:
            data = await self._reply.read_some()
        except UpstreamError as error:
            self._take.end("failed", error)
            raise
        except asyncio.CancelledError:
            self._take.give_up()
            raise
        if data:
            self._take.piece(data)
        else:
            self._take.end("complete")
        return data

    def finish(self) -> None:
        self._take.end("complete")
        self._reply.finish()

    def close(self) -> None:
        self._take.end("closed")
        self._reply.close()
