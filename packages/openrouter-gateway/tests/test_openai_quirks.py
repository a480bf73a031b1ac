"""What the built-in providers of the openai protocol have of their own in reasoning and citations."""

import json
from typing import Any

import msgspec
import pytest
from gateway_samples import make_chunk, make_endpoint, make_request, to_sse

from openrouter_gateway.config.rows import load_provider_rows
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.events import Step
from openrouter_gateway.errors import BadRequest, Refused
from openrouter_gateway.wire.protocols.openai import BodyDecoder, OpenAI, StreamDecoder

DETAILS = [
    {"type": "reasoning.summary", "summary": "Hm", "format": "openai-responses-v1", "index": 0},
    {"type": "reasoning.text", "text": "m.", "signature": "s", "index": 1},
    {"type": "reasoning.encrypted", "data": "x", "index": 2},
]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TURN: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "1"}


def at(slug: str) -> Endpoint:
    """Return an endpoint of a built-in provider."""
    return msgspec.structs.replace(make_endpoint(slug), provider=load_provider_rows()[slug].to_provider(slug))


def sent(slug: str, **fields: object) -> dict[str, Any]:
    return json.loads(OpenAI().encode_chat(make_request(**fields), at(slug)))


OFF = {"type": "disabled"}
ON = {"type": "enabled"}


MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
MARKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": "cache_control", **MARK}]}, {**TURN, **MARK}],
    "tools": [{"type": "function", "function": {"name": "f"}, **MARK}],
}
BARE: dict[str, Any] = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": "cache_control"}]}, TURN],
    "tools": [{"type": "function", "function": {"name": "f"}}],
}


@pytest.mark.parametrize(("slug", "expected"), [("fireworks", BARE), ("openai", BARE), ("openrouter", MARKED)])
def test_marks_of_what_to_cache(slug: str, expected: dict[str, Any]) -> None:
    """Clients of Anthropic's dialect set them always; providers that cache by themselves may refuse them."""
    body = sent(slug, **MARKED)

    assert expected == {name: body[name] for name in MARKED}


@pytest.mark.parametrize(
    ("slug", "fields", "kept"),
    [
        ("openai", {}, False),
        ("openai", {"store": False}, False),
        ("openai", {"store": True}, True),
        ("xai", {}, True),
    ],
)
def test_what_callers_note_of_a_request(slug: str, fields: dict[str, bool], kept: bool) -> None:
    """OpenRouter takes notes of any request, OpenAI of those only that it is to keep."""
    assert kept == ("metadata" in sent(slug, metadata={"a": "b"}, **fields))


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FILE = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}
TEXT = {"type": "text", "text": "Seen."}


def results(*contents: object) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": f"c{number}", "content": content} for number, content in enumerate(contents)
    ]


def test_images_that_models_make_and_operators_show() -> None:
    """OpenAI sees those of users only."""
    said: dict[str, Any] = {"role": "assistant", "content": [TEXT, IMAGE]}
    made: dict[str, Any] = {"role": "assistant", "content": "Here.", "images": [{"image_url": IMAGE["image_url"]}]}
    messages = [{"role": "system", "content": [IMAGE, TEXT]}, RESULT, said, {**made, "tool_calls": [CALL]}, RESULT]

    moved = {"role": "user", "content": [IMAGE]}
    assert [
        {"role": "system", "content": [TEXT]},
        RESULT,
        moved,
        {"role": "assistant", "content": [TEXT]},
        moved,
        {"role": "assistant", "content": "Here.", "tool_calls": [CALL]},
        RESULT,
        moved,
    ] == sent("openai", messages=messages)["messages"]
    assert messages == sent("xai", messages=messages)["messages"]


