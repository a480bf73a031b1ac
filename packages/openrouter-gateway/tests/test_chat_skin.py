"""The `chat` skin: requests in, streams and bodies out, as strict clients want them."""

import copy
import json
from decimal import Decimal
from typing import Any, cast

import pytest
from gateway_samples import HEAD, encode_step, make_chunk, make_endpoint, make_request, to_sse
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.core.chat import ChatParams
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import BadRequest, Garbled, InternalError, Unavailable
from openrouter_gateway.wire.protocols.openai import BodyDecoder, OpenAI, StreamDecoder
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.base import Closing

NO_USAGE = Usage()
FREE = Cost()


def read_sse(data: bytes) -> list[Any]:
    """Return the payloads of a stream, decoded, with exact numbers."""
    payloads = [event.removeprefix(b"data: ") for event in data.removesuffix(b"\n\n").split(b"\n\n")]
    return ["[DONE]" if each == b"[DONE]" else json.loads(each, parse_float=Decimal) for each in payloads]


def make_step(delta: dict[str, Any], *, finish: str | None = None, index: int = 0, **top: object) -> Step:
    """Return one choice's step as a decoder gives it."""
    choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish}
    if finish:
        choice["native_finish_reason"] = finish
    return Step({"id": "x", "choices": [choice]} | top)


