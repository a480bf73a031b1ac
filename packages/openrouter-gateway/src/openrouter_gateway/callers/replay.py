"""Answers from recorded exchanges in place of providers, byte for byte.

A request is answered by what was recorded of the same one: the same method, path, query and JSON. If it was made
several times, the answers come in their order, and the last one from then on; each process counts for itself. Where the
same request was made of several providers, each has its own answers.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from openrouter_gateway.callers.http1 import Headers
from openrouter_gateway.callers.pool import Answer, Target
from openrouter_gateway.errors import ConfigError, Cut, NotRecorded, UpstreamError
from openrouter_gateway.wire.recorded_requests import find_differences, request_key
from openrouter_gateway.wire.recording import (
    Recording,
    decode_recording,
    hide_in_bytes,
    hide_in_url,
    origin_of,
    resource_of,
)

_MOST_COMPARED: Final = 50
_MOST_NAMED: Final = 3


class Recorded(Struct, frozen=True, kw_only=True):
    """A file, and what its request was."""

    path: Path
    origin: str
    method: str
    resource: str
    key: str


class Library:
    """The recordings of a directory: where they are, in their order. They are read when they are needed."""

    def __init__(self, directory: Path, recorded: Iterable[Recorded]) -> None:
        self.directory = directory
        self._by_key: defaultdict[str, list[Recorded]] = defaultdict(list)
        self._by_resource: defaultdict[tuple[str, str], list[Recorded]] = defaultdict(list)
        self._all = list(recorded)
        for each in self._all:
            self._by_key[each.key].append(each)
            self._by_resource[each.method, each.resource].append(each)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<Library {self.directory} of {len(self)}>"

    @property
    def origins(self) -> frozenset[str]:
        """Where the recorded requests went."""
        return frozenset(each.origin for each in self._all)

    def find(self, key: str, origin: str) -> list[Recorded]:
        """Return what was recorded of a request: of this origin's, or else, if there is nothing, of any.

        The embedded model is at another port each time, and a provider may have moved.
        """
        same = self._by_key.get(key, [])
        return [each for each in same if each.origin == origin] or same

    def explain(self, method: str, resource: str, body: bytes) -> NotRecorded:
        """Return why there is no answer: what comes closest, and where it differs."""
        metadata: dict[str, object] = {"recordings": str(self.directory)}
        candidates = self._by_resource.get((method, resource), [])[-_MOST_COMPARED:]
        differing = [(find_differences(body, _body_of(each)), each) for each in candidates]
        if not differing:
            known = sorted({f"{each.method} {each.resource}" for each in self._all})
            more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
            listed = ", ".join(known[:_MOST_NAMED])
            reason = f"there are recordings of {listed}{more}"
        else:
            places, nearest = min(differing, key=lambda pair: len(pair[0]))
            metadata |= {"nearest": nearest.path.name, "differs_in": places[:_MOST_NAMED]}
            more = f" and {len(places) - _MOST_NAMED} more places" if len(places) > _MOST_NAMED else ""
            reason = f"the nearest, {nearest.path.name}, differs in {', '.join(places[:_MOST_NAMED])}{more}"
        return NotRecorded(
            f"No recording in {self.directory} is of this request to {method} {resource}: {reason}", metadata=metadata
        )


def load_library(directory: Path) -> Library:
    """Return what there is to answer from.

    Raises:
        ConfigError: the directory cannot be read, has no recordings, or has a file that is none.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise ConfigError(f"cannot read recordings from {directory}: {error.strerror}") from None
    if not paths:
        raise ConfigError(f"there are no recordings in {directory}: `serve --record {directory}` makes them")
    return Library(directory, [_look_at(path) for path in paths])


def _look_at(path: Path) -> Recorded:
    try:
        request = _load(path).request
        body = request.body.to_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} {error}") from None
    resource = resource_of(request.url)
    return Recorded(
        path=path,
        origin=origin_of(request.url),
        method=request.method,
        resource=resource,
        key=request_key(request.method, resource, body),
    )


def _load(path: Path) -> Recording:
    return decode_recording(path.read_bytes())


def _body_of(recorded: Recorded) -> bytes:
    return _load(recorded.path).request.body.to_bytes()


class ReplayPool:
    """Answers requests from a library. `timing`: after the recorded delays, rather than at once.

    `hidden` gives the secrets that recordings were made without.
    """

    def __init__(
        self,
        library: Library,
        hidden: Callable[[], Iterable[str]],
        *,
        timing: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._library = library
        self._hidden = hidden
        self._timing = timing
        self._sleep = sleep
        self._turns: Counter[tuple[str, str]] = Counter()

    def __repr__(self) -> str:
        return f"<ReplayPool {self._library!r}>"

    async def post(self, target: Target, body: bytes) -> Answer:
        """See `Pool.post`.

        Raises:
            NotRecorded: there is no such recording.
            UpstreamError: that was recorded.
        """
        method, url, _ = target.to_parts()
        hidden = frozenset([*self._hidden(), *target.secrets])
        resource, body = resource_of(hide_in_url(url, hidden)), hide_in_bytes(body, hidden)
        key = request_key(method, resource, body)
        found = self._library.find(key, target.origin)
        try:
            if not found:
                raise await asyncio.to_thread(self._library.explain, method, resource, body)
            turn = self._turns[key, target.origin]
            self._turns[key, target.origin] += 1
            recording = await asyncio.to_thread(_load, found[min(turn, len(found) - 1)].path)
        except (OSError, ValueError):
            raise NotRecorded(f"A recording in {self._library.directory} has gone or was changed") from None
        if recording.reply is None:
            raise _failure_of(recording)
        await self.wait(recording.reply.delay_ms)
        return _ReplayedReply(self, recording)

    async def close(self) -> None:
        """There is nothing to close."""

    async def wait(self, delay_ms: float) -> None:
        """Wait as long as the provider took, or just let others have their turn."""
        await self._sleep(delay_ms / 1000 if self._timing else 0)


class _ReplayedReply:
    """A recorded answer."""

    def __init__(self, pool: ReplayPool, recording: Recording) -> None:
        reply = recording.reply
        assert reply is not None  # noqa: S101 - else there is no answer
        self.status: int = reply.status
        self.headers: Mapping[str, str] = Headers(
            {name.lower().encode(): value.encode("latin-1", "replace") for name, value in reply.headers.items()}
        )
        self._pool = pool
        self._recording = recording
        self._pieces = iter(reply.pieces)

    async def read_some(self) -> bytes:
        piece = next(self._pieces, None)
        if piece is not None:
            await self._pool.wait(piece.delay_ms)
            return piece.to_bytes()
        if self._recording.ended == "complete":
            return b""
        raise _failure_of(self._recording)

    def finish(self) -> None:
        """There is nothing to give back."""

    def close(self) -> None:
        """There is nothing to give back."""


def _failure_of(recording: Recording) -> UpstreamError:
    if recording.failure is not None:
        return recording.failure.to_error()
    return Cut("the recording ends here: what was asked for then needed no more of the answer")
