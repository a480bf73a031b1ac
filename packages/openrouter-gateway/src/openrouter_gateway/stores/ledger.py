"""The record of generations. For now a journal: one JSON document per line, appended in batches.

`record` only queues; a timer writes what has come together, and the last flush, at shutdown, the rest.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

import msgspec

from openrouter_gateway.core.generation import Generation
from openrouter_gateway.errors import ConfigError

_FLUSH_INTERVAL_S: Final = 0.05
_RETRY_INTERVAL_S: Final = 1.0
_MAX_UNWRITTEN_BYTES: Final = 64 * 1024 * 1024
_log = logging.getLogger(__name__)


def _open_for_writing(journal: Path) -> None:
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.touch(mode=0o600)  # it says who asked for what
        with journal.open("ab"):
            pass
    except OSError as error:
        raise ConfigError(f"ledger.journal: cannot write to {journal}: {error.strerror}") from None


class Ledger:
    """Appends generations to `journal`; without one, counts them only.

    Raises:
        ConfigError: the journal cannot be written.
    """

    def __init__(self, journal: Path | None) -> None:
        self._journal = journal
        self._unwritten = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._encode_into = msgspec.json.Encoder().encode_into
        self.recorded = 0
        self.lost = 0
        if journal is not None:
            _open_for_writing(journal)

    def __repr__(self) -> str:
        return f"<Ledger journal={self._journal} recorded={self.recorded} unwritten_bytes={len(self._unwritten)}>"

    def record(self, generation: Generation) -> None:
        """Queue one generation. Never blocks, never raises."""
        self.recorded += 1
        if self._journal is None:
            return
        if len(self._unwritten) > _MAX_UNWRITTEN_BYTES:
            self.lost += 1
            return
        self._encode_into(generation, self._unwritten, -1)
        self._unwritten += b"\n"
        self._flush_in(_FLUSH_INTERVAL_S)

    def _flush_in(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._flush_on_time)

    def _flush_on_time(self) -> None:
        self._timer = None
        self.flush()
        if self._unwritten:
            self._flush_in(_RETRY_INTERVAL_S)

    def flush(self) -> None:
        """Write what is queued. What cannot be written, be it half a line, stays queued and is tried again."""
        if self._journal is None:
            return
        try:
            with self._journal.open("ab", buffering=0) as file:
                while self._unwritten:
                    del self._unwritten[: file.write(self._unwritten)]
        except OSError as error:
            _log.error(
                "cannot write to the journal %s: %s; %d bytes wait, %d generations are lost",
                self._journal,
                error.strerror,
                len(self._unwritten),
                self.lost,
            )
