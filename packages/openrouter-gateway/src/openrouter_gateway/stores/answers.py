"""Answers kept for the same request coming again: in memory within a limit, or in the shared state's server."""

from collections import OrderedDict
from typing import Final

import msgspec

from openrouter_gateway.accounting.response_cache import CachedAnswer
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.stores.background import Background
from openrouter_gateway.stores.state import SharedState

_LARGEST: Final = 8 * 1024 * 1024
_decode = msgspec.json.Decoder(CachedAnswer).decode
_encode = msgspec.json.Encoder().encode


class Answers:
    """One per process. Never raises: what cannot be kept or found is asked of a provider.

    `max_bytes` is for the memory of this process; a server has its own limit.
    """

    def __init__(self, state: SharedState, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._state = state
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0
        self._putting = Background()

    def __repr__(self) -> str:
        return f"<Answers kept={len(self._kept)} bytes={self._bytes}>"

    async def get(self, key: str, now: float) -> CachedAnswer | None:
        """Return an answer whose time is not over."""
        try:
            data = await self._state.get_value(f"answer:{key}", now) if self._state.suspends else self._recall(key, now)
            answer = None if data is None else _decode(data)
        except (GatewayError, msgspec.DecodeError):
            return None
        return answer if answer is not None and now < answer.stored_at + answer.ttl_s else None

    def put(self, key: str, answer: CachedAnswer, now: float) -> None:
        """Keep an answer, without waiting for a server. Very long ones are not kept."""
        data = _encode(answer)
        if len(data) > _LARGEST:
            return
        if self._state.suspends:
            self._putting.start(self._state.put_value(f"answer:{key}", data, answer.ttl_s, now))
        else:
            self._keep(key, now + answer.ttl_s, data)

    def _recall(self, key: str, now: float) -> bytes | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= now:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[1]

    def _keep(self, key: str, until: float, data: bytes) -> None:
        self._drop(key)
        self._kept[key] = (until, data)
        self._bytes += len(data)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._bytes -= len(found[1])

    async def close(self) -> None:
        """Wait for what is being kept."""
        await self._putting.close()
