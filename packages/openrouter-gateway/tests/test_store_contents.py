"""The content log on both databases: what is kept, for how long, how much, and what is never kept."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_samples import make_chunk, make_request
from ledger_samples import CREATED_S, make_generation
from sqlalchemy import func, select

from openrouter_gateway.broadcast.content import read_input
from openrouter_gateway.broadcast.transcript import Transcript
from openrouter_gateway.contents import content_of, may_keep
from openrouter_gateway.core.catalog import AccountPolicy
from openrouter_gateway.core.events import Ended, Step
from openrouter_gateway.core.generation import Generation
from openrouter_gateway.errors import Unavailable
from openrouter_gateway.stores.contents import Content, ContentLog, Retention
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.reports import report_content
from openrouter_gateway.stores.schema import CONTENTS
from openrouter_gateway.wire.skins.completions import parse as parse_completion
from openrouter_gateway.wire.skins.embeddings import EMBEDDINGS

DAY_S = 86_400
NO_POLICY = AccountPolicy()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/contents.db")
    await database.open()
    yield database
    await database.close()


def make_log(
    database: Database, *, now: float = CREATED_S, max_generation_bytes: int = 2_000, **more: Any
) -> ContentLog:
    return ContentLog(
        database,
        Retention(keep_days=7, max_bytes=10_000, clock=lambda: now),
        max_generation_bytes=max_generation_bytes,
        without_media=read_input,
        **more,
    )


def make_content(number: int = 0, *, created: float = CREATED_S, text: str = "Hello", **changes: Any) -> Content:
    fields: dict[str, Any] = {
        "id": f"gen-{number}",
        "created": created,
        "key_hash": "k1",
        "asked": {"messages": msgspec.Raw(json.dumps([{"role": "user", "content": text}]).encode())},
        "answer": lambda: [{"role": "assistant", "content": "Hi"}],
        "error": None,
        "size_bytes": 100,
    }
    return Content(**fields | changes)


async def shown(log: ContentLog, generation_id: str = "gen-0") -> dict[str, Any] | None:
    """Return what the API shows of a generation."""
    found = await log.find(generation_id)
    encode = msgspec.json.Encoder(decimal_format="number").encode
    return None if found is None else msgspec.json.decode(encode(report_content(found)))


def files_with(text: bytes, directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if text in path.read_bytes()]


async def count(database: Database) -> int:
    async with database.transaction() as connection:
        return (await connection.execute(select(func.count()).select_from(CONTENTS))).scalar_one()


def keep(
    log: ContentLog, request: Any, generation: Generation, *chunks: dict[str, Any], error: Unavailable | None = None
) -> None:
    transcript = Transcript()
    transcript.take([*(Step(chunk) for chunk in chunks), Ended()])
    for chunk in chunks:
        chunk["choices"] = []
    log.keep(content_of(request, generation, transcript, error))


def record(log: ContentLog, request: Any, *chunks: dict[str, Any], error: Unavailable | None = None) -> None:
    """Keep what was said in these chunks, which are spoiled afterwards as a skin may."""
    keep(log, request, make_generation(0, id="gen-0", created=CREATED_S, key_hash="k1"), *chunks, error=error)


class TestKeeping:
    """From the request and its events to what the API shows."""

    async def test_it_is_as_it_came(self, database: Database) -> None:
        """Messages as the caller wrote them, the answer as one text, and what else the answer has."""
        log = make_log(database)
        messages = [{"role": "user", "content": "Grüße \x00", "unknown": [1.50]}]
        call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
        record(
            log,
            make_request(model="a/one", messages=messages),
            make_chunk({"reasoning": "Hm."}),
            make_chunk({"content": "Hal"}),
            make_chunk({"content": "lo"}),
            make_chunk({"tool_calls": [call]}, finish="tool_calls"),
        )
        found = await shown(log)
        assert found is not None
        assert {"messages": messages} == found["input"]
        assert ("Hallo", "Hm.", None) == (found["output"]["completion"], found["output"]["reasoning"], found["error"])
        assert "f" == found["output"]["messages"][0]["tool_calls"][0]["function"]["name"]

    async def test_a_failure_says_what_went_wrong(self, sqlite: Database) -> None:
        """The last error, with what was said until then."""
        log = make_log(sqlite)
        record(log, make_request(), make_chunk({"content": "Ha"}), error=Unavailable("It broke."))
        found = await shown(log)
        assert found is not None
        assert ("It broke.", 502, "Ha") == (
            found["error"]["message"],
            found["error"]["status"],
            found["output"]["completion"],
        )

    async def test_the_text_form_and_vectors_have_a_prompt(self, sqlite: Database) -> None:
        """And no answer that could be read."""
        log = make_log(sqlite)
        record(log, parse_completion(b'{"model": "a/one", "prompt": "Once"}'), make_chunk({"content": " upon"}))
        found = await shown(log)
        assert found is not None
        assert ({"prompt": "Once"}, " upon") == (found["input"], found["output"]["completion"])
        embeddings = EMBEDDINGS.parse(b'{"model": "a/e", "input": ["x", "y"]}')
        keep(log, embeddings, make_generation(0, id="gen-1", created=CREATED_S), {"data": [{"embedding": [0.5]}]})
        found = await shown(log, "gen-1")
        assert found is not None
        assert ({"prompt": ["x", "y"]}, None) == (found["input"], found["output"]["completion"])

    async def test_nobody_was_tried(self, sqlite: Database) -> None:
        """Then there is no answer, and a reason."""
        log = make_log(sqlite)
        generation = make_generation(0, id="gen-0", created=CREATED_S)
        log.keep(content_of(make_request(), generation, None, Unavailable("Nobody is there")))
        found = await shown(log)
        assert found is not None
        assert (None, "Nobody is there") == (found["output"]["completion"], found["error"]["message"])

    async def test_what_is_long_loses_its_images_first(self, sqlite: Database) -> None:
        """Text alone may be left out, too, in a shape that clients can still read."""
        log = make_log(sqlite)
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000}}
        parts = [{"type": "text", "text": "What is it?"}, image]
        record(log, make_request(messages=[{"role": "user", "content": parts}]), make_chunk({"content": "x" * 3_000}))
        found = await shown(log)
        assert found is not None
        assert ["What is it?", "[image_url omitted]"] == [
            part["text"] for part in found["input"]["messages"][0]["content"]
        ]
        assert "bytes left out" in found["output"]["completion"]
        log.keep(make_content(1, text="y" * 3_000))
        found = await shown(log, "gen-1")
        assert found is not None
        assert "bytes left out" in found["input"]["prompt"]


def test_zero_retention_is_kept_out() -> None:
    """A request with zdr, or a gateway with that policy, leaves nothing."""
    plain, zdr = make_request(), make_request(provider={"zdr": True})
    assert [True, False, False] == [
        may_keep(plain, NO_POLICY),
        may_keep(zdr, NO_POLICY),
        may_keep(plain, AccountPolicy(zdr=True)),
    ]


class TestRetention:
    """What goes."""

    async def test_what_is_too_old_is_neither_shown_nor_kept(self, database: Database) -> None:
        """Not shown from the second on; deleted with the next sweep."""
        log = make_log(database)
        log.keep(make_content(0, created=CREATED_S - 7 * DAY_S - 1))
        log.keep(make_content(1, created=CREATED_S - 7 * DAY_S + 1))
        assert [True, False] == [await shown(log, f"gen-{number}") is None for number in range(2)]
        assert 2 == await count(database)
        retention = Retention(keep_days=7, clock=lambda: CREATED_S)
        assert [1, 0] == [await retention.enforce(database) for _ in range(2)]
        assert 1 == await count(database)

    async def test_the_oldest_goes_when_it_is_too_much(self, database: Database) -> None:
        """What is left fits, and is the newest."""
        log = make_log(database)
        for number in range(30):
            log.keep(make_content(number, created=CREATED_S - 100 + number, text="z" * 900))
        assert await shown(log, "gen-29") is not None
        await Retention(keep_days=7, max_bytes=10_000, clock=lambda: CREATED_S).enforce(database)
        async with database.transaction() as connection:
            size = (await connection.execute(select(func.sum(CONTENTS.c.size_bytes)))).scalar_one()
        assert 8_000 < size <= 10_000
        assert [True, False] == [await shown(log, name) is None for name in ("gen-0", "gen-29")]

    async def test_many_go_in_slices(self, sqlite: Database) -> None:
        """More than one transaction's worth."""
        row = (CREATED_S - 9 * DAY_S) * 1e6
        await sqlite.insert_new(CONTENTS, [(f"g{n}", int(row), None, 1, "{}", "[]", None) for n in range(1_201)])
        assert 1_201 == await Retention(keep_days=7, clock=lambda: CREATED_S).enforce(sqlite)

    async def test_deleted_text_is_not_left_in_the_file(self, sqlite: Database, tmp_path: Path) -> None:
        """Pages that are free hold nothing that was said."""
        log = make_log(sqlite)
        log.keep(make_content(0, created=CREATED_S - 8 * DAY_S, text="canary-4711"))
        await log.find("gen-0")
        assert files_with(b"canary-4711", tmp_path)
        await Retention(keep_days=7, clock=lambda: CREATED_S).enforce(sqlite)
        await sqlite.close()  # which takes the log of changes into the file
        assert not files_with(b"canary-4711", tmp_path)
        await sqlite.open()


