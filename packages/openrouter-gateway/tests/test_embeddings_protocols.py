"""Embeddings outbound: requests as providers take them, their vectors checked and in the form that is asked for."""

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from gateway_samples import ANY_CUTS, ANY_JSON, cut_at, dicts_like, make_endpoint
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.embedding import Embedding
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Garbled, Refused, Throttled, Unavailable, UpstreamError
from openrouter_gateway.wire.protocols import PROTOCOLS, TASKS, can_serve, codec_of
from openrouter_gateway.wire.protocols.base import Codec
from openrouter_gateway.wire.protocols.vectors import to_wanted
from openrouter_gateway.wire.skins import embeddings

OPENAI = TASKS["openai"]["embeddings"]
GEMINI = TASKS["gemini"]["embeddings"]
LOCAL = TASKS["local"]["embeddings"]
FLOATS = [0.5, -2.0, 1.25]
BASE64 = base64.b64encode(struct.pack("<3f", *FLOATS)).decode()
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}


def request_of(**fields: object) -> ChatRequest:
    """Return a request for vectors."""
    return embeddings.parse(json.dumps({"model": "a/one", "input": ["a", "b"]} | fields).encode())


def sent(codec: Codec, *quirks: str, **fields: object) -> dict[str, Any]:
    """Return the body that a provider gets."""
    return json.loads(codec.encode(request_of(**fields), make_endpoint(quirks=frozenset(quirks))))


def read(codec: Codec, reply: object, *, cuts: list[int] | None = None, **fields: object) -> list[Event]:
    """Return the events of a reply that comes in pieces."""
    decoder = codec.decoder(request_of(**fields), "application/json")
    data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    for piece in cut_at(data, cuts or []):
        assert [] == decoder.feed(piece)
    return decoder.finish()


def vectors(events: list[Event]) -> list[Any]:
    """Return the vectors of a reply that has some."""
    step = events[0]
    assert isinstance(step, Step)
    assert [] == step.choices
    assert list(range(len(step.chunk["data"]))) == [item["index"] for item in step.chunk["data"]]
    return [json.loads(bytes(item["embedding"])) for item in step.chunk["data"]]


def failure(events: list[Event]) -> UpstreamError:
    """Return the error that a reply is."""
    (event,) = events
    assert isinstance(event, Failed)
    return event.error


def reply_of(*found: object, **more: object) -> dict[str, Any]:
    """Return a provider's reply with these vectors."""
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(found)]
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}} | more


