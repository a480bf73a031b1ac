"""A journal on local disk: what is appended outlives the process, and is given back until it is committed.

* `append` is one `write` of one line to a file, without fsync: it survives the end of the process, also by SIGKILL; a
  power failure may take the last seconds.
* A process writes files of its own ("segments"), named after a lock file that it holds while it lives. It adopts the
  segments of processes that are gone, those whose lock it gets: when it opens, and when it is told to look again.
* Items are given out in batches, oldest segment first. A segment goes, or is emptied if it is still written to, when
  all of it is committed. So a batch may be given out again by the next process, and what takes it must be idempotent.
* Items wait in memory, too, so that reading back is the exception: after a start, and when so much waits that only the
  oldest and the newest segment are kept in memory.
* Half a line at the end of a segment, left by a crash or a power failure, is reported and passed over: its `append` has
  not returned. A whole line that cannot be read is put aside in a file whose name ends with `.rejected`.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, NamedTuple, Self, TypeVar

from openrouter_gateway.errors import ConfigError

T = TypeVar("T")

_SEGMENT_BYTES: Final = 1024 * 1024
_FILE_NAME: Final = re.compile(r"([0-9]+-[0-9]+-[0-9a-f]{8})\.(?:lock|[0-9]+\.jsonl)")
_log = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """Lines of a journal that are not committed, and since when (unix seconds); and lines that were put aside."""

    lines: int = 0
    since: float = 0.0
    rejected: int = 0


def count_waiting(directory: Path) -> Waiting:
    """Return what a journal holds that others write, without touching it; nothing if there is none."""
    lines, rejected, since = 0, 0, time.time()
    for path in sorted(directory.glob("*.jsonl")) + sorted(directory.glob("*.rejected")):
        with contextlib.suppress(OSError):  # committed and gone meanwhile, or not ours to read
            found, changed = path.read_bytes().count(b"\n"), path.stat().st_mtime
            if path.suffix == ".rejected":
                rejected += found
            elif found:
                lines += found
                since = min(since, changed)
    return Waiting(lines, since, rejected)


class _Owner:
    """The right to the segments of one process: a locked file, freed by the system when the process ends."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.segments = 0
        self._fd = fd

    @classmethod
    def create(cls, directory: Path) -> Self:
        """Take a name that nobody had.

        Raises:
            OSError: the directory cannot be written.
        """
        while True:
            owner = cls.take(directory / f"{time.time_ns()}-{os.getpid()}-{secrets.token_hex(4)}.lock")
            if owner is not None:
                return owner

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Lock a file, which is made if need be; None when another process has it, or has just removed it."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == path.stat().st_ino:
                return cls(path, fd)
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)
        return None

    def release(self) -> None:
        """Give the right back; whoever finds segments of this name may adopt them."""
        if not self.segments:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


