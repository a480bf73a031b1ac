"""The `gemini` protocol: vectors, replies, errors, and anything at all instead of a reply."""

import json
import random
from typing import Any

import pytest
from gateway_samples import ANY_CUTS, cut_at, make_request
from gemini_samples import (
    CHUNK_LIKE,
    GEMINI,
    assert_hub_rules,
    endpoint,
    make_chunk,
    read,
    steps_of,
    to_chunks,
)
from hypothesis import example, given
from hypothesis import strategies as st
from protocol_vectors import Vector, load_vectors, shown
from wire_vectors import marks_of

from openrouter_gateway.core.events import Failed, Step, UsageReported
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Cut, Garbled, Refused, Throttled, TimedOut, Unavailable
from openrouter_gateway.wire.protocols.gemini import MAX_BODY_BYTES

VECTORS = load_vectors("gemini")


@pytest.mark.parametrize(
    "vector",
    [pytest.param(each, id=str(each), marks=marks_of("gemini", f"{each}.json", each.fields)) for each in VECTORS],
)
class TestVectors:
    """Requests and replies as data."""

    def test_what_is_sent(self, vector: Vector) -> None:
        """Where it goes, and the body."""
        speaker = vector.speaker

        assert vector.fields["address"] == speaker.chat_address(vector.request, vector.endpoint).path
        assert vector.fields["body"] == json.loads(speaker.encode_chat(vector.request, vector.endpoint))

    def test_a_reply_that_comes_whole(self, vector: Vector) -> None:
        """Its events."""
        assert vector.fields["events"] == shown(vector.events())

    def test_a_reply_that_comes_byte_by_byte(self, vector: Vector) -> None:
        """The same events."""
        pieces = [bytes([byte]) for byte in vector.reply]

        assert vector.fields["events"] == shown(vector.events(*pieces))

    def test_a_reply_that_stops_anywhere(self, vector: Vector) -> None:
        """What came before the cut stays as it is; the end is an error unless every candidate had come to its own."""
        expected, reply = vector.fields["events"], vector.reply

        for length in range(len(reply)):
            *before, last = shown(vector.events(reply[:length]))
            if last[0] == "ended":
                assert expected[-1] == ["ended"]
                before.pop()  # what only the end tells, such as sources, may be shorter
            else:
                assert last[0] == "raised" or last in expected
            assert expected[: len(before)] == before

    def test_the_chat_skin_can_show_it(self, vector: Vector) -> None:
        """As a stream and as a body."""
        events = vector.events()

        assert_hub_rules(events)


@given(st.sampled_from(VECTORS), ANY_CUTS)
@pytest.mark.covers("protocols.gemini", "any cut of the bytes")
def test_any_chunking_gives_the_same_events(vector: Vector, cuts: list[int]) -> None:
    """However the network cuts a reply."""
    assert vector.fields["events"] == shown(vector.events(*cut_at(vector.reply, cuts)))


class TestAddress:
    """Where requests go, and what they carry."""

    @pytest.mark.parametrize(
        ("model", "path"),
        [
            ("gemini-2.5-flash", "/models/gemini-2.5-flash"),
            ("models/gemini-2.5-flash", "/models/gemini-2.5-flash"),
            ("tunedModels/mine-1", "/tunedModels/mine-1"),
            ("publishers/google/models/gemini-2.5-pro", "/publishers/google/models/gemini-2.5-pro"),
            ("lm/smol", "/models/lm/smol"),
            ("a b?c", "/models/a%20b%3Fc"),
        ],
    )
    def test_the_model_is_in_the_path(self, model: str, path: str) -> None:
        """With its collection, which may be part of the name; what would end the path is escaped."""
        whole, stream = make_request(), make_request(stream=True)

        assert f"{path}:generateContent" == GEMINI.chat_address(whole, endpoint(model)).path
        assert f"{path}:streamGenerateContent?alt=sse" == GEMINI.chat_address(stream, endpoint(model)).path

    def test_the_key_is_in_a_header(self) -> None:
        """Not in the address."""
        assert {"x-goog-api-key": "k"} == GEMINI.auth_headers("k")


