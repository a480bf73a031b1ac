"""Repeated requests over the processes that share a state: who makes an answer, and what it was.

Whoever finds a name free takes it, for as long as it says every few seconds that it still works on it; a process that
has crashed says nothing. When the answer is complete, it stands in the place of that. Others wait for it.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from openrouter_gateway.errors import Conflict, Unprocessable
from openrouter_gateway.stores.state import SharedState, StateUnavailable

KEPT_S: Final = 600.0
"""How long a complete answer is given again."""
LEASE_S: Final = 15
"""How long after the last that was heard of a process its work counts as gone."""
LARGEST: Final = 16 * 1024 * 1024
"""Longer answers are not given to other processes, which then know no more than that there was one."""
_HOLD_S: Final = 5.0
_LOOK_S: Final = 0.25
_RETRY_AFTER_S: Final = 5


class Began(Struct, frozen=True, array_like=True, tag="b"):
    """The status and headers of a stream were sent."""

    content_type: bytes
    headers: list[tuple[bytes, bytes]]


class Wrote(Struct, frozen=True, array_like=True, tag="w"):
    """A part of a stream was sent."""

    data: bytes
    last: bool


class Answered(Struct, frozen=True, array_like=True, tag="a"):
    """A whole answer was sent."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


Sent: TypeAlias = Began | Wrote | Answered


class _Record(Struct, frozen=True, array_like=True):
    """What a name stands for: `sent` is None while `owner` makes the answer, and empty where it is not kept."""

    digest: bytes
    owner: bytes
    sent: list[Sent] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


class Lease:
    """A name that this process has taken. `wanted`: somebody waits for the answer in another one."""

    def __init__(self, state: SharedState, clock: Callable[[], float], name: str, record: _Record) -> None:
        self.wanted = False
        self._state = state
        self._clock = clock
        self._name = name
        self._record = record
        self.mark = _encode(record)

    def __repr__(self) -> str:
        return f"<Lease {self._name[:16]} wanted={self.wanted}>"

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Keep it for as long as the block runs."""
        holding = asyncio.create_task(self._hold(), name="repeat-lease")
        try:
            yield
        finally:
            holding.cancel()

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(_HOLD_S)
            with contextlib.suppress(StateUnavailable):
                now = self._clock()
                if not await self._state.swap_value(self._name, self.mark, self.mark, LEASE_S, now):
                    await self._state.add_value(self._name, self.mark, LEASE_S, now)  # the server lost it
                self.wanted = await self._state.get_value(_wish(self._name), now) is not None

    async def end(self, sent: list[Sent] | None, *, keep: bool) -> None:
        """Say what was answered; None: nothing that could be given again, so that the next may try.

        Never raises: if the server cannot be told, the name is free when the lease is over.
        """
        value: bytes | None = None
        if sent is not None:
            value = _encode(_Record(self._record.digest, self._record.owner, sent if keep else []))
            if len(value) > LARGEST:
                value = _encode(_Record(self._record.digest, self._record.owner, []))
        with contextlib.suppress(StateUnavailable):
            now, ttl_s = self._clock(), int(KEPT_S)
            swapped = await self._state.swap_value(self._name, self.mark, value, ttl_s, now)
            if not swapped and value is not None:
                await self._state.add_value(self._name, value, ttl_s, now)


class SharedRepeats:
    """One per process. `wait_s` is how long a repeat waits for an answer that another process makes."""

    def __init__(self, state: SharedState, clock: Callable[[], float], *, wait_s: float = 60.0) -> None:
        self._state = state
        self._clock = clock
        self._wait_s = wait_s

    async def take(self, key: bytes, digest: bytes) -> Lease | list[Sent]:
        """Return a lease to make the answer, or the answer that another process has made.

        Raises:
            Unprocessable: the name was given to another body.
            Conflict: another process goes on making the answer, or its answer is not kept.
            StateUnavailable: it is not known who makes the answer.
        """
        name = f"repeat:{key.hex()}"
        lease = Lease(self._state, self._clock, name, _Record(digest, secrets.token_bytes(12)))
        end = asyncio.get_running_loop().time() + self._wait_s
        while True:
            found = await self._state.add_value(name, lease.mark, LEASE_S, self._clock())
            if found is None or found == lease.mark:
                return lease
            record = _decode(found)
            if record.digest != digest:
                raise other_body()
            if record.sent:
                return record.sent
            if record.sent is not None:
                raise Conflict("This Idempotency-Key was answered by another process, and the answer is not kept")
            if asyncio.get_running_loop().time() >= end:
                raise Conflict("Another process is still making this answer", retry_after_s=_RETRY_AFTER_S)
            await self._state.put_value(_wish(name), b"1", LEASE_S, self._clock())
            await asyncio.sleep(_LOOK_S)


def other_body() -> Unprocessable:
    """Return the error of a name that was given to another body."""
    return Unprocessable("This Idempotency-Key was used for another request: use a new one for each")


def _wish(name: str) -> str:
    return f"{name}:wanted"
