"""LangChain messages on the wire: every kind, every spelling, nothing lost."""

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    convert_to_messages,
)
from scripted_server import ScriptedServer

from langchain_openrouter import ChatOpenRouter, ConfigurationError
from langchain_openrouter._messages import to_part, to_wire

Json = dict[str, Any]
CACHE = {"type": "ephemeral"}
CALL: ToolCall = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
WIRE_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
DETAILS = [{"type": "reasoning.encrypted", "data": "x", "id": "rs_1", "index": 0, "new": None}]

MESSAGES: dict[str, tuple[Any, list[Json]]] = {
    "system": (SystemMessage("s"), [{"role": "system", "content": "s"}]),
    "developer": (("developer", "s"), [{"role": "developer", "content": "s"}]),
    "human": (HumanMessage("h"), [{"role": "user", "content": "h"}]),
    "human with a name": (HumanMessage("h", name="Ada"), [{"role": "user", "content": "h", "name": "Ada"}]),
    "human with a name where 0.2 versions looked for it": (
        HumanMessage("h", additional_kwargs={"name": "Ada"}),
        [{"role": "user", "content": "h", "name": "Ada"}],
    ),
    "plain strings in a list": (
        HumanMessage(["a", {"type": "text", "text": "b"}]),
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    ),
    "chat": (ChatMessage(content="c", role="critic"), [{"role": "critic", "content": "c"}]),
    "function": (FunctionMessage(content="r", name="f"), [{"role": "function", "content": "r", "name": "f"}]),
    "tool": (ToolMessage("r", tool_call_id="c1"), [{"role": "tool", "tool_call_id": "c1", "content": "r"}]),
    "tool with an image": (
        ToolMessage([{"type": "image", "url": "u"}], tool_call_id="c1"),
        [
            {
                "role": "tool",
                "tool_call_id": "c1",
                "content": [{"type": "image_url", "image_url": {"url": "u"}}],
            }
        ],
    ),
    "tool results in Anthropic's spelling": (
        HumanMessage([{"type": "tool_result", "tool_use_id": "c1", "content": "r"}, {"type": "text", "text": "t"}]),
        [
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
            {"role": "user", "content": [{"type": "text", "text": "t"}]},
        ],
    ),
    "a result that is marked for the cache": (
        HumanMessage(
            [
                {"type": "tool_result", "tool_use_id": "c1", "content": "r", "cache_control": CACHE},
                {
                    "type": "tool_result",
                    "tool_use_id": "c2",
                    "content": ["a", {"type": "image", "url": "u"}],
                    "cache_control": CACHE,
                },
            ]
        ),
        [
            {
                "role": "tool",
                "tool_call_id": "c1",
                "content": [{"type": "text", "text": "r", "cache_control": CACHE}],
            },
            {
                "role": "tool",
                "tool_call_id": "c2",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": "u"}, "cache_control": CACHE},
                ],
            },
        ],
    ),
    "names of every kind": (
        AIMessage("a", name="Bot"),
        [{"role": "assistant", "content": "a", "name": "Bot"}],
    ),
    "name of a tool": (
        ToolMessage("r", tool_call_id="c1", name="f"),
        [{"role": "tool", "tool_call_id": "c1", "content": "r", "name": "f"}],
    ),
    "name of a system message": (
        SystemMessage("s", name="N"),
        [{"role": "system", "content": "s", "name": "N"}],
    ),
    "parts of a system message": (
        SystemMessage([{"type": "text", "text": "s", "cache_control": CACHE}]),
        [{"role": "system", "content": [{"type": "text", "text": "s", "cache_control": CACHE}]}],
    ),
    "assistant": (AIMessage("a"), [{"role": "assistant", "content": "a"}]),
    "assistant that said nothing": (AIMessage(""), [{"role": "assistant", "content": ""}]),
    "assistant with calls": (
        AIMessage("", tool_calls=[CALL]),
        [{"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]}],
    ),
    "assistant with text and calls": (
        AIMessage("a", tool_calls=[CALL]),
        [{"role": "assistant", "content": "a", "tool_calls": [WIRE_CALL]}],
    ),
    "assistant with a call that could not be read": (
        AIMessage(
            "",
            invalid_tool_calls=[{"name": "f", "args": "{", "id": "c1", "error": "e", "type": "invalid_tool_call"}],
        ),
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}],
            }
        ],
    ),
    "assistant content blocks": (
        AIMessage(
            [
                {"type": "text", "text": "a", "cache_control": CACHE},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
            ],
            tool_calls=[CALL],
        ),
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a", "cache_control": CACHE}],
                "tool_calls": [WIRE_CALL],
            }
        ],
    ),
    "standard content blocks (output_version v1)": (
        AIMessage(
            content_blocks=[
                {"type": "reasoning", "reasoning": "Hm."},
                {"type": "text", "text": "a", "id": "x"},
                {"type": "tool_call", "name": "f", "args": {"a": 1}, "id": "c1"},
            ],
        ),
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}],
                "tool_calls": [WIRE_CALL],
                "reasoning": "Hm.",
            }
        ],
    ),
    "reasoning text": (
        AIMessage("a", additional_kwargs={"reasoning_content": "Hm."}),
        [{"role": "assistant", "content": "a", "reasoning": "Hm."}],
    ),
    "reasoning details replay unmodified": (
        AIMessage("a", additional_kwargs={"reasoning_content": "Hm.", "reasoning_details": DETAILS}),
        [{"role": "assistant", "content": "a", "reasoning_details": DETAILS}],
    ),
    "thinking in Anthropic's spelling": (
        AIMessage([{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "a"}]),
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}],
                "reasoning_details": [
                    {
                        "type": "reasoning.text",
                        "text": "Hm.",
                        "signature": "s",
                        "format": "anthropic-claude-v1",
                    }
                ],
            }
        ],
    ),
    "redacted thinking, and what LangChain makes of it": (
        AIMessage(
            [
                {"type": "reasoning", "reasoning": "Hm.", "extras": {"signature": "s"}},
                {"type": "non_standard", "value": {"type": "redacted_thinking", "data": "zz"}},
                {"type": "text", "text": "a"},
            ]
        ),
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}],
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "anthropic-claude-v1"},
                    {"type": "reasoning.encrypted", "data": "zz", "format": "anthropic-claude-v1"},
                ],
            }
        ],
    ),
    "signed thinking in LangChain's spelling": (
        AIMessage([{"type": "reasoning", "reasoning": "Hm.", "extras": {"signature": "s"}}]),
        [
            {
                "role": "assistant",
                "content": "",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "anthropic-claude-v1"}
                ],
            }
        ],
    ),
    "redacted thinking alone": (
        AIMessage([{"type": "redacted_thinking", "data": "zz"}, {"type": "text", "text": "a"}]),
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}],
                "reasoning_details": [{"type": "reasoning.encrypted", "data": "zz", "format": "anthropic-claude-v1"}],
            }
        ],
    ),
    "what else an answer held": (
        AIMessage(
            "a",
            additional_kwargs={
                "refusal": "r",
                "images": [1],
                "audio": {"id": "x"},
                "annotations": [2],
                "model": "acme/one",
                "other": 3,
            },
        ),
        [
            {
                "role": "assistant",
                "content": "a",
                "refusal": "r",
                "images": [1],
                "audio": {"id": "x"},
                "annotations": [2],
                "model": "acme/one",
            }
        ],
    ),
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES.keys())
def test_messages(message: BaseMessage, expected: list[Json]) -> None:
    assert to_wire(convert_to_messages([message])) == expected


