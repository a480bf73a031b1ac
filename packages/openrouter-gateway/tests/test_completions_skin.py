"""The `completions` skin: prompts in, streams and bodies of text out."""

import json
from typing import Any

import msgspec
import pytest
from gateway_samples import HEAD, make_chunk, make_endpoint, to_sse
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.core.chat import ChatRequest, Message
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import BadRequest, InternalError, Unavailable
from openrouter_gateway.wire.protocols.openai import OpenAI, StreamDecoder
from openrouter_gateway.wire.skins import SKINS, chat, completions
from openrouter_gateway.wire.skins.base import Closing

PLAIN = completions.parse(b'{"prompt":"Hi"}')
ECHOED = completions.parse(b'{"prompt":"Hi","echo":true}')
END = Closing(usage=Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5), cost=Cost())
BOTH = ["/completions", "/chat/completions"]


def parse(path: str = "/completions", **fields: object) -> ChatRequest:
    """Return a request as the skin of a path reads it."""
    return SKINS[path].parse(json.dumps({"prompt": "Hi"} | fields).encode())


def make_step(text: str | None, *, index: int = 0, finish: str | None = None, **more: Any) -> Step:
    """Return one choice's step as a decoder gives it."""
    delta: dict[str, Any] = {} if text is None else {"content": text}
    delta |= more.pop("delta", {})
    return Step({"choices": [{"index": index, "delta": delta, "finish_reason": finish} | more]})


def stream(*steps: Step, request: ChatRequest = PLAIN) -> list[Any]:
    """Return the decoded chunks that these steps make, the end among them."""
    encoder = completions.StreamEncoder(HEAD, request)
    out = bytearray()
    for step in steps:
        encoder.encode_step(step, out)
    out += encoder.encode_end(END)
    *events, end = bytes(out).removesuffix(b"\n\n").split(b"\n\n")
    assert end == b"data: [DONE]"
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def body(*steps: Step, request: ChatRequest = PLAIN) -> dict[str, Any]:
    """Return the body that these steps make."""
    encoder = completions.BodyEncoder(HEAD, request)
    for step in steps:
        encoder.add_step(step)
    return json.loads(encoder.encode_end(END))