class _Segment(Generic[T]):
    """A file of lines. `items` are those not committed; None while they are on disk only."""

    def __init__(self, path: Path, owner: _Owner, *, fd: int = -1) -> None:
        self.path = path
        self.owner = owner
        self.fd = fd
        self.size = 0
        self.records = 0
        self.items: list[T] | None = None
        owner.segments += 1

    def close(self) -> None:
        """No more appending."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Journal(Generic[T]):
    """The journal of one process, in a directory that several share. `decode` reads a line, or raises `ValueError`.

    `appended` and `committed` count records: all that was appended or adopted before `appended` was read is committed
    once `committed` has reached it. `torn` counts half lines, `rejected` the lines that were put aside, `lost` the
    records whose file somebody removed; `bytes` is the size of the files.
    """

    def __init__(self, directory: Path, decode: Callable[[bytes], T], *, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self._directory = directory
        self._decode = decode
        self._segment_bytes = segment_bytes
        self._segments: deque[_Segment[T]] = deque()
        self._current: _Segment[T] | None = None
        self._own: _Owner | None = None
        self._made = 0
        self.bytes = 0
        self.appended = 0
        self.committed = 0
        self.lost = 0
        self.torn = 0
        self.rejected = 0
        self.error: OSError | None = None

    def __repr__(self) -> str:
        return (
            f"<Journal segments={len(self._segments)} bytes={self.bytes} waiting={self.appended - self.committed} "
            f"torn={self.torn} rejected={self.rejected}>"
        )

    def check(self) -> None:
        """Make the directory, and see whether it can be written.

        Raises:
            ConfigError: it cannot.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # it says who asked for what
            with tempfile.TemporaryFile(dir=self._directory):
                pass
        except OSError as error:
            raise ConfigError(f"ledger.journal: cannot write in {self._directory}: {error.strerror}") from None

    def open(self) -> int:
        """Begin, with what processes that are gone have left. Returns the number of lines adopted.

        Raises:
            ConfigError: the directory cannot be written.
        """
        self.check()
        try:
            self.adopt()
            self._own = _Owner.create(self._directory)
        except OSError as error:
            self.close()
            raise ConfigError(f"ledger.journal: cannot use {self._directory}: {error.strerror}") from None
        return self.appended

    def adopt(self) -> None:
        """Take over what processes that are gone have left; not while a batch is given out and not committed.

        Raises:
            OSError: the directory cannot be used now.
        """
        found = (_FILE_NAME.fullmatch(path.name) for path in self._directory.iterdir())
        for name in sorted({match[1] for match in found if match}, reverse=True):
            owner = _Owner.take(self._directory / f"{name}.lock")  # fails for our own as for those of others who live
            if owner is not None:
                self._adopt_segments(owner, sorted(self._directory.glob(f"{name}.*.jsonl"), reverse=True))

    def _adopt_segments(self, owner: _Owner, paths: list[Path]) -> None:
        for path in paths:
            segment = _Segment[T](path, owner)
            content = path.read_bytes()
            segment.size = len(content)
            segment.records = content.count(b"\n")
            self._segments.appendleft(segment)  # before our own, whose last is still written to
            self.bytes += segment.size
            self.appended += segment.records
        if not paths:
            owner.release()

    def append(self, item: T, line: bytes) -> bool:
        """Write a line, which ends with its only newline, and keep its item. False: not written; `error` says why.

        Nothing of a line that is not written stays in the file.
        """
        segment = self._current
        if segment is None or segment.size >= self._segment_bytes:
            segment = self._begin_segment()
            if segment is None:
                return False
        try:
            written = os.write(segment.fd, line)
        except OSError as error:
            self.error = error
            return False
        if written != len(line):
            self._undo(segment)
            return False
        segment.size += written
        segment.records += 1
        if segment.items is not None:
            segment.items.append(item)
        self.bytes += written
        self.appended += 1
        return True

    def _begin_segment(self) -> _Segment[T] | None:
        if self._own is None:
            self.error = OSError(errno.EBADF, "it is closed")
            return None
        path = self._own.path.with_suffix(f".{self._made:06d}.jsonl")
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self.error = error
            return None
        self._made += 1
        self._end_segment()
        segment = self._current = _Segment(path, self._own, fd=fd)
        segment.items = []
        self._segments.append(segment)
        return segment

    def _end_segment(self) -> None:
        if self._current is None:
            return
        self._current.close()
        if self._current is not self._segments[0]:
            self._current.items = None
        self._current = None

    def _undo(self, segment: _Segment[T]) -> None:
        """Take back half a line: the disk is full, or the file may not grow."""
        self.error = OSError(errno.ENOSPC, "there was room for a part of a line only")
        try:
            os.ftruncate(segment.fd, segment.size)
        except OSError:
            self._end_segment()  # what is in it is still read; the half line will be passed over

    def next_batch(self, limit: int) -> list[T]:
        """Return the oldest items, at most `limit`; none when all are committed. Commit them before asking again."""
        while self._segments:
            head = self._segments[0]
            items = self._load(head) if head.items is None else head.items
            if items:
                return items[:limit]
            if head is self._current:
                break
            self._drop(head)
        return []

    def commit(self, count: int) -> None:
        """Forget the first items: they are safe elsewhere."""
        head = self._segments[0]
        assert head.items is not None  # noqa: S101 - they have been given out
        del head.items[:count]
        self.committed += count
        if head.items:
            return
        if head is not self._current:
            self._drop(head)
            return
        try:
            os.ftruncate(head.fd, 0)
        except OSError:
            self._end_segment()
            self._drop(head)
            return
        self.bytes -= head.size
        head.size = head.records = 0

    def _load(self, segment: _Segment[T]) -> list[T]:
        """Read a segment back. What cannot be had from it counts as committed.

        Raises:
            OSError: the file cannot be read now.
        """
        items: list[T] = []
        try:
            *lines, tail = segment.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            _log.error("%s is gone, and with it %d records", segment.path, segment.records)
            self.lost += segment.records
            lines, tail = [], b""
        for line in lines:
            try:
                items.append(self._decode(line))
            except ValueError as error:
                _log.error("%s: a line cannot be read: %s", segment.path, error)
                self.reject(line)
        if tail:
            self.torn += 1
            _log.warning("%s ends with half a line (%d bytes), which is passed over", segment.path, len(tail))
        self.committed += segment.records - len(items)
        segment.items = items
        return items

    def _drop(self, segment: _Segment[T]) -> None:
        """Remove the oldest segment. If that fails it is only read again at the next start."""
        self._segments.popleft()
        self.bytes -= segment.size
        owner = segment.owner
        owner.segments -= 1
        try:
            segment.close()
            segment.path.unlink(missing_ok=True)
            if not owner.segments and owner is not self._own:
                owner.release()
        except OSError as error:
            _log.error("cannot remove %s: %s", segment.path, error.strerror)

    def reject(self, line: bytes) -> None:
        """Put a line aside: it can neither be used nor be thrown away."""
        assert self._own is not None  # noqa: S101 - only an open journal gives out items
        self.rejected += 1
        path = self._own.path.with_suffix(".rejected")
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, line.rstrip(b"\n") + b"\n")
            finally:
                os.close(fd)
        except OSError as error:
            _log.error("cannot put a line aside in %s: %s: it is lost", path, error.strerror)
        else:
            _log.error("put a line aside in %s", path)

    def close(self) -> None:
        """Leave what is not committed to the next process."""
        self._end_segment()
        owners = {segment.owner for segment in self._segments}
        if self._own is not None:
            owners.add(self._own)
        with contextlib.suppress(OSError):
            for segment in self._segments:
                if not segment.size:
                    segment.path.unlink(missing_ok=True)
                    segment.owner.segments -= 1
            for owner in owners:
                owner.release()
        self._segments.clear()
        self._own = None