class TestParse:
    """Request bodies."""

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"messages": None}, "messages"),
            ({"messages": []}, "messages"),
            ({"messages": "x"}, "messages"),
            ({"messages": [{}]}, "messages[0]"),
            ({"messages": [{"role": "function"}]}, "messages[0].role"),
            ({"messages": [{"role": "user"}, {"role": "user", "content": 1}]}, "messages[1].content"),
            ({"messages": [{"role": "user", "content": [1]}]}, "messages[0].content[0]"),
            ({"model": 1}, "model"),
            ({"models": "a/one"}, "models"),
            ({"models": [1]}, "models[0]"),
            ({"stream": "yes"}, "stream"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": 1.5}, "max_tokens"),
            ({"max_completion_tokens": -1}, "max_completion_tokens"),
            ({"temperature": 2.1}, "temperature"),
            ({"temperature": -0.1}, "temperature"),
            ({"temperature": "hot"}, "temperature"),
            ({"top_p": 0}, "top_p"),
            ({"top_p": 1.1}, "top_p"),
            ({"top_k": -1}, "top_k"),
            ({"min_p": 1.1}, "min_p"),
            ({"top_a": -1}, "top_a"),
            ({"frequency_penalty": 2.5}, "frequency_penalty"),
            ({"presence_penalty": -2.5}, "presence_penalty"),
            ({"repetition_penalty": 0}, "repetition_penalty"),
            ({"repetition_penalty": 2.5}, "repetition_penalty"),
            ({"n": 0}, "n"),
            ({"seed": "x"}, "seed"),
            ({"stop": 1}, "stop"),
            ({"top_logprobs": 21}, "top_logprobs"),
            ({"tools": {}}, "tools"),
            ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function"),
            ({"tool_choice": 1}, "tool_choice"),
            ({"response_format": "json"}, "response_format"),
            ({"response_format": {}}, "response_format"),
            ({"response_format": {"type": "bogus"}}, "response_format.type: Invalid enum value 'bogus'"),
            ({"response_format": {"type": "json_schema"}}, "response_format.json_schema: is missing"),
            (
                {"response_format": {"type": "json_schema", "json_schema": None}},
                "response_format.json_schema: is missing",
            ),
            ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema: "),
            ({"session_id": "x" * 257}, "session_id"),
            ({"provider": []}, "provider"),
            ({"provider": {"onyl": ["x"]}}, "provider"),
            ({"provider": {"onyl": ["x"]}}, "onyl"),
            ({"provider": {"only": "x"}}, "provider.only"),
            ({"provider": {"data_collection": "maybe"}}, "provider.data_collection"),
            ({"provider": {"max_price": {"prompt": []}}}, "provider.max_price.prompt"),
            ({"provider": {"max_price": {"promt": 1}}}, "provider.max_price"),
            ({"provider": {"max_price": {"promt": 1}}}, "`promt`"),
            ({"trace": "x"}, "trace"),
            ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, "reasoning_effort"),
            ({"reasoning_effort": "none", "reasoning": {"effort": "high"}}, "reasoning.effort"),
            ({"reasoning": {"effort": "high", "max_tokens": 2000}}, "reasoning.max_tokens"),
            ({"reasoning": {"effort": "high", "max_tokens": 2000}}, "`reasoning.effort`"),
            ({"reasoning": {"max_tokens": 2000}, "reasoning_effort": "high"}, "`reasoning_effort`"),
            ({"reasoning": "high"}, "reasoning: Expected `object | null`"),
        ],
    )
    def test_a_wrong_field_is_named(self, fields: dict[str, object], named: str) -> None:
        """The message says which field it is, as the caller wrote it."""
        with pytest.raises(BadRequest) as caught:
            make_request(**fields)

        assert named in caught.value.message
        assert (caught.value.status, caught.value.error_type) == (400, "invalid_request")

    def test_a_missing_field_is_named(self) -> None:
        """The one field that must be there."""
        with pytest.raises(BadRequest, match="messages"):
            chat.parse(b"{}")

    @pytest.mark.parametrize(
        "fields",
        [
            {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "top_a": 1},
            {"temperature": 2, "top_p": 0.01, "frequency_penalty": -2, "presence_penalty": 2, "repetition_penalty": 2},
            {"max_tokens": 1, "n": 1, "top_logprobs": 20, "session_id": "x" * 256, "seed": -(2**70)},
            {"stop": "x", "tool_choice": "auto"},
            {"reasoning_effort": "low", "reasoning": {"effort": "low"}},
            {"reasoning_effort": None, "reasoning": {"effort": "high"}},
            {"reasoning_effort": "low", "reasoning": {"effort": None}},
            {"reasoning_effort": "low", "reasoning": None},
            {"reasoning_effort": None, "reasoning": {"effort": None, "max_tokens": 2000}},
            {"reasoning": {"effort": "low", "max_tokens": None}},
            {"stop": ["x"], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": {"type": "openrouter:web_search"}, "tools": [{"type": "openrouter:web_search"}]},
            {"provider": {"max_price": {"prompt": "1", "completion": 2.5}, "sort": {"by": "price"}}},
            {"something": {"new": [1]}},
        ],
    )
    def test_the_ends_of_ranges_are_in(self, fields: dict[str, object]) -> None:
        """Every documented value passes, and so does every unknown field."""
        assert fields.keys() <= make_request(**fields).fields.keys()

    def test_null_means_not_set(self) -> None:
        """Clients send null for what they leave alone: every field but the messages takes it."""
        names = set(ChatParams.__struct_fields__) - {"messages"}

        request = make_request(**dict.fromkeys(names))

        assert {None} == {getattr(request.params, name) for name in names}
        assert not request.stream

    def test_nulls_in_messages(self) -> None:
        """An assistant's message has no content beside its tool calls."""
        message = {"role": "assistant", "content": None, "tool_calls": None, "name": None, "tool_call_id": None}

        assert None is make_request(messages=[message]).params.messages[0].content

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"not json",
            b"[]",
            b"null",
            b'"x"',
            b"\xff\xfe",
            b'{"messages":[{"role":"user","content":"x"}]} x',
            b'{"messages":[{"role":"user","content":"\xff"}]}',
            b'{"messages":[{"role":"user","content":"x"}],"unknown":"\xff"}',
            b'{"messages":[{"role":"user","content":"x"}],"unknown":NaN}',
            b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        ],
    )
    def test_what_is_not_a_json_object(self, body: bytes) -> None:
        """It is refused with a message of one line, also when the wrong bytes are in a field that nobody reads."""
        with pytest.raises(BadRequest) as caught:
            chat.parse(body)

        assert "\n" not in caught.value.message

    @pytest.mark.parametrize("where", ['{"new":%s}', '{"trace":{"a":%s}}', '{"provider":{"sort":{"a":%s}}}', "%s"])
    @pytest.mark.parametrize("depth", [2_000, 200_000])
    def test_deep_nesting(self, where: str, depth: int) -> None:
        """It is refused; it does not overflow anything."""
        nested = where % ("[" * depth + "]" * depth)
        body = nested.replace("{", '{"messages":[{"role":"user"}],', 1)

        with pytest.raises(BadRequest):
            chat.parse(body.encode())

    def test_models_in_order(self) -> None:
        """`model` is tried first, each model once, an empty name is none."""
        assert make_request(model="a/1", models=["a/2", "a/1"]).requested_models == ["a/1", "a/2"]
        assert make_request(model="", models=["a/2"]).requested_models == ["a/2"]
        assert make_request().requested_models == []