class TestIds:
    """Ids of calls."""

    def ids(self, *, seed: str = "x", **top: object) -> list[str]:
        call = {"functionCall": {"name": "f"}}
        request = make_request(messages=[{"role": "user", "content": seed}])
        events = read(to_chunks(make_chunk(call, call, **top), make_chunk(call, finish="STOP", **top)), request=request)
        return [call["id"] for step in steps_of(events) for call in step.choices[0]["delta"].get("tool_calls", [])]

    @pytest.mark.parametrize("response_id", ["r", None])
    def test_they_are_unique(self, response_id: str | None) -> None:
        """Within a reply, and across turns, whose response ids or messages differ; the same reply has the same."""
        here = self.ids(responseId=response_id)
        other = self.ids(responseId=f"{response_id}2") if response_id else self.ids(seed="y", responseId=None)

        assert 6 == len({*here, *other})
        assert here == self.ids(responseId=response_id)
        assert all(len(identifier) <= 40 for identifier in here)

    def test_googles_own_are_kept_unless_they_repeat(self) -> None:
        """Two calls under one id could not be answered."""
        call = {"functionCall": {"name": "f", "id": "fc"}}

        events = read(to_chunks(make_chunk(call, call, finish="STOP")))

        (first, second) = [call["id"] for call in steps_of(events)[0].choices[0]["delta"]["tool_calls"]]
        assert "fc" == first
        assert second.startswith("call_")


def deltas_of(*parts: object) -> dict[str, Any]:
    """Return what the decoder makes of the parts of one chunk."""
    step = read(to_chunks(make_chunk(*parts, finish="STOP")))[0]
    assert isinstance(step, Step)
    return step.choices[0]["delta"]


