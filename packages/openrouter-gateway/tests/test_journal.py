"""The journal: what is appended is given out, by this process or the next, until it is committed."""

import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrouter_gateway.errors import ConfigError
from openrouter_gateway.stores.journal import Journal, _Owner

_ORPHAN = "1795000000000000000-1-00000000"
"""The name of a process that has ended."""


def make_journal(directory: Path, *, segment_bytes: int = 1_000_000) -> Journal[int]:
    """Return a journal of numbers."""
    return Journal(directory, int, segment_bytes=segment_bytes)


def append(journal: Journal[int], *numbers: int) -> list[bool]:
    return [journal.append(number, b"%d\n" % number) for number in numbers]


def drain(journal: Journal[int], limit: int = 2) -> list[int]:
    """Take and commit everything."""
    taken: list[int] = []
    while batch := journal.next_batch(limit):
        taken += batch
        journal.commit(len(batch))
    return taken


def die(journal: Journal[int]) -> None:
    """Let go of everything as the end of a process does: nothing is tidied up."""
    assert journal._own is not None
    for fd in [owner._fd for owner in {journal._own, *(segment.owner for segment in journal._segments)}]:
        os.close(fd)
    if journal._current is not None:
        os.close(journal._current.fd)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(directory: Path) -> Iterator[Journal[int]]:
    journal = make_journal(directory)
    journal.open()
    yield journal
    journal.close()


def files(directory: Path) -> list[str]:
    """The content of the segments, and the names of whatever else there is but the lock files."""
    found = sorted(path for path in directory.iterdir() if path.suffix != ".lock")
    return [path.read_text() if path.suffix == ".jsonl" else path.name for path in found]