class TestParse:
    """Request bodies."""

    @pytest.mark.parametrize("path", BOTH)
    @pytest.mark.parametrize("prompt", ["Say hello.", ["Say hello."]])
    def test_a_prompt_is_a_conversation_of_one_message(self, path: str, prompt: object) -> None:
        """A list of one text is that text; the provider sees messages and no prompt."""
        request = parse(path, prompt=prompt, model="a/one", max_tokens=5, new_field=[1])

        sent = json.loads(OpenAI().encode_chat(request, make_endpoint()))
        assert [Message(role="user", content="Say hello.")] == request.params.messages
        assert {
            "model": "one-upstream",
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 5,
            "new_field": [1],
        } == sent

    @pytest.mark.parametrize("path", BOTH)
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"prompt": ["a", "b"]}, "prompt: one text at a time"),
            ({"prompt": [1, 2]}, "prompt: token ids"),
            ({"prompt": [[1], [2]]}, "prompt: token ids"),
            ({"prompt": 1}, "prompt: Expected `str`"),
            ({"prompt": []}, "prompt: Expected `str`"),
            ({"prompt": [{}]}, "prompt: Expected `str`"),
            ({"suffix": "the end"}, "suffix: "),
            ({"suffix": 1}, "suffix: "),
            ({"best_of": 2}, "best_of: "),
            ({"best_of": 3, "n": 2}, "best_of: "),
            ({"best_of": 0}, "best_of: "),
            ({"echo": "yes"}, "echo: "),
            ({"echo": True, "logprobs": 1}, "echo: "),
            ({"logprobs": 21}, "logprobs: "),
            ({"logprobs": -1}, "logprobs: "),
            ({"tools": [{"type": "function"}]}, "tools: "),
            ({"temperature": "hot"}, "temperature: "),
            ({"max_tokens": 0}, "max_tokens: "),
            ({"provider": {"onyl": ["x"]}}, "provider: "),
        ],
    )
    def test_what_cannot_be_done_is_named(self, path: str, fields: dict[str, object], said: str) -> None:
        """The message begins with the field."""
        with pytest.raises(BadRequest) as caught:
            parse(path, **fields)

        assert caught.value.message.startswith(said), caught.value.message

    @pytest.mark.parametrize(
        "fields",
        [
            {"suffix": None, "echo": None, "best_of": None, "logprobs": None, "tools": None, "tool_choice": None},
            {"suffix": "", "echo": False, "best_of": 1, "logprobs": False, "tools": []},
            {"n": 2, "best_of": 2},
        ],
    )
    def test_what_asks_for_nothing_passes(self, fields: dict[str, object]) -> None:
        """Nor does it go to the provider."""
        request = parse(**fields)

        assert request.fields.keys() <= {"messages", "n"}

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ({"logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
            ({"logprobs": 0}, {"logprobs": True, "top_logprobs": 0}),
            ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
            ({"logprobs": False}, {}),
        ],
    )
    def test_logprobs_as_chat_has_them(self, given: dict[str, Any], wanted: dict[str, Any]) -> None:
        """The legacy number says how many alternatives there are to be."""
        fields = parse(**given).fields

        assert wanted == {name: json.loads(bytes(value)) for name, value in fields.items() if name != "messages"}

    @pytest.mark.parametrize("wrong", [b"", b"{", b"[]", b"null", b'{"prompt":"\xff"}', b'{"prompt":"\\ud800"}'])
    def test_what_is_not_a_json_object(self, wrong: bytes) -> None:
        """It is refused, at both places."""
        for path in BOTH:
            with pytest.raises(BadRequest):
                SKINS[path].parse(wrong)

    @pytest.mark.parametrize("sent", [b"{}", b'{"messages":[{"role":"user","content":"x"}]}'])
    def test_the_prompt_is_what_must_be_there(self, sent: bytes) -> None:
        """Messages belong to the other path."""
        with pytest.raises(BadRequest, match="prompt"):
            completions.parse(sent)

    def test_chat_is_still_chat(self) -> None:
        """At its own path, messages win over a prompt, and what is wrong with them is what is said."""
        skin = SKINS["/chat/completions"]
        both = skin.parse(b'{"prompt":"x","messages":[{"role":"user","content":"y"}]}')

        assert "y" == both.params.messages[0].content
        assert isinstance(skin.stream_encoder(HEAD, both), chat.StreamEncoder)
        assert isinstance(skin.body_encoder(HEAD, both), chat.BodyEncoder)
        assert isinstance(skin.stream_encoder(HEAD, PLAIN), completions.StreamEncoder)
        assert isinstance(skin.body_encoder(HEAD, PLAIN), completions.BodyEncoder)
        with pytest.raises(BadRequest, match="messages"):
            skin.parse(b"{}")
        with pytest.raises(BadRequest, match="messages"):
            skin.parse(b'{"prompt":"x","messages":[]}')


class TestStream:
    """Events to server-sent events."""

    def test_a_whole_answer(self) -> None:
        """Pieces of text, the reason to stop, the usage alone; what says nothing is no chunk."""
        first, last, usage = stream(
            make_step(None, delta={"role": "assistant"}),
            make_step("Hel", logprobs=None),
            make_step(""),
            make_step("lo", finish="stop", native_finish_reason="end_turn"),
        )

        own = {
            "id": HEAD.id,
            "object": "text_completion",
            "created": 1771043112,
            "model": "a/one",
            "provider": "Acme",
        }
        choice = {"index": 0, "text": "Hel", "logprobs": None, "finish_reason": None, "native_finish_reason": None}
        assert own | {"choices": [choice]} == first
        end = {"text": "lo", "finish_reason": "stop", "native_finish_reason": "end_turn"}
        assert own | {"choices": [choice | end]} == last
        assert own.keys() | {"choices", "usage"} == usage.keys()
        assert (usage["choices"], usage["usage"]["total_tokens"], usage["usage"]["cost"]) == ([], 5, 0)

    def test_an_echo_comes_once_per_choice(self) -> None:
        """Before its first text."""
        chunks = stream(make_step("a"), make_step("b", index=1), make_step("c"), request=ECHOED)

        assert ["Hia", "Hib", "c"] == [chunk["choices"][0]["text"] for chunk in chunks[:-1]]

    def test_an_error_after_output(self) -> None:
        """One chunk with an integer code, then the end mark; our own defects are masked."""
        encoder = completions.StreamEncoder(HEAD, PLAIN)
        error = encoder.encode_error(Unavailable("it broke", provider_code="overloaded"))
        defect = encoder.encode_error(InternalError("secret"))

        event, end = error.removesuffix(b"\n\n").split(b"\n\n")
        chunk = json.loads(event.removeprefix(b"data: "))
        assert end == b"data: [DONE]"
        assert (502, "provider_unavailable") == (chunk["error"]["code"], chunk["error"]["metadata"]["error_type"])
        assert ("error", "overloaded", "") == tuple(
            chunk["choices"][0][name] for name in ("finish_reason", "native_finish_reason", "text")
        )
        assert b"secret" not in defect


