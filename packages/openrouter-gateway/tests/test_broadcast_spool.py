"""What is kept on disk: order, limit, restarts, and files that a crash has cut."""

import multiprocessing
import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrouter_gateway.accounting.authorize import Grant
from openrouter_gateway.broadcast.backoff import parse_retry_after, wait_s
from openrouter_gateway.broadcast.destinations.base import Payload
from openrouter_gateway.broadcast.spool import Segment, Spool, remove_abandoned
from openrouter_gateway.config.settings import Settings
from openrouter_gateway.observability import Observability
from openrouter_gateway.stores.database import Database

MIB = 1024 * 1024


def payload(number: int, size: int = 100, traces: int = 1) -> Payload:
    return Payload(body=b"%d:" % number + os.urandom(size), traces=traces, name="n")


def number_of(payload: Payload) -> int:
    return int(payload.body.partition(b":")[0])


def opened(directory: Path, limit: int = MIB) -> Spool:
    spool = Spool(directory, limit)
    spool.open()
    return spool


def drain(spool: Spool) -> list[int]:
    """Deliver everything."""
    numbers: list[int] = []
    while (found := spool.load()) is not None:
        segment, payloads = found
        for each in payloads:
            numbers.append(number_of(each))
            spool.delivered(segment)
    return numbers


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*/*.spool"))


def abandon(directory: Path, name: str, written_at: float) -> Path:
    """Return the directory of a destination, in which something waits since then."""
    spool = opened(directory / name)
    assert spool.append(payload(1))
    spool.close()
    for path in (directory / name).rglob("*"):
        os.utime(path, (written_at, written_at))
    os.utime(directory / name, (written_at, written_at))
    return directory / name


def fill_and_die(directory: Path, count: int) -> None:
    spool = opened(directory)
    for number in range(count):
        spool.append(payload(number))


class TestSpool:
    """One destination's directory."""

    def test_first_in_first_out(self, tmp_path: Path) -> None:
        """And nothing is left behind."""
        spool = opened(tmp_path / "d", 256 * 1024)
        for number in range(1000):
            assert spool.append(payload(number))
        assert (1000, True) == (spool.traces, len(files(tmp_path / "d")) > 1)
        assert list(range(1000)) == drain(spool)
        assert (0, 0, 0) == (spool.size, spool.traces, spool.dropped)
        assert [] == files(tmp_path / "d")
        spool.close()
        assert not (tmp_path / "d").exists()

    def test_nobody_else_may_read_it(self, tmp_path: Path) -> None:
        """It may hold what callers asked."""
        spool = opened(tmp_path / "d")
        spool.append(payload(1))
        (file,) = files(tmp_path / "d")
        assert (0o600, 0o700, 0o700) == tuple(
            stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent, tmp_path / "d")
        )

    def test_the_limit_takes_the_oldest(self, tmp_path: Path) -> None:
        """And counts it; the disk never has more."""
        limit = 128 * 1024
        spool = opened(tmp_path / "d", limit)
        for number in range(400):
            spool.append(payload(number, size=1000, traces=3))
            assert sum(file.stat().st_size for file in files(tmp_path / "d")) == spool.size <= limit
        kept = drain(spool)
        assert list(range(400 - len(kept), 400)) == kept
        assert 3 * (400 - len(kept)) == spool.dropped > 0

    def test_memory_can_take_what_is_loaded(self, tmp_path: Path) -> None:
        """However small it has become on disk."""
        spool = opened(tmp_path / "d", 64 * MIB)
        for _ in range(20):
            spool.append(Payload(body=bytes(MIB), traces=1))
        assert spool.size < MIB
        loads: list[int] = []
        while (found := spool.load()) is not None:
            loads.append(sum(len(each.body) for each in found[1]))
        assert 20 * MIB == sum(loads)
        assert max(loads) <= 4 * MIB

    def test_what_is_too_large_is_not_kept(self, tmp_path: Path) -> None:
        """It does not throw out all others."""
        spool = opened(tmp_path / "d", 20_000)
        assert spool.append(payload(1))
        assert not spool.append(payload(2, size=30_000))
        assert [1] == drain(spool)

    def test_restart(self, tmp_path: Path) -> None:
        """What one process leaves is the next one's, before its own."""
        first = opened(tmp_path / "d")
        for number in range(5):
            first.append(payload(number))
        first.close()
        second = opened(tmp_path / "d")
        assert (5, first.size) == (second.traces, second.size)
        second.append(payload(5))
        assert list(range(6)) == drain(second)

    def test_what_was_being_delivered_is_delivered_again(self, tmp_path: Path) -> None:
        """Unless all of its segment was."""
        first = opened(tmp_path / "d")
        for number in range(3):
            first.append(payload(number))
        found = first.load()
        assert found is not None
        first.delivered(found[0])
        first.close()
        assert [0, 1, 2] == drain(opened(tmp_path / "d"))

    def test_a_killed_process(self, tmp_path: Path) -> None:
        """It could not close anything."""
        process = multiprocessing.get_context("spawn").Process(target=fill_and_die, args=(tmp_path / "d", 20))
        process.start()
        process.join()
        assert list(range(20)) == drain(opened(tmp_path / "d"))

    def test_processes_side_by_side(self, tmp_path: Path) -> None:
        """Each has a number of its own; those of processes that are gone are shared out."""
        one, two = opened(tmp_path / "d"), opened(tmp_path / "d")
        one.append(payload(1))
        two.append(payload(2))
        assert {"0", "1"} == {path.name for path in (tmp_path / "d").iterdir()}
        two.close()
        three = opened(tmp_path / "d")
        assert [2] == drain(three)
        assert [1] == drain(one)

    @settings(deadline=None, max_examples=30)
    @given(cut=st.integers(0, 700), flip=st.booleans())
    def test_files_that_a_crash_has_cut(self, tmp_path_factory: pytest.TempPathFactory, cut: int, flip: bool) -> None:
        """What is whole before the damage is kept, nothing wrong comes back."""
        directory = tmp_path_factory.mktemp("spool") / "d"
        spool = opened(directory)
        for number in range(5):
            spool.append(payload(number))
        spool.close()
        (file,) = files(directory)
        content = bytearray(file.read_bytes())
        place = min(cut, len(content) - 1)
        if flip:
            content[place] ^= 0xFF
        else:
            del content[place:]
        file.write_bytes(content)
        again = opened(directory)
        kept = drain(again)
        assert list(range(len(kept))) == kept
        assert len(kept) >= place // (len(content) // 5 + 1) if flip else True
        assert 0 == again.size

    def test_what_cannot_be_read_back_is_counted(self, tmp_path: Path) -> None:
        """What is behind it in its file, too."""
        spool = opened(tmp_path / "d")
        for number in range(3):
            spool.append(payload(number, size=100 * number, traces=number + 1))
        (file,) = files(tmp_path / "d")
        content = bytearray(file.read_bytes())
        content[len(content) // 4] ^= 0xFF
        file.write_bytes(content)
        assert ([0], 5) == (drain(spool), spool.dropped)
        assert (0, 0) == (spool.traces, spool.size)

    def test_a_directory_that_cannot_be_used(self, tmp_path: Path) -> None:
        (tmp_path / "d").write_text("a file")
        with pytest.raises(OSError, match="exists"):
            opened(tmp_path / "d")

    def test_a_disk_that_is_full(self, tmp_path: Path) -> None:
        """Or a directory that has been removed: the payload is lost, and that is all."""
        spool = opened(tmp_path / "d")
        spool.append(payload(1))
        for file in files(tmp_path / "d"):
            file.unlink()
            file.parent.rmdir()
        assert not spool.append(payload(2))
        assert [] == drain(spool)

    def test_destroy(self, tmp_path: Path) -> None:
        """The destination is gone, and so is what waited for it."""
        spool = opened(tmp_path / "d")
        spool.append(payload(1))
        spool.destroy()
        assert not (tmp_path / "d").exists()

    def test_states_are_visible(self, tmp_path: Path) -> None:
        spool = opened(tmp_path / "d")
        assert "<Spool d bytes=0 traces=0 dropped=0>" == repr(spool)
        assert "<Segment x bytes=0 traces=0 left=0>" == repr(Segment(Path("x")))


class TestBackoff:
    """How long to wait."""

    def test_it_grows_up_to_a_minute(self) -> None:
        assert [1, 2, 4, 8, 16, 32, 60, 60] == [wait_s(failures, 0.0) for failures in range(1, 9)]
        assert 60 == wait_s(10**9, 0.0)

    @given(st.integers(1, 100), st.floats(0, 1))
    def test_dice_take_up_to_half(self, failures: int, dice: float) -> None:
        longest = wait_s(failures, 0.0)
        assert longest / 2 <= wait_s(failures, dice) <= longest

    def test_what_is_asked_for_is_honoured(self) -> None:
        """Up to an hour, and never less than our own."""
        assert [30, 1, 3600] == [wait_s(1, 0.0, asked_s) for asked_s in (30, 0, 10**6)]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (None, None),
            ("120", 120),
            (" 7 ", 7),
            ("Sat, 14 Feb 2026 04:25:12 GMT", 12),
            ("Sat, 14 Feb 2026 04:24:00 GMT", 0),
            ("soon", None),
            ("-1", None),
            ("9" * 400, 999_999_999),
            ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
        ],
    )
    def test_retry_after(self, text: str | None, expected: float | None) -> None:
        """Seconds or a date."""
        assert expected == parse_retry_after(text, 1771043100.0)


class TestAbandoned:
    """What waits for destinations that went while nobody looked."""

    KEPT, GONE, OTHER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")

    def test_it_is_removed_after_a_while(self, tmp_path: Path) -> None:
        """It may hold what callers asked."""
        gone = abandon(tmp_path, f"otel-collector-{self.GONE}", 1000)
        kept = abandon(tmp_path, f"webhook-{self.KEPT}", 1000)
        fresh = abandon(tmp_path, f"s3-{self.OTHER}", 3000)
        strange = abandon(tmp_path, "something-else", 1000)
        assert 1 == remove_abandoned(tmp_path, {self.KEPT}, before=2000)
        assert [False, True, True, True] == [path.exists() for path in (gone, kept, fresh, strange)]
        assert [1] == drain(opened(kept))
        assert 0 == remove_abandoned(tmp_path / "nowhere", set(), before=2000)

    def test_what_a_living_process_holds_stays(self, tmp_path: Path) -> None:
        """It may be another gateway's."""
        held = abandon(tmp_path, f"webhook-{self.GONE}", 1000)
        spool = opened(held)
        os.utime(held, (1000, 1000))
        assert 0 == remove_abandoned(tmp_path, set(), before=2000)
        assert [1] == drain(spool)

    @pytest.mark.parametrize("days", [6, 8])
    async def test_the_gateway_does_it_when_it_starts(self, tmp_path: Path, days: int) -> None:
        """A week is for those who took a destination out of the configuration by mistake."""
        gone = abandon(tmp_path, f"webhook-{self.GONE}", time.time() - days * 86_400)
        database = Database(f"sqlite:///{tmp_path}/ledger.db")
        await database.open()
        settings = Settings.model_validate({"broadcast": {"directory": str(tmp_path)}})
        observability = Observability(settings, [], database, lambda _: Grant())
        await observability.start()
        await observability.close()
        await database.close()
        assert gone.exists() == (days < 7)
