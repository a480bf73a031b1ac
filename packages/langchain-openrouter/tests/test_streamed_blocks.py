"""Standard content blocks of streamed answers: the same as of whole ones, in every way that LangChain streams."""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any, cast

import pytest
from langchain_core.language_models._compat_bridge import chunks_to_events
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from scripted_server import Json, ScriptedServer, completion, event, json_reply, sse_reply

from langchain_openrouter import ChatOpenRouter
from langchain_openrouter._blocks import EventChunks
from langchain_openrouter._stream import ReplyStream

PNG, GIF = ({"image_url": {"url": f"data:image/{kind};base64,{data}"}} for kind, data in (("png", "AA"), ("gif", "BB")))
CITED = [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]
CALL: Json = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}

ANSWERS: dict[str, tuple[list[Json], Json]] = {
    "text": ([{"content": "Hel"}, {"content": "lo"}], {"content": "Hello"}),
    "reasoning between words": (
        [{"reasoning": "H"}, {"content": "a"}, {"reasoning": "m."}, {"content": "b"}],
        {"reasoning": "Hm.", "content": "ab"},
    ),
    "two images": (
        [{"content": "a"}, {"images": [PNG]}, {"images": [GIF]}],
        {"content": "a", "images": [PNG, GIF]},
    ),
    "images of a new kind": (
        [{"images": [PNG, {"new": 1}, {"new": 2}]}],
        {"content": None, "images": [PNG, {"new": 1}, {"new": 2}]},
    ),
    "citations": ([{"content": "a"}, {"annotations": CITED}], {"content": "a", "annotations": CITED}),
    "citations behind a call": (
        [{"content": "a"}, {"tool_calls": [CALL], "annotations": CITED}],
        {"content": "a", "annotations": CITED, "tool_calls": [CALL]},
    ),
    "citations and a call without text": (
        [{"tool_calls": [CALL], "annotations": CITED}],
        {"content": None, "annotations": CITED, "tool_calls": [CALL]},
    ),
    "citations alone": ([{"annotations": CITED}], {"content": None, "annotations": CITED}),
    "a refusal": ([{"refusal": "No, "}, {"refusal": "No, "}], {"content": None, "refusal": "No, No, "}),
    "a refusal and an image": (
        [{"refusal": "No."}, {"images": [{"new": 1}]}],
        {"content": None, "refusal": "No.", "images": [{"new": 1}]},
    ),
    "nothing": ([], {"content": None}),
}


def stripped(blocks: Any) -> list[Json]:
    """Return blocks without the names by which LangChain merges those of chunks."""
    return [{k: v for k, v in block.items() if k != "index"} for block in blocks]


def by_kind(blocks: list[Json]) -> list[Json]:
    """Order blocks by kind: those of a stream are in the order of their arrival."""
    return sorted(blocks, key=lambda block: block["type"])


def from_events(output: AIMessage) -> list[Json]:
    assert isinstance(output.content, list | str)
    return stripped(output.content_blocks)


@pytest.mark.filterwarnings("ignore:.* is in beta")
@pytest.mark.parametrize("way", ["v0", "v1", "typed events", "typed events, async"])
@pytest.mark.parametrize(("deltas", "message"), ANSWERS.values(), ids=ANSWERS.keys())
def test_streamed_as_whole(server: ScriptedServer, deltas: list[Json], message: Json, way: str) -> None:
    finish = "tool_calls" if "tool_calls" in message else "stop"
    body = completion(**message)
    server.answer(json_reply(body), sse_reply(*map(event, deltas), event({}, finish)))
    version = "v1" if way == "v1" else None
    model = ChatOpenRouter(model="acme/one", base_url=server.url, output_version=version)
    whole = model.invoke("hi")
    if way == "typed events":
        found = from_events(cast("Any", model.stream_events("hi", version="v3")).output)
    elif way == "typed events, async":
        found = from_events(asyncio.run(output_of(model)))
    else:
        full: AIMessageChunk | None = None
        for chunk in model.stream("hi"):
            full = chunk if full is None else full + chunk
        assert full is not None
        found = stripped(full.content_blocks)
    assert by_kind(found) == by_kind(stripped(whole.content_blocks))


