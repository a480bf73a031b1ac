"""Results of tools that failed, as callers of the `messages` skin say it, at providers of every protocol."""

import json
from typing import Any

import pytest
from gateway_samples import make_endpoint, make_request

from openrouter_gateway.core.amend import amend
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.failed_results import say_failure, spell_failures
from openrouter_gateway.wire.protocols import PROTOCOLS
from openrouter_gateway.wire.skins.messages import Messages


def ask(**result: object) -> ChatRequest:
    """A request of Anthropic's dialect that ends with the result of a tool."""
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    messages = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", **result}]},
    ]
    return Messages().parse(json.dumps({"model": "a/one", "max_tokens": 9, "messages": messages}).encode())


def sent(protocol: str, request: ChatRequest, endpoint: Endpoint | None = None) -> dict[str, Any]:
    return json.loads(PROTOCOLS[protocol].encode_chat(request, endpoint or make_endpoint()))


class TestProtocols:
    """What the model is told."""

    @pytest.mark.parametrize("quirks", [frozenset[str](), frozenset({"openrouter_fields"})])
    def test_openai(self, quirks: frozenset[str]) -> None:
        """In the text; the field, which these servers do not know, is left out, also where it says no."""
        told = [
            sent("openai", ask(content="no such city", is_error=failed), make_endpoint(quirks=quirks))["messages"][-1]
            for failed in (True, False)
        ]

        assert [
            {"role": "tool", "tool_call_id": "t1", "content": "Error: no such city"},
            {"role": "tool", "tool_call_id": "t1", "content": "no such city"},
        ] == told

    def test_the_field_of_a_chat(self) -> None:
        """It is taken there, too, though OpenRouter's API does not have it."""
        messages = [{"role": "user", "content": "x", "is_error": False}, {"role": "tool", "is_error": True}]

        assert [{"role": "user", "content": "x"}, {"role": "tool", "content": "Error"}] == sent(
            "openai", make_request(messages=messages)
        )["messages"]

    def test_openai_responses(self) -> None:
        """In the text of the output."""
        output = sent("openai_responses", ask(content="no such city", is_error=True))["input"][-1]

        assert {"type": "function_call_output", "call_id": "t1", "output": "Error: no such city"} == output

    def test_gemini(self) -> None:
        """By its own word for it."""
        contents = [
            sent("gemini", ask(content="no such city", is_error=failed))["contents"][-1] for failed in (True, False)
        ]

        assert [{"error": "no such city"}, {"output": "no such city"}] == [
            content["parts"][0]["functionResponse"]["response"] for content in contents
        ]

    def test_local(self) -> None:
        """In the text of the result."""
        assert (
            "look returned: Error: no such city\nUse this to answer: Go"
            == (sent("local", ask(content="no such city", is_error=True))["messages"][-1]["content"])
        )

    def test_anthropic(self) -> None:
        """By the caller's own field, also when the gateway has changed the conversation."""
        request = ask(content="no such city", is_error=True)
        changed = amend(request, {"messages": json.loads(bytes(request.fields["messages"]))})

        block = {"type": "tool_result", "tool_use_id": "t1", "content": "no such city", "is_error": True}
        for asked in (request, changed):
            assert [block] == sent("anthropic", asked)["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("404", "Error: 404"),
        ("", "Error"),
        (None, "Error"),
        ("error: 404", "error: 404"),
        (" Errors everywhere", " Errors everywhere"),
        ([], [{"type": "text", "text": "Error"}]),
        ([{"type": "text", "text": "404", "x": 1}], [{"type": "text", "text": "Error: 404", "x": 1}]),
        ([{"type": "image_url"}], [{"type": "text", "text": "Error"}, {"type": "image_url"}]),
    ],
)
def test_it_is_said_once_and_in_front(content: object, said: object) -> None:
    """Tools that say it themselves are not repeated; results without text get one."""
    assert said == say_failure(content)


def test_messages_that_are_nested_too_deeply() -> None:
    """They are the caller's fault."""
    request = make_request(messages=[{"role": "tool", "is_error": True, "content": "x"}])
    deep = b'[{"role":"tool","is_error":true,"content":' + b"[" * 9_999 + b"]" * 9_999 + b"}]"
    request.fields["messages"] = type(request.fields["messages"])(deep)

    with pytest.raises(Refused, match="nested too deeply"):
        spell_failures(request)
