"""Where conversations were served last, kept in the shared state. Losing it costs a cache read, never an answer."""

import contextlib

import msgspec

from openrouter_gateway.errors import GatewayError
from openrouter_gateway.routing.facts import Remembered
from openrouter_gateway.routing.sticky import TTL_S
from openrouter_gateway.stores.background import Background
from openrouter_gateway.stores.state import SharedState

_decode = msgspec.json.Decoder(Remembered).decode
_encode = msgspec.json.Encoder().encode


class ConversationMemory:
    """One per process. Never raises: while the state's server is down nothing is remembered."""

    def __init__(self, state: SharedState) -> None:
        self._state = state
        self._putting = Background()

    async def get(self, key: str, now: float) -> Remembered | None:
        """Return where a conversation was served last, unless that is too long ago."""
        try:
            found = await self._state.get_value(key, now)
            return None if found is None else _decode(found)
        except (GatewayError, msgspec.DecodeError):
            return None

    def put(self, key: str, remembered: Remembered, now: float) -> None:
        """Keep it, without waiting for a server."""
        putting = self._state.put_value(key, _encode(remembered), TTL_S, now)
        if self._state.suspends:
            self._putting.start(putting)
            return
        with contextlib.suppress(StopIteration):
            putting.send(None)

    async def close(self) -> None:
        """Wait for what is being kept."""
        await self._putting.close()
