"""What recording a generation tells the metrics and the broadcast, and what is not even kept."""

from typing import Any

import pytest
from broadcast_samples import ANSWER, QUESTION, make_destination
from ledger_samples import make_generation
from msgspec import Raw, json

from openrouter_gateway.broadcast.attempt import HTTPReply
from openrouter_gateway.broadcast.content import read_input, read_reply
from openrouter_gateway.broadcast.destinations.base import HTTPRequest
from openrouter_gateway.broadcast.observer import Observer, Origin
from openrouter_gateway.broadcast.queue import Broadcaster
from openrouter_gateway.broadcast.record import Record
from openrouter_gateway.core.account import Key
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.core.events import Ended, Step
from openrouter_gateway.core.generation import Generation
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.wire.skins import SKINS
from openrouter_gateway.wire.skins.chat import MAX_TRACE_BYTES, Chat

BODY = {
    "model": "a/one",
    "messages": [{"role": "user", "content": QUESTION}],
    "temperature": 0.5,
    "stop": ["."],
    "trace": {"team": "blue"},
    "user": "user-1",
    "tools": [{"type": "function", "function": {"name": "secret_tool"}}],
}
REQUEST = Chat().parse(json.encode(BODY))
ORIGIN = Origin(traceparent="00-x", request_id="req-1")
KEY = Key(hash="5e" * 32, label="sk-or-v1-5e5...5e5e", name="mine", created_at=0.0)


async def accept(_: HTTPRequest) -> HTTPReply:
    return HTTPReply(status=200)


async def observed(*destinations: Destination) -> tuple[list[Generation], list[Record], bool]:
    """Return what was counted and what was offered of one generation, and whether its answer was gathered."""
    counted: list[Generation] = []
    seen: list[Record] = []
    broadcaster = Broadcaster(send=accept, observe=seen.append if destinations else None)
    await broadcaster.start(destinations)
    observer = Observer(broadcaster, counted.append)
    transcript = observer.transcribe(REQUEST)
    if transcript is not None:
        choice: dict[str, Any] = {"index": 0, "delta": {"content": ANSWER}, "finish_reason": "stop"}
        transcript.take([Step({"choices": [choice]}), Ended()])
    observer.observe(make_generation(1), REQUEST, transcript, ORIGIN, KEY)
    await broadcaster.close()
    return counted, seen, transcript is not None


async def test_content_goes_along_where_it_is_wanted() -> None:
    """By reference, with what it takes up, and with where it came from."""
    counted, (record,), gathered = await observed(make_destination())
    assert ["gen-1"] == [generation.id for generation in counted]
    assert gathered
    assert [{"role": "user", "content": QUESTION}] == read_input(record.request)
    assert [{"role": "assistant", "content": ANSWER}] == read_reply(record.reply)
    assert record.request is REQUEST.fields
    assert record.size_bytes >= len(QUESTION) + len(ANSWER)
    assert ("00-x", "req-1", "mine") == (record.traceparent, record.request_id, record.key_name)


async def test_privacy_keeps_settings_alone() -> None:
    """Nothing of what was asked waits in memory, nor the tools' names."""
    _, (record,), gathered = await observed(make_destination(privacy_mode=True))
    assert not gathered
    assert record.request is not None
    assert {"temperature": Raw(b"0.5"), "stop": Raw(b'["."]'), "tools": Raw(b"[]")} == record.request
    assert record.reply is None
    waits = b'0.5["."][]{"team":"blue"}"user-1"'
    assert len(waits) == record.size_bytes, "what waits is bounded, content or not"


async def test_without_a_destination_it_is_only_counted() -> None:
    counted, offered, gathered = await observed()
    assert (1, [], False) == (len(counted), offered, gathered)


async def test_tasks_have_no_answer_to_read() -> None:
    """Vectors are none."""
    broadcaster = Broadcaster(send=accept)
    await broadcaster.start([make_destination()])
    observer = Observer(broadcaster, lambda _: None)
    assert observer.transcribe(SKINS["/embeddings"].parse(b'{"model":"a/one","input":"x"}')) is None
    assert "<Observer <Broadcaster queued=0 dropped=0" in repr(observer)
    await broadcaster.close()


@pytest.mark.parametrize("flags", [{"enabled": False}, {"privacy_mode": True}])
async def test_what_no_destination_takes_is_not_gathered(flags: dict[str, bool]) -> None:
    _, _, gathered = await observed(make_destination(**flags))
    assert not gathered


async def test_what_may_not_be_kept_is_not_told() -> None:
    """Content waits in memory and on disk; a request for zero retention is broadcast as in privacy mode."""
    seen: list[Record] = []
    broadcaster = Broadcaster(send=accept, observe=seen.append)
    await broadcaster.start([make_destination()])
    Observer(broadcaster, lambda _: None).observe(make_generation(1), REQUEST, None, ORIGIN, KEY, may_keep=False)
    await broadcaster.close()
    assert seen[0].request is not None
    assert "messages" not in seen[0].request
    assert seen[0].size_bytes < len(REQUEST.fields["messages"])


@pytest.mark.parametrize("path", SKINS)
def test_a_trace_has_a_bound(path: str) -> None:
    """It waits in memory and is told with every span; what is too long is refused, and named."""
    content = {"messages": BODY["messages"], "input": "x", "prompt": "x", "query": "x", "documents": ["x"]}
    wanted = {
        "/messages": ["messages"],
        "/responses": ["input"],
        "/embeddings": ["input"],
        "/rerank": ["query", "documents"],
        "/completions": ["prompt"],
    }
    body: dict[str, Any] = {name: content[name] for name in wanted.get(path, ["messages"])} | {"model": "a/one"}
    if path == "/messages":
        body["max_tokens"] = 1

    def parse(most: int) -> dict[str, Any] | None:
        padding = "x" * (most - len('{"team":""}'))
        return SKINS[path].parse(json.encode(body | {"trace": {"team": padding}})).params.trace

    assert parse(MAX_TRACE_BYTES) is not None
    with pytest.raises(BadRequest, match=r"^trace: .* at most 16384 bytes"):
        parse(MAX_TRACE_BYTES + 1)
