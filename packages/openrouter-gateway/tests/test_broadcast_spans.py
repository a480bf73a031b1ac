"""Generations as spans: the mapping as vectors."""

from decimal import Decimal
from typing import Any

import pytest
from broadcast_samples import ANSWER, COST, QUESTION, SPAN_ID, TRACE_ID, TRACEPARENT, failed_attempt, make_record
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import CREATED_S
from msgspec import Raw

from openrouter_gateway.broadcast.content import MAX_CONTENT_BYTES, read_input, read_reply, to_semantic, to_text
from openrouter_gateway.broadcast.destinations.attributes import open_inference, semantic
from openrouter_gateway.broadcast.ids import TraceParent, parse_traceparent, span_id_of, trace_id_of
from openrouter_gateway.broadcast.spans import Trace, build_trace
from openrouter_gateway.broadcast.transcript import Transcript
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.generation import AttemptRecord
from openrouter_gateway.core.usage import Cost, Usage

START_NS = int(CREATED_S * 1e9)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def names(trace: Trace) -> list[tuple[str, str]]:
    return [(span.kind, span.name) for span in trace.spans]


def assert_one_tree(*traces: Trace) -> None:
    """Every parent but the first is a span of the same trace."""
    assert 1 == len({trace.trace_id for trace in traces})
    ids = {span.span_id for trace in traces for span in trace.spans}
    roots = {span.span_id for trace in traces for span in trace.spans if span.parent_id is None}
    assert 1 == len(roots)
    assert all(span.parent_id in ids for trace in traces for span in trace.spans if span.span_id not in roots)