class TestStream:
    """Events to server-sent events."""

    def test_every_chunk_has_the_required_keys(self) -> None:
        """Its own id, time, model and provider, whatever the provider of the answer said."""
        encoder = chat.StreamEncoder(HEAD)
        step = make_step({"content": "x"}, created=5, model="m", object="o", provider="p", system_fingerprint="fp")

        (chunk,) = read_sse(encode_step(encoder, step))

        assert {
            "id": HEAD.id,
            "object": "chat.completion.chunk",
            "created": 1771043112,
            "model": "a/one",
            "provider": "Acme",
            "system_fingerprint": "fp",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": "x"}, "finish_reason": None}],
        } == chunk

    def test_the_first_delta_of_each_choice_has_the_role(self) -> None:
        """Once per choice: the stream helper of npm's `openai` insists on it."""
        encoder = chat.StreamEncoder(HEAD)
        steps = [
            make_step({"content": "a"}, index=0),
            make_step({"content": "b"}, index=1),
            make_step({"content": "c"}, index=0),
            make_step({"role": "assistant"}, index=2),
            make_step({}, index=1, finish="stop"),
        ]

        deltas = [read_sse(encode_step(encoder, step))[0]["choices"][0]["delta"] for step in steps]

        assert deltas == [
            {"role": "assistant", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"content": "c"},
            {"role": "assistant"},
            {},
        ]

    def test_the_end(self) -> None:
        """One usage chunk without choices, then the end mark; costs are exact JSON numbers."""
        usage = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5, cached_tokens=1, reasoning_tokens=1)
        cost = Cost(prompt=Decimal("0.0000012345678901234567"), completion=Decimal("2E-8"), request=Decimal("0.5"))

        chunk, end = read_sse(chat.StreamEncoder(HEAD).encode_end(Closing(usage=usage, cost=cost)))

        assert end == "[DONE]"
        assert chunk["choices"] == []
        assert {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "total_tokens": 5,
            "prompt_tokens_details": {
                "cached_tokens": 1,
                "cache_write_tokens": 0,
                "audio_tokens": 0,
                "video_tokens": 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 1,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            "cost": Decimal("0.5000012545678901234567"),
            "is_byok": False,
            "cost_details": {
                "upstream_inference_cost": None,
                "upstream_inference_prompt_cost": Decimal("0.0000012345678901234567"),
                "upstream_inference_completions_cost": Decimal("2E-8"),
            },
        } == chunk["usage"]

    def test_an_error_after_output(self) -> None:
        """One chunk with an integer code and the type in its metadata, then the end mark."""
        error = Unavailable("it broke", provider="Acme", provider_code="overloaded")

        chunk, end = read_sse(chat.StreamEncoder(HEAD).encode_error(error))

        assert end == "[DONE]"
        assert {
            "id": HEAD.id,
            "object": "chat.completion.chunk",
            "created": 1771043112,
            "model": "a/one",
            "provider": "Acme",
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": ""},
                    "finish_reason": "error",
                    "native_finish_reason": "overloaded",
                }
            ],
            "error": {
                "code": 502,
                "message": "it broke",
                "metadata": {
                    "error_type": "provider_unavailable",
                    "provider_name": "Acme",
                    "provider_code": "overloaded",
                },
            },
        } == chunk

    def test_our_own_defects_are_masked(self) -> None:
        """Nothing of the cause leaves the process."""
        chunk, _ = read_sse(chat.StreamEncoder(HEAD).encode_error(InternalError("secret")))

        assert chunk["error"] == {"code": 500, "message": "Internal Server Error", "metadata": {"error_type": "server"}}

    def test_a_line_per_event(self) -> None:
        """Line ends and the line separators of Unicode within a text stay inside the JSON."""
        text = "a\r\nb\u2028c"

        data = encode_step(chat.StreamEncoder(HEAD), make_step({"content": text}))

        assert data.count(b"\n") == 2
        assert text == read_sse(data)[0]["choices"][0]["delta"]["content"]


def encode_body(*steps: Step, usage: Usage = NO_USAGE, cost: Cost = FREE) -> dict[str, Any]:
    """Return the body that these steps make."""
    encoder = chat.BodyEncoder(HEAD)
    for step in steps:
        encoder.add_step(step)
    return json.loads(encoder.encode_end(Closing(usage=usage, cost=cost)), parse_float=Decimal)