def test_images_that_tools_return() -> None:
    """OpenAI sees those of users only, and wants all results of a turn together: they are shown behind the last."""
    question = {"role": "user", "content": [IMAGE, TEXT]}
    messages = [question, TURN, *results([TEXT, IMAGE], [FILE], [TEXT], "1"), question, TURN, *results([IMAGE])]

    moved = "The result is in the user's next message."
    assert [
        question,
        TURN,
        *results([TEXT], moved, [TEXT], "1"),
        {"role": "user", "content": [IMAGE, FILE]},
        question,
        TURN,
        *results(moved),
        {"role": "user", "content": [IMAGE]},
    ] == sent("openai", messages=messages)["messages"]
    assert messages == sent("xai", messages=messages)["messages"]


def test_openai_is_not_sent_what_only_open_models_have() -> None:
    """It would answer 400; other servers of the protocol take these."""
    sampling = {"top_k": 5, "min_p": 0.1, "top_a": 0.1, "repetition_penalty": 1.1, "top_p": 0.5}

    assert {"model", "messages", "top_p"} == sent("openai", **sampling).keys()
    assert {"model", "messages", *sampling} == sent("fireworks", **sampling).keys()


@pytest.mark.covers("protocols.openai", "reasoning effort")
@pytest.mark.parametrize(
    ("slug", "reasoning", "expected"),
    [
        ("deepseek", {"enabled": False}, {"thinking": OFF}),
        ("deepseek", {"effort": "high"}, {"thinking": ON, "reasoning_effort": "high"}),
        ("deepseek", {"exclude": True}, {}),
        ("z-ai", {"effort": "none"}, {"thinking": OFF}),
        ("z-ai", {"enabled": True}, {"thinking": ON, "reasoning_effort": "medium"}),
        ("moonshotai", {"effort": "none"}, {"thinking": OFF}),
        ("moonshotai", {"effort": "high"}, {"reasoning_effort": "high"}),
        ("fireworks", {"effort": "none"}, {"reasoning_effort": "none"}),
        ("xai", {"effort": "high"}, {"reasoning_effort": "high"}),
    ],
)
def test_how_reasoning_is_switched(slug: str, reasoning: dict[str, Any], expected: dict[str, Any]) -> None:
    """By the field that each documents."""
    body = sent(slug, reasoning=reasoning)

    assert expected == {key: body[key] for key in ("thinking", "reasoning_effort", "reasoning") if key in body}


def test_a_switch_that_the_caller_sets() -> None:
    """It is the provider's own field, and stays."""
    body = sent("z-ai", reasoning={"effort": "high"}, thinking={"type": "enabled", "clear_thinking": False})

    assert {"type": "enabled", "clear_thinking": False} == body["thinking"]


@pytest.mark.covers("protocols.openai", "reasoning replayed over turns")
@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        ("deepseek", {"reasoning_content": "Hmm."}),
        ("z-ai", {"reasoning_content": "Hmm."}),
        ("moonshotai", {"reasoning_content": "Hmm."}),
        ("fireworks", {"reasoning_content": "Hmm."}),
        ("cerebras", {"reasoning": "Hmm."}),
        ("groq", {}),
        ("openai", {}),
        ("mistral", {}),
    ],
)
@pytest.mark.parametrize(
    "said",
    [
        {"reasoning": "Hmm."},
        {"reasoning_content": "Hmm."},
        {"reasoning_details": DETAILS},
        {"reasoning": "Hmm.", "reasoning_details": DETAILS},
        {"reasoning": None, "reasoning_content": "", "reasoning_details": DETAILS},
    ],
)
def test_how_reasoning_comes_back(slug: str, expected: dict[str, str], said: dict[str, Any]) -> None:
    """Under the name that each provider takes, whatever the caller calls it; the rest of the turn is untouched."""
    asked = {"role": "user", "content": 'My reasoning is "reasoning"', "reasoning": "mine"}

    messages = sent(slug, messages=[asked, TURN | said, RESULT])["messages"]

    assert [asked, TURN | expected, RESULT] == messages