class TestIds:
    """Ids of callers to ids of OTLP."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (TRACE_ID, TRACE_ID),
            (TRACE_ID.upper(), TRACE_ID),
            ("550e8400-e29b-41d4-a716-446655440000", "550e8400e29b41d4a716446655440000"),
        ],
    )
    def test_legal_trace_ids_stay(self, text: str, expected: str) -> None:
        """UUIDs have as many digits."""
        assert expected == trace_id_of(text)

    @given(st.text(min_size=1))
    def test_all_others_become_legal(self, text: str) -> None:
        """And always the same; zeros alone are no id."""
        for made, digits in ((trace_id_of(text), 32), (span_id_of(text), 16)):
            assert digits == len(made)
            assert 0 < int(made, 16)
        assert trace_id_of(text) == trace_id_of(text)

    def test_vectors(self) -> None:
        """They never change: what was sent before a restart belongs to what is sent after it."""
        assert "75c245afa96047421f8e2cfd8db0d4e5" == trace_id_of("abc")
        assert "0" * 32 != trace_id_of("0" * 32)
        assert SPAN_ID == span_id_of(SPAN_ID)
        assert span_id_of("abc") != trace_id_of("abc")[:16]

    def test_traceparent(self) -> None:
        """The header of W3C Trace Context."""
        assert TraceParent(trace_id=TRACE_ID, span_id=SPAN_ID, sampled=True) == parse_traceparent(TRACEPARENT)
        unsampled = parse_traceparent(TRACEPARENT[:-2] + "00")
        assert unsampled is not None
        assert not unsampled.sampled
        assert parse_traceparent("cc" + TRACEPARENT[2:] + "-what-later-versions-add") is not None

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "ff" + TRACEPARENT[2:],
            TRACEPARENT + "-more",
            TRACEPARENT.upper(),
            f"00-{'0' * 32}-{SPAN_ID}-01",
            f"00-{TRACE_ID}-{'0' * 16}-01",
            TRACEPARENT[:-1],
            "00-" + "é" * 32 + f"-{SPAN_ID}-01",
            "x" * 10_000,
        ],
    )
    def test_what_is_no_traceparent(self, header: str | None) -> None:
        assert parse_traceparent(header) is None

    @given(st.text())
    def test_any_header(self, header: str) -> None:
        """None of them raises."""
        parse_traceparent(header)


class TestHierarchy:
    """trace_name -> span_name -> generation_name."""

    def test_a_generation_alone(self) -> None:
        """It is the root, and named after its model."""
        trace = build_trace(make_record())
        assert [("generation", "a/one")] == names(trace)
        assert trace.span.parent_id is None
        assert build_trace(make_record(2)).trace_id != trace.trace_id

    def test_all_names(self) -> None:
        asked = {"trace_name": "agent", "span_name": "step", "generation_name": "think", "team": "blue"}
        trace = build_trace(make_record(trace=asked))
        assert [("group", "agent"), ("group", "step"), ("generation", "think")] == names(trace)
        assert_one_tree(trace)
        assert {"team": "blue"} == trace.metadata

    def test_requests_of_one_trace_are_one_tree(self) -> None:
        """With the same group spans, also where models differ."""
        asked = {"trace_id": "run-7", "span_name": "step"}
        first = build_trace(make_record(1, trace=asked))
        second = build_trace(make_record(2, trace=asked, model="b/two"))
        assert_one_tree(first, second)
        assert [span.span_id for span in first.groups] == [span.span_id for span in second.groups]
        assert first.span.span_id != second.span.span_id
        assert {"trace_id": "run-7"} == first.metadata

    def test_requests_of_one_session_are_one_tree(self) -> None:
        """Sessions of other keys are others, though they are called the same."""
        first, second = (build_trace(make_record(number, session_id="s-1")) for number in (1, 2))
        assert_one_tree(first, second)
        assert build_trace(make_record(session_id="s-1", key_hash="ff" * 32)).trace_id != first.trace_id

    def test_the_callers_span_is_the_parent(self) -> None:
        """Then no root of ours is needed."""
        trace = build_trace(make_record(trace={"trace_id": TRACE_ID, "parent_span_id": SPAN_ID, "trace_name": "run"}))
        assert (TRACE_ID, SPAN_ID, "run") == (trace.trace_id, trace.span.parent_id, trace.name)
        assert [("generation", "a/one")] == names(trace)
        assert {} == trace.metadata
        assert "run" == trace.span.attributes["trace.name"]

    def test_the_name_of_a_trace_is_on_every_span(self) -> None:
        """The root may be another generation's, or the caller's own span; without a name there is none."""
        asked = {"trace_name": "run", "span_name": "step"}
        for trace in (build_trace(make_record(trace=asked, **more)) for more in ({}, {"traceparent": TRACEPARENT})):
            assert {"run"} == {span.attributes["trace.name"] for span in trace.spans}
        assert "trace.name" not in build_trace(make_record(session_id="s-1")).span.attributes

    def test_a_parent_with_a_name_of_its_own(self) -> None:
        """Such as a UUID: its hash is the id, the original stays in the metadata."""
        trace = build_trace(make_record(trace={"trace_id": "t", "parent_span_id": "p", "span_name": "step"}))
        assert span_id_of("p") == trace.groups[0].parent_id
        assert trace.groups[0].span_id == trace.span.parent_id
        assert {"trace_id": "t", "parent_span_id": "p"} == trace.metadata

    def test_traceparent(self) -> None:
        """The header places what names no trace."""
        trace = build_trace(make_record(traceparent=TRACEPARENT, session_id="s-1", trace={"team": "blue"}))
        assert (TRACE_ID, SPAN_ID) == (trace.trace_id, trace.span.parent_id)
        named = build_trace(make_record(traceparent=TRACEPARENT, trace={"trace_id": "mine"}))
        assert trace_id_of("mine") == named.trace_id
        assert SPAN_ID != named.span.parent_id
        below = build_trace(make_record(traceparent=TRACEPARENT, trace={"parent_span_id": "ab" * 8}))
        assert (TRACE_ID, "ab" * 8) == (below.trace_id, below.span.parent_id)

    def test_a_parent_that_is_not_recorded(self) -> None:
        """It keeps the trace together but is nobody's parent."""
        trace = build_trace(make_record(traceparent=TRACEPARENT[:-2] + "00"))
        assert TRACE_ID == trace.trace_id
        assert_one_tree(trace)

    def test_times(self) -> None:
        """Nanoseconds, from the record's seconds."""
        span = build_trace(make_record()).span
        assert (START_NS, START_NS + 500_000_000) == (span.start_ns, span.end_ns)

    @given(
        st.dictionaries(st.sampled_from(["trace_id", "trace_name", "span_name", "parent_span_id", "x"]), JSON_VALUES)
    )
    def test_any_trace_object(self, asked: dict[str, Any]) -> None:
        """Callers may write anything there."""
        trace = build_trace(make_record(trace=asked))
        for span in trace.spans:
            assert 16 == len(span.span_id)
            for value in span.attributes.values():
                assert isinstance(value, str | int | float | bool | list)


