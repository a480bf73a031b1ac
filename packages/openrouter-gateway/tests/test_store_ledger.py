"""The ledger over its databases: nothing that was recorded is lost, and nothing is there twice."""

import asyncio
import datetime as dt
import logging
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from ledger_samples import COST, CREATED_S, KEY, make_generation
from store_servers import PostgresServer, new_database, postgres

from openrouter_gateway.core.generation import AttemptRecord
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.stores.database import DatabaseUnavailable
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.reports import report_activity, report_generation

HERE = Path(__file__).parent


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def ledger(url: str, journal: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(url, journal)
    await ledger.start()
    yield ledger
    await ledger.close()


def names_in(journal: Path) -> list[str]:
    return [path.name for path in journal.iterdir()]


def only(journal: Path, kind: str) -> Path:
    """Return the one file of a kind."""
    (path,) = journal.glob(f"*.{kind}")
    return path


async def stored_ids(url: str, journal: Path) -> list[int]:
    """Start a ledger, which takes over what is left, and return the numbers in the database, and check their costs."""
    async with asyncio.timeout(30):
        ledger = Ledger(url, journal)
        await ledger.start()
        async with ledger._database.transaction() as connection:
            ids = (await connection.exec_driver_sql("SELECT id FROM generations")).scalars().all()
        assert (await ledger.costs()).get(KEY, Decimal(0)) == len(ids) * COST
        await ledger.close()
    assert names_in(journal) == []
    return sorted(int(id_.removeprefix("gen-")) for id_ in ids)


def start_process(url: str, journal: Path, first: int, count: int = 0, *options: str) -> subprocess.Popen[str]:
    """Start a recorder, and wait until it records."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "ledger_process.py"), url, str(journal), str(first), str(count), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def returned(process: subprocess.Popen[str], at_least: int = 0) -> list[int]:
    """Kill a recorder when it has recorded so many; return the numbers for which `record` has returned."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(at_least)]
    process.kill()
    lines += process.communicate()[0].splitlines(keepends=True)
    return [int(line) for line in lines if line.endswith("\n")]


class TestRecording:
    """From a call to a row."""

    async def test_it_is_in_the_journal_at_once(self, ledger: Ledger, journal: Path) -> None:
        """Before `record` returns, and in the database soon, by itself; then the journal is empty."""
        ledger.record(make_generation(1))

        segment = only(journal, "jsonl")
        assert b'{"id":"gen-1"' in segment.read_bytes()
        assert "recorded=1 waiting=1 lost=0 torn=0 rejected=0>" in repr(ledger)
        async with asyncio.timeout(10):
            while segment.stat().st_size:  # noqa: ASYNC110 - a file tells nobody that it has shrunk
                await asyncio.sleep(0.01)
        assert await ledger.costs() == {KEY: COST}

    async def test_it_is_found_at_once(self, ledger: Ledger) -> None:
        """Who asks right after the answer gets it."""
        ledger.record(make_generation(1))

        assert await ledger.find("gen-1") == make_generation(1)
        assert await ledger.find("gen-2") is None

    async def test_many(self, ledger: Ledger) -> None:
        """More than a batch, while the writer is at it; `flush` waits for all that came before it."""
        for number in range(1_500):
            ledger.record(make_generation(number))
            if not number % 100:
                await asyncio.sleep(0)
        await ledger.flush()

        assert await ledger.costs() == {KEY: 1_500 * COST}
        ledger.record(make_generation(1_500))
        await asyncio.gather(ledger.flush(), ledger.flush())
        assert await ledger.costs() == {KEY: 1_501 * COST}

    async def test_what_no_database_stores(self, ledger: Ledger) -> None:
        """Is made storable: the rest of the generation counts."""
        ledger.record(make_generation(1, user="a\0b", app_title="\ud800", session_id="s" * 10**6))

        found = await ledger.find("gen-1")
        assert found is not None
        assert (found.user, found.app_title, found.cost.total) == ("a\ufffdb", "?", COST)

    @pytest.mark.parametrize("poison", [{"status": 2**70}, {"created": float("inf")}], ids=["status", "created"])
    async def test_a_row_that_is_refused_holds_up_no_other(
        self, ledger: Ledger, journal: Path, caplog: pytest.LogCaptureFixture, poison: dict[str, object]
    ) -> None:
        """It is put aside, and said."""
        for number in range(3):
            ledger.record(make_generation(number, **(poison if number == 1 else {})))
        await ledger.flush()

        assert await ledger.costs() == {KEY: 2 * COST}
        rejected = only(journal, "rejected")
        assert rejected.read_bytes().startswith(b'{"id":"gen-1"')
        assert "generation gen-1" in caplog.text
        assert "rejected=1>" in repr(ledger)

    async def test_what_cannot_even_be_written_down(self, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
        """Spoils no answer; it is counted and said."""
        ledger.record(make_generation(1, trace={"x": object()}))

        assert ledger.lost == 1
        assert "generation gen-1 cannot be written down" in caplog.text

    async def test_closing_writes_what_waits(self, url: str, journal: Path) -> None:
        """And leaves nothing behind; what comes later is lost, which is said."""
        ledger = Ledger(url, journal)
        await ledger.start()
        for number in range(700):
            ledger.record(make_generation(number))
        await ledger.close()
        assert names_in(journal) == []
        ledger.record(make_generation(700))

        assert ledger.lost == 1
        assert await stored_ids(url, journal) == list(range(700))

    async def test_checking_starts_nothing(self, url: str, journal: Path) -> None:
        """But says what is wrong before anything is served."""
        Ledger(url, journal).check()
        assert names_in(journal) == []

        with pytest.raises(ConfigError, match=r"ledger\.journal: cannot write in /proc/journal"):
            Ledger(url, Path("/proc/journal")).check()
        broken = Ledger(url, Path("/proc/journal"))
        with pytest.raises(ConfigError, match=r"ledger\.journal"):
            await broken.start()


class TestKilledProcesses:
    """SIGKILL, at any moment."""

    @pytest.mark.parametrize("records", [1, 40, 1_500])
    async def test_nothing_is_lost(self, url: str, journal: Path, records: int) -> None:
        """Of all for which `record` has returned, and none is there twice."""
        numbers = returned(start_process(url, journal, 0), records)

        assert numbers == list(range(len(numbers)))
        stored = await stored_ids(url, journal)
        assert stored[: len(numbers)] == numbers
        assert len(stored) - len(numbers) in (0, 1)  # the last may have been recorded and not yet said

    async def test_while_the_database_is_locked(self, tmp_path: Path, journal: Path) -> None:
        """Then all of it is in the journal."""
        url = new_database("sqlite", tmp_path)
        process = start_process(url, journal, 0)
        lock = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, timeout=20)
        lock.execute("BEGIN IMMEDIATE")
        numbers = returned(process, 2_000)
        lock.execute("COMMIT")
        lock.close()

        assert (await stored_ids(url, journal))[: len(numbers)] == numbers

    async def test_again_and_again(self, url: str, journal: Path) -> None:
        """Each process takes over from the one before, and is killed itself."""
        numbers: list[int] = []
        for first in (0, 100_000, 200_000):
            numbers += returned(start_process(url, journal, first), 50)

        assert set(numbers) <= set(await stored_ids(url, journal))

    async def test_beside_a_process_that_lives(self, url: str, journal: Path) -> None:
        """Two write at a time; one is killed, the other goes on undisturbed, and a third takes over."""
        living = start_process(url, journal, 0, 1_000)
        killed = start_process(url, journal, 100_000)
        numbers = returned(killed, 300)
        living.communicate()
        assert living.returncode == 0

        stored = await stored_ids(url, journal)
        assert set(stored) >= {*range(1_000), *numbers}
        assert len(stored) - 1_000 - len(numbers) in (0, 1)

    async def test_a_process_that_lives_takes_over(self, url: str, journal: Path, ledger: Ledger) -> None:
        """At once when one of the generations is asked for."""
        start_process(url, journal, 0, 20, "abrupt").communicate()
        assert await ledger.find("gen-7") == make_generation(7)
        assert await ledger.costs() == {KEY: 20 * COST}

    async def test_a_process_that_lives_takes_over_by_itself(self, url: str, journal: Path) -> None:
        """Within seconds, though nobody asks."""
        ledger = Ledger(url, journal, adopt_interval_s=0.05)
        await ledger.start()
        start_process(url, journal, 100, 20, "abrupt").communicate()
        async with asyncio.timeout(20):
            while await ledger.costs() != {KEY: 20 * COST}:  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.02)
        await ledger.close()

    async def test_an_end_without_closing(self, url: str, journal: Path) -> None:
        """The process is gone before its writer was there."""
        start_process(url, journal, 0, 20, "abrupt").communicate()

        assert await stored_ids(url, journal) == list(range(20))


