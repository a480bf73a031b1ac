"""Repeated requests: with the same `Idempotency-Key` a caller gets the same answer, while it is made or afterwards.

The answer is made by a task of its own, into memory, and everyone who asks for it follows that. A caller who hangs up
does not end it at once: somebody who lost his connection comes back. When nobody has for `GRACE_S`, it is cancelled.
Complete answers are kept for `KEPT_S`; failures are not, so that trying again tries again. Both are of one process.
"""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from openrouter_gateway.delivery import Client, Headers
from openrouter_gateway.errors import BadRequest, Unprocessable

GRACE_S: Final = 30.0
KEPT_S: Final = 600.0
_MOST_BYTES: Final = 64 * 1024 * 1024
_KEY: Final = re.compile(rb"[!-~]{1,255}")
_REPLAYED: Final = (b"idempotent-replayed", b"true")


def read_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the `Idempotency-Key`.

    Raises:
        BadRequest: it is no such key.
    """
    key = headers.get(b"idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise BadRequest("Idempotency-Key: must be 1 to 255 visible ASCII characters")
    return key


class _Answer(Client):
    """An answer in memory: what was sent of it so far. `gone` once nobody wants it any more."""

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.bytes = 0
        self.followers = 0
        self.ended = False
        self.task: asyncio.Task[None] | None = None
        self.giving_up: asyncio.TimerHandle | None = None
        self._steps: list[Callable[[Client, Headers], Awaitable[None]]] = []
        self._more = asyncio.Event()

    @property
    def is_complete(self) -> bool:
        """Whether it may be given again."""
        return self.ended and self.finished and not self.failed

    def _add(self, step: Callable[[Client, Headers], Awaitable[None]], size: int) -> None:
        self.bytes += size
        self.writes += 1
        self._steps.append(step)
        self._tell()

    def _tell(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    async def start_stream(self, content_type: bytes, headers: Headers) -> None:
        """See `Client`."""
        self.started = True
        kept = list(headers)
        self._add(lambda client, extra: client.start_stream(content_type, [*kept, *extra]), 0)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """See `Client`."""
        self.finished = last
        self._add(lambda client, _: client.write(data, last=last), len(data))

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """See `Client`."""
        self.started = self.finished = True
        self.failed = self.failed or status >= 400
        kept = list(headers)
        self._add(lambda client, extra: client.answer(status, body, [*kept, *extra]), len(body))

    def end(self) -> None:
        """Nothing follows."""
        self.ended = True
        self._tell()

    async def follow(self, client: Client, extra: Headers) -> None:
        """Give all of it to a caller, from its beginning to its end."""
        place = 0
        while True:
            more = self._more
            while place < len(self._steps):
                await self._steps[place](client, extra)
                place += 1
            if self.ended:
                return
            await more.wait()


class Repeats:
    """One per process."""

    def __init__(self) -> None:
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._bytes = 0

    def __repr__(self) -> str:
        running = sum(not answer.ended for answer in self._answers.values())
        return f"<Repeats running={running} kept={len(self._answers) - running} bytes={self._bytes}>"

    async def serve(
        self, name: tuple[bytes, ...], body: bytes, make: Callable[[Client], Awaitable[None]], client: Client
    ) -> None:
        """Give the caller the answer of that name; `make` makes it, if it is not there.

        Raises:
            Unprocessable: the name was given to another body.
        """
        key, digest = _digest(*name), _digest(body)
        answer = self._answers.get(key)
        extra: Headers = []
        if answer is None:
            answer = self._start(key, digest, make)
        elif answer.digest != digest:
            raise Unprocessable("This Idempotency-Key was used for another request: use a new one for each")
        else:
            extra = [_REPLAYED]
        if answer.giving_up is not None:
            answer.giving_up.cancel()
            answer.giving_up = None
        answer.followers += 1
        try:
            await answer.follow(client, extra)
        finally:
            answer.followers -= 1
            if not answer.followers and not answer.ended:
                answer.giving_up = asyncio.get_running_loop().call_later(GRACE_S, _give_up, answer)

    def _start(self, key: bytes, digest: bytes, make: Callable[[Client], Awaitable[None]]) -> _Answer:
        answer = self._answers[key] = _Answer(digest)
        answer.task = asyncio.get_running_loop().create_task(self._make(key, answer, make))
        return answer

    async def _make(self, key: bytes, answer: _Answer, make: Callable[[Client], Awaitable[None]]) -> None:
        try:
            await make(answer)
        finally:
            answer.end()
            if answer.is_complete:
                self._bytes += answer.bytes
                asyncio.get_running_loop().call_later(KEPT_S, self._drop, key, answer)
                self._make_room()
            else:
                self._answers.pop(key, None)

    def _make_room(self) -> None:
        for key, answer in list(self._answers.items()):
            if self._bytes <= _MOST_BYTES:
                return
            if answer.ended:
                self._drop(key, answer)

    def _drop(self, key: bytes, answer: _Answer) -> None:
        if self._answers.get(key) is answer:
            del self._answers[key]
            self._bytes -= answer.bytes

    async def close(self) -> None:
        """Cancel what is still being made."""
        tasks = [answer.task for answer in self._answers.values() if answer.task is not None and not answer.ended]
        for task in tasks:
            task.cancel("the gateway is stopping")
        await asyncio.gather(*tasks, return_exceptions=True)


def _give_up(answer: _Answer) -> None:
    if answer.task is not None and not answer.followers:
        answer.gone = True
        answer.task.cancel("nobody waits for the answer")


def _digest(*parts: Any) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return digest.digest()
