"""Reasoning details: fragments merge to exactly the blocks they were cut from, and those go back unmodified."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, message_chunk_to_message
from scripted_server import Json, ScriptedServer, completion, event, json_reply, sse_reply

from langchain_openrouter import ChatOpenRouter
from langchain_openrouter._messages import to_wire
from langchain_openrouter._replies import merge_reasoning_details
from langchain_openrouter._stream import ReplyStream

WORDS = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""Kinds that are streamed word by word, and where their words are; the others come whole."""

words = st.text(min_size=1, max_size=12)
maybe_null = st.none() | st.text("ab", min_size=1, max_size=3)
common = {"format": maybe_null, "id": maybe_null}
blocks = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("reasoning.text"), "text": words}, optional={"signature": maybe_null, **common}
    ),
    st.fixed_dictionaries({"type": st.just("reasoning.summary"), "summary": words}, optional=common),
    st.fixed_dictionaries({"type": st.just("reasoning.encrypted"), "data": words}, optional=common),
    st.fixed_dictionaries(
        {"type": st.just("reasoning.server_tool_call"), "tool_name": words, "arguments": words, "result": words},
        optional={"tool_call_id": words, **common},
    ),
)


def fragments_of(block: Json, sizes: list[int], *, style: frozenset[str] = frozenset()) -> list[Json]:
    """Cut a block as servers stream it: id and format come first, the signature last.

    Args:
        block: The whole.
        sizes: Of the pieces of its text.
        style: What the server does with later fragments: "repeat format", "drop index", "write nulls".
    """
    key = WORDS.get(block["type"])
    if key is None:
        return [block]
    known = {k: block[k] for k in ("type", "index", "format") if k in block}
    first = {k: v for k, v in block.items() if k not in (key, "signature")}
    pieces: list[str] = []
    rest: str = block[key]
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    if "drop index" in style:
        known.pop("index", None)
    if "repeat format" not in style:
        known.pop("format", None)
    if "write nulls" in style:
        known = {**{k: None for k in block if k not in known and k != key}, **known}
    texts = [piece for piece in [*pieces, rest] if piece]
    fragments = [{**(known if position else first), key: text} for position, text in enumerate(texts)]
    if block.get("signature") is not None:
        fragments.append({**known, "signature": block["signature"]})
    elif "signature" in block:
        fragments[0]["signature"] = None
    return fragments


def are_told_apart(before: Json, after: Json) -> bool:
    """Tell whether the end of a block can be seen in the stream at all."""
    if before["type"] != after["type"] or before.get("index") != after.get("index") or before.get("signature"):
        return True
    if before.get("id") is not None and after.get("id") is not None and before["id"] != after["id"]:
        return True
    return after["type"] not in WORDS and ("index" not in after or before.get("data") != after.get("data"))


styles = st.frozensets(st.sampled_from(["repeat format", "drop index", "write nulls"]))


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Json], list[list[Json]]]:
    """Draw a whole list, and the events that stream it."""
    whole: list[Json] = draw(st.lists(blocks, min_size=1, max_size=5))
    numbering, named = draw(st.sampled_from(["each", "one for all", "none"])), draw(st.booleans())
    for position, block in enumerate(whole):
        if named:
            block["id"] = f"rs_{position}"
        if numbering != "none":
            block["index"] = position if numbering == "each" else 0
    assume(all(map(are_told_apart, whole, whole[1:])))
    events: list[list[Json]] = []
    for block in whole:
        sizes = draw(st.lists(st.integers(min_value=1, max_value=4), max_size=4))
        fragments = fragments_of(block, sizes, style=draw(styles))
        for fragment in fragments:
            # Without indexes only the beginning of a block may share an event with what is before it.
            alone = fragment.get("index") is None and block["type"] in WORDS
            if events and not alone and draw(st.booleans()):
                events[-1].append(fragment)
            else:
                events.append([fragment])
    return whole, events


def streamed(events: list[list[Json]]) -> AIMessage:
    stream = ReplyStream()
    wire = [*(event({"reasoning_details": fragments}) for fragments in events), event({"content": "a"}, "stop")]
    generations = [g for e in wire for g in stream.feed(b"data: " + json.dumps(e).encode() + b"\n\n")]
    messages = [g.message for g in [*generations, *stream.finish()] if isinstance(g.message, AIMessageChunk)]
    first, *others = messages
    message = message_chunk_to_message(first + others)
    assert isinstance(message, AIMessage)
    return message