class TestAttributes:
    """What a generation's span says."""

    def test_usage_in_both_spellings_and_cost_to_the_last_decimal(self) -> None:
        attributes = build_trace(make_record()).span.attributes
        expected = {
            "gen_ai.usage.input_tokens": 30,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.total_tokens": 50,
            "gen_ai.usage.prompt_tokens": 30,
            "gen_ai.usage.completion_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 10,
            "gen_ai.usage.reasoning.output_tokens": 5,
            "gen_ai.usage.cost": 1.20000000001e-07,
            "openrouter.cost": "0.000000120000000001",
        }
        assert expected == {key: attributes[key] for key in expected}
        assert COST.total == Decimal(str(attributes["openrouter.cost"]))

    def test_who_what_and_how_it_went(self) -> None:
        fields = {"session_id": "s-1", "requested_models": ["a/best", "a/one"], "provider": "mistral"}
        attributes = build_trace(make_record(**fields, service_tier="flex", upstream_id="up-1")).span.attributes
        expected = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "mistral_ai",
            "gen_ai.system": "Acme",
            "gen_ai.request.model": "a/best",
            "gen_ai.response.model": "a/one",
            "gen_ai.response.id": "gen-1",
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.response.time_to_first_chunk": 0.125,
            "gen_ai.request.stream": True,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.conversation.id": "s-1",
            "session.id": "s-1",
            "user.id": "user-1",
            "openrouter.service_tier": "flex",
            "openrouter.upstream_id": "up-1",
        }
        assert expected == {key: attributes[key] for key in expected}
        assert "error.type" not in attributes

    def test_every_span_can_be_found_by_the_context(self) -> None:
        """Also those above the generation."""
        asked = {"trace_name": "run", "team": "blue", "round": 3, "tags": ["a", "b"], "deep": {"x": [1]}}
        trace = build_trace(make_record(trace=asked, session_id="s-1"))
        for span in trace.spans:
            assert "user-1" == span.attributes["user.id"]
            assert "s-1" == span.attributes["session.id"]
            assert "blue" == span.attributes["trace.metadata.team"]
            assert 3 == span.attributes["trace.metadata.round"]
            assert ["a", "b"] == span.attributes["trace.metadata.tags"]
            assert '{"x":[1]}' == span.attributes["trace.metadata.deep"]

    def test_request_settings(self) -> None:
        """Those that have a name; what is not of its type is left out."""
        request = {
            "top_k": Raw(b"4"),
            "max_completion_tokens": 9,
            "stop": Raw(b'["a"]'),
            "seed": Raw(b'"x"'),
            "tools": Raw(b"[{}]"),
            "temperature": Raw(b"nonsense"),
        }
        attributes = build_trace(make_record(request=request)).span.attributes
        assert (4, 9, ["a"], True) == (
            attributes["gen_ai.request.top_k"],
            attributes["gen_ai.request.max_tokens"],
            attributes["gen_ai.request.stop_sequences"],
            attributes["openrouter.request.tools"],
        )
        assert "gen_ai.request.seed" not in attributes
        assert "gen_ai.request.temperature" not in attributes

    @pytest.mark.parametrize(("name", "digits"), [("seed", 20), ("top_k", 20), ("temperature", 400)])
    def test_numbers_that_receivers_could_not_read(self, name: str, digits: int) -> None:
        """They are texts: one number beyond its type, and a receiver refuses all that is in the same request."""
        number = "9" * digits
        span = build_trace(make_record(request={name: Raw(number.encode())})).span
        assert number == span.attributes[f"gen_ai.request.{name}"]

    @pytest.mark.parametrize("number", [-(2**63), 2**63 - 1])
    def test_numbers_that_they_can_read(self, number: int) -> None:
        span = build_trace(make_record(request={"seed": number})).span
        assert number == span.attributes["gen_ai.request.seed"]

    def test_a_failure(self) -> None:
        """Status, error type, and the exception event."""
        trace = build_trace(make_record(ending="failed", error_type="timeout", status=504, finish_reason="error"))
        assert "timeout (HTTP 504)" == trace.span.error
        assert "timeout" == trace.span.attributes["error.type"]
        (event,) = trace.span.events
        assert ("exception", trace.span.end_ns) == (event.name, event.time_ns)
        assert {"exception.type": "timeout", "exception.message": "timeout (HTTP 504)"} == event.attributes

    def test_attempts(self) -> None:
        """An event each, one behind the other, if there is more to tell than that one served."""
        served = AttemptRecord(provider="b", tag="b", outcome="served", status=200, duration_s=0.2)
        span = build_trace(make_record(attempts=[failed_attempt(), served])).span
        assert ["openrouter.attempt"] * 2 == [event.name for event in span.events]
        assert ["Unavailable", "served"] == [event.attributes["openrouter.attempt.outcome"] for event in span.events]
        assert [START_NS, START_NS + 250_000_000] == [event.time_ns for event in span.events]
        assert (2, 1) == (span.attributes["openrouter.attempts"], span.attributes["openrouter.failovers"])
        assert () == build_trace(make_record()).span.events

    def test_a_cancelled_generation_has_no_error(self) -> None:
        trace = build_trace(make_record(ending="cancelled", finish_reason=None, latency_s=None))
        assert trace.span.error is None
        assert "cancelled" == trace.span.attributes["openrouter.ending"]

    def test_costs_of_any_size(self) -> None:
        """Never in scientific notation."""
        attributes = build_trace(make_record(cost=Cost(prompt=Decimal("1E-18")), usage=Usage())).span.attributes
        assert "0.000000000000000001" == attributes["openrouter.cost"]