def leave_behind(directory: Path, content: bytes) -> Path:
    """Write a segment of a process that has ended."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{_ORPHAN}.000000.jsonl"
    path.write_bytes(content)
    return path


def test_what_is_appended_is_in_the_file_at_once(directory: Path, journal: Journal[int]) -> None:
    """Nothing waits in a buffer; only the owner may read it."""
    append(journal, 1, 2)

    assert files(directory) == ["1\n2\n"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert repr(journal) == "<Journal segments=1 bytes=4 waiting=2 torn=0 rejected=0>"


def test_items_stay_until_they_are_committed(directory: Path, journal: Journal[int]) -> None:
    """They are given out in order, and again if nobody commits; the file is emptied when nothing is left in it."""
    append(journal, 1, 2, 3)

    assert journal.next_batch(2) == [1, 2]
    assert journal.next_batch(2) == [1, 2]
    journal.commit(2)
    assert journal.next_batch(2) == [3]
    assert files(directory) == ["1\n2\n3\n"]
    append(journal, 4)
    journal.commit(1)
    assert files(directory) == ["1\n2\n3\n4\n"]
    assert drain(journal) == [4]
    assert files(directory) == [""]
    assert (journal.bytes, journal.appended, journal.committed) == (0, 4, 4)

    append(journal, 5)
    assert files(directory) == ["5\n"]


def test_nothing_is_left_of_a_process_that_was_done(directory: Path) -> None:
    """Neither segments nor lock files."""
    journal = make_journal(directory)
    journal.open()
    append(journal, 1)
    drain(journal)
    journal.close()

    assert list(directory.iterdir()) == []


def test_segments(directory: Path) -> None:
    """A full one is followed by a new one; those in the middle are on disk only; those that are committed go."""
    journal = make_journal(directory, segment_bytes=4)
    journal.open()
    append(journal, *range(7))

    assert files(directory) == ["0\n1\n", "2\n3\n", "4\n5\n", "6\n"]
    assert [segment.items for segment in journal._segments] == [[0, 1], None, None, [6]]
    assert drain(journal, 3) == [0, 1, 2, 3, 4, 5, 6]
    assert files(directory) == [""]
    journal.close()


def test_a_live_process_keeps_its_own(directory: Path, journal: Journal[int]) -> None:
    """Several share a directory and take nothing from each other."""
    append(journal, 1)
    other = make_journal(directory)

    assert other.open() == 0
    append(other, 2)
    assert drain(other) == [2]
    other.close()
    assert drain(journal) == [1]


def test_what_a_process_leaves_is_adopted_once(directory: Path) -> None:
    """By the next that starts, whether the one before was closed or died; the files go when all is committed."""
    closed, dead = make_journal(directory), make_journal(directory, segment_bytes=2)
    closed.open()
    append(closed, 1, 2)
    closed.close()
    first = make_journal(directory)
    assert first.open() == 2
    second = make_journal(directory)
    assert second.open() == 0
    second.close()
    dead.open()
    append(dead, 3, 4)
    die(dead)

    third = make_journal(directory)
    assert third.open() == 2
    append(third, 5)
    assert drain(first) == [1, 2]
    assert drain(third, 1) == [3, 4, 5]
    first.close()
    third.close()
    assert list(directory.iterdir()) == []


def test_what_a_process_leaves_is_adopted_by_one_that_lives(directory: Path, journal: Journal[int]) -> None:
    """When it looks again: before its own, of which it loses nothing, and not from those that live."""
    other, dead = make_journal(directory, segment_bytes=2), make_journal(directory, segment_bytes=2)
    other.open()
    dead.open()
    append(dead, 1, 2)
    append(journal, 3)
    append(other, 4)
    die(dead)
    journal.adopt()
    journal.adopt()

    assert drain(journal, 1) == [1, 2, 3]
    append(journal, 5)
    assert drain(journal) == [5]
    assert drain(other) == [4]
    other.close()


def test_segments_without_a_lock_file_are_adopted(directory: Path) -> None:
    """Somebody may have tidied up; what else lies in the directory is not ours."""
    leave_behind(directory, b"1\n")
    (directory / "notes-of-mine-1.jsonl").write_text("x")
    journal = make_journal(directory)

    assert journal.open() == 1
    assert drain(journal) == [1]
    journal.close()
    assert [path.name for path in directory.iterdir()] == ["notes-of-mine-1.jsonl"]


def test_a_lock_file_that_is_removed_while_it_is_taken(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner ended between our opening it and our locking it: we hold a file that nobody sees, so not the name."""
    owner = make_journal(directory)
    owner.open()
    (path,) = directory.glob("*.lock")
    lock = fcntl.flock

    def close_first(fd: int, operation: int) -> None:
        monkeypatch.undo()
        owner.close()
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", close_first)

    assert _Owner.take(path) is None
    taken = _Owner.take(path)
    assert taken is not None
    taken.release()
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("tail", [b"3", b'{"id":"gen', b"\0" * 4096])
def test_half_a_line_at_the_end(directory: Path, tail: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Its append has not returned, or the power failed: it is passed over, and said."""
    leave_behind(directory, b"1\n2\n" + tail)
    journal = make_journal(directory)
    journal.open()

    assert drain(journal) == [1, 2]
    assert journal.torn == 1
    assert f"ends with half a line ({len(tail)} bytes)" in caplog.text
    assert (journal.committed, journal.appended) == (2, 2)
    journal.close()
    assert list(directory.iterdir()) == []


def test_a_segment_with_nothing_but_half_a_line(directory: Path) -> None:
    """Is passed over whole."""
    leave_behind(directory, b"1")
    journal = make_journal(directory)
    journal.open()
    append(journal, 2)

    assert drain(journal) == [2]
    journal.close()
    assert list(directory.iterdir()) == []


def test_a_line_that_cannot_be_read_is_put_aside(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The others are given out; `appended` is reached all the same."""
    leave_behind(directory, b"1\nnonsense\n2\n\n")
    journal = make_journal(directory)
    assert journal.open() == 4

    assert drain(journal) == [1, 2]
    assert (journal.rejected, journal.committed, journal.appended) == (2, 4, 4)
    assert "put a line aside" in caplog.text
    journal.close()
    (rejected,) = directory.iterdir()
    assert rejected.suffix == ".rejected"
    assert rejected.read_bytes() == b"nonsense\n\n"


def test_a_file_that_somebody_removed(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was in memory is not lost; what was not is counted, and holds nothing up."""
    journal = make_journal(directory, segment_bytes=2)
    journal.open()
    append(journal, 1, 2, 3)
    for path in directory.glob("*.jsonl"):
        path.unlink()

    assert drain(journal) == [1, 3]
    assert (journal.lost, journal.committed, journal.appended) == (1, 3, 3)
    assert "is gone, and with it 1 records" in caplog.text
    journal.close()


def test_a_file_that_cannot_be_read_now(directory: Path) -> None:
    """Is no reason to forget it."""
    journal = make_journal(directory, segment_bytes=2)
    journal.open()
    append(journal, 1, 2, 3)
    path = sorted(directory.glob("*.jsonl"))[1]
    path.rename(directory / "elsewhere")
    path.mkdir()
    assert journal.next_batch(1) == [1]
    journal.commit(1)

    with pytest.raises(IsADirectoryError):
        journal.next_batch(1)

    path.rmdir()
    (directory / "elsewhere").rename(path)
    assert drain(journal) == [2, 3]
    journal.close()


@contextmanager
def limited_file_size(limit: int) -> Iterator[None]:
    """No file may grow beyond a size: a full disk, for this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(directory: Path, journal: Journal[int]) -> None:
    """Half a line that was written is taken back, and the caller told; it goes on when there is room."""
    with limited_file_size(7):
        assert append(journal, 11, 22, 33, 44) == [True, True, False, False]
        assert journal.error is not None
    assert files(directory) == ["11\n22\n"]
    assert append(journal, 55) == [True]
    assert drain(journal) == [11, 22, 55]


def test_a_full_disk_when_a_segment_is_to_begin(directory: Path) -> None:
    """The full one stays the current one until there is room."""
    journal = make_journal(directory, segment_bytes=2)
    journal.open()
    append(journal, 1)
    hidden = directory.with_name("hidden")
    directory.rename(hidden)

    assert append(journal, 2) == [False]
    hidden.rename(directory)
    assert append(journal, 3) == [True]
    assert drain(journal) == [1, 3]
    journal.close()


def test_a_closed_journal_takes_nothing(directory: Path) -> None:
    """And says so."""
    journal = make_journal(directory)
    journal.open()
    journal.close()

    assert append(journal, 1) == [False]
    assert str(journal.error) == "[Errno 9] it is closed"


@pytest.mark.parametrize("path", ["/proc/no/such", "/dev/null/journal"])
def test_a_directory_that_cannot_be_used(path: str) -> None:
    """Is a setting that is wrong."""
    with pytest.raises(ConfigError, match=rf"ledger\.journal: cannot write in {path}"):
        make_journal(Path(path)).open()


_COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 8)),
        st.tuples(st.just("commit"), st.integers(1, 8)),
        st.tuples(st.just("close"), st.just(0)),
        st.tuples(st.just("die"), st.just(0)),
        st.tuples(st.just("adopt"), st.integers(1, 8)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(commands=_COMMANDS, segment_bytes=st.integers(1, 40))
def test_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, commands: list[tuple[str, int]], segment_bytes: int
) -> None:
    """Whatever happens, in any order: all is committed in the end, and twice only where a process ended."""
    directory = tmp_path_factory.mktemp("journal")
    journal = make_journal(directory, segment_bytes=segment_bytes)
    journal.open()
    made, ended = 0, False
    committed: list[int] = []
    for command, count in [*commands, ("close", 0), ("commit", 1_000)]:
        match command:
            case "append":
                append(journal, *range(made, made + count))
                made += count
            case "commit":
                batch = journal.next_batch(count)
                committed += batch
                if batch:
                    journal.commit(len(batch))
            case "adopt":
                other = make_journal(directory, segment_bytes=segment_bytes)
                assert other.open() == 0
                append(other, *range(made, made + count))
                made += count
                die(other)
                journal.adopt()
            case _:
                ended = True
                journal.close() if command == "close" else die(journal)
                journal = make_journal(directory, segment_bytes=segment_bytes)
                journal.open()
    committed += drain(journal)
    assert journal.appended == journal.committed
    journal.close()

    assert list(range(made)) == sorted(set(committed))
    assert ended or len(committed) == made
    assert list(directory.iterdir()) == []


_OPEN_AND_WAIT = """
import sys
from pathlib import Path
from openrouter_gateway.stores.journal import Journal
journal = Journal(Path(sys.argv[1]), int)
print("ready", flush=True)
sys.stdin.readline()
print(journal.open(), flush=True)
sys.stdin.readline()
"""


def test_processes_that_start_together(directory: Path) -> None:
    """Share what was left: each line is adopted by one of them."""
    directory.mkdir()
    for number in range(40):
        (directory / f"{1795000000000000000 + number}-1-00000000.000000.jsonl").write_bytes(b"1\n" * (number + 1))
    command = [sys.executable, "-c", _OPEN_AND_WAIT, str(directory)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
        adopted = [int(process.stdout.readline()) for process in processes if process.stdout]
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.communicate()

    assert sum(adopted) == sum(range(41))
    journal = make_journal(directory)
    left = journal.open()
    assert left == sum(range(41))
    assert len(drain(journal, 100)) == left
    journal.close()
