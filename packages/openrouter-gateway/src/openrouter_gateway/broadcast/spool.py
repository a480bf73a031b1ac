"""Payloads on disk: what could not be delivered yet, within a limit, for this process or the next one.

    <directory>/<number>/<sequence>.spool

A process writes below a number that it holds by a lock on that directory, and takes over the files of processes that
are gone: those whose lock it gets when it opens. A file is a "segment" of frames, each a length, a number of traces and
a compressed payload; it is appended to, read back whole (so it may not hold more than memory can take),
and removed when all of it is delivered. What was in the segment that was being delivered when a process was killed is
delivered again. A frame that a crash or a full disk cut off is passed over. Beyond the limit the oldest segment goes.

All of it blocks: call it with `to_the_end`, one call at a time.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import struct
import zlib
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import msgspec

from openrouter_gateway.broadcast.destinations.base import Payload

P = ParamSpec("P")
T = TypeVar("T")

_FRAME: Final = struct.Struct(">II")
_OF_DESTINATION: Final = re.compile(r"[a-z0-9-]+-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
"""The names of directories, by type and id."""
_LARGEST_SEGMENT: Final = 4 * 1024 * 1024
_MOST_UNPACKED: Final = 4 * 1024 * 1024
_SMALLEST_SEGMENT: Final = 16 * 1024
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Payload).decode
_log = logging.getLogger(__name__)


class Segment:
    """One file. `left` counts the payloads of it that are loaded and not yet delivered; `unpacked` is for appending."""

    def __init__(self, path: Path, *, size: int = 0, traces: int = 0) -> None:
        self.path = path
        self.size = size
        self.traces = traces
        self.unpacked = 0
        self.left = 0
        self.gone = False

    def __repr__(self) -> str:
        return f"<Segment {self.path.name} bytes={self.size} traces={self.traces} left={self.left}>"


class Spool:
    """The payloads of one destination that are on disk; `size` and `traces` say how many, `dropped` what went.

    Raises:
        OSError: the directory cannot be used.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self._directory = directory
        self._limit = limit_bytes
        self._segment_bytes = max(_SMALLEST_SEGMENT, min(_LARGEST_SEGMENT, limit_bytes // 8))
        self._locks: dict[Path, int] = {}
        self._waiting: deque[Segment] = deque()
        self._loaded: list[Segment] = []
        self._current: Segment | None = None
        self._own: Path | None = None
        self._sequence = 0
        self.size = 0
        self.traces = 0
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<Spool {self._directory.name} bytes={self.size} traces={self.traces} dropped={self.dropped}>"

    def open(self) -> None:
        """Begin, with what processes that are gone have left.

        Raises:
            OSError: the directory cannot be used.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may hold what callers asked
        for path in sorted(self._directory.iterdir(), key=lambda path: (len(path.name), path.name)):
            if path.name.isdigit() and path.is_dir():
                self._claim(path)
        number = 0
        while not self._locks:
            path = self._directory / str(number)
            path.mkdir(mode=0o700, exist_ok=True)
            self._claim(path)
            number += 1
        self._own = next(iter(self._locks))
        self._shrink()

    def _claim(self, path: Path) -> None:
        """Take a number that no living process has. Another may be removing it just now."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(fd).st_ino == path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            held = False
        if not held:
            os.close(fd)
            return
        self._locks[path] = fd
        for file in sorted(path.glob("*.spool")):
            segment = _measure(file)
            self._sequence = max(self._sequence, int(file.stem) + 1) if file.stem.isdigit() else self._sequence
            self._waiting.append(segment)
            self.size += segment.size
            self.traces += segment.traces

    def append(self, payload: Payload) -> bool:
        """Keep a payload. False: it cannot be kept, and is lost.

        What older ones had to make room is counted in `dropped`.
        """
        unpacked = _encode(payload)
        content = zlib.compress(unpacked, 1)  # traces repeat themselves: a tenth is left
        frame = _FRAME.pack(len(content), payload.traces) + content
        if len(frame) > self._limit:
            return False
        segment = self._current
        try:
            if segment is None or self._is_full(segment, len(frame), len(unpacked)):
                segment = self._begin()
            with segment.path.open("ab", buffering=0) as file:
                written = file.write(frame)
                if written != len(frame):
                    file.truncate(segment.size)
                    return False
        except OSError as error:
            _log.error("cannot keep traces in %s: %s", self._directory, error.strerror)
            return False
        segment.unpacked += len(unpacked)
        segment.size += len(frame)
        segment.traces += payload.traces
        self.size += len(frame)
        self.traces += payload.traces
        self._shrink()
        return True

    def _is_full(self, segment: Segment, size: int, unpacked: int) -> bool:
        if segment.gone or segment.size + size > self._segment_bytes:
            return True
        return segment.unpacked > 0 and segment.unpacked + unpacked > _MOST_UNPACKED

    def _begin(self) -> Segment:
        assert self._own is not None  # noqa: S101 - see `open`
        path = self._own / f"{self._sequence:012d}.spool"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._sequence += 1
        self._current = segment = Segment(path)
        self._waiting.append(segment)
        return segment

    def _shrink(self) -> None:
        """Keep within the limit: what is loaded goes last."""
        while self.size > self._limit:
            if self._waiting:
                segment = self._waiting.popleft()
            elif self._loaded:
                segment = self._loaded.pop(0)
            else:
                return
            self._lose(segment, segment.traces)
            self._remove(segment)

    def _lose(self, segment: Segment, traces: int) -> None:
        segment.traces -= traces
        self.traces -= traces
        self.dropped += traces

    def load(self) -> tuple[Segment, list[Payload]] | None:
        """Return the oldest segment that is not loaded, with its payloads; None if there is none.

        Each of the payloads is to be told to `delivered`.
        """
        while self._waiting:
            segment = self._waiting.popleft()
            if segment is self._current:
                self._current = None
            payloads = _read(segment)
            self._lose(segment, max(0, segment.traces - sum(payload.traces for payload in payloads)))
            if payloads:
                segment.left = len(payloads)
                self._loaded.append(segment)
                return segment, payloads
            self._remove(segment)
        return None

    def delivered(self, segment: Segment) -> None:
        """Take note that one payload of a segment need not be kept."""
        segment.left -= 1
        if segment.left == 0 and not segment.gone:
            self._loaded.remove(segment)
            self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        segment.gone = True
        self.size -= segment.size
        self.traces -= segment.traces
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            _log.error("cannot remove %s: %s: it will be delivered again", segment.path, error.strerror)

    def close(self) -> None:
        """Leave what there is to the next process."""
        for path, fd in self._locks.items():
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()
            os.close(fd)
        self._locks.clear()
        with contextlib.suppress(OSError):
            self._directory.rmdir()

    def destroy(self) -> None:
        """Remove everything: the destination is gone."""
        for segment in [*self._waiting, *self._loaded]:
            self._remove(segment)
        self._waiting.clear()
        self._loaded.clear()
        self.close()


def remove_abandoned(directory: Path, kept: Collection[str], before: float) -> int:
    """Remove what waits for destinations that are gone, unless it is newer than a unix time; return how many are gone.

    `kept` has the ids of those that there are. What a living process holds stays.

    Raises:
        OSError: the directory cannot be read.
    """
    removed = 0
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        named = _OF_DESTINATION.fullmatch(path.name)
        if named is None or named[1] in kept:
            continue
        with contextlib.suppress(FileNotFoundError):  # another process has just done it
            if _changed_at(path) < before:
                spool = Spool(path, 0)
                spool.open()
                spool.destroy()
                removed += not path.exists()
    return removed


def _changed_at(path: Path) -> float:
    """Return when something was last written below a directory."""
    return max((each.stat().st_mtime for each in (path, *path.rglob("*"))), default=0.0)


def _measure(path: Path) -> Segment:
    """Return a segment of which the heads of its frames were read."""
    traces = 0
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            while len(head := file.read(_FRAME.size)) == _FRAME.size:
                length, count = _FRAME.unpack(head)
                if file.tell() + length > size:
                    break
                traces += count
                file.seek(length, os.SEEK_CUR)
    except OSError as error:
        _log.error("cannot read %s: %s", path, error.strerror)
        return Segment(path)
    return Segment(path, size=size, traces=traces)


def _read(segment: Segment) -> list[Payload]:
    """Return the payloads of a segment up to the first that is not whole."""
    payloads: list[Payload] = []
    try:
        content = segment.path.read_bytes()
    except OSError as error:
        _log.error("cannot read %s: %s", segment.path, error.strerror)
        return payloads
    position = 0
    while position < len(content):
        start = position + _FRAME.size
        if start > len(content):
            break
        length, _ = _FRAME.unpack_from(content, position)
        body = content[start : start + length]
        if len(body) != length:
            break
        try:
            payloads.append(_decode(zlib.decompress(body)))  # it has a checksum of its own
        except (msgspec.DecodeError, zlib.error):
            break
        position = start + length
    if position < len(content):
        _log.warning("%s: %d bytes at its end are not whole, and passed over", segment.path, len(content) - position)
    return payloads


async def to_the_end(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work in a thread. Who is cancelled meanwhile waits for its end: a spool takes one call at a time."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
