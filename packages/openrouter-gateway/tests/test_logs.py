"""Log lines: their two shapes, which generation they belong to, and what is never in them."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import KEY, make_generation

from openrouter_gateway.core.usage import Cost
from openrouter_gateway.logs import (
    JSONFormatter,
    TextFormatter,
    bind_generation,
    bind_request,
    configure_logging,
    hide_keys,
    log_generation,
    request_id_of,
)

CANARY = "sk-or-v1-0e6f3a9c1e775f3a9c1e77"


@pytest.fixture
def lines() -> Iterator[Callable[[Any], list[str]]]:
    """Return a function that sets logging up, the first time, and returns the lines so far."""
    root = logging.getLogger()
    gateway = logging.getLogger("openrouter_gateway")
    handlers, level, gateway_level = root.handlers[:], root.level, gateway.level
    stream = io.StringIO()

    def read(log_format: Any) -> list[str]:
        if root.handlers == handlers:
            configure_logging(log_format, stream)
        return stream.getvalue().splitlines()

    yield read
    root.handlers[:] = handlers
    root.setLevel(level)
    gateway.setLevel(gateway_level)


def record(message: str, *arguments: Any, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("openrouter_gateway.serve", logging.WARNING, "x.py", 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


class TestJSON:
    """One object per line."""

    def test_a_line(self) -> None:
        line = json.loads(JSONFormatter().format(record("%s failed", "it", generation_id="gen-1")))
        assert ("warning", "openrouter_gateway.serve", "it failed", "gen-1") == (
            line["level"],
            line["logger"],
            line["message"],
            line["generation_id"],
        )
        assert line["time"].endswith("+00:00")

    @given(st.text())
    def test_any_message_is_one_line(self, message: str) -> None:
        """Providers may say anything, with line ends and quotes in it."""
        line = JSONFormatter().format(record("%s", message))
        assert 1 == len(line.encode().split(b"\n"))
        assert isinstance(json.loads(line)["message"], str)

    def test_exceptions(self) -> None:
        made = record("failed")
        failure = ValueError(f"with {CANARY} in it")
        made.exc_info = (ValueError, failure, None)
        line = JSONFormatter().format(made)
        assert "ValueError: with [key] in it" in json.loads(line)["exception"]
        assert CANARY not in line
        assert CANARY not in TextFormatter().format(made)

    async def test_lines_say_whose_they_are(self) -> None:
        """Each task's are its own, and those of tasks that it starts."""

        async def write() -> Any:
            await asyncio.sleep(0)
            return json.loads(JSONFormatter().format(record("x"))).get("generation_id")

        async def generate(name: str) -> list[Any]:
            bind_generation(name)
            return [await write(), await asyncio.create_task(write())]

        found = await asyncio.gather(generate("gen-1"), generate("gen-2"))
        assert [["gen-1"] * 2, ["gen-2"] * 2] == found
        assert await write() is None

    async def test_requests(self) -> None:
        """Beside the generation's id, where there is one."""

        async def serve(name: str) -> Any:
            bind_request(name)
            await asyncio.sleep(0)
            return json.loads(JSONFormatter().format(record("x")))

        found = await asyncio.gather(asyncio.create_task(serve("req-1")), asyncio.create_task(serve("req-2")))
        assert ["req-1", "req-2"] == [line["request_id"] for line in found]
        assert "request_id" not in json.loads(JSONFormatter().format(record("x")))


@pytest.mark.parametrize("given", [b"req-42", b"a.b_c:d/e+f=", b"7" * 128])
def test_a_callers_request_id_is_taken(given: bytes) -> None:
    assert given.decode() == request_id_of(given)


@pytest.mark.parametrize("given", [None, b"", b"two words", b'x","level":"no', b"x" * 129, b"-x", b"\xe9", b"x\n"])
def test_what_is_no_plain_word_is_not(given: bytes | None) -> None:
    """It would be the caller's text in a log line."""
    made = request_id_of(given)
    assert re.fullmatch("[0-9a-f]{16}", made)
    assert made != request_id_of(given)


class TestGenerations:
    """The line of a generation."""

    def test_facts(self, lines: Callable[[Any], list[str]]) -> None:
        """What it was and what it took, with all digits."""
        lines("json")
        log_generation(make_generation(1, cost=Cost(prompt=Decimal("0.000000000000000001")), user="a person"))
        (line,) = lines("json")
        written = json.loads(line, parse_float=Decimal)
        expected = {
            "logger": "openrouter_gateway.generations",
            "generation_id": "gen-1",
            "model": "a/one",
            "endpoint": "acme/fp8",
            "status": 200,
            "ending": "finished",
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "cost": Decimal("1E-18"),
            "key_hash": KEY,
        }
        assert expected == {name: written[name] for name in expected}
        assert "a person" not in line

    def test_text(self, lines: Callable[[Any], list[str]]) -> None:
        lines("text")
        log_generation(make_generation(1))
        (line,) = lines("text")
        assert line.endswith("INFO openrouter_gateway.generations: gen-1 a/one 200")


class TestSetUp:
    """`configure_logging`."""

    def test_what_is_shown(self, lines: Callable[[Any], list[str]]) -> None:
        """Warnings of all, notices of the gateway's own."""
        lines("text")
        logging.getLogger("other").info("quiet")
        logging.getLogger("other").warning("loud")
        logging.getLogger("openrouter_gateway.app").info("a notice")
        assert ["loud", "a notice"] == [line.partition(": ")[2] for line in lines("text")]

    def test_twice_is_once(self, lines: Callable[[Any], list[str]]) -> None:
        lines("json")
        stream = io.StringIO()
        configure_logging("json", stream)
        logging.getLogger("other").warning("loud")
        assert ([], 1) == (lines("json"), len(stream.getvalue().splitlines()))


class TestKeys:
    """What looks like a key is not written."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (f"key {CANARY} refused", "key [key] refused"),
            ("Authorization: Bearer abcdef123456", "Authorization: Bearer [key]"),
            ("basic dXNlcjpwYXNz", "basic [key]"),
            ("https://me:secret@example.com/x", "https://[key]@example.com/x"),
            ("pk-lf-0123456789ab and lsv2_pt_0123456789ab", "[key] and [key]"),
            ("gen-1771043112-abcdefghij0123456789 of openai/gpt-4o-mini", None),
            ("a task at http://example.com:80/path", None),
        ],
    )
    def test_vectors(self, text: str, expected: str | None) -> None:
        """Ids, models and addresses stay."""
        assert (text if expected is None else expected) == hide_keys(text)