class TestBody:
    """Events to one body."""

    def test_a_whole_answer(self) -> None:
        """Choices in order, texts joined, fields of the provider that nobody knows kept."""
        step = make_step("A", finish="length", native_finish_reason="max_tokens")
        told = body(make_step("B", index=1), Step(step.chunk | {"service_tier": "default"}), make_step("!", index=1))

        choice = {"logprobs": None, "finish_reason": None, "native_finish_reason": None}
        ended = {"finish_reason": "length", "native_finish_reason": "max_tokens"}
        assert [
            {"index": 0, "text": "A"} | choice | ended,
            {"index": 1, "text": "B!"} | choice,
        ] == told["choices"]
        assert ("text_completion", HEAD.id, "a/one", "Acme") == tuple(
            told[name] for name in ("object", "id", "model", "provider")
        )
        assert (None, "default") == (told["system_fingerprint"], told["service_tier"])
        assert 5 == told["usage"]["total_tokens"]

    def test_reasoning_and_errors_of_a_choice(self) -> None:
        """Both are kept; content in parts is joined to text."""
        parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, "?", {"type": "text", "text": "b"}]
        told = body(
            make_step(None, delta={"reasoning": "Let "}),
            make_step(None, delta={"reasoning": "me"}),
            make_step(None, delta={"content": parts}),
            make_step(None, finish="error", error={"code": 502, "message": "broke"}),
        )

        (choice,) = told["choices"]
        assert ("Let me", "ab", {"code": 502, "message": "broke"}) == (
            choice["reasoning"],
            choice["text"],
            choice["error"],
        )

    def test_logprobs(self) -> None:
        """Lists side by side, with each token's place in the text, however many pieces they came in."""

        def piece(*texts: str, finish: str | None = None) -> Step:
            tokens = [{"token": text, "logprob": -0.5, "bytes": None} for text in texts]
            other = {"token": "x", "logprob": -2.0, "bytes": None}
            content = [token | {"top_logprobs": [token, other]} for token in tokens]
            return make_step("".join(texts), finish=finish, logprobs={"content": content, "refusal": None})

        told = body(piece("Hel"), piece("lo", "!", finish="stop"))

        assert {
            "tokens": ["Hel", "lo", "!"],
            "token_logprobs": [-0.5] * 3,
            "top_logprobs": [{"Hel": -0.5, "x": -2.0}, {"lo": -0.5, "x": -2.0}, {"!": -0.5, "x": -2.0}],
            "text_offset": [0, 3, 5],
        } == told["choices"][0]["logprobs"]

    @pytest.mark.parametrize("odd", [1, "x", [], {"content": None}, {"content": [{"token": 1}]}, {"content": "x"}])
    def test_odd_logprobs_are_none(self, odd: object) -> None:
        """What no client could read."""
        assert None is body(make_step("a", logprobs=odd))["choices"][0]["logprobs"]


@given(
    pieces=st.lists(
        st.tuples(st.text(st.characters(exclude_categories=("Cs",)), max_size=4), st.integers(0, 2)), max_size=8
    ),
    echo=st.booleans(),
)
def test_streams_and_bodies_say_the_same(pieces: list[tuple[str, int]], *, echo: bool) -> None:
    """The joined texts of a stream are those of the body, for each choice."""
    request = ECHOED if echo else PLAIN
    steps = [make_step(text, index=index) for text, index in pieces]

    joined: dict[int, str] = {}
    for chunk in stream(*steps, request=request):
        for choice in chunk["choices"]:
            joined[choice["index"]] = joined.get(choice["index"], "") + choice["text"]

    assert joined == {choice["index"]: choice["text"] for choice in body(*steps, request=request)["choices"]}


def test_a_stream_of_a_provider_as_text() -> None:
    """Through the decoder and the encoder: no delta, message or role is left."""
    decoder = StreamDecoder()
    events = decoder.feed(
        to_sse(
            make_chunk({"role": "assistant", "content": ""}),
            make_chunk({"content": "Hi"}),
            make_chunk({}, finish="stop"),
        )
    )

    steps = [event for event in events if isinstance(event, Step)]
    chunks = stream(*steps)

    assert [("Hi", None), ("", "stop")] == [
        (choice["text"], choice["finish_reason"]) for chunk in chunks for choice in chunk["choices"]
    ]
    assert b"delta" not in msgspec.json.encode(chunks)