def test_a_message_without_a_form_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="remove"):
        to_wire([RemoveMessage("x")])


INLINE: Json = {"base64": "AA", "mime_type": "application/pdf"}
KINDS: dict[str, Json] = {
    "text": {"type": "text", "text": "a"},
    "plain text": {"type": "text-plain", "text": "a", "mime_type": "text/plain"},
    "image": {"type": "image", "url": "u"},
    "image of OpenAI": {"type": "image_url", "image_url": {"url": "u"}},
    "image of Anthropic": {"type": "image", "source": {"type": "url", "url": "u"}},
    "audio": {"type": "audio", **INLINE, "mime_type": "audio/wav"},
    "audio of OpenAI": {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    "video": {"type": "video", "url": "u"},
    "video of the API": {"type": "video_url", "video_url": {"url": "u"}},
    "file": {"type": "file", **INLINE},
    "file of OpenAI": {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}},
    "document of Anthropic": {"type": "document", "source": {"type": "url", "url": "u"}},
}

PARTS: dict[str, tuple[Json, Json]] = {
    "text": (
        {"type": "text", "text": "a", "cache_control": CACHE, "id": "lc_1", "index": 0, "annotations": []},
        {"type": "text", "text": "a", "cache_control": CACHE},
    ),
    "image url": (
        {"type": "image", "url": "u", "cache_control": CACHE, "detail": "low"},
        {"type": "image_url", "image_url": {"url": "u", "detail": "low"}, "cache_control": CACHE},
    ),
    "image inline": (
        {
            "type": "image",
            "base64": "AA",
            "mime_type": "image/png",
            "extras": {"detail": "high", "cache_control": CACHE},
        },
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,AA", "detail": "high"},
            "cache_control": CACHE,
        },
    ),
    "image, OpenAI": (
        {"type": "image_url", "image_url": {"url": "u", "detail": "low"}, "cache_control": CACHE},
        {"type": "image_url", "image_url": {"url": "u", "detail": "low"}, "cache_control": CACHE},
    ),
    "image, OpenAI, bare": (
        {"type": "image_url", "image_url": "u"},
        {"type": "image_url", "image_url": {"url": "u"}},
    ),
    "image, Anthropic, inline": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
    ),
    "image, Anthropic, url": (
        {"type": "image", "source": {"type": "url", "url": "u"}, "cache_control": CACHE},
        {"type": "image_url", "image_url": {"url": "u"}, "cache_control": CACHE},
    ),
    "audio": (
        {"type": "audio", "base64": "AA", "mime_type": "audio/wav"},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    ),
    "audio with a MIME type of another name": (
        {"type": "audio", "base64": "AA", "mime_type": "audio/mpeg", "cache_control": CACHE},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}, "cache_control": CACHE},
    ),
    "audio, OpenAI": (
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    ),
    "video url": ({"type": "video", "url": "u"}, {"type": "video_url", "video_url": {"url": "u"}}),
    "video inline": (
        {"type": "video", "base64": "AA", "mime_type": "video/mp4"},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA"}},
    ),
    "file url": (
        {"type": "file", "url": "u", "mime_type": "application/pdf", "filename": "a.pdf"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "u"}},
    ),
    "file inline": (
        {"type": "file", "base64": "AA", "mime_type": "application/pdf", "extras": {"filename": "a.pdf"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}},
    ),
    "file id": ({"type": "file", "file_id": "or_file_1"}, {"type": "file", "file": {"file_id": "or_file_1"}}),
    "file, OpenAI": (
        {"type": "file", "file": {"file_data": "u"}},
        {"type": "file", "file": {"file_data": "u"}},
    ),
    "document, Anthropic": (
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"},
            "title": "T",
        },
        {"type": "file", "file": {"filename": "T", "file_data": "data:application/pdf;base64,AA"}},
    ),
    "document, Anthropic, text": (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}},
        {"type": "text", "text": "a"},
    ),
    "plain text": (
        {"type": "text-plain", "text": "a", "mime_type": "text/plain"},
        {"type": "text", "text": "a"},
    ),
    "text, OpenAI's other API": (
        {"type": "input_text", "text": "a", "cache_control": CACHE},
        {"type": "text", "text": "a", "cache_control": CACHE},
    ),
    "text of an answer, OpenAI's other API": (
        {"type": "output_text", "text": "a", "annotations": []},
        {"type": "text", "text": "a"},
    ),
    "image, OpenAI's other API": (
        {"type": "input_image", "image_url": "u", "detail": "low", "cache_control": CACHE},
        {"type": "image_url", "image_url": {"url": "u", "detail": "low"}, "cache_control": CACHE},
    ),
    "image, v0": (
        {
            "type": "image",
            "source_type": "base64",
            "data": "AA",
            "mime_type": "image/png",
            "metadata": {"detail": "low"},
        },
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
    ),
    "file, OpenAI's other API": (
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}},
    ),
    "file url, OpenAI's other API": (
        {"type": "input_file", "file_url": "u"},
        {"type": "file", "file": {"file_data": "u"}},
    ),
    "file, v0": (
        {
            "type": "file",
            "base64": "AA",
            "mime_type": "application/pdf",
            "extras": {"metadata": {"name": "a.pdf", "cache_control": CACHE}},
        },
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
            "cache_control": CACHE,
        },
    ),
    "document id, Anthropic": (
        {"type": "document", "source": {"type": "file", "file_id": "f1"}},
        {"type": "file", "file": {"file_id": "f1"}},
    ),
    "document in parts, Anthropic": (
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            "cache_control": CACHE,
        },
        {"type": "text", "text": "a\nb", "cache_control": CACHE},
    ),
    "document of one text, Anthropic": (
        {"type": "document", "source": {"type": "content", "content": "a"}},
        {"type": "text", "text": "a"},
    ),
    "an option that LangChain moved, on a block of the API": (
        {"type": "video_url", "video_url": {"url": "u"}, "extras": {"cache_control": CACHE}, "id": "lc_1"},
        {"type": "video_url", "video_url": {"url": "u"}, "cache_control": CACHE},
    ),
    "non-standard, marked for the cache": (
        {"type": "non_standard", "value": {"type": "new"}, "extras": {"cache_control": CACHE}},
        {"type": "new", "cache_control": CACHE},
    ),
    "a part of the API": (
        {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
    ),
    "non-standard": ({"type": "non_standard", "value": {"type": "new", "a": 1}}, {"type": "new", "a": 1}),
    "a kind not invented yet": ({"type": "new", "a": None}, {"type": "new", "a": None}),
}


