"""The `embeddings` skin: inputs in, vectors out."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from gateway_samples import HEAD
from msgspec import Raw

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.embedding import Embedding
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import BadRequest, Unavailable
from openrouter_gateway.wire.skins import SKINS, chat
from openrouter_gateway.wire.skins.base import Closing

SKIN = SKINS["/embeddings"]
PART = {"type": "text", "text": "a"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}


def parse(**fields: object) -> ChatRequest:
    """Return a request for vectors; `model` and `input` are filled in unless given."""
    return SKIN.parse(json.dumps({"model": "a/one", "input": "Hello"} | fields).encode())


def contents(request: ChatRequest) -> list[object]:
    """Return what the model reads, input by input."""
    return [message.content for message in request.params.messages]


@pytest.mark.parametrize(
    ("given", "read", "sent"),
    [
        ("Hello", ["Hello"], "Hello"),
        ("", [""], ""),
        (["a", "b"], ["a", "b"], ["a", "b"]),
        ([1, 2, 3], [None], [1, 2, 3]),
        ([[1, 2], [3]], [None, None], [[1, 2], [3]]),
        ([{"content": [PART]}, {"content": [PART, {"type": "text", "text": "b"}]}], ["a", "a\nb"], ["a", "a\nb"]),
        ([{"content": [PART, IMAGE]}], [[PART, IMAGE]], [{"content": [PART, IMAGE]}]),
        ([{"content": [PART]}, {"content": [IMAGE]}], [[PART], [IMAGE]], [{"content": [PART]}, {"content": [IMAGE]}]),
    ],
)
def test_every_kind_of_input(given: object, read: list[object], sent: object) -> None:
    """Each input is a message of its own; what is nothing but text goes on as text, the rest as it came."""
    request = parse(input=given)

    assert read == contents(request)
    assert Embedding(count=len(read)) == request.task
    assert sent == json.loads(bytes(request.fields["input"]))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": None}, "input: "),
        ({"input": 1}, "input: "),
        ({"input": []}, "input: "),
        ({"input": {}}, "input: "),
        ({"input": ["a", 1]}, "input[0]: "),
        ({"input": [1, "a"]}, "input[0]: "),
        ({"input": [-1]}, "input[0]: "),
        ({"input": [1.5]}, "input[0]: "),
        ({"input": [True]}, "input[0]: "),
        ({"input": [[]]}, "input[0]: "),
        ({"input": [[1], ["a"]]}, "input[0]: "),
        ({"input": [{}]}, "input[0]: "),
        ({"input": [{"content": []}]}, "input[0]: "),
        ({"input": [{"content": "a"}]}, "input[0]: "),
        ({"input": [{"content": [PART]}, {"content": [{}]}]}, "input[1].content[0]: "),
        ({"input": [{"content": ["a"]}]}, "input[0].content[0]: "),
        ({"input": ["a"] * 2049}, "input: at most 2048"),
        ({"model": None}, "model: "),
        ({"model": ""}, "model: "),
        ({"models": ["a/one", "a/two"]}, "models: "),
        ({"stream": True}, "stream: "),
        ({"dimensions": 0}, "dimensions: "),
        ({"dimensions": "8"}, "dimensions: "),
        ({"encoding_format": "int8"}, "encoding_format: "),
        ({"input_type": 1}, "input_type: "),
        ({"provider": {"onyl": ["x"]}}, "provider: "),
        ({"user": 1}, "user: "),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], said: str) -> None:
    """The message begins with it."""
    with pytest.raises(BadRequest) as caught:
        parse(**fields)

    assert caught.value.message.startswith(said), caught.value.message


def test_the_rest_is_as_in_chat() -> None:
    """Preferences, end user and session are read for routing and records; unknown fields travel on."""
    request = parse(
        dimensions=256,
        encoding_format="base64",
        provider={"only": ["acme"]},
        user="u",
        session_id="s",
        models=None,
        new=1,
    )

    assert Embedding(count=1, encoding="base64", dimensions=256) == request.task
    params = request.params
    assert params.provider is not None
    assert (["a/one"], ["acme"], "u", "s", False) == (
        request.requested_models,
        params.provider.only,
        params.user,
        params.session_id,
        request.stream,
    )
    assert b"1" == bytes(request.fields["new"])


def test_more_tokens_than_inputs() -> None:
    """A list of token ids is one input, however long."""
    assert Embedding(count=1) == parse(input=[7] * 3000).task


def answer(closing: Closing) -> dict[str, Any]:
    """Return the body of an answer with two vectors."""
    encoder = SKIN.body_encoder(HEAD, parse(input=["a", "b"]))
    data = [{"object": "embedding", "index": index, "embedding": Raw(b"[0.1,2e-7]")} for index in range(2)]
    encoder.add_step(Step({"choices": [], "data": data, "unknown": 1}))
    return json.loads(encoder.encode_end(closing), parse_float=Decimal)


def test_an_answer() -> None:
    """The documented members, numbers with all their digits."""
    usage = Usage(prompt_tokens=8, total_tokens=8, reported_cost=Decimal("0.1"))

    shown = answer(Closing(usage=usage, cost=Cost(prompt=Decimal("1.6E-7"))))

    vector = [Decimal("0.1"), Decimal("2E-7")]
    assert {
        "object": "list",
        "id": HEAD.id,
        "model": "a/one",
        "provider": "Acme",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index in range(2)],
        "usage": {
            "prompt_tokens": 8,
            "total_tokens": 8,
            "prompt_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "audio_tokens": 0,
                "video_tokens": 0,
            },
            "cost": Decimal("1.6E-7"),
            "is_byok": False,
            "cost_details": {
                "upstream_inference_cost": Decimal("0.1"),
                "upstream_inference_prompt_cost": Decimal("1.6E-7"),
                "upstream_inference_completions_cost": 0,
            },
        },
    } == shown


def test_router_metadata_on_request() -> None:
    """Only for those who asked."""
    closing = Closing(usage=Usage(), cost=Cost())

    assert "openrouter_metadata" not in answer(closing)
    assert {"attempt": 1} == answer(msgspec.structs.replace(closing, metadata={"attempt": 1}))["openrouter_metadata"]


def test_errors_are_those_of_chat() -> None:
    """Nothing of its own."""
    error = Unavailable("it broke")

    assert chat.encode_error_body(error, {"attempt": 1}) == SKIN.encode_error_body(error, "gen-1", {"attempt": 1})