@given(answer=answers())
def test_any_split_merges_to_the_whole(answer: tuple[list[Json], list[list[Json]]]) -> None:
    """Signed, encrypted, summarised; numbered or not; with id and format on the first fragment only, or null."""
    whole, events = answer
    before = json.dumps(events)
    assert merge_reasoning_details(events) == whole
    message = streamed(events)
    assert message.additional_kwargs["reasoning_details"] == whole
    assert to_wire([message])[0]["reasoning_details"] == whole
    assert json.dumps(events) == before


@given(whole=st.lists(blocks | st.dictionaries(st.text(max_size=3), st.none() | words), min_size=1, max_size=4))
def test_what_came_whole_goes_back_unmodified(whole: list[Json]) -> None:
    """Also blocks that look like fragments of one: only the server knows."""
    message = AIMessage("a", additional_kwargs={"reasoning_content": "x", "reasoning_details": whole})
    assert to_wire([message]) == [{"role": "assistant", "content": "a", "reasoning_details": whole}]


@pytest.mark.parametrize("stream", [False, True])
def test_the_next_request_holds_the_blocks_of_the_answer(server: ScriptedServer, stream: bool) -> None:
    """Two summaries of one index are two blocks when they came whole, as OpenAI's do."""
    signed = {"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
    summaries = [{"type": "reasoning.summary", "summary": part, "id": "rs_1", "index": 1} for part in ("A", "B")]
    details = [signed, {"type": "reasoning.encrypted", "data": "zz", "id": "rs_0", "index": 0}, *summaries]
    if stream:
        first, *others = fragments_of(signed, [1, 1], style=frozenset({"repeat format"}))
        events = [event({"reasoning_details": part}) for part in ([first], others, details[1:3])]
        server.answer(sse_reply(*events, event({"content": "a"}, "stop")))
        details = details[:3]
    else:
        server.answer(json_reply(completion("a", reasoning="Hm.", reasoning_details=details)))
    model = ChatOpenRouter(model="acme/one", base_url=server.url, streaming=stream)
    model.invoke([HumanMessage("hi"), model.invoke("hi"), HumanMessage("and?")])
    assert server.seen[-1].body["messages"][1] == {"role": "assistant", "content": "a", "reasoning_details": details}


def test_what_an_older_version_kept_in_pieces_goes_back_whole() -> None:
    """Version 0.2 keeps every streamed fragment; what it writes about the answer says that it was streamed."""
    pieces: list[Json] = [
        {"type": "reasoning.text", "text": "a", "index": 0},
        {"type": "reasoning.text", "text": "b", "index": 0},
        {"type": "reasoning.text", "signature": "s", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
        {"type": "reasoning.encrypted", "data": "y", "index": 1},
        {"type": "reasoning.summary", "summary": "c"},
        {"type": "reasoning.summary", "summary": "d"},
    ]
    whole = [{"type": "reasoning.text", "text": "ab", "signature": "s", "index": 0}, *pieces[3:]]
    for form, sent in (("chat.completion.chunk", whole), ("chat.completion", pieces)):
        message = AIMessage("a", additional_kwargs={"reasoning_details": pieces}, response_metadata={"object": form})
        assert to_wire([message])[0]["reasoning_details"] == sent


PLAIN_AND_DETAILS: dict[str, tuple[list[Any], str]] = {
    "both, repeating each other": ([("a", "a"), ("b", "b")], "ab"),
    "details only": ([(None, "a"), (None, "b")], "ab"),
    "a summary after the plain text": ([("a", "a"), (None, "b")], "a"),
    "plain text after details": ([(None, "a"), ("b", None)], "ab"),
}


@pytest.mark.parametrize(("deltas", "text"), PLAIN_AND_DETAILS.values(), ids=PLAIN_AND_DETAILS.keys())
def test_the_text_of_details_is_not_repeated(deltas: list[Any], text: str) -> None:
    """As in a whole answer, details give the text only where there is no other."""
    stream = ReplyStream()
    seen = ""
    for plain, detail in deltas:
        details = [] if detail is None else [{"type": "reasoning.text", "text": detail, "index": 0}]
        delta = event({"reasoning": plain, "reasoning_details": details})
        for generation in stream.feed(b"data: " + json.dumps(delta).encode() + b"\n\n"):
            seen += generation.message.additional_kwargs.get("reasoning_content", "")
    assert seen == text
