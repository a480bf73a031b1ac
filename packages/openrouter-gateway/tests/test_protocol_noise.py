"""Ten thousand spoiled replies of each protocol that speaks OpenAI's dialect; the others' are with their own tests."""

import random
from collections import Counter

import pytest
from gateway_samples import cut_at, make_chunk, to_sse
from noise import spoil
from protocol_vectors import decode, shown
from test_local_protocol import AUTO, CALL_TEXT, LOCAL, UNION, sse
from test_openai_protocol import check_hub_rules

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed, Step
from openrouter_gateway.errors import UpstreamError
from openrouter_gateway.wire.protocols import PROTOCOLS
from openrouter_gateway.wire.protocols.base import Protocol

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 1}}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}
DETAIL = {"type": "reasoning.text", "text": "Hm.", "index": 0}
OPENAI = [
    to_sse(
        make_chunk({"role": "assistant", "content": "Hel"}),
        make_chunk({"content": "lo, wörld"}),
        make_chunk({}, finish="stop"),
        make_chunk({}, usage=USAGE),
    ),
    to_sse(
        make_chunk({"reasoning": "Hm.", "reasoning_details": [DETAIL]}),
        make_chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "c2ln", "index": 0}]}),
        make_chunk({"tool_calls": [CALL]}),
        make_chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}, finish="tool_calls"),
    ),
    to_sse(make_chunk({"content": "a"}), {"error": {"message": "Overloaded.", "code": 503}}),
]
EMBEDDED = [
    sse(["Hel", "lo ", "there"], finish="stop"),
    sse([CALL_TEXT[:9], CALL_TEXT[9:40], CALL_TEXT[40:]], finish="stop"),
    sse([CALL_TEXT], finish="length"),
]


@pytest.mark.parametrize(
    ("protocol", "requests", "replies"),
    [
        pytest.param(
            protocol, requests, replies, id=name, marks=pytest.mark.covers(f"protocols.{name}", "fuzzed streams")
        )
        for name, protocol, requests, replies in (
            ("openai", PROTOCOLS["openai"], [AUTO], OPENAI),
            ("local", LOCAL, [AUTO, UNION], EMBEDDED),
        )
    ],
)
def test_noise(protocol: Protocol, requests: list[ChatRequest], replies: list[bytes]) -> None:
    """Each has one end or one typed error, the hub's rules hold, and how the network cuts it changes nothing."""
    dice = random.Random(20261127)  # noqa: S311 - the same noise each time
    ends: Counter[str] = Counter()
    for number in range(10_000):
        data = bytearray(dice.choice(replies))
        for _ in range(dice.randint(1, 4)):
            spoil(data, dice)
        request = dice.choice(requests)
        found = decode(protocol.chat_decoder(request, "text/event-stream"), bytes(data))
        assert [False] * (len(found) - 1) + [True] == [
            isinstance(each, Ended | Failed | UpstreamError) for each in found
        ]
        ends[type(found[-1]).__name__] += 1
        if number % 10 == 0:
            pieces = cut_at(bytes(data), [dice.randrange(10_000) for _ in range(dice.randint(1, 3))])
            again = decode(protocol.chat_decoder(request, "text/event-stream"), *pieces)
            assert said(found) == said(again)
            check_hub_rules([each for each in found if not isinstance(each, UpstreamError)])
    assert min(ends["Ended"], ends["Cut"], ends["Failed"]) > 100, ends


def said(events: list[Event | UpstreamError]) -> list[str]:
    """All that was said, however it was split, and how it ended."""
    texts: dict[str, str] = {}
    for event in events:
        for choice in event.choices if isinstance(event, Step) else ():
            delta = choice["delta"]
            for call in delta.get("tool_calls", ()):
                place = f"{choice['index']} call {call['index']}"
                texts[place] = texts.get(place, "") + call["function"].get("arguments", "")
            for key in ("content", "reasoning"):
                place = f"{choice['index']} {key}"
                texts[place] = texts.get(place, "") + (delta.get(key) or "")
    return [f"{key}: {text}" for key, text in sorted(texts.items()) if text] + [str(shown(events)[-1])]