class TestContent:
    """Messages without what is not text."""

    def test_media_is_left_out(self) -> None:
        """Of requests and of answers."""
        message = {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,SECRETPIXELS"}},
                {"type": "input_audio", "input_audio": {"data": "SECRETSOUND"}},
            ],
            "cache_control": {"type": "ephemeral"},
        }
        reply = [
            {"role": "assistant", "content": "x", "images": [{"url": "data:SECRETPIXELS"}], "audio": {"data": "S"}}
        ]
        read = read_input({"messages": [message]})
        assert read is not None
        assert ["Look:", "[image_url omitted]", "[input_audio omitted]"] == [p["text"] for p in read[0]["content"]]
        assert "SECRET" not in str(read) + str(read_reply(reply))

    def test_semantic_messages(self) -> None:
        """The shapes of OpenTelemetry's schemas."""
        call = {"id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}}
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": None, "reasoning": "Hm.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ]
        read = read_input({"messages": messages})
        assert read is not None
        assert [
            {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
            {
                "role": "assistant",
                "parts": [
                    {"type": "reasoning", "content": "Hm."},
                    {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
                ],
            },
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}]},
        ] == to_semantic(read)

    def test_a_ranking_has_its_query(self) -> None:
        """As the content log keeps it, too."""
        request = {"query": Raw(b'"Which is best?"'), "documents": Raw(b'["one","two"]')}
        assert [{"role": "user", "content": "Which is best?"}] == read_input(request)

    def test_other_inputs(self) -> None:
        """Of embeddings and of legacy completions."""
        assert [{"role": "user", "content": "a"}] == read_input({"input": Raw(b'"a"')})
        assert [{"role": "user", "content": "a"}, {"role": "user", "content": "[1,2]"}] == read_input(
            {"prompt": ["a", [1, 2]]}
        )
        assert read_input({}) is None
        assert read_input(None) is None

    def test_what_is_too_long_is_not_read(self) -> None:
        assert read_input({"messages": Raw(b'"' + b"x" * MAX_CONTENT_BYTES + b'"')}) is None
        assert read_input({"messages": Raw(b'[{"role":')}) is None

    @given(JSON_VALUES)
    def test_any_content(self, value: Any) -> None:
        """What is none of our shapes is text."""
        for read in (read_input({"messages": value}), read_reply(value)):
            if read is not None:
                to_semantic(read, "stop")
                assert isinstance(to_text(read), str)

    def test_attributes(self) -> None:
        """On the generation's span, and on no other."""
        trace = build_trace(make_record(trace={"trace_name": "run"}))
        assert "gen_ai.input.messages" not in semantic(trace, trace.groups[0])
        attributes = semantic(trace, trace.span)
        assert QUESTION in str(attributes["gen_ai.input.messages"])
        assert (
            f'[{{"role":"assistant","parts":[{{"type":"text","content":"{ANSWER}"}}],"finish_reason":"stop"}}]'
            == attributes["gen_ai.output.messages"]
        )

    def test_open_inference(self) -> None:
        """What Arize and Phoenix read."""
        trace = build_trace(make_record(trace={"trace_name": "run", "team": "blue"}))
        assert "CHAIN" == open_inference(trace, trace.groups[0])["openinference.span.kind"]
        attributes = open_inference(trace, trace.span)
        expected = {
            "openinference.span.kind": "LLM",
            "llm.model_name": "a/one",
            "llm.token_count.prompt": 30,
            "llm.token_count.prompt_details.cache_read": 10,
            "llm.token_count.completion_details.reasoning": 5,
            "llm.input_messages.0.message.content": QUESTION,
            "llm.output_messages.0.message.content": ANSWER,
            "metadata": '{"team":"blue"}',
            "metadata.team": "blue",
        }
        assert expected == {key: attributes[key] for key in expected}