class TestBody:
    """Events to one JSON body."""

    def test_the_required_keys(self) -> None:
        """Every key that strict clients want is there, and no optional one is null."""
        body = encode_body(make_step({"content": "Hi"}, finish="stop", service_tier="default"))

        assert {
            "id": HEAD.id,
            "object": "chat.completion",
            "created": 1771043112,
            "model": "a/one",
            "provider": "Acme",
            "system_fingerprint": None,
            "service_tier": "default",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "native_finish_reason": "stop",
                    "logprobs": None,
                    "message": {"role": "assistant", "content": "Hi", "refusal": None, "reasoning": None},
                }
            ],
        } == {key: value for key, value in body.items() if key != "usage"}
        assert int is type(body["usage"]["total_tokens"])

    def test_the_provider_names_nothing(self) -> None:
        """Its own id, time and model are not the ones of the generation; its fingerprint is passed on."""
        step = make_step({"content": "x"}, object="o", created=1, model="m", provider="p", system_fingerprint="fp")

        body = encode_body(step)

        assert (HEAD.id, "chat.completion", HEAD.created, "a/one", "Acme", "fp") == tuple(
            body[key] for key in ("id", "object", "created", "model", "provider", "system_fingerprint")
        )

    def test_choices_are_in_order(self) -> None:
        """By their index, however their pieces came in."""
        body = encode_body(
            make_step({"content": "b"}, index=1, finish="stop"),
            make_step({"content": "a"}, index=0),
            make_step({}, index=0, finish="length"),
        )

        assert [
            (choice["index"], choice["message"]["content"], choice["finish_reason"]) for choice in body["choices"]
        ] == [(0, "a", "length"), (1, "b", "stop")]

    def test_a_tool_call_is_complete(self) -> None:
        """Id, type, name and arguments are strings, also where the provider left them out; there is no index."""
        body = encode_body(make_step({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}))

        assert body["choices"][0]["message"]["tool_calls"] == [
            {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": ""}}
        ]

    def test_a_tool_call_in_pieces(self) -> None:
        """Arguments are joined; a later piece with an empty name or id takes nothing back."""
        body = encode_body(
            make_step({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a"'}}]}),
            make_step({"tool_calls": [{"index": 0, "id": "", "function": {"name": "", "arguments": ":1}"}}]}),
            make_step({"tool_calls": [{"index": 1, "id": "d", "function": {"name": "g"}}]}),
        )

        assert body["choices"][0]["message"]["tool_calls"] == [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
            {"id": "d", "type": "function", "function": {"name": "g", "arguments": ""}},
        ]

    def test_parts_and_text(self) -> None:
        """Some providers stream lists of content parts, and text in between."""
        part = {"type": "thinking", "thinking": "hm"}

        body = encode_body(make_step({"content": "a"}), make_step({"content": [part]}), make_step({"content": "b"}))

        assert [{"type": "text", "text": "a"}, part, {"type": "text", "text": "b"}] == body["choices"][0]["message"][
            "content"
        ]

    def test_costs_are_exact(self) -> None:
        """A JSON number with all its digits, not the nearest binary one."""
        body = encode_body(make_step({}), cost=Cost(prompt=Decimal("0.1"), completion=Decimal("0.2")))

        assert Decimal("0.3") == body["usage"]["cost"]

    def test_the_providers_own_cost(self) -> None:
        """It is shown beside ours."""
        body = encode_body(make_step({}), usage=Usage(reported_cost=Decimal("0.00014")))

        assert Decimal("0.00014") == body["usage"]["cost_details"]["upstream_inference_cost"]

    def test_image_tokens_only_where_there_are_some(self) -> None:
        """The official schema does not have them."""
        plain = encode_body(make_step({}))["usage"]["completion_tokens_details"]
        images = encode_body(make_step({}), usage=Usage(image_tokens=5))["usage"]["completion_tokens_details"]

        assert {"image_tokens"} == images.keys() - plain.keys()


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=4)


@st.composite
def replies(draw: st.DrawFn) -> tuple[list[Step], Step]:
    """Return a message in many steps, and the same in one."""
    steps: list[Step] = []
    whole: dict[str, Any] = {"role": "assistant"}
    for key in ("reasoning", "content", "refusal"):
        pieces = draw(TEXTS)
        steps += [make_step({key: piece}) for piece in pieces]
        if pieces:
            whole[key] = "".join(pieces)
    details = [{"type": "reasoning.text", "text": text} for text in draw(TEXTS)]
    steps += [make_step({"reasoning_details": [detail]}) for detail in details]
    if details:
        whole["reasoning_details"] = details
    calls: list[dict[str, Any]] = []
    for index in range(draw(st.integers(0, 2))):
        pieces = draw(TEXTS)
        call = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": "f", "arguments": ""}}
        steps.append(make_step({"tool_calls": [copy.deepcopy(call)]}))
        steps += [make_step({"tool_calls": [{"index": index, "function": {"arguments": p}}]}) for p in pieces]
        calls.append(call | {"function": {"name": "f", "arguments": "".join(pieces)}})
    if calls:
        whole["tool_calls"] = calls
    steps.append(make_step({}, finish="stop"))
    return steps, make_step(whole, finish="stop")


@given(replies())
def test_many_steps_make_the_same_body_as_one(reply: tuple[list[Step], Step]) -> None:
    """However a provider cuts its answer, the whole is the same."""
    steps, whole = reply

    assert encode_body(whole) == encode_body(*steps)


@given(replies())
def test_a_stream_survives_the_round_trip(reply: tuple[list[Step], Step]) -> None:
    """Our own stream, read by our own decoder, is the same answer: what a gateway behind a gateway sees."""
    steps, whole = reply
    encoder = chat.StreamEncoder(HEAD)
    data = b"".join(encode_step(encoder, step) for step in steps) + encoder.encode_end(
        Closing(usage=NO_USAGE, cost=FREE)
    )

    again = [event for event in StreamDecoder().feed(data) if isinstance(event, Step)]

    assert encode_body(whole) == encode_body(*again)


class TestFromProviderToClient:
    """Protocol and skin together, against the lists of what strict clients reject."""

    def stream(self, *chunks: object) -> list[Any]:
        encoder = chat.StreamEncoder(HEAD)
        events = StreamDecoder().feed(to_sse(*chunks))
        return [chunk for e in events if isinstance(e, Step) for chunk in read_sse(encode_step(encoder, e))]

    def test_an_upstream_full_of_nulls(self) -> None:
        """No null reaches a client where its schema has none."""
        nulls = dict.fromkeys(["system_fingerprint", "usage", "error", "openrouter_metadata", "service_tier"])
        delta = dict.fromkeys(["role", "content", "reasoning", "refusal", "tool_calls", "reasoning_details", "audio"])

        first, last = self.stream(make_chunk(delta) | nulls, make_chunk({}, finish="stop") | nulls)

        assert {"id", "object", "created", "model", "provider", "choices"} == first.keys() == last.keys()
        assert first["choices"][0]["delta"] == {
            "role": "assistant",
            "content": None,
            "reasoning": None,
            "refusal": None,
        }
        assert {"index", "delta", "finish_reason", "native_finish_reason"} == last["choices"][0].keys()

    @pytest.mark.parametrize("error", [None, "", {}, False, 0])
    def test_an_error_that_is_none(self, error: object) -> None:
        """Clients take any `error` for one."""
        (chunk,) = self.stream(make_chunk({"content": "x"}, error=error))

        assert "error" not in chunk

    def test_a_body_full_of_nulls(self) -> None:
        """Optional members of a message are absent, never null."""
        nulls = dict.fromkeys(["tool_calls", "images", "audio", "reasoning_details", "annotations", "name", "model"])
        body = {
            "choices": [{"message": {"role": None, "content": "x"} | nulls, "finish_reason": "stop"}],
            "usage": None,
            "openrouter_metadata": None,
            "system_fingerprint": None,
        }
        decoder = BodyDecoder()
        decoder.feed(json.dumps(body).encode())

        whole = encode_body(*[event for event in decoder.finish() if isinstance(event, Step)])

        assert whole["choices"][0]["message"] == {
            "role": "assistant",
            "content": "x",
            "refusal": None,
            "reasoning": None,
        }
        assert {"system_fingerprint"} == {key for key, value in whole.items() if value is None}


def test_a_request_passes_through_untouched() -> None:
    """Same dialect in and out: the caller's bytes go on as they came."""
    body = b'{"model":"a/one","messages":[{"role":"user","content":"x"}],"temperature":0.70}'

    sent = OpenAI().encode_chat(chat.parse(body), make_endpoint())

    assert body.replace(b"a/one", b"one-upstream") == sent


def test_a_metadata_of_an_error_cannot_hide_its_type() -> None:
    """Clients tell errors apart by it."""
    body = json.loads(chat.encode_error_body(Garbled("x", metadata={"previous_errors": []})))

    assert cast("dict[str, Any]", body)["error"]["metadata"] == {
        "error_type": "provider_unavailable",
        "previous_errors": [],
    }