async def output_of(model: ChatOpenRouter) -> AIMessage:
    stream: Any = await cast("Any", model.astream_events("hi", version="v3"))
    return await stream.output


def test_every_chunk_shows_its_own_blocks() -> None:
    """In the order of arrival; what LangChain cannot add up comes at the end."""
    deltas = [
        {"reasoning": "Hm."},
        {"content": "a", "tool_calls": [CALL]},
        {"images": [PNG, GIF], "annotations": CITED},
    ]
    stream = ReplyStream()
    pieces = sse_reply(*map(event, deltas), event({}, "stop")).pieces
    generations = [g for piece in pieces for g in stream.feed(piece)] + list(stream.finish())
    shown = [[(b["type"], b.get("index")) for b in g.message.content_blocks] for g in generations]
    assert shown == [
        [("reasoning", "lc_reasoning_0")],
        [("text", "lc_text_0"), ("tool_call_chunk", "lc_tool_0")],
        [("text", "lc_text_0")],
        [("image", "lc_image_0"), ("image", "lc_image_1")],
    ]


@pytest.mark.filterwarnings("ignore:.* is in beta")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_audio_and_logprobs_of_typed_events(server: ScriptedServer, asynchronous: bool) -> None:
    """LangChain would keep the last piece of both."""
    spoken = [base64.b64encode(piece).decode() for piece in (b"abc", b"defg", b"hi")]
    events = [event({"content": "x", "audio": {"id": "i", "data": piece}}) for piece in spoken]
    for number, body in enumerate(events):
        body["choices"][0]["logprobs"] = {"content": [{"token": str(number), "logprob": -1}]}
    server.answer(sse_reply(*events, event({}, "stop")))
    model = ChatOpenRouter(model="acme/one", base_url=server.url)
    output: AIMessage = (
        asyncio.run(output_of(model)) if asynchronous else cast("Any", model.stream_events("hi", version="v3")).output
    )
    blocks = {block["type"]: block for block in stripped(output.content_blocks)}
    assert blocks["audio"]["base64"] == base64.b64encode(b"abcdefghi").decode()
    assert blocks["text"]["text"] == "xxx"
    assert [entry["token"] for entry in output.response_metadata["logprobs"]["content"]] == ["0", "1", "2"]
    assert (output.id or "").startswith("lc_run-")


class TestEventChunks:
    """Audio and logprobs: LangChain's typed events keep the last piece only, so they get one."""

    def chunks(self) -> Iterator[ChatGenerationChunk]:
        stream = ReplyStream()
        for data, transcript in ((b"abc", "a"), (b"defg", "b")):
            delta = {
                "content": "x",
                "audio": {"id": "i", "data": base64.b64encode(data).decode(), "transcript": transcript},
            }
            body = event(delta)
            body["choices"][0]["logprobs"] = {"content": [{"token": transcript, "logprob": -1}]}
            yield from stream.feed(sse_reply(body, done=False).pieces[0])
        yield from stream.feed(sse_reply(event({}, "stop"), done=False).pieces[0])
        yield from stream.finish()

    def test_arrive_whole(self) -> None:
        events: list[Any] = list(chunks_to_events(map(EventChunks().take, self.chunks())))
        finished = {e["content"]["type"]: e["content"] for e in events if e["event"] == "content-block-finish"}
        assert finished["audio"]["base64"] == base64.b64encode(b"abcdefg").decode()
        assert finished["text"]["text"] == "xx"
        (end,) = (e for e in events if e["event"] == "message-finish")
        assert [entry["token"] for entry in end["metadata"]["logprobs"]["content"]] == ["a", "b"]
        assert end["additional_kwargs"]["audio"]["transcript"] == "ab"

    def test_leave_the_chunks_of_others_alone(self) -> None:
        held = EventChunks()
        given = list(self.chunks())
        before = [generation.message.model_dump() for generation in given]
        assert [held.take(generation).message.text for generation in given] == ["x", "x", ""]
        assert [generation.message.model_dump() for generation in given] == before

    def test_nothing_held_is_nothing_added(self) -> None:
        stream = ReplyStream()
        chunks = [*stream.feed(sse_reply(event({"content": "a"}, "stop")).pieces[0]), *stream.finish()]
        assert list(map(EventChunks().take, chunks)) == chunks