class TestOpenAI:
    """The dialect that most speak."""

    @pytest.mark.covers("tasks.embeddings_openai", "text inputs", "length of vectors")
    def test_fields_are_those_of_the_caller(self) -> None:
        """Without OpenRouter's own, without nulls, with the provider's name of the model."""
        assert {
            "model": "one-upstream",
            "input": ["a", "b"],
            "dimensions": 8,
            "encoding_format": "base64",
            "user": "u",
            "new": {"x": 1},
        } == sent(
            OPENAI,
            dimensions=8,
            encoding_format="base64",
            user="u",
            new={"x": 1},
            truncate=None,
            provider={"only": ["acme"]},
            session_id="s",
            input_type="search_query",
        )
        assert "/embeddings" == OPENAI.address(request_of(), make_endpoint()).path

    @pytest.mark.covers("tasks.embeddings_openai", "token inputs", "image inputs")
    @pytest.mark.parametrize("given", ["a", ["a"], [1, 2], [[1, 2], [3]], [{"content": [IMAGE]}]])
    def test_inputs_go_out_as_they_came(self, given: object) -> None:
        """Text, tokens and images, alone or several."""
        assert given == sent(OPENAI, input=given)["input"]

    @pytest.mark.covers("tasks.embeddings_openai", "hint of their use", "length of vectors")
    def test_quirks(self) -> None:
        """A hint only to those who take it, another name of the length, everything to another OpenRouter."""
        fields = {"input_type": "query", "dimensions": 8, "provider": {"zdr": True}}

        assert {"model", "input", "input_type", "dimensions"} == sent(OPENAI, "input_type", **fields).keys()
        assert 8 == sent(OPENAI, "output_dimension", **fields)["output_dimension"]
        assert {"model", "input", *fields} == sent(OPENAI, "openrouter_fields", **fields).keys()

    @pytest.mark.parametrize("given", [FLOATS, BASE64])
    @pytest.mark.parametrize(("wanted", "expected"), [("float", FLOATS), ("base64", BASE64), (None, FLOATS)])
    @pytest.mark.covers("tasks.embeddings_openai", "numbers and base64")
    def test_either_form_becomes_the_one_that_is_asked_for(self, given: object, wanted: object, expected: Any) -> None:
        """Whatever the provider sends."""
        events = read(OPENAI, reply_of(given, given), encoding_format=wanted)

        assert [expected, expected] == vectors(events)
        assert [UsageReported(Usage(prompt_tokens=3, total_tokens=3)), Ended()] == events[1:]

    def test_vectors_are_put_in_order(self) -> None:
        """By their index, or as they come where none has one."""
        reply = reply_of([1], [2])
        reply["data"].reverse()
        unnumbered = {"data": [{"embedding": [3]}, {"embedding": [4]}]}

        assert [[1], [2]] == vectors(read(OPENAI, reply))
        assert [[3], [4]] == vectors(read(OPENAI, unnumbered))

    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            (b"", "something else"),
            (b"[]", "something else"),
            (b"\xff", "something else"),
            (b'{"data":[NaN]}', "something else"),
            ({}, "0 vectors for 2 inputs"),
            ({"data": None}, "0 vectors"),
            (reply_of([1]), "1 vectors"),
            (reply_of([1], [2], [3]), "3 vectors"),
            ({"data": [{"embedding": [1], "index": 0}, {"embedding": [2], "index": 0}]}, "one input each"),
            ({"data": [{"embedding": [1], "index": 1}, {"embedding": [2], "index": 2}]}, "one input each"),
            ({"data": [{"embedding": [1], "index": 1}, {"embedding": [2]}]}, "one input each"),
            (reply_of([1], []), "without numbers"),
            (reply_of([1], [[1]]), "neither numbers nor text"),
            (reply_of([1], [None]), "neither numbers nor text"),
            (reply_of([1], {"a": 1}), "neither numbers nor text"),
            (reply_of([1], None), "neither numbers nor text"),
            (reply_of([1], "?"), "not base64"),
            (reply_of([1], "AAA="), "not base64"),
            (reply_of([1], ""), "without numbers"),
            (reply_of([1], base64.b64encode(struct.pack("<f", float("nan"))).decode()), "not a number"),
        ],
    )
    @pytest.mark.covers("tasks.embeddings_openai", "broken replies")
    def test_what_is_no_answer(self, reply: object, said: str) -> None:
        """The next endpoint has its try."""
        error = failure(read(OPENAI, reply))

        assert isinstance(error, Garbled)
        assert said in error.message

    def test_another_length_than_was_asked_for(self) -> None:
        """A vector that does not fit the caller's index is worse than none."""
        assert "3 numbers, and 2 were" in failure(read(OPENAI, reply_of(FLOATS, FLOATS), dimensions=2)).message
        assert "3 numbers" in failure(read(OPENAI, reply_of(BASE64, BASE64), dimensions=2)).message
        assert [FLOATS, FLOATS] == vectors(read(OPENAI, reply_of(FLOATS, FLOATS), dimensions=3))

    def test_numbers_too_large_for_base64(self) -> None:
        """They would become infinite."""
        assert "too large" in failure(read(OPENAI, reply_of([1e300], [1]), encoding_format="base64")).message
        assert [[1e300], [1]] == vectors(read(OPENAI, reply_of([1e300], [1])))

    @pytest.mark.covers("tasks.embeddings_openai", "errors with status")
    def test_an_error_in_the_body(self) -> None:
        """With its own status, whatever else is there."""
        reply = {"error": {"message": "Overloaded.", "code": 503}, "data": None}
        error = failure(read(OPENAI, reply))

        assert (Unavailable, "Overloaded.") == (type(error), error.message)

    @pytest.mark.parametrize(
        ("usage", "counted"),
        [
            ({"total_tokens": 5}, Usage(prompt_tokens=5, total_tokens=5)),
            (
                {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5},
                Usage(prompt_tokens=5, total_tokens=5),
            ),
            (None, None),
            ({}, None),
            ("x", None),
        ],
    )
    @pytest.mark.covers("tasks.embeddings_openai", "usage")
    def test_tokens(self, usage: object, counted: Usage | None) -> None:
        """Some count the total alone, some nothing."""
        found = [event.usage for event in read(OPENAI, reply_of([1], [2], usage=usage)) if type(event) is UsageReported]

        assert ([] if counted is None else [counted]) == found

    @given(cuts=ANY_CUTS)
    def test_cuts_do_not_matter(self, cuts: list[int]) -> None:
        """Any pieces are one body."""
        assert [FLOATS, FLOATS] == vectors(read(OPENAI, reply_of(FLOATS, BASE64), cuts=cuts))

    @given(
        reply=dicts_like(
            data=st.lists(
                dicts_like(
                    index=st.integers(0, 1),
                    embedding=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3) | st.just(BASE64),
                ),
                min_size=2,
                max_size=2,
            ),
            usage=dicts_like(prompt_tokens=st.integers(), total_tokens=st.floats(0, 9)),
            error=ANY_JSON,
        ),
        wanted=st.sampled_from(["float", "base64"]),
    )
    @pytest.mark.covers("tasks.embeddings_openai", "broken replies")
    def test_any_reply_is_vectors_or_an_error(self, reply: object, wanted: str) -> None:
        """Nothing else comes out, and nothing else is raised."""
        events = read(OPENAI, reply, encoding_format=wanted)

        if isinstance(events[0], Failed):
            assert 1 == len(events)
        else:
            found = vectors(events)
            assert {str if wanted == "base64" else list} == {type(vector) for vector in found}
            assert Ended() == events[-1]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_32_bit_floats_survive_both_ways(numbers: list[float]) -> None:
    """To base64 and back, every bit of them."""
    there = to_wanted(Raw(msgspec.json.encode(numbers)), Embedding(count=1, encoding="base64"))

    assert numbers == json.loads(bytes(to_wanted(there, Embedding(count=1))))