class TestReply:
    """Details of replies that no vector shows."""

    @pytest.mark.parametrize(
        ("native", "normal"),
        [
            ("STOP", "stop"),
            ("MAX_TOKENS", "length"),
            ("CONTINUATION", "length"),
            ("SAFETY", "content_filter"),
            ("RECITATION", "content_filter"),
            ("BLOCKLIST", "content_filter"),
            ("PROHIBITED_CONTENT", "content_filter"),
            ("SPII", "content_filter"),
            ("IMAGE_SAFETY", "content_filter"),
            ("ESCALATION", "content_filter"),
            ("MALFORMED_FUNCTION_CALL", "error"),
            ("UNEXPECTED_TOOL_CALL", "error"),
            ("OTHER", "error"),
            ("LANGUAGE", "error"),
            ("SOMETHING_NEW", "stop"),
        ],
    )
    @pytest.mark.covers("protocols.gemini", "finish reasons")
    def test_finish_reasons(self, native: str, normal: str) -> None:
        """Google's word and OpenRouter's."""
        (step,) = steps_of(read(to_chunks(make_chunk(finish=native))))

        choice = step.choices[0]
        assert (normal, native) == (choice["finish_reason"], choice.get("native_finish_reason"))

    def test_a_filter_outweighs_a_call(self) -> None:
        """Only STOP is read as a call."""
        events = read(to_chunks(make_chunk({"functionCall": {"name": "f"}}, finish="SAFETY")))

        assert "content_filter" == steps_of(events)[-1].choices[0]["finish_reason"]

    @pytest.mark.parametrize(
        "chunk",
        [
            [],
            "text",
            {"candidates": {"a": 1}},
            {"candidates": [1]},
            {"candidates": [{"content": []}]},
            {"candidates": [{"content": {"parts": {}}}]},
            {"candidates": [{"content": {"parts": ["x"]}}]},
            make_chunk({"text": 3}),
            make_chunk({"functionCall": "f"}),
            make_chunk({"functionCall": {"name": "f", "args": "{}"}}),
            make_chunk({"inlineData": {"mimeType": "image/png"}}),
        ],
    )
    def test_what_no_client_could_read(self, chunk: object) -> None:
        """The stream is given up."""
        (failed,) = read(to_chunks(chunk))

        assert isinstance(failed, Failed)
        assert Garbled is type(failed.error)

    @pytest.mark.parametrize(
        "candidate",
        [
            {"finishReason": "STOP"},
            {"finishReason": "STOP", "content": None},
            {"finishReason": "STOP", "content": {"parts": None}},
            {
                "finishReason": "STOP",
                "content": {"parts": [{}, {"text": None, "functionCall": None, "inlineData": None}, {"unknown": 1}]},
                "index": None,
            },
            {"finishReason": "STOP", "groundingMetadata": {"groundingChunks": [1, {}], "groundingSupports": {}}},
            {"finishReason": "STOP", "citationMetadata": {"citations": [{"startIndex": 1}]}},
        ],
    )
    def test_what_is_left_out_or_null(self, candidate: dict[str, Any]) -> None:
        """It is an empty answer, not an error."""
        events = read(to_chunks({"candidates": [candidate], "usageMetadata": None, "promptFeedback": {}}))

        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "stop", "native_finish_reason": "STOP"}
        assert [["step", [choice]], ["ended"]] == shown(events)

    def test_media_that_is_neither_image_nor_sound(self) -> None:
        """A link keeps it."""
        delta = deltas_of({"inlineData": {"mimeType": "video/mp4", "data": "AA=="}})

        assert {"content": "[video/mp4](data:video/mp4;base64,AA==)"} == delta

    def test_code_that_failed(self) -> None:
        """Its outcome is told."""
        delta = deltas_of({"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "no"}})

        assert {"content": "\n```\nOUTCOME_FAILED\nno\n```\n"} == delta

    @pytest.mark.covers("protocols.gemini", "usage of every bucket")
    def test_counts_that_a_later_chunk_leaves_out(self) -> None:
        """They still hold."""
        first = {"promptTokenCount": 10, "cachedContentTokenCount": 8, "candidatesTokenCount": 1}
        events = read(
            to_chunks(
                make_chunk({"text": "a"}, usageMetadata=first),
                make_chunk({"text": "b"}, usageMetadata=first),
                make_chunk(finish="STOP", usageMetadata={"promptTokenCount": 10, "candidatesTokenCount": 2}),
            )
        )

        reports = [event.usage for event in events if isinstance(event, UsageReported)]
        assert 2 == len(reports)
        assert Usage(prompt_tokens=10, completion_tokens=2, total_tokens=12, cached_tokens=8) == reports[-1]

    def test_a_count_of_nothing_is_none(self) -> None:
        """LiteLLM's proxy counts nothing in streams and sends zeros: the gateway estimates instead."""
        nothing = {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}
        events = read(to_chunks(make_chunk({"text": "a"}, finish="STOP", usageMetadata=nothing)))

        assert [] == [event for event in events if isinstance(event, UsageReported)]

    def test_one_candidate_of_two_that_is_cut(self) -> None:
        """The answer is not whole."""
        candidates = [{"index": 0, "finishReason": "STOP"}, {"index": 1, "content": {"parts": [{"text": "x"}]}}]

        assert Cut is type(read(to_chunks({"candidates": candidates}))[-1])

    def test_a_body_without_a_finish_reason(self) -> None:
        """It is whole, as JSON that stops early is none."""
        events = read(json.dumps({"candidates": [{"content": {"parts": [{"text": "x"}]}}]}).encode())

        assert {"index": 0, "delta": {}, "finish_reason": "stop"} == steps_of(events)[-1].choices[0]

    @pytest.mark.parametrize("data", [b"", b" \r\n", b"\xef\xbb\xbf"])
    def test_nothing_at_all(self, data: bytes) -> None:
        """It is a reply that was cut."""
        assert [Cut] == [type(event) for event in read(data)]

    def test_a_body_beyond_measure(self) -> None:
        """It is given up before memory is."""
        decoder = GEMINI.chat_decoder(make_request(), "application/json")
        piece = b"[" * (MAX_BODY_BYTES // 4)

        for _ in range(4):
            assert [] == decoder.feed(piece)
        with pytest.raises(Garbled, match="larger"):
            decoder.feed(b"[")

    def test_nothing_counts_after_an_error(self) -> None:
        """Neither in the same bytes nor in later ones."""
        decoder = GEMINI.chat_decoder(make_request(), "")

        events = decoder.feed(to_chunks({"error": {"code": 500}}, make_chunk({"text": "x"})))

        assert [Failed] == [type(event) for event in events]
        assert [] == decoder.feed(to_chunks(make_chunk({"text": "x"})))
        assert [] == decoder.finish()


def google_error(code: int, status: str, message: str = "No.", *details: dict[str, Any]) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "status": status, "details": details}}).encode()