class TestUnavailability:
    """Database down, disk full."""

    @pytest.fixture
    def server(self) -> PostgresServer:
        return postgres()

    async def test_the_database_comes_back(
        self, server: PostgresServer, journal: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What was recorded meanwhile is written; from a size of the journal on, new requests are to be refused."""
        ledger = Ledger(server.new_url(), journal, max_backlog_bytes=50_000)
        await ledger.start()
        ledger.record(make_generation(0))
        await ledger.flush()
        server.stop()
        try:
            ledger.record(make_generation(1))
            assert ledger.why_not_ready() is None
            for number in range(2, 3_000):
                ledger.record(make_generation(number))
            assert ledger.why_not_ready() == "the ledger's database does not keep up, and its journal is full"
            flushing = asyncio.create_task(ledger.flush())
            with pytest.raises(DatabaseUnavailable):
                await ledger.find("gen-0")
            async with asyncio.timeout(10):
                while "cannot write the ledger: postgresql" not in caplog.text:  # noqa: ASYNC110 - nor does a log
                    await asyncio.sleep(0.01)
        finally:
            server.start()
        async with asyncio.timeout(30):
            await flushing

        assert ledger.why_not_ready() is None
        assert ledger.lost == 0
        assert await ledger.costs() == {KEY: 3_000 * COST}
        await ledger.close()
        assert names_in(journal) == []

    async def test_closing_without_it(
        self, server: PostgresServer, journal: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Leaves the records to the next start, and says so."""
        url = server.new_url()
        ledger = Ledger(url, journal)
        await ledger.start()
        server.stop()
        try:
            for number in range(10):
                ledger.record(make_generation(number))
            await ledger.close(timeout_s=0.3)
            assert "10 generations stay in the journal" in caplog.text
            with pytest.raises(ConfigError, match=r"ledger\.url: postgresql ledger_\d+"):
                Ledger(url, journal).check()
        finally:
            server.start()

        assert await stored_ids(url, journal) == list(range(10))

    async def test_closing_without_it_when_the_disk_was_full(self, server: PostgresServer, journal: Path) -> None:
        """What is in memory only goes to the journal, which takes it again."""
        url = server.new_url()
        ledger = Ledger(url, journal)
        await ledger.start()
        server.stop()
        try:
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
            try:
                ledger.record(make_generation(0))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert only(journal, "jsonl").read_bytes() == b""
            await ledger.close(timeout_s=0.2)
            assert ledger.lost == 0
        finally:
            server.start()

        assert await stored_ids(url, journal) == [0]

    @pytest.mark.parametrize(
        ("kind", "written_meanwhile", "complaint"),
        [
            ("sqlite", False, "cannot write the ledger: sqlite"),
            ("postgresql", True, "cannot write the ledger's journal"),
        ],
    )
    def test_a_full_disk(
        self, tmp_path: Path, journal: Path, kind: str, written_meanwhile: bool, complaint: str
    ) -> None:
        """Generations wait in memory, and go to a database that is elsewhere.

        When memory is full, too, they are lost, counted and reported; afterwards everything goes on.
        """
        done = subprocess.run(
            [sys.executable, str(HERE / "ledger_disk_full.py"), new_database(kind, tmp_path), str(journal)],
            capture_output=True,
            text=True,
            check=True,
        )

        first, then, counts, end, costs = done.stdout.splitlines()
        assert first == "ready with one in memory: None"
        assert then == "then: the ledger can write neither its journal nor its database"
        words = counts.split()
        recorded, lost, held = int(words[1]), int(words[3]), int(words[5])
        assert lost == 1
        assert written_meanwhile == (recorded > 2 * held)  # it is not ready once its memory is half full
        assert end == "in the end: None"
        assert Decimal(costs.split()[1]) == (recorded - lost + 1) * COST
        assert complaint in done.stderr
        assert names_in(journal) == []

    async def test_a_journal_whose_end_is_torn(self, url: str, journal: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Is read up to there."""
        process = start_process(url, journal, 0, 3, "abrupt")
        process.communicate()
        segment = only(journal, "jsonl")
        segment.write_bytes(segment.read_bytes() + b'{"id":"gen-99","created":17')

        with caplog.at_level(logging.WARNING):
            assert await stored_ids(url, journal) == [0, 1, 2]
        assert "ends with half a line (27 bytes)" in caplog.text
        assert "writing 3 generations that an earlier process left in the journal" in caplog.text


class TestReading:
    """What is asked of it, as the management API answers."""

    async def test_a_generation(self, ledger: Ledger) -> None:
        """With the documented members, and none besides."""
        attempts = [
            AttemptRecord(provider="bmce", tag="bmce", outcome="TimedOut", status=None, duration_s=10.0, model="a/one"),
            AttemptRecord(
                provider="acme",
                provider_name="Acme",
                tag="acme/fp8",
                outcome="served",
                status=200,
                duration_s=0.25,
                model="a/one",
            ),
        ]
        usage = Usage(prompt_tokens=9, completion_tokens=8, cached_tokens=7, reasoning_tokens=6, image_tokens=5)
        ledger.record(
            make_generation(
                1,
                attempts=attempts,
                usage=usage,
                requested_models=["openrouter/auto"],
                provider_name="Acme",
                normalized_prompt_tokens=10,
                app_url="https://app.example.com/x?y",
                user="u-1",
            )
        )
        found = await ledger.find("gen-1")
        assert found is not None
        answer = report_generation(found)

        assert {name: value for name, value in answer.items() if value is not None} == {
            "id": "gen-1",
            "created_at": "2026-02-14T04:25:12.500000+00:00",
            "api_type": "completions",
            "model": "a/one",
            "router": "openrouter/auto",
            "provider_name": "Acme",
            "streamed": True,
            "cancelled": False,
            "finish_reason": "stop",
            "native_finish_reason": "stop",
            "total_cost": COST,
            "usage": COST,
            "is_byok": False,
            "tokens_prompt": 10,
            "tokens_completion": 8,
            "native_tokens_prompt": 9,
            "native_tokens_completion": 8,
            "native_tokens_completion_images": 5,
            "native_tokens_reasoning": 6,
            "native_tokens_cached": 7,
            "latency": 125,
            "generation_time": 500,
            "origin": "https://app.example.com",
            "http_referer": "https://app.example.com/x?y",
            "external_user": "u-1",
            "data_region": "global",
            "provider_responses": [
                {
                    "status": None,
                    "provider_name": "bmce",
                    "endpoint_id": "bmce",
                    "model_permaslug": "a/one",
                    "latency": 10_000,
                    "is_byok": False,
                },
                {
                    "status": 200,
                    "provider_name": "Acme",
                    "endpoint_id": "acme/fp8",
                    "model_permaslug": "a/one",
                    "latency": 250,
                    "is_byok": False,
                },
            ],
        }
        assert set(answer) == DOCUMENTED

    @pytest.mark.parametrize("name", ["openrouter/free", "~a/one-latest"])
    def test_routers(self, name: str) -> None:
        """Aliases of a family's latest find a model, too; a model's own name does not."""
        assert name == report_generation(make_generation(1, requested_models=[name, "a/two"]))["router"]
        assert report_generation(make_generation(1, requested_models=["a/one", name]))["router"] is None

    def test_a_generation_that_reached_nobody(self) -> None:
        """Has no native counts, and the model that was asked for."""
        nothing = make_generation(
            1,
            ending="cancelled",
            model=None,
            provider=None,
            attempts=[],
            usage=Usage(prompt_tokens=4, estimated=True, reported_cost=Decimal("0.25")),
            latency_s=None,
            app_url="http://[broken",
        )
        answer = report_generation(nothing)

        shown = (
            "model",
            "cancelled",
            "provider_responses",
            "native_tokens_prompt",
            "tokens_prompt",
            "latency",
            "origin",
        )
        assert [answer[name] for name in shown] == ["a/one", True, None, None, 4, None, ""]
        assert answer["upstream_inference_cost"] == Decimal("0.25")

    async def test_activity(self, ledger: Ledger) -> None:
        """Per day, model and endpoint; what found no model is left out."""
        ledger.record(make_generation(1))
        ledger.record(make_generation(2, created=CREATED_S + 86400))
        ledger.record(make_generation(3, model=None, provider=None, endpoint=None, cost=Cost()))
        await ledger.flush()
        activity = await ledger.activity(dt.date(2026, 2, 14), dt.date(2026, 2, 16))
        rows = report_activity(activity, {"acme": "Acme", "bmce": "Bmce"})

        assert [row["date"] for row in rows] == ["2026-02-15", "2026-02-14"]
        assert rows[1] == {
            "date": "2026-02-14",
            "model": "a/one",
            "model_permaslug": "a/one",
            "endpoint_id": "acme/fp8",
            "provider_name": "Acme",
            "usage": COST,
            "byok_usage_inference": 0,
            "requests": 1,
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "reasoning_tokens": 1,
        }
        assert ["acme", "acme"] == [row["provider_name"] for row in report_activity(activity, {})]
        (one,) = await ledger.activity(dt.date(2026, 2, 15), dt.date(2026, 2, 16), by=["key_hash"], key_hash=KEY)
        assert (one.key_hash, one.requests, one.day) == (KEY, 1, None)

    async def test_costs_since(self, ledger: Ledger) -> None:
        """From a moment on, for a budget that is reset."""
        ledger.record(make_generation(1))
        ledger.record(make_generation(2, created=CREATED_S + 60))
        await ledger.flush()

        assert await ledger.costs(CREATED_S + 60, key_hash=KEY) == {KEY: COST}
        assert await ledger.costs(CREATED_S, key_hash=KEY) == {KEY: 2 * COST}
        assert await ledger.costs(key_hash="nobody") == {}


DOCUMENTED = {
    *("id", "upstream_id", "request_id", "session_id", "model", "provider_name", "created_at", "api_type", "streamed"),
    *("cancelled", "finish_reason", "native_finish_reason", "service_tier", "total_cost", "usage"),
    *("upstream_inference_cost", "cache_discount", "is_byok", "tokens_prompt", "tokens_completion"),
    *("native_tokens_prompt", "native_tokens_completion", "native_tokens_completion_images"),
    *("native_tokens_reasoning", "native_tokens_cached", "num_media_prompt", "num_input_audio_prompt"),
    *("num_media_completion", "num_search_results", "num_fetches", "web_search_engine", "latency", "generation_time"),
    *("moderation_latency", "app_id", "origin", "http_referer", "user_agent", "external_user", "preset_id", "router"),
    *("data_region", "workspace_id", "response_cache_source_id", "provider_responses"),
}
"""API digest, 8.1."""


class TestRetention:
    """`keep_days`."""

    @pytest.mark.parametrize(
        ("keep_days", "left"), [(0, ["gen-2"]), (1, ["gen-1", "gen-2"]), (2, ["gen-0", "gen-1", "gen-2"])]
    )
    async def test_whole_days_are_kept(self, url: str, journal: Path, keep_days: int, left: list[str]) -> None:
        """Today, and so many before it; the sums stay."""
        ledger = Ledger(url, journal, clock=lambda: CREATED_S + 2 * 86400)
        await ledger.start()
        for number in range(3):
            ledger.record(make_generation(number, created=CREATED_S + number * 86400))
        await ledger.flush()

        assert await ledger.retire(keep_days) == 3 - len(left)
        assert [name for number in range(3) if await ledger.find(name := f"gen-{number}")] == left
        assert await ledger.costs() == {KEY: 3 * COST}
        await ledger.close()

    async def test_it_happens_by_itself(self, url: str, journal: Path) -> None:
        """At the start, and from then on every hour."""
        before = Ledger(url, journal)
        await before.start()
        before.record(make_generation(0))
        await before.close()
        ledger = Ledger(url, journal, keep_days=1)
        await ledger.start()

        async with asyncio.timeout(10):
            while await ledger.find("gen-0"):  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.01)
        assert await ledger.costs() == {KEY: COST}
        await ledger.close()
