"""The record of generations. For now a journal: one JSON document per line, appended in batches.

Writing never holds up a request: `record` only queues, a timer writes what has come together. Closing writes the rest.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

import msgspec

from openrouter_gateway.core.generation import Generation

_FLUSH_INTERVAL_S: Final = 0.05
_log = logging.getLogger(__name__)


class Ledger:
    """Appends generations to `journal`; without one, counts them only."""

    def __init__(self, journal: Path | None) -> None:
        self._journal = journal
        self._pending: list[Generation] = []
        self._timer: asyncio.TimerHandle | None = None
        self._encode = msgspec.json.Encoder().encode_into
        self.recorded = 0
        if journal is not None:
            journal.parent.mkdir(parents=True, exist_ok=True)
            journal.touch(mode=0o600)

    def __repr__(self) -> str:
        return f"<Ledger journal={self._journal} recorded={self.recorded} pending={len(self._pending)}>"

    def record(self, generation: Generation) -> None:
        """Queue one generation. Never blocks, never raises."""
        self.recorded += 1
        if self._journal is None:
            return
        self._pending.append(generation)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_INTERVAL_S, self.flush)

    def flush(self) -> None:
        """Write what is queued. A failed write is logged and tried again with the next batch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._journal is None or not self._pending:
            return
        lines = bytearray()
        for generation in self._pending:
            self._encode(generation, lines, len(lines))
            lines += b"\n"
        try:
            with self._journal.open("ab") as file:
                file.write(lines)
        except OSError:
            _log.exception("cannot write %d generations to the journal %s", len(self._pending), self._journal)
        else:
            self._pending.clear()
