"""What a pool records, another one replays: the same bytes, failures and borders, in the same order."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from openrouter_gateway.callers.http1 import Headers
from openrouter_gateway.callers.pool import Answer, Poster, Target
from openrouter_gateway.callers.recorder import RecordingPool, make_directory
from openrouter_gateway.callers.replay import ReplayPool, load_library
from openrouter_gateway.errors import ConfigError, Cut, Garbled, NotRecorded, TimedOut, Unavailable, UpstreamError
from openrouter_gateway.routing.health import verdict_of

KEY = "sk-canary-1"
ACME = Target.from_parts("http://acme.example/v1/chat", {"Authorization": f"Bearer {KEY}"}, KEY)
OTHER = Target.from_parts("http://other.example/v1/chat", {})


class Scripted:
    """A provider's answer that is known: pieces of bytes, then how it fails, if it does."""

    def __init__(self, *pieces: bytes, status: int = 200, error: UpstreamError | None = None) -> None:
        self.status = status
        self.headers = Headers({b"content-type": b"text/event-stream", b"set-cookie": b"canary"})
        self._pieces = list(pieces)
        self._error = error
        self.closed = False

    async def read_some(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._error is not None:
            raise self._error
        return b""

    def finish(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True


class Provider:
    """Gives one answer after another; an error is raised."""

    def __init__(self, *answers: Scripted | UpstreamError) -> None:
        self._answers = list(answers)

    async def post(self, target: Target, body: bytes) -> Answer:
        answer = self._answers.pop(0)
        if isinstance(answer, UpstreamError):
            raise answer
        return answer

    async def close(self) -> None:
        pass


class Clock:
    """Time that passes by being looked at: a quarter of a second each time."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def read_all(pool: Poster, body: bytes = b"{}", target: Target = ACME) -> list[bytes | str]:
    """Return the pieces of an answer, then the failure if there is one."""
    found: list[bytes | str] = []
    try:
        reply = await pool.post(target, body)
        try:
            while data := await reply.read_some():
                found.append(data)
        finally:
            reply.close()
    except UpstreamError as error:
        found.append(f"{type(error).__name__}: {error.message}")
    return found


def recording_pool(
    folder: Path, *answers: Scripted | UpstreamError, clock: Callable[[], float] | None = None
) -> RecordingPool:
    """Return a pool in front of a provider that answers like this."""
    clock = clock or Clock()
    return RecordingPool(Provider(*answers), folder, lambda: [KEY], clock=clock, timer=clock)


def replay_pool(folder: Path, **options: bool) -> ReplayPool:
    return ReplayPool(load_library(folder), list, **options)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Scripted(b"one", b"two"),
        lambda: Scripted(b"one", error=Cut("broke")),
        lambda: Scripted(error=TimedOut("silent")),
        lambda: Scripted(b"\xff\xfe", b"\x00"),
        lambda: Scripted(),
        lambda: Unavailable("cannot connect"),
        lambda: Garbled("not HTTP"),
    ],
)
async def test_what_is_recorded_is_replayed(tmp_path: Path, answer: Callable[[], Scripted | UpstreamError]) -> None:
    """Piece by piece, and ends as it did."""
    recorder = recording_pool(tmp_path, answer())
    live = await read_all(recorder)
    await recorder.close()

    assert live == await read_all(replay_pool(tmp_path))


async def test_the_head_is_replayed(tmp_path: Path) -> None:
    """Status and headers, but for those that are private; their names in any case."""
    recorder = recording_pool(tmp_path, Scripted(b"{}", status=429))
    await read_all(recorder)
    await recorder.close()

    reply = await replay_pool(tmp_path).post(ACME, b"{}")

    assert (429, "text/event-stream", "[removed]") == (
        reply.status,
        reply.headers["Content-Type"],
        reply.headers.get("Set-Cookie"),
    )


async def test_no_file_has_the_key(tmp_path: Path) -> None:
    """Neither of the request nor where the provider quotes it, not even in two pieces."""
    recorder = recording_pool(tmp_path, Scripted(b"you sent sk-can", b"ary-1"), Unavailable(f"who is {KEY}?"))
    await read_all(recorder)
    await read_all(recorder, KEY.encode())
    await recorder.close()

    files = [path.read_text() for path in files_in(tmp_path)]
    assert 2 == len(files)
    assert "canary" not in "".join(files)
    # With the key at hand the same request is found.
    assert ["Unavailable: who is [key]?"] == await read_all(replay_pool(tmp_path), KEY.encode())


async def test_files_are_the_users_own(tmp_path: Path) -> None:
    """They hold what callers asked."""
    folder = tmp_path / "new" / "recordings"
    make_directory(folder)
    recorder = recording_pool(folder, Scripted(b"one"))
    await read_all(recorder)
    await recorder.close()

    (path,) = files_in(folder)
    assert (0o700, 0o600) == (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode))


async def test_repeats_come_in_their_order(tmp_path: Path) -> None:
    """And the last one again and again; of several processes by the time at which they asked."""
    clock = Clock()
    first = recording_pool(tmp_path, Scripted(b"1"), Scripted(b"3"), clock=clock)
    second = recording_pool(tmp_path, Scripted(b"2"), clock=clock)
    for recorder in (first, second, first):
        await read_all(recorder, b'{"a": 1, "b": 2}')
    await first.close()
    await second.close()

    pool = replay_pool(tmp_path)

    assert [[b"1"], [b"2"], [b"3"], [b"3"]] == [await read_all(pool, b'{"b": 2, "a": 1}') for _ in range(4)]


async def test_each_provider_has_its_own_answers(tmp_path: Path) -> None:
    """The same request may go to several, one after the other; one that has moved gets what there is."""
    recorder = recording_pool(tmp_path, Unavailable("down"), Scripted(b"up"))
    await read_all(recorder)
    await read_all(recorder, target=OTHER)
    await recorder.close()
    moved = Target.from_parts("http://127.0.0.1:1/v1/chat", {})

    pool = replay_pool(tmp_path)

    assert [b"up"] == await read_all(pool, target=OTHER)
    assert ["Unavailable: down"] == await read_all(pool)
    assert [["Unavailable: down"], [b"up"]] == [await read_all(pool, target=moved) for _ in range(2)]


async def test_timing(tmp_path: Path) -> None:
    """Asked for, it is that of the recording; else there is none."""
    recorder = recording_pool(tmp_path, Scripted(b"one", b"two"))
    await read_all(recorder)
    await recorder.close()
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)

    for timing in (False, True):
        await read_all(ReplayPool(load_library(tmp_path), list, timing=timing, sleep=sleep))

    assert [0, 0, 0, 0.25, 0.25, 0.25] == slept


async def test_a_reply_that_was_read_no_further(tmp_path: Path) -> None:
    """It is replayed as far as it was read; who wants more is told."""
    recorder = recording_pool(tmp_path, Scripted(b"one", b"two"))
    reply = await recorder.post(ACME, b"{}")
    await reply.read_some()
    reply.close()
    await recorder.close()

    first, failure = await read_all(replay_pool(tmp_path))

    assert (b"one", True) == (first, str(failure).startswith("Cut: the recording ends here"))


async def test_a_reply_that_has_said_all(tmp_path: Path) -> None:
    """What comes behind the end of a stream is not waited for, and the reply counts as whole."""
    answer = Scripted(b"one", b"two")
    recorder = recording_pool(tmp_path, answer)
    reply = await recorder.post(ACME, b"{}")
    await reply.read_some()
    reply.finish()
    reply.close()
    await recorder.close()

    assert answer.closed
    assert [b"one"] == await read_all(replay_pool(tmp_path))


class Silent(Scripted):
    """Never says a word."""

    async def read_some(self) -> bytes:
        await asyncio.Event().wait()
        return b""


async def test_a_caller_who_hangs_up_leaves_no_recording(tmp_path: Path) -> None:
    """How the answer would have gone on is not known."""
    recorder = recording_pool(tmp_path, Silent())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await read_all(recorder)
    await recorder.close()

    assert [] == files_in(tmp_path)


async def test_a_disk_that_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The caller has an answer all the same, and the log has the reason."""
    recorder = recording_pool(tmp_path / "missing", Scripted(b"one"))

    assert [b"one"] == await read_all(recorder)
    await recorder.close()

    assert "An exchange is not recorded" in caplog.text


class TestUnknown:
    """Requests that were not recorded."""

    async def test_the_nearest_is_told(self, tmp_path: Path) -> None:
        """With its file and where it differs, and no values."""
        recorder = recording_pool(tmp_path, Scripted(b"one"), Scripted(b"two"))
        await read_all(recorder, b'{"messages": [{"content": "private"}], "n": 1, "seed": 1}')
        await read_all(recorder, b'{"model": "x"}')
        await recorder.close()
        nearest = min(path.name for path in files_in(tmp_path))

        with pytest.raises(NotRecorded) as caught:
            await replay_pool(tmp_path).post(ACME, b'{"messages": [{"content": "secret"}], "n": 2, "seed": 1}')

        error = caught.value
        assert (
            f"No recording in {tmp_path} is of this request to POST /v1/chat: the nearest, {nearest}" in error.message
        )
        assert (str(tmp_path), nearest, ["messages[0].content", "n"]) == (
            error.metadata["recordings"],
            error.metadata["nearest"],
            error.metadata["differs_in"],
        )
        assert (502, True, "abandoned") == (error.status, error.failover, verdict_of(error))
        assert "private" not in error.message

    async def test_another_path(self, tmp_path: Path) -> None:
        """Then those that there are, are told."""
        recorder = recording_pool(tmp_path, Scripted(b"one"))
        await read_all(recorder)
        await recorder.close()

        with pytest.raises(NotRecorded, match="there are recordings of POST /v1/chat"):
            await replay_pool(tmp_path).post(Target.from_parts("http://acme.example/v1/other", {}), b"{}")

    async def test_a_file_that_has_gone(self, tmp_path: Path) -> None:
        """It is no crash."""
        recorder = recording_pool(tmp_path, Scripted(b"one"))
        await read_all(recorder)
        await recorder.close()
        pool = replay_pool(tmp_path)
        for path in files_in(tmp_path):
            path.unlink()

        with pytest.raises(NotRecorded, match="has gone or was changed"):
            await pool.post(ACME, b"{}")


class TestDirectories:
    """What can be recorded to and replayed from."""

    def test_nothing_there(self, tmp_path: Path) -> None:
        """Neither a directory nor recordings in it."""
        with pytest.raises(ConfigError, match="there are no recordings in"):
            load_library(tmp_path)
        with pytest.raises(ConfigError, match="cannot read recordings from"):
            load_library(tmp_path / "missing")

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        """It is named."""
        (tmp_path / "notes.json").write_text('{"version": 9}')

        with pytest.raises(ConfigError, match=r"notes\.json is of version 9"):
            load_library(tmp_path)

    def test_no_place_to_write(self, tmp_path: Path) -> None:
        """Told before anything is asked of a provider."""
        (tmp_path / "file").touch()

        with pytest.raises(ConfigError, match="cannot write recordings to"):
            make_directory(tmp_path / "file")

    async def test_a_recording_that_is_being_written(self, tmp_path: Path) -> None:
        """It has another name until it is whole."""
        recorder = recording_pool(tmp_path, Scripted(b"one"))
        await read_all(recorder)
        await recorder.close()
        (tmp_path / ".half.new").write_text("{")

        assert 1 == len(load_library(tmp_path))