def step(*deltas: dict[str, Any]) -> Step:
    return Step({"choices": [{"index": index, "delta": delta} for index, delta in enumerate(deltas)]})


class TestTranscript:
    """Replies in pieces."""

    def test_pieces_become_messages(self) -> None:
        """One per choice, with reasoning and tool calls."""
        transcript = Transcript()
        call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}
        for part in (
            step({"role": "assistant", "content": ""}, {"role": "assistant", "content": "B"}),
            step({"content": "Li"}, {"content": "C"}),
            step({"content": None, "reasoning": "Hm."}),
            step({"content": "ma."}),
            step({"tool_calls": [call]}),
            step({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
        ):
            transcript.take([part])
        called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        assert [
            {"role": "assistant", "content": "Lima.", "reasoning": "Hm.", "tool_calls": [called]},
            {"role": "assistant", "content": "BC"},
        ] == transcript.messages()
        assert len("Lima.BCHm.") + len('{"a":1}') == transcript.size_bytes

    def test_memory_is_bounded(self) -> None:
        transcript = Transcript()
        for _ in range(20):
            transcript.take([step({"content": "x" * (MAX_CONTENT_BYTES // 10)})])
        assert transcript.size_bytes < 1.2 * MAX_CONTENT_BYTES

    def test_parts(self) -> None:
        """Where content is a list of parts."""
        transcript = Transcript()
        transcript.take([step({"content": [{"type": "text", "text": "a"}]})])
        assert [{"role": "assistant", "content": [{"type": "text", "text": "a"}]}] == transcript.messages()
        assert Transcript().messages() == []
