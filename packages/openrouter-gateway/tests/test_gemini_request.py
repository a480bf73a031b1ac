"""The `gemini` protocol's requests, and thought signatures there and back."""

import json
from typing import Any

import pytest
from gateway_samples import ANY_JSON, HEAD, dicts_like, make_request
from gemini_samples import GEMINI, body_of, endpoint, make_chunk, read, steps_of, to_chunks
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.core.events import Event
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import Refused, UpstreamError
from openrouter_gateway.wire.protocols.gemini_contents import FORMAT, NO_SIGNATURE
from openrouter_gateway.wire.protocols.gemini_schema import to_google_schema
from openrouter_gateway.wire.protocols.gemini_thinking import thinking_config
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.base import Closing

PNG = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "f"}}
STRICT = {"type": "function", "function": {"name": "g", "strict": True, "parameters": {"type": "object"}}}
PARTS = [
    {"text": "Let me ", "thought": True},
    {"text": "see.", "thought": True, "thoughtSignature": "dGhvdWdodA=="},
    {"text": "I look."},
    {"functionCall": {"id": "fc-1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "Y2FsbA+/"},
    {"functionCall": {"id": "fc-2", "name": "f", "args": {"a": 2}}},
]


class TestMedia:
    """Content parts, and which of them have to be fetched first."""

    @pytest.mark.parametrize(
        ("url", "kind", "expected"),
        [
            ("https://example.com/a.png", "image_url", True),
            ("HTTP://example.com/a.png", "image_url", True),
            ("https://example.com/a.mp4", "video_url", True),
            ("https://example.com/a.pdf", "file", True),
            ("https://www.youtube.com/watch?v=x", "image_url", True),
            ("https://youtube.com.evil.example/watch?v=x", "video_url", True),
            ("https://example.com/https://youtu.be/x", "video", True),
            ("https://generativelanguage.googleapis.com/v1beta/models", "file", True),
            ("https://www.youtube.com/watch?v=x", "video_url", False),
            ("https://m.youtube.com/shorts/x", "video", False),
            ("https://youtu.be/x", "file", False),
            ("https://generativelanguage.googleapis.com/v1beta/files/x", "file", False),
            ("gs://bucket/a.mp4", "video_url", False),
            (PNG, "image_url", False),
        ],
    )
    def test_what_must_be_inlined(self, url: str, kind: str, expected: bool) -> None:
        """All but Google's own files and YouTube's videos."""
        assert expected == GEMINI.inlines(url, kind)

    @pytest.mark.parametrize(
        ("part", "reason"),
        [
            ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "must be fetched first"),
            ({"type": "image_url", "image_url": {"url": "/etc/passwd"}}, "neither a data URL nor a URL"),
            ({"type": "image_url", "image_url": {}}, "no URL in `image_url`"),
            ({"type": "image_url", "image_url": {"url": "data:;base64,AA=="}}, "media type"),
            ({"type": "image_url", "image_url": {"url": "data:image/png"}}, "media type"),
            ({"type": "video_url"}, "no URL in `video_url`"),
            ({"type": "file", "file": {"file_id": "or_file_1"}}, "no file ids"),
            ({"type": "file"}, "no file ids"),
            ({"type": "input_audio", "input_audio": {"format": "wav"}}, "base64"),
            ({"type": "input_audio", "input_audio": {"data": "AA=="}}, "format"),
            ({"type": "text"}, "string in `text`"),
            ({"type": "hologram"}, "'hologram'"),
            ({"type": ["text"]}, "not known"),
            ({}, "None"),
        ],
    )
    def test_a_part_that_cannot_be_carried(self, part: dict[str, Any], reason: str) -> None:
        """It is named by its place."""
        content = [{"type": "text", "text": "x"}, part]

        with pytest.raises(Refused, match=rf"^messages\[1\]\.content\[1\].*{reason}") as caught:
            body_of(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": content}])
        assert caught.value.status == 400

    def test_short_spellings(self) -> None:
        """A bare URL, and audio in a data URL."""
        parts = [
            {"type": "image_url", "image_url": PNG},
            {"type": "input_audio", "input_audio": {"data": "data:audio/ogg;base64,T2dn"}},
            {"type": "file", "file": {"file_url": PNG}},
        ]

        (turn,) = body_of(messages=[{"role": "user", "content": parts}])["contents"]

        image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
        assert [image, {"inlineData": {"mimeType": "audio/ogg", "data": "T2dn"}}, image] == turn["parts"]


class TestTools:
    """Declarations, choices and results."""

    @pytest.mark.parametrize(
        ("tools", "choice", "expected"),
        [
            ([TOOL], None, None),
            ([TOOL], "auto", None),
            ([TOOL, STRICT], "auto", None),
            ([STRICT], "auto", {"mode": "VALIDATED"}),
            ([STRICT], "none", {"mode": "NONE"}),
            ([TOOL], "required", {"mode": "ANY"}),
            ([TOOL], {"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
            (None, "none", None),
            (None, "auto", None),
        ],
    )
    @pytest.mark.covers(
        "protocols.gemini", "tool choice: auto", "tool choice: none", "tool choice: required", "tool choice: one tool"
    )
    def test_choices(self, tools: object, choice: object, expected: object) -> None:
        """Each in the API's word; none where there is nothing to call."""
        sent = body_of(tools=tools, tool_choice=choice)

        assert expected == sent.get("toolConfig", {}).get("functionCallingConfig")

    @pytest.mark.parametrize(
        ("tools", "choice"),
        [
            ([], "required"),
            ([TOOL], {"type": "function", "function": {"name": "g"}}),
            ([TOOL], {"type": "openrouter:web_search"}),
            ([TOOL], "sometimes"),
        ],
    )
    def test_choices_that_cannot_be_made(self, tools: object, choice: object) -> None:
        """They are refused, not passed over."""
        with pytest.raises(Refused, match="tool_choice"):
            body_of(tools=tools, tool_choice=choice)

    def test_media_of_a_result_for_an_older_model(self) -> None:
        """They follow as the user's, behind the last result: within results, only Gemini 3 looks at them."""
        calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f"}} for n in range(2)]
        picture = {"type": "image_url", "image_url": {"url": PNG}}
        messages = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c0", "content": [picture]},
            {"role": "tool", "tool_call_id": "c1", "content": "{}"},
        ]

        sent = body_of("gemini-2.5-flash", messages=messages)["contents"]

        results = [
            {"functionResponse": {"name": "f", "response": {"output": ""}, "id": "c0"}},
            {"functionResponse": {"name": "f", "response": {"output": {}}, "id": "c1"}},
        ]
        assert {"role": "user", "parts": results} == sent[2]
        assert [["inlineData"]] == [list(part) for part in sent[3]["parts"]]

    def test_numbers_in_arguments_and_results_keep_their_digits(self) -> None:
        """They are not read as numbers on the way."""
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1.50}'}}
        request = make_request(
            messages=[
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": '{"b":12345678901234567890123}'},
            ]
        )

        sent = GEMINI.encode_chat(request, endpoint("gemini-2.5-pro"))

        assert b'"args":{"a":1.50}' in sent
        assert b'"output":{"b":12345678901234567890123}' in sent

    def test_a_result_that_answers_no_call(self) -> None:
        """It goes out under the name it has; whether that is an error is for the API to say."""
        message = {"role": "tool", "tool_call_id": "c9", "name": "f", "content": None}

        (_, result) = body_of(messages=[{"role": "assistant", "content": "a"}, message])["contents"][1:]

        answer = {"name": "f", "response": {"output": ""}, "id": "c9"}
        assert [{"functionResponse": answer}] == result["parts"]

    @pytest.mark.parametrize("model", ["gemini-2.5-pro", "models/gemini-2.0-flash", "gemma-3-27b-it"])
    def test_older_models_need_no_signature(self, model: str) -> None:
        """Only Gemini 3 and later refuse calls without any."""
        call = {"id": "c", "type": "function", "function": {"name": "f"}}

        (_, turn) = body_of(model, messages=[{"role": "assistant", "tool_calls": [call]}])["contents"]

        assert "thoughtSignature" not in turn["parts"][0]


class TestAnswerFormat:
    """`response_format`."""

    @pytest.mark.parametrize("form", [None, {"type": "text"}])
    def test_text(self, form: object) -> None:
        """Nothing is said of it."""
        assert "generationConfig" not in body_of(response_format=form)

    @pytest.mark.parametrize("form", [{"type": "grammar", "grammar": "x"}, {"type": "python"}])
    def test_what_the_api_has_not(self, form: object) -> None:
        """An answer in another form would be of no use."""
        with pytest.raises(Refused, match="response format"):
            body_of(response_format=form)


@pytest.mark.parametrize(("stop", "sent"), [("", None), ([], None), (["", "END"], ["END"]), ("END", ["END"])])
def test_sequences_that_end_an_answer(stop: object, sent: list[str] | None) -> None:
    """An empty one says nothing: it is left out, as with every provider whose dialect is another."""
    assert sent == body_of(stop=stop).get("generationConfig", {}).get("stopSequences")


class TestThinking:
    """`reasoning` by the family of the model."""

    @pytest.mark.parametrize(
        ("model", "fields", "expected"),
        [
            ("gemini-2.5-pro", {}, None),
            ("gemini-2.5-pro", {"reasoning": None}, None),
            ("gemini-2.5-pro", {"reasoning": {}}, {"includeThoughts": True}),
            ("gemini-2.5-pro", {"include_reasoning": True}, {"includeThoughts": True}),
            ("gemini-2.5-pro", {"include_reasoning": False}, {"includeThoughts": False}),
            ("gemini-2.5-pro", {"reasoning": {"exclude": True}}, {"includeThoughts": False}),
            # ratios of max_tokens
            (
                "gemini-2.5-flash",
                {"reasoning": {"effort": "high"}, "max_tokens": 16384},
                {"thinkingBudget": 13107, "includeThoughts": True},
            ),
            (
                "gemini-2.5-flash",
                {"reasoning_effort": "minimal", "max_completion_tokens": 1000, "max_tokens": 5},
                {"thinkingBudget": 100, "includeThoughts": True},
            ),
            (
                "gemini-2.5-flash",
                {"reasoning": {"effort": "max"}, "reasoning_effort": "max", "max_tokens": 65536},
                {"thinkingBudget": 24576, "includeThoughts": True},
            ),
            ("gemini-2.5-flash", {"reasoning": {"effort": "low"}}, {"thinkingBudget": 4915, "includeThoughts": True}),
            (
                "gemini-2.5-flash",
                {"reasoning": {"enabled": True}},
                {"thinkingBudget": 12288, "includeThoughts": True},
            ),
            # budgets of each model
            (
                "gemini-2.5-pro",
                {"reasoning": {"max_tokens": 100000}},
                {"thinkingBudget": 32768, "includeThoughts": True},
            ),
            (
                "models/gemini-2.5-flash-lite",
                {"reasoning": {"max_tokens": 10, "exclude": True}},
                {"thinkingBudget": 512, "includeThoughts": False},
            ),
            ("gemini-2.5-flash", {"reasoning": {"effort": "none"}}, {"thinkingBudget": 0}),
            ("gemini-2.5-flash-lite", {"reasoning": {"enabled": False}}, {"thinkingBudget": 0}),
            ("gemini-2.5-flash", {"reasoning": {"max_tokens": 0}}, {"thinkingBudget": 0}),
            ("gemini-3-pro-preview", {"reasoning": {"max_tokens": 0}}, {"thinkingLevel": "LOW"}),
            ("gemini-2.5-pro", {"reasoning_effort": "none"}, {"thinkingBudget": 128}),
            # levels, and the nearest
            (
                "gemini-3-flash-preview",
                {"reasoning": {"effort": "minimal"}},
                {"thinkingLevel": "MINIMAL", "includeThoughts": True},
            ),
            (
                "gemini-3.8-flash",
                {"reasoning": {"effort": "minimal"}},
                {"thinkingLevel": "LOW", "includeThoughts": True},
            ),
            (
                "gemini-3.6-flash",
                {"reasoning": {"effort": "xhigh"}},
                {"thinkingLevel": "HIGH", "includeThoughts": True},
            ),
            (
                "gemini-3-pro-preview",
                {"reasoning": {"effort": "medium"}},
                {"thinkingLevel": "LOW", "includeThoughts": True},
            ),
            (
                "gemini-3.1-pro-preview",
                {"reasoning": {"enabled": True}},
                {"thinkingLevel": "MEDIUM", "includeThoughts": True},
            ),
            (
                "gemini-3.1-flash-image",
                {"reasoning": {"effort": "low"}},
                {"thinkingLevel": "MINIMAL", "includeThoughts": True},
            ),
            ("gemini-3.5-flash-lite", {"reasoning": {"effort": "none"}}, {"thinkingLevel": "MINIMAL"}),
            ("gemini-4-argon", {"reasoning": {"enabled": False}}, {"thinkingLevel": "LOW"}),
            # explicit budgets
            (
                "gemini-3.7-flash",
                {"reasoning": {"max_tokens": 2000}},
                {"thinkingBudget": 2000, "includeThoughts": True},
            ),
            (
                "gemini-4-argon",
                {"reasoning": {"max_tokens": 2000}, "max_tokens": 4000},
                {"thinkingLevel": "MEDIUM", "includeThoughts": True},
            ),
            (
                "gemini-flash-latest",
                {"reasoning": {"max_tokens": 2000}},
                {"thinkingLevel": "LOW", "includeThoughts": True},
            ),
            # neither
            ("gemini-3-pro-image-preview", {"reasoning": {"effort": "high"}}, {"includeThoughts": True}),
            ("gemini-3-pro-image-preview", {"reasoning": {"effort": "none"}}, None),
            ("gemini-2.0-flash", {"reasoning": {"effort": "high"}}, None),
            ("gemini-2.5-flash-image", {"reasoning": {"effort": "high"}}, None),
            ("gemini-2.5-pro-preview-tts", {"reasoning": {"effort": "high"}}, None),
            ("gemma-4-31b-it", {"reasoning": {"effort": "high"}}, None),
        ],
    )
    @pytest.mark.covers("protocols.gemini", "reasoning effort", "reasoning budget")
    def test_configs(self, model: str, fields: dict[str, object], expected: object) -> None:
        """The one that each model takes."""
        assert expected == thinking_config(make_request(**fields), endpoint(model))

    @pytest.mark.parametrize(
        "fields",
        [
            {"reasoning": {"effort": "huge"}},
            {"reasoning": {"effort": 3}},
            {"reasoning_effort": []},
            {"include_reasoning": "yes"},
        ],
    )
    def test_what_makes_no_sense(self, fields: dict[str, object]) -> None:
        """It is refused."""
        with pytest.raises(Refused, match="reasoning"):
            thinking_config(make_request(**fields), endpoint("gemini-2.5-pro"))


class TestServerTools:
    """Tools that the caller does not run."""

    @pytest.mark.parametrize("kind", ["openrouter:web_search", "web_search", "openrouter:datetime"])
    def test_they_are_not_passed_over(self, kind: str) -> None:
        """An answer without the search that was asked for looks like one with it."""
        with pytest.raises(Refused, match=f"`{kind}`"):
            GEMINI.encode_chat(make_request(tools=[TOOL, {"type": kind}]), endpoint("gemini-2.5-pro"))


class TestSchemas:
    """JSON Schemas on their way out."""

    def test_references_are_replaced(self) -> None:
        """Also within each other, with siblings, and by escaped names; keywords are not names of properties."""
        schema = {
            "$schema": "x",
            "type": "object",
            "properties": {
                "const": {"const": 1},
                "$ref": {"$ref": "#/definitions/a~1b", "description": "d"},
                "list": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/n"}, True]}},
            },
            "definitions": {"a/b": {"$ref": "#/$defs/n"}},
            "$defs": {"n": {"type": "number"}},
            "default": {"const": 2, "$schema": 3},
        }

        assert {
            "type": "object",
            "properties": {
                "const": {"enum": [1]},
                "$ref": {"type": "number", "description": "d"},
                "list": {"type": "array", "items": {"anyOf": [{"type": "number"}, True]}},
            },
            "default": {"const": 2, "$schema": 3},
        } == to_google_schema(schema)

    def test_a_schema_within_itself_keeps_its_reference(self) -> None:
        """And what it refers to; the reference stands alone."""
        node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node", "title": "t"}}}

        out = to_google_schema({"$ref": "#/$defs/node", "$defs": {"node": node}})

        inner = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
        once = {"type": "object", "properties": {"next": inner | {"title": "t"}}}
        assert inner == {key: out[key] for key in ("type", "properties")}
        assert {"node": once} == out["$defs"]

    @pytest.mark.parametrize("reference", ["#/$defs/none", "other.json", "#/$defs/a/b/c", "#/properties/p/x"])
    def test_a_reference_to_nothing_stays(self, reference: str) -> None:
        """The API says what is wrong with it."""
        schema = {"type": "object", "properties": {"p": {"$ref": reference}}, "$defs": {"a": {"type": "null"}}}

        assert schema == to_google_schema(schema)

    def test_the_root_refers_to_itself(self) -> None:
        """It is shown once."""
        schema = {"type": "object", "properties": {"p": {"$ref": "#"}}}

        expected = {"type": "object", "properties": {"p": {"$ref": "#"}}}
        assert {"type": "object", "properties": {"p": expected}} == to_google_schema(schema)

    def test_references_that_multiply(self) -> None:
        """A schema that would grow without bound goes out as it is."""
        levels = {f"l{n}": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 10} for n in range(12)}
        schema = {"$ref": "#/$defs/l0", "$defs": levels | {"l12": {"type": "null"}}}

        assert schema == to_google_schema(schema)

    @given(st.recursive(ANY_JSON, lambda inner: dicts_like(properties=inner, items=inner, anyOf=inner, const=inner)))
    def test_anything_at_all(self, value: Any) -> None:
        """No schema is too odd."""
        schema = {"properties": value, "items": value, "$ref": value, "$defs": value, "anyOf": value}

        assert isinstance(to_google_schema(schema), dict)


def as_message(events: list[Event | UpstreamError]) -> dict[str, Any]:
    """Return the message of a reply the way a caller of JSON gets it."""
    encoder = chat.BodyEncoder(HEAD)
    for step in steps_of(events):
        encoder.add_step(step)
    message = json.loads(encoder.encode_end(Closing(usage=Usage(), cost=Cost())))["choices"][0]["message"]
    return {key: value for key, value in message.items() if value is not None}


def joined(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return entries of reasoning as clients join the pieces of a stream: by type and index, in order."""
    out: list[dict[str, Any]] = []
    for entry in details:
        if out and (out[-1]["type"], out[-1]["index"]) == (entry["type"], entry["index"]):
            out[-1] = out[-1] | entry | {"text": out[-1].get("text", "") + entry.get("text", "")}
        else:
            out.append(entry)
    return out


class TestReplay:
    """A model's turn goes back as it came."""

    def conversation(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in message["tool_calls"]]
        return [{"role": "user", "content": "x"}, message, *results]

    @pytest.mark.covers("protocols.gemini", "reasoning replayed over turns")
    def test_two_turns_with_a_tool(self) -> None:
        """The parts of the first turn, signatures included, are the second request's, to the byte."""
        message = as_message(read(to_chunks(*(make_chunk(part) for part in PARTS), make_chunk(finish="STOP"))))

        sent = body_of(messages=self.conversation(message), tools=[TOOL])["contents"]

        assert {"role": "model", "parts": PARTS} == sent[1]
        assert ["fc-1", "fc-2"] == [part["functionResponse"]["id"] for part in sent[2]["parts"]]

    @pytest.mark.covers("protocols.gemini", "reasoning replayed over turns")
    def test_pieces_that_a_client_has_joined(self) -> None:
        """Thoughts may come back as one; each signature is still on its part."""
        message = as_message(read(to_chunks(*(make_chunk(part) for part in PARTS), make_chunk(finish="STOP"))))
        message["reasoning_details"] = joined(message["reasoning_details"])

        (_, turn, _) = body_of(messages=self.conversation(message))["contents"]

        thought = {"text": "Let me see.", "thought": True, "thoughtSignature": "dGhvdWdodA=="}
        assert [thought, *PARTS[2:]] == turn["parts"]

    def test_ids_of_our_own(self) -> None:
        """Where Google gives calls no ids, ours tie signatures to calls."""
        parts = [{"functionCall": {"name": "f", "args": {"a": n}}, "thoughtSignature": f"c2ln{n}A=="} for n in range(3)]
        message = as_message(read(to_chunks(make_chunk(*parts, finish="STOP"))))

        (_, turn, _) = body_of(messages=self.conversation(message))["contents"]

        for part, call in zip(parts, message["tool_calls"], strict=True):
            part["functionCall"]["id"] = call["id"]
        assert parts == turn["parts"]

    @pytest.mark.parametrize("identifier", [{}, {"id": None}, {"id": "another"}])
    def test_an_entry_that_lost_its_id(self, identifier: dict[str, Any]) -> None:
        """It can only be the first call's: Google signs no other."""
        message = as_message(read(to_chunks(make_chunk(*PARTS[2:], finish="STOP"))))
        for entry in message["reasoning_details"]:
            entry.pop("id")
            entry |= identifier

        (_, turn, _) = body_of(messages=self.conversation(message))["contents"]

        assert PARTS[2:] == turn["parts"]

    def test_details_that_were_lost(self) -> None:
        """The documented stand-in keeps the conversation going."""
        message = as_message(read(to_chunks(make_chunk(*PARTS[2:], finish="STOP"))))
        del message["reasoning_details"]

        (_, turn, _) = body_of(messages=self.conversation(message))["contents"]

        signatures = [part.get("thoughtSignature") for part in turn["parts"]]
        assert [None, NO_SIGNATURE, None] == signatures

    def test_signed_text(self) -> None:
        """The last signature is the text's, whatever piece it came with; earlier ones stand before it."""
        parts = [{"text": "A", "thoughtSignature": "MQ=="}, {"text": "B"}, {"text": "", "thoughtSignature": "Mg=="}]
        message = as_message(read(to_chunks(make_chunk(*parts, finish="STOP"))))

        (_, turn) = body_of(messages=[message])["contents"]

        expected = [{"text": "", "thoughtSignature": "MQ=="}, {"text": "AB", "thoughtSignature": "Mg=="}]
        assert expected == turn["parts"]
        assert "AB" == message["content"]

    def test_a_signature_without_any_text(self) -> None:
        """It stands alone."""
        message = as_message(read(to_chunks(make_chunk({"text": "", "thoughtSignature": "MQ=="}, finish="STOP"))))

        (_, turn) = body_of(messages=[message])["contents"]

        assert [{"text": "", "thoughtSignature": "MQ=="}] == turn["parts"]

    @pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
    def test_plain_reasoning(self, key: str) -> None:
        """Thoughts without details are thoughts."""
        (_, turn) = body_of(messages=[{"role": "assistant", "content": "a", key: "Hm."}])["contents"]

        assert [{"text": "Hm.", "thought": True}, {"text": "a"}] == turn["parts"]

    def test_reasoning_that_only_its_maker_can_read(self) -> None:
        """The text that came with it is the thought."""
        details = [{"type": "reasoning.encrypted", "data": "eA==", "format": "openai-responses-v1"}]
        message = {"role": "assistant", "content": "a", "reasoning": "Hm.", "reasoning_details": details}

        (_, turn) = body_of(messages=[message])["contents"]

        assert [{"text": "Hm.", "thought": True}, {"text": "a"}] == turn["parts"]

    def test_a_refusal(self) -> None:
        """What the model said instead of an answer."""
        message = {"role": "assistant", "content": None, "refusal": "No."}

        assert [{"text": "No."}] == body_of(messages=[message])["contents"][1]["parts"]

    @pytest.mark.parametrize(
        "entry",
        [
            {"type": "reasoning.encrypted", "format": FORMAT},
            {"type": "reasoning.encrypted", "format": FORMAT, "data": 3},
            {"type": "reasoning.encrypted", "format": "unknown", "data": "eA=="},
            {"type": "reasoning.text", "format": FORMAT, "text": None, "signature": None},
            {"type": "reasoning.text", "text": ["x"]},
            {},
        ],
    )
    def test_entries_that_say_nothing(self, entry: dict[str, Any]) -> None:
        """They are passed over."""
        message = {"role": "assistant", "content": "a", "reasoning_details": [entry]}

        (_, turn) = body_of(messages=[message])["contents"]

        assert [{"text": "a"}] == turn["parts"]

    @pytest.mark.parametrize("details", ["x", [1], {"type": "reasoning.text"}])
    def test_details_that_are_none(self, details: object) -> None:
        """The request is refused: losing them in silence would cost the thread of thought."""
        with pytest.raises(Refused, match=r"^messages.*reasoning_details"):
            body_of(messages=[{"role": "assistant", "content": "a", "reasoning_details": details}])