class TestTrouble:
    """The queue."""

    async def test_it_is_bounded(self, sqlite: Database) -> None:
        """In records and in bytes; the rest is counted."""
        log = make_log(sqlite, most_records=3, most_bytes=250)
        for number in range(4):
            log.keep(make_content(number))
        assert 2 == log.dropped
        assert await shown(log, "gen-1") is not None
        log.keep(make_content(5))
        assert await shown(log, "gen-5") is not None  # there is room again

    async def test_one_defect_does_not_hold_up_the_others(self, sqlite: Database) -> None:
        """It is left out."""
        log = make_log(sqlite)
        log.keep(make_content(0, answer=lambda: [{"role": object()}]))
        log.keep(make_content(1))
        assert [True, False] == [await shown(log, f"gen-{number}") is None for number in range(2)]

    async def test_it_writes_by_itself_and_at_the_end(self, sqlite: Database) -> None:
        """Without anybody who asks."""
        log = make_log(sqlite)
        log.start()
        log.keep(make_content(0))
        for _ in range(100):
            if await count(sqlite):
                break
            await asyncio.sleep(0.02)
        assert 1 == await count(sqlite)
        log.keep(make_content(1))
        await log.close()
        assert 2 == await count(sqlite)

    async def test_nothing_shows_content(self) -> None:
        """Neither of the values says in its repr what was said."""
        assert "canary" not in repr(make_content(0, text="canary"))
