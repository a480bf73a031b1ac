"""Repeated requests: with the same `Idempotency-Key` a caller gets the same answer, while it is made or afterwards.

The answer is made by a task of its own, into memory, and everyone who asks for it follows that. A caller who hangs up
does not end it at once: somebody who lost his connection comes back. When nobody has for `GRACE_S`, it is cancelled.
Complete answers are kept for `KEPT_S`; failures are not, so that trying again tries again.

Processes that share a state (`stores/shared_repeats`) make an answer once between them: what one makes, the others wait
for, and give as well when it is complete. Without a shared state each process knows its own answers.
"""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from openrouter_gateway.delivery import Client, Headers
from openrouter_gateway.errors import BadRequest, GatewayError, Unavailable
from openrouter_gateway.stores.shared_repeats import (
    KEPT_S,
    Answered,
    Began,
    Lease,
    Sent,
    SharedRepeats,
    Wrote,
    other_body,
)

GRACE_S: Final = 30.0
_MOST_BYTES: Final = 64 * 1024 * 1024
_KEY: Final = re.compile(rb"[!-~]{1,255}")
_REPLAYED: Final = (b"idempotent-replayed", b"true")

Make: TypeAlias = Callable[[Client], Awaitable[None]]


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
    """An answer in memory: what was sent of it so far. `gone` once nobody wants it any more.

    `lease` is what other processes know of it, while it is made here; `error` is why it is not made.
    """

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.bytes = 0
        self.followers = 0
        self.ended = False
        self.replayed = False
        self.error: GatewayError | None = None
        self.lease: Lease | None = None
        self.task: asyncio.Task[None] | None = None
        self.giving_up: asyncio.TimerHandle | None = None
        self.sent: list[Sent] = []
        self._more = asyncio.Event()

    @property
    def is_whole(self) -> bool:
        """Whether it may be given again once it has ended."""
        return self.finished and not self.failed

    def _add(self, sent: Sent, size: int) -> None:
        self.bytes += size
        self.writes += 1
        self.sent.append(sent)
        self._tell()

    def _tell(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    async def start_stream(self, content_type: bytes, headers: Headers) -> None:
        """See `Client`."""
        self.started = True
        self._add(Began(content_type, list(headers)), 0)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """See `Client`."""
        self.finished = last
        self._add(Wrote(data, last), len(data))

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """See `Client`."""
        self.started = self.finished = True
        self.failed = self.failed or status >= 400
        self._add(Answered(status, body, list(headers)), len(body))

    def adopt(self, sent: list[Sent]) -> None:
        """Take what another process has sent as the answer."""
        self.replayed = self.started = self.finished = True
        for each in sent:
            match each:
                case Began():
                    self._add(each, 0)
                case Wrote(data=data) | Answered(body=data):
                    self._add(each, len(data))

    def end(self) -> None:
        """Nothing follows."""
        self.ended = True
        self._tell()

    async def follow(self, client: Client, *, repeated: bool) -> None:
        """Give all of it to a caller, from its beginning to its end.

        Raises:
            GatewayError: it is not made.
        """
        place = 0
        while True:
            more = self._more
            while place < len(self.sent):
                await _send(self.sent[place], client, [_REPLAYED] if repeated or self.replayed else [])
                place += 1
            if self.error is not None and not self.started:
                raise self.error
            if self.ended:
                return
            await more.wait()


async def _send(sent: Sent, client: Client, extra: Headers) -> None:
    match sent:
        case Began(content_type=content_type, headers=headers):
            await client.start_stream(content_type, [*headers, *extra])
        case Wrote(data=data, last=last):
            await client.write(data, last=last)
        case Answered(status=status, body=body, headers=headers):
            await client.answer(status, body, [*headers, *extra])


class Repeats:
    """One per process."""

    def __init__(self) -> None:
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._bytes = 0

    def __repr__(self) -> str:
        running = sum(not answer.ended for answer in self._answers.values())
        return f"<Repeats running={running} kept={len(self._answers) - running} bytes={self._bytes}>"

    async def serve(
        self,
        name: tuple[bytes, ...],
        body: bytes,
        make: Make,
        client: Client,
        shared: SharedRepeats | None = None,
        *,
        keep: bool = True,
    ) -> None:
        """Give the caller the answer of that name; `make` makes it, if it is not there, nor in another process.

        `keep`: what was answered may be given to the server of the shared state.

        Raises:
            Unprocessable: the name was given to another body.
            Conflict: another process makes the answer, and it takes long.
            StateUnavailable: it is not known whether another process makes it.
        """
        key, digest = _digest(*name), _digest(body)
        answer = self._answers.get(key)
        repeated = answer is not None
        if answer is None:
            answer = self._answers[key] = _Answer(digest)
            making = self._make(key, answer, make if shared is None else _Once(shared, key, make, keep=keep))
            answer.task = asyncio.get_running_loop().create_task(making)
        elif answer.digest != digest:
            raise other_body()
        if answer.giving_up is not None:
            answer.giving_up.cancel()
            answer.giving_up = None
        answer.followers += 1
        try:
            await answer.follow(client, repeated=repeated)
        finally:
            answer.followers -= 1
            if not answer.followers and not answer.ended:
                _wait_for_followers(answer)

    async def _make(self, key: bytes, answer: _Answer, make: "Make | _Once") -> None:
        try:
            await make(answer)
        except GatewayError as error:
            answer.error = error
        except asyncio.CancelledError:
            answer.error = Unavailable("The gateway is shutting down; please send the request again")
            raise
        finally:
            answer.end()
            if answer.is_whole:
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


class _Once:
    """Makes an answer unless another process does, whose answer it then takes."""

    def __init__(self, shared: SharedRepeats, key: bytes, make: Make, *, keep: bool) -> None:
        self._shared = shared
        self._key = key
        self._make = make
        self._keep = keep

    async def __call__(self, answer: _Answer) -> None:
        found = await self._shared.take(self._key, answer.digest)
        if not isinstance(found, Lease):
            answer.adopt(found)
            return
        answer.lease = found
        async with found.held():
            try:
                await self._make(answer)
            finally:
                await found.end(answer.sent if answer.is_whole else None, keep=self._keep)


def _wait_for_followers(answer: _Answer) -> None:
    answer.giving_up = asyncio.get_running_loop().call_later(GRACE_S, _give_up, answer)


def _give_up(answer: _Answer) -> None:
    if answer.task is None or answer.followers:
        return
    if answer.lease is not None and answer.lease.wanted:
        _wait_for_followers(answer)
        return
    answer.gone = True
    answer.task.cancel("nobody waits for the answer")


def _digest(*parts: Any) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return digest.digest()