def test_what_is_right_is_not_touched() -> None:
    """Digits, blanks and escapes stay as the provider wrote them."""
    numbers, text = Raw(b"[ 0.10,\n2E-7]"), Raw(b'"' + BASE64.encode().replace(b"/", b"\\/") + b'"')

    assert numbers is to_wanted(numbers, Embedding(count=1))
    assert text is to_wanted(text, Embedding(count=1, encoding="base64"))


class TestGemini:
    """Google's own way."""

    @pytest.mark.covers("tasks.embeddings_gemini", "text inputs", "length of vectors", "hint of their use")
    def test_a_request_for_each_input(self) -> None:
        """The model in path and requests, the hint and the length in Google's words."""
        request = request_of(input_type="search_query", dimensions=8)

        assert "/models/one-upstream:batchEmbedContents" == GEMINI.address(request, make_endpoint()).path
        shared = {"model": "models/one-upstream", "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8}
        assert {"requests": [shared | {"content": {"parts": [{"text": text}]}} for text in ("a", "b")]} == sent(
            GEMINI, input_type="search_query", dimensions=8
        )

    @pytest.mark.parametrize("hint", [None, "something"])
    def test_an_unknown_hint_is_left_out(self, hint: object) -> None:
        """It changes nothing but the quality."""
        (request,) = sent(GEMINI, input="a", input_type=hint)["requests"]

        assert {"model", "content"} == request.keys()

    @pytest.mark.parametrize("given", [[1, 2], [{"content": [IMAGE]}]])
    @pytest.mark.covers("tasks.embeddings_gemini", "image inputs", "token inputs")
    def test_text_only(self, given: object) -> None:
        """The request is at fault."""
        with pytest.raises(Refused):
            sent(GEMINI, input=given)

    @pytest.mark.covers("tasks.embeddings_gemini", "text inputs", "numbers and base64", "usage")
    def test_its_reply(self) -> None:
        """Vectors in the order of the inputs, no tokens."""
        events = read(GEMINI, {"embeddings": [{"values": FLOATS}, {"values": [1]}]}, encoding_format="float")

        assert [FLOATS, [1]] == vectors(events)
        assert [Ended()] == events[1:]
        assert "1 vectors" in failure(read(GEMINI, {"embeddings": [{"values": [1]}]})).message

    @pytest.mark.covers("tasks.embeddings_gemini", "errors with status")
    def test_its_errors(self) -> None:
        """As those of its chats, before an answer and in its place."""
        error = {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}
        refused = PROTOCOLS["gemini"].parse_refusal(429, {}, json.dumps(error).encode())

        assert (Throttled, "Slow down.") == (type(refused), refused.message)
        assert Throttled is type(failure(read(GEMINI, error)))

    @pytest.mark.covers("tasks.embeddings_gemini", "broken replies")
    @given(reply=dicts_like(embeddings=st.lists(dicts_like(values=st.lists(st.floats(), max_size=2)), max_size=3)))
    def test_any_reply_is_vectors_or_an_error(self, reply: object) -> None:
        """Nothing else comes out, and nothing else is raised."""
        events = read(GEMINI, reply)

        assert isinstance(events[0], Failed) or 2 == len(vectors(events))


class TestLocal:
    """The embedded model."""

    @pytest.mark.covers("tasks.embeddings_local", "broken replies")
    @pytest.mark.parametrize("reply", [b"", b"[]", {"data": None}, reply_of([1]), reply_of([1], "x"), b"\xff"])
    def test_what_is_no_answer(self, reply: object) -> None:
        """A vector for each input, or an error."""
        assert isinstance(failure(read(LOCAL, reply)), Garbled)

    @pytest.mark.covers("tasks.embeddings_local", "text inputs")
    def test_only_what_it_has(self) -> None:
        """None of the caller's other fields: llama.cpp has some of its own."""
        assert {"model": "one-upstream", "input": ["a", "b"], "encoding_format": "float"} == sent(
            LOCAL, encoding_format="float", user="u", n_predict=9, embd_normalize=0
        )

    @pytest.mark.parametrize("fields", [{"dimensions": 8}, {"input": [{"content": [IMAGE]}]}])
    @pytest.mark.covers("tasks.embeddings_local", "length of vectors")
    def test_what_it_cannot_do(self, fields: dict[str, object]) -> None:
        """It is told, not passed over."""
        with pytest.raises(Refused):
            sent(LOCAL, **fields)


def test_codecs_are_found_by_protocol_and_task() -> None:
    """Chat at its protocol, tasks where they are; where not, another endpoint may be tried."""
    request = request_of()

    assert OPENAI is codec_of("openai", request)
    chat = msgspec.structs.replace(request, task=None)
    assert PROTOCOLS["local"].chat_decoder == codec_of("local", chat).decoder
    with pytest.raises(Unavailable):
        codec_of("anthropic", request)
    assert TASKS.keys() <= PROTOCOLS.keys()
    assert [True, True, False, True] == [
        can_serve("local", outputs) for outputs in (["embeddings"], ["text", "rerank"], ["rerank"], ["image"])
    ]
