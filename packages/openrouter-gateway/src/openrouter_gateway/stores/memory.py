"""Where conversations were served last, kept in the shared state. Losing it costs a cache read, never an answer."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from openrouter_gateway.errors import GatewayError
from openrouter_gateway.routing.facts import Remembered
from openrouter_gateway.routing.sticky import TTL_S
from openrouter_gateway.stores.state import SharedState

_MOST_WAITING: Final = 1_000
_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(Remembered).decode
_encode = msgspec.json.Encoder().encode


class ConversationMemory:
    """One per process. Never raises: while the state's server is down nothing is remembered."""

    def __init__(self, state: SharedState) -> None:
        self._state = state
        self._putting: set[asyncio.Task[None]] = set()

    async def get(self, key: str, now: float) -> Remembered | None:
        """Return where a conversation was served last, unless that is too long ago."""
        try:
            found = await self._state.get_sticky(key, now)
            return None if found is None else _decode(found)
        except (GatewayError, msgspec.DecodeError) as error:
            _log.debug("a conversation is not remembered: %s", error)
            return None

    def put(self, key: str, remembered: Remembered, now: float) -> None:
        """Keep it, without waiting for a server."""
        putting = self._state.put_sticky(key, _encode(remembered), TTL_S, now)
        if not self._state.suspends:
            with contextlib.suppress(StopIteration):
                putting.send(None)
            return
        if len(self._putting) >= _MOST_WAITING:
            putting.close()
            return
        task = asyncio.get_running_loop().create_task(self._finish(putting))
        self._putting.add(task)
        task.add_done_callback(self._putting.discard)

    async def _finish(self, putting: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(GatewayError):
            await putting

    async def close(self) -> None:
        """Wait for what is being kept."""
        if self._putting:
            await asyncio.wait(self._putting, timeout=1)