@pytest.mark.parametrize(("block", "part"), PARTS.values(), ids=PARTS.keys())
def test_content_parts(block: Json, part: Json) -> None:
    """Alone, and in the content of every kind of message that holds parts."""
    before = repr(block)
    assert to_part(block) == part
    for message in (HumanMessage([block]), SystemMessage([block]), ToolMessage([block], tool_call_id="c1")):
        (wire,) = to_wire([message])
        assert wire["content"] == [part]
    assert repr(block) == before


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("place", ["block", "extras"])
@pytest.mark.parametrize("message", ["human", "system", "tool"])
def test_a_mark_for_the_cache_survives_on_every_kind(
    server: ScriptedServer, kind: str, place: str, message: str
) -> None:
    """Also through what LangChain rewrites on the way."""
    block = {**KINDS[kind], **({"cache_control": CACHE} if place == "block" else {"extras": {"cache_control": CACHE}})}
    given = {
        "human": [HumanMessage([block])],
        "system": [SystemMessage([block])],
        "tool": [ToolMessage([block], tool_call_id="c1")],
    }[message]
    ChatOpenRouter(model="acme/one", base_url=server.url).invoke(given)
    (part,) = server.seen[-1].body["messages"][0]["content"]
    assert part["cache_control"] == CACHE
    assert part["type"] in {"text", "image_url", "input_audio", "video_url", "file"}
    assert "extras" not in part


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "u", "detail": "low"},
        {"type": "image", "url": "u", "extras": {"detail": "low"}},
        {"type": "image", "source_type": "url", "url": "u", "metadata": {"detail": "low"}},
        {"type": "image", "source": {"type": "url", "url": "u"}, "detail": "low"},
        {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
        {"type": "input_image", "image_url": "u", "detail": "low"},
    ],
)
def test_detail_survives_in_every_spelling(server: ScriptedServer, block: Json) -> None:
    ChatOpenRouter(model="acme/one", base_url=server.url).invoke([HumanMessage([block])])
    (part,) = server.seen[-1].body["messages"][0]["content"]
    assert part == {"type": "image_url", "image_url": {"url": "u", "detail": "low"}}


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ({"type": "image"}, "url"),
        ({"type": "image", "base64": "AA"}, "mime_type"),
        ({"type": "audio", "url": "https://example.org/a.wav"}, "inline only"),
        ({"type": "video"}, "url"),
        ({"type": "file"}, "url"),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "image", "url": "u"}]}},
            "pictures as blocks of their own",
        ),
    ],
)
def test_blocks_that_lack_something_say_what(block: Json, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        to_part(block)


def test_inline_data_without_a_type() -> None:
    """Files and videos have one that always does; an image or sound needs its own."""
    url = "data:application/octet-stream;base64,AA"
    assert to_part({"type": "file", "base64": "AA"}) == {"type": "file", "file": {"file_data": url}}
    video = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA"}}
    assert to_part({"type": "video", "base64": "AA"}) == video


def test_arguments_that_json_has_no_form_for_are_refused() -> None:
    call: Any = {"name": "f", "args": {"path": object()}, "id": "c1"}
    with pytest.raises(ConfigurationError, match="arguments of a call of f"):
        to_wire([AIMessage("", tool_calls=[call])])


def test_a_call_without_an_id_goes_back_without_one() -> None:
    call: Any = {"name": "f", "args": {}, "id": None}
    (wire,) = to_wire([AIMessage("", tool_calls=[call])])
    assert wire["tool_calls"] == [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]


def test_empty_texts_of_an_assistant_stay_behind() -> None:
    """Some providers refuse them."""
    blocks = [{"type": "text", "text": ""}, {"type": "text", "text": "a"}, ""]
    (wire,) = to_wire([AIMessage(blocks)])
    assert wire["content"] == [{"type": "text", "text": "a"}]
    assert to_wire([AIMessage([{"type": "text", "text": ""}])])[0]["content"] == ""