INFO = {"@type": "type.googleapis.com/google.rpc.ErrorInfo"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "33.07s"}


class TestErrors:
    """Replies that are not 2xx."""

    @pytest.mark.parametrize(
        ("status", "body", "kind", "error_type", "code"),
        [
            (400, google_error(400, "INVALID_ARGUMENT"), Refused, "invalid_request", "INVALID_ARGUMENT"),
            (
                400,
                google_error(
                    400,
                    "INVALID_ARGUMENT",
                    "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
                ),
                Refused,
                "context_length_exceeded",
                "INVALID_ARGUMENT",
            ),
            (
                400,
                google_error(400, "INVALID_ARGUMENT", "Unable to process input image. Please retry."),
                Refused,
                "invalid_image",
                "INVALID_ARGUMENT",
            ),
            (
                400,
                google_error(400, "INVALID_ARGUMENT", "Bad.", INFO | {"reason": "API_KEY_INVALID"}),
                Unavailable,
                "provider_unavailable",
                "API_KEY_INVALID",
            ),
            (
                400,
                google_error(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
                Unavailable,
                "provider_unavailable",
                "API_KEY_INVALID",
            ),
            (
                400,
                google_error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
                Unavailable,
                "provider_unavailable",
                "FAILED_PRECONDITION",
            ),
            (403, google_error(403, "PERMISSION_DENIED"), Unavailable, "provider_unavailable", "PERMISSION_DENIED"),
            (404, google_error(404, "NOT_FOUND"), Unavailable, "provider_unavailable", "NOT_FOUND"),
            (429, google_error(429, "RESOURCE_EXHAUSTED"), Throttled, "rate_limit_exceeded", "RESOURCE_EXHAUSTED"),
            (500, google_error(500, "INTERNAL"), Unavailable, "provider_unavailable", "INTERNAL"),
            (503, b"[" + google_error(503, "UNAVAILABLE") + b"]", Unavailable, "provider_unavailable", "UNAVAILABLE"),
            (504, google_error(504, "DEADLINE_EXCEEDED"), TimedOut, "timeout", "DEADLINE_EXCEEDED"),
            (502, b"<html>Bad gateway</html>", Unavailable, "provider_unavailable", None),
            (400, b'{"error":"plain"}', Refused, "invalid_request", None),
            (400, b"[]", Refused, "invalid_request", None),
            (
                400,
                b'{"error":{"message":5,"status":6,"details":[7,{"retryDelay":8}]}}',
                Refused,
                "invalid_request",
                None,
            ),
        ],
    )
    @pytest.mark.covers("protocols.gemini", "errors with status")
    def test_what_they_mean(self, status: int, body: bytes, kind: type, error_type: str, code: str | None) -> None:
        """For the caller, and for failover."""
        error = GEMINI.parse_refusal(status, {}, body)

        assert (kind, error_type, status, code) == (
            type(error),
            error.error_type,
            error.provider_status,
            error.provider_code,
        )
        assert (kind is not Refused) == error.failover

    def test_what_is_said_of_our_key_stays_here(self) -> None:
        """So does what is said of our account."""
        for word in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"):
            error = GEMINI.parse_refusal(400, {}, google_error(400, word, "API key not valid: AIzaSecret"))
            assert "AIza" not in error.message

    @pytest.mark.parametrize(
        ("headers", "details", "expected"),
        [({}, RETRY, 34), ({"Retry-After": "7"}, RETRY, 7), ({}, RETRY | {"retryDelay": "soon"}, None), ({}, {}, None)],
    )
    def test_how_long_to_wait(self, headers: dict[str, str], details: dict[str, Any], expected: int | None) -> None:
        """The header, or the details, rounded up."""
        error = GEMINI.parse_refusal(429, headers, google_error(429, "RESOURCE_EXHAUSTED", "Slow.", INFO, details))

        assert expected == error.retry_after_s

    @pytest.mark.parametrize(
        ("error", "kind", "status"),
        [
            ({"code": 503, "message": "m"}, Unavailable, 503),
            ({"status": "RESOURCE_EXHAUSTED"}, Throttled, 429),
            ({"code": 200, "status": "DEADLINE_EXCEEDED"}, TimedOut, 504),
            ({"code": "x"}, Unavailable, 502),
            ("down", Unavailable, 502),
            (1, Unavailable, 502),
        ],
    )
    @pytest.mark.covers("protocols.gemini", "errors within streams")
    def test_errors_within_a_reply(self, error: object, kind: type, status: int) -> None:
        """By their number, or their word; the same in a stream and in a body."""
        for data in (to_chunks({"error": error}), json.dumps({"error": error}).encode()):
            (failed,) = read(data)
            assert isinstance(failed, Failed)
            assert (kind, status) == (type(failed.error), failed.error.provider_status)


class TestAnyReply:
    """Whatever a provider sends, events keep the hub's rules, or an error says that they cannot be made."""

    @given(st.lists(CHUNK_LIKE, max_size=4))
    @example([{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": 10**400}}}]}}]}])
    def test_chunks_of_any_kind(self, chunks: list[Any]) -> None:
        """As a stream, as a list, and the first one as a body."""
        for data in (to_chunks(*chunks), json.dumps(chunks).encode(), json.dumps(chunks[:1] and chunks[0]).encode()):
            assert_hub_rules(read(data))

    @given(st.binary(max_size=200), ANY_CUTS)
    def test_bytes_of_any_kind(self, data: bytes, cuts: list[int]) -> None:
        """Cut anywhere."""
        assert shown(read(data)) == shown(read(*cut_at(data, cuts)))

    @pytest.mark.parametrize("depth", [100, 1_000, 100_000])
    def test_arguments_of_any_depth(self, depth: int) -> None:
        """Too deep is garbled, not a crash."""
        nested = b"[" * depth + b"]" * depth
        data = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":' + nested + b"}}}]}}]}"

        assert_hub_rules(read(b"data: " + data + b"\n\n"))
        assert_hub_rules(read(data))


