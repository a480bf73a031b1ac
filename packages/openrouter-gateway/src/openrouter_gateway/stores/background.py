"""Work for a server that nobody waits for, and that may be lost."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final

from openrouter_gateway.errors import GatewayError

_MOST: Final = 1_000
_CLOSE_TIMEOUT_S: Final = 1.0


class Background:
    """Runs a bounded number of coroutines at a time; beyond that new ones are dropped."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it some time."""
        if len(self._running) >= _MOST:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(_run(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Give what runs a moment to end."""
        if self._running:
            await asyncio.wait(self._running, timeout=_CLOSE_TIMEOUT_S)


async def _run(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(GatewayError):
        await work
