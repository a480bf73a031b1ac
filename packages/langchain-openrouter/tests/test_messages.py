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

from langchain_openrouter import ConfigurationError
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
    "what else an answer held": (
        AIMessage("a", additional_kwargs={"refusal": "r", "images": [1], "audio": {"id": "x"}, "annotations": [2]}),
        [
            {
                "role": "assistant",
                "content": "a",
                "refusal": "r",
                "images": [1],
                "audio": {"id": "x"},
                "annotations": [2],
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
    "non-standard": ({"type": "non_standard", "value": {"type": "new", "a": 1}}, {"type": "new", "a": 1}),
    "a kind not invented yet": ({"type": "new", "a": None}, {"type": "new", "a": None}),
}


@pytest.mark.parametrize(("block", "part"), PARTS.values(), ids=PARTS.keys())
def test_content_parts(block: Json, part: Json) -> None:
    before = repr(block)
    assert to_part(block) == part
    assert repr(block) == before


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ({"type": "image"}, "url"),
        ({"type": "image", "base64": "AA"}, "mime_type"),
        ({"type": "audio", "url": "https://example.org/a.wav"}, "inline only"),
        ({"type": "video"}, "url"),
        ({"type": "file"}, "url"),
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


def test_reasoning_that_was_kept_in_pieces_goes_back_whole() -> None:
    """The other distribution of this name keeps every streamed fragment; whole blocks stay as they are."""
    pieces = [
        {"type": "reasoning.text", "text": "a", "index": 0},
        {"type": "reasoning.text", "text": "b", "index": 0},
        {"type": "reasoning.text", "signature": "s", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
        {"type": "reasoning.encrypted", "data": "y", "index": 1},
        {"type": "reasoning.summary", "summary": "c"},
        {"type": "reasoning.summary", "summary": "d"},
    ]
    whole = [{"type": "reasoning.text", "text": "ab", "signature": "s", "index": 0}, *pieces[3:]]
    for details in (pieces, whole):
        (wire,) = to_wire([AIMessage("a", additional_kwargs={"reasoning_details": details})])
        assert wire["reasoning_details"] == whole
