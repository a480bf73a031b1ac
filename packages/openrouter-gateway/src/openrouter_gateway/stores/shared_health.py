"""How endpoints are doing, told from process to process once a second. Losing some of it costs an attempt, no more."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from openrouter_gateway.errors import GatewayError
from openrouter_gateway.routing.health import Health
from openrouter_gateway.routing.tally import Tally
from openrouter_gateway.stores.state import SharedState

EVERY_S: Final = 1.0

_decode = msgspec.json.Decoder(dict[str, Tally]).decode
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class SharedHealth:
    """One per process. `clock` gives unix seconds, `timer` those that `health` is kept in."""

    def __init__(
        self, health: Health, state: SharedState, *, clock: Callable[[], float], timer: Callable[[], float]
    ) -> None:
        self._health = health
        self._state = state
        self._clock = clock
        self._timer = timer
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Learn what the others know, and keep in touch."""
        if self._state.suspends:
            await self.exchange()
            self._running = asyncio.create_task(self._exchange_forever(), name="shared-health")

    async def close(self) -> None:
        """Say the last things."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            await self.exchange()

    async def _exchange_forever(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.exchange()

    async def exchange(self) -> None:
        """Tell, then hear. Without a server every process goes by what it sees itself."""
        now, time = self._timer(), self._clock()
        try:
            if tallies := self._health.drain(now):
                await self._state.tell(_encode(tallies), time)
            heard = await self._state.hear(time)
        except GatewayError as error:
            _log.warning("the health of endpoints is not shared now: %s", error.message)
            return
        for news in heard:
            try:
                tallies = _decode(news.content)
            except msgspec.DecodeError:
                _log.warning("another process tells the health of endpoints in a way that this version cannot read")
                continue
            self._health.absorb(tallies, now - news.age_s)