def test_turns_without_reasoning() -> None:
    """They are not even read."""
    body = b'{"messages": [ {"role":"assistant","content":"\\u00e9"} ]}'

    request = make_request(messages=[{"role": "assistant", "content": "x"}])
    request = msgspec.structs.replace(request, fields={"messages": msgspec.Raw(body[13:-1])})

    assert b'[ {"role":"assistant","content":"\\u00e9"} ]' in OpenAI().encode_chat(request, at("deepseek"))


def test_reasoning_that_is_nested_too_deeply() -> None:
    """It is refused."""
    deep = b'{"messages":[{"role":"assistant","reasoning_details":' + b"[" * 5000 + b"]" * 5000 + b"}]}"
    request = make_request(messages=[{"role": "assistant"}])
    fields = {"messages": msgspec.Raw(deep[12:-1])}

    with pytest.raises((Refused, BadRequest), match="nested too deeply"):
        OpenAI().encode_chat(msgspec.structs.replace(request, fields=fields), at("deepseek"))


def deltas(*chunks: object) -> list[dict[str, Any]]:
    events = StreamDecoder().feed(to_sse(*chunks))
    return [dict(event.choices[0]["delta"]) for event in events if isinstance(event, Step)]


@pytest.mark.covers("protocols.openai", "thoughts in answers")
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}], {"content": "", "reasoning": "Hm"}),
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "H"}, {"type": "text", "text": "m"}]},
                {"type": "text", "text": "Hi"},
            ],
            {"content": "Hi", "reasoning": "Hm"},
        ),
        (
            [{"type": "thinking", "thinking": None}, {"type": "reference", "reference_ids": [1]}],
            {"content": [{"type": "reference", "reference_ids": [1]}], "reasoning": ""},
        ),
        ([{"type": "text", "text": "Hi"}], {"content": [{"type": "text", "text": "Hi"}]}),
    ],
)
def test_reasoning_among_content_parts(content: list[Any], expected: dict[str, Any]) -> None:
    """Mistral's is reasoning as any other, in pieces and whole."""
    assert [expected, {}] == deltas(make_chunk({"content": content}), make_chunk({}, finish="stop"))
    body = BodyDecoder()
    body.feed(json.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}).encode())
    step = body.finish()[0]
    assert isinstance(step, Step)
    assert expected == step.choices[0]["delta"]


@pytest.mark.covers("protocols.openai", "citations")
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"search_results": [{"title": "A", "url": "https://a"}, {"url": "https://b"}, 1]},
            [("https://a", "A"), ("https://b", "")],
        ),
        ({"citations": ["https://a"]}, [("https://a", "")]),
        ({"citations": ["https://a"], "search_results": [{"title": "A", "url": "https://a"}]}, [("https://a", "A")]),
    ],
)
def test_sources_beside_the_choices(told: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """They are citations of the answer, once, however many chunks repeat them."""
    notes = [
        {"type": "url_citation", "url_citation": {"url": url, "title": title, "start_index": 0, "end_index": 0}}
        for url, title in expected
    ]

    assert [{"content": "Hi"}, {"annotations": notes}] == deltas(
        make_chunk({"content": "Hi"}, **told), make_chunk({}, finish="stop", **told)
    )
    body = BodyDecoder()
    body.feed(json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], **told}).encode())
    step = body.finish()[0]
    assert isinstance(step, Step)
    assert {"content": "Hi", "annotations": notes} == step.choices[0]["delta"]


@pytest.mark.parametrize(
    "told", [{"citations": "x"}, {"citations": [1, {}]}, {"search_results": {}}, {"citations": []}]
)
def test_what_is_no_source(told: dict[str, Any]) -> None:
    """It is left where it is; citations of the provider's own are not replaced."""
    assert [{}] == deltas(make_chunk({}, finish="stop", **told))
    own = {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://own"}}]}
    assert [own] == deltas(make_chunk(own, finish="stop", citations=["https://a"]))