REPLIES = [vector.reply for vector in VECTORS]
_WORDS = (b"null", b"{}", b"[]", b'""', b"-1", b"1e999", b"true", b"\r", b"\n\n", b"data: ", b'"', b"\\ud800", b"\xff")


def mutate(dice: random.Random, data: bytes) -> bytes:
    """Return a good reply with some things wrong."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        begin = dice.randrange(len(out) + 1)
        end = min(len(out), begin + dice.choice((0, 1, 1, 2, 8, 40)))
        match dice.randrange(6):
            case 0:
                out[begin:end] = dice.choice(_WORDS)
            case 1:
                del out[begin:end]
            case 2:
                out[begin:begin] = out[begin:end]
            case 3:
                out[begin:end] = dice.randbytes(end - begin)
            case 4:
                other = dice.choice(REPLIES)
                place = dice.randrange(len(other) + 1)
                out[begin:] = other[place : place + 400]
            case _:
                # A value within JSON becomes another one: this finds its way past the parser.
                colon = out.find(b":", begin)
                comma = out.find(b",", colon)
                if 0 <= colon < comma:
                    out[colon + 1 : comma] = dice.choice(_WORDS[:7])
    return bytes(out)


@pytest.mark.covers("protocols.gemini", "fuzzed streams")
def test_ten_thousand_broken_replies() -> None:
    """Nothing but errors of a provider comes of them, every one has an end, and cutting them changes nothing."""
    dice = random.Random(20261127)  # noqa: S311 - the same every time
    endings: dict[str, int] = {}

    for _ in range(10_000):
        data = mutate(dice, dice.choice(REPLIES))
        events = read(data)
        assert_hub_rules(events)
        half = dice.randrange(len(data) + 1)
        assert [type(event) for event in events] == [type(event) for event in read(data[:half], data[half:])]
        name = type(events[-1]).__name__
        endings[name] = endings.get(name, 0) + 1

    assert {"Ended", "Failed", "Cut", "Garbled"} == endings.keys()
    assert min(endings.values()) > 100
