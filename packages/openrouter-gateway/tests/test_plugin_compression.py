"""Prompts that are too long: what goes, what stays, and when they are left alone."""

from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.plugins.compression import Room, compress, estimate_prompt, room_for

SYSTEM = {"role": "system", "content": "Be brief."}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def calling(*ids: str) -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str, text: str = "42") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def endpoint(**fields: Any) -> Endpoint:
    return msgspec.structs.replace(make_endpoint("x"), **fields)


def sent(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the messages as a provider would get them."""
    return msgspec.json.decode(request.fields["messages"])


def squeezed(messages: list[dict[str, Any]], tokens: int, most: int | None = None) -> list[dict[str, Any]] | None:
    """Return what is left of messages in so much room, None if they are left alone."""
    found = compress(make_request(messages=messages), Room(tokens=tokens, messages=most))
    return None if found is None else sent(found.request)


class TestRoom:
    """Whose prompts are compressed, and how long they may be."""

    @pytest.mark.parametrize(
        ("fields", "context", "expected"),
        [
            ({}, 8192, True),
            ({}, 8193, False),
            ({}, None, False),
            ({"transforms": ["middle-out"]}, 200_000, True),
            ({"transforms": []}, 4096, False),
            ({"plugins": [{"id": "context-compression"}]}, 200_000, True),
            ({"plugins": [{"id": "context-compression", "engine": "middle-out", "enabled": True}]}, 200_000, True),
            ({"plugins": [{"id": "context-compression", "enabled": False}]}, 4096, False),
            ({"plugins": [{"id": "context-compression", "enabled": False}], "transforms": ["middle-out"]}, 4096, False),
        ],
    )
    def test_when(self, fields: dict[str, Any], context: int | None, *, expected: bool) -> None:
        """By default where the context is small, else when asked; the plugin's word beats the old one."""
        assert expected == (room_for(make_request(**fields), endpoint(context_length=context)) is not None)

    def test_images_out(self) -> None:
        """Models that answer with images alone keep their prompts."""
        small = endpoint(context_length=4096)

        assert None is room_for(make_request(), small, ("image",))
        assert None is not room_for(make_request(), small, ("image", "text"))

    @pytest.mark.parametrize(
        ("request_fields", "endpoint_fields", "tokens"),
        [
            ({"max_tokens": 1000}, {}, 3096),
            ({"max_completion_tokens": 1000, "max_tokens": 1}, {}, 3096),
            ({}, {}, 3072),
            ({}, {"max_completion_tokens": 96}, 4000),
            ({"max_tokens": 96}, {"max_prompt_tokens": 2000}, 2000),
            ({"max_tokens": 5000}, {}, 0),
        ],
    )
    def test_how_much(self, request_fields: Any, endpoint_fields: Any, tokens: int) -> None:
        """The context less the answer, of which a quarter is kept if its length is not said."""
        found = room_for(make_request(**request_fields), endpoint(context_length=4096, **endpoint_fields))

        assert Room(tokens=tokens) == found

    def test_message_limits(self) -> None:
        """Are the protocol's."""
        asked = make_request(transforms=["middle-out"])
        provider = msgspec.structs.replace(make_endpoint("x").provider, protocol="anthropic")

        found = room_for(asked, endpoint(provider=provider, context_length=200_000))

        assert found is not None
        assert 1000 == found.messages


class TestCompress:
    """What goes and what stays."""

    def test_what_fits_is_left_alone(self) -> None:
        """Nothing is made of it."""
        assert None is squeezed([user("Hello")], 100)

    def test_the_middle_goes(self) -> None:
        """System message, first and last of the others stay, and as many towards both ends as there is room for."""
        middle = [(user if at % 2 else answer)(f"{at} " + "x" * 396) for at in range(9)]

        found = squeezed([SYSTEM, user("first"), *middle, user("last")], 500)

        assert found is not None
        assert [SYSTEM, user("first"), middle[0], middle[1]] == found[:4]
        assert [middle[-2], middle[-1], user("last")] == found[-3:]
        assert middle[4] not in found

    def test_a_call_and_its_results_go_together(self) -> None:
        """None of them is sent without the others."""
        calls = [calling("a", "b"), result("a", "x" * 400), result("b", "y" * 400)]

        found = squeezed([user("first"), *calls, answer("done"), user("last")], 60)

        assert [user("first"), answer("done"), user("last")] == found

    def test_a_message_between_a_call_and_its_result(self) -> None:
        """Goes with them."""
        calls = [calling("a"), user("well?"), result("a", "x" * 400)]

        assert [user("first"), user("last")] == squeezed([user("first"), *calls, user("last")], 40)

    def test_exchanges_that_overlap(self) -> None:
        """Are one: a result may come after the next call."""
        overlapping = [calling("a"), calling("b"), result("a", "x" * 400), result("b")]

        assert [user("first"), user("last")] == squeezed([user("first"), *overlapping, user("last")], 60)

    def test_the_last_exchange_stays(self) -> None:
        """A tool's result that the model has yet to read is shortened, its call is not touched."""
        last = [calling("a"), result("a", "x" * 4000)]

        found = squeezed([user("first"), *last], 200)

        assert found is not None
        assert [user("first"), calling("a")] == found[:2]
        assert found[2]["content"].startswith("xxx")
        assert "\n[...]\n" in found[2]["content"]

    def test_the_same_id_twice(self) -> None:
        """Some servers number calls from 0 in every turn: a result belongs to the latest call."""
        first = [calling("0"), result("0", "x" * 400)]
        second = [calling("0"), result("0", "y")]

        assert [user("first"), *second, user("last")] == squeezed([user("first"), *first, *second, user("last")], 90)

    def test_one_long_message(self) -> None:
        """Loses its middle, and no character is cut in two."""
        found = squeezed([user("öäü" * 4000)], 1000)

        assert found is not None
        begin, gap, end = found[0]["content"].partition("\n[...]\n")
        assert ("öäü", "\n[...]\n", "öäü") == (begin[:3], gap, end[-3:])
        assert 3000 < len(found[0]["content"].encode()) < 4000

    def test_a_part_of_a_message(self) -> None:
        """The longest text; pictures and all other keys stay."""
        picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
        message = {
            "role": "user",
            "name": "n",
            "content": [{"type": "text", "text": "x" * 9000, "cache_control": {"type": "ephemeral"}}, picture],
        }

        found = squeezed([message], 2000)

        assert found is not None
        text, kept = found[0]["content"]
        assert ("n", picture, {"type": "ephemeral"}) == (found[0]["name"], kept, text["cache_control"])
        assert len(text["text"]) < 4000

    def test_a_long_message_is_brought_back_in_part(self) -> None:
        """When it was the last to go and most of the room is left."""
        found = squeezed([user("first"), answer("x" * 40_000), user("last")], 1000)

        assert found is not None
        assert 3 == len(found)
        assert 3000 < len(found[1]["content"]) < 4000

    def test_message_limit(self) -> None:
        """Half from the start, half from the end; the system message counts."""
        thread = [SYSTEM, *(user(str(at)) for at in range(20))]

        found = squeezed(thread, 10_000, most=7)

        assert [SYSTEM, *(user(str(at)) for at in (0, 1, 2, 17, 18, 19))] == found

    def test_system_messages_are_not_shortened(self) -> None:
        """What does not fit beside them goes as it is, and the provider says what it has to say."""
        assert None is squeezed([SYSTEM | {"content": "x" * 4000}, user("Hello")], 500)

    def test_tools_take_room(self) -> None:
        """They are part of the prompt."""
        tools = [{"type": "function", "function": {"name": "f", "description": "x" * 4000}}]
        thread = [user("first"), answer("y" * 400), user("last")]

        found = compress(make_request(messages=thread, tools=tools), Room(tokens=1080))

        assert found is not None
        assert [user("first"), user("last")] == sent(found.request)

    def test_the_stage(self) -> None:
        """What router metadata tell."""
        found = compress(make_request(messages=[user("a"), answer("x" * 900), user("b")]), Room(tokens=30))

        assert found is not None
        assert found.stage == {
            "type": "context_compression",
            "name": "context-compression",
            "data": {"engine": "middle-out", "input_type": "messages", "original_count": 3, "compressed_count": 2},
        }


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.integers(1, 900).map(lambda n: "wörd " * n)


@st.composite
def threads(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return any conversation, its tool calls answered in any order and number."""
    thread: list[dict[str, Any]] = []
    for turn in range(draw(st.integers(1, 8))):
        match draw(st.sampled_from(["user", "assistant", "system", "tools", "parts"])):
            case "tools":
                ids = [f"{turn}-{n}" for n in range(draw(st.integers(1, 3)))]
                thread += [calling(*ids), *(result(each, draw(TEXT)) for each in draw(st.permutations(ids)))]
            case "parts":
                image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
                thread.append({"role": "user", "content": [{"type": "text", "text": draw(TEXT)}, image]})
            case role:
                thread.append({"role": role, "content": draw(TEXT)})
    return [message | {"name": str(place)} for place, message in enumerate(thread)]


@given(thread=threads(), tokens=st.integers(0, 3000), most=st.none() | st.integers(1, 10))
def test_any_conversation(thread: list[dict[str, Any]], tokens: int, most: int | None) -> None:
    """It fits, in order, with its system messages, its ends and whole exchanges; or it is left alone."""
    request = make_request(messages=thread)
    room = Room(tokens=tokens, messages=most)

    found = compress(request, room)

    if found is None:
        return
    kept = sent(found.request)
    assert estimate_prompt(found.request) <= tokens
    assert len(kept) <= (most or len(kept))
    assert (found.original_count, found.compressed_count) == (len(thread), len(kept))
    assert [m.content for m in found.request.params.messages] == [m["content"] for m in kept]
    places = [int(message["name"]) for message in kept]
    assert sorted(set(places)) == places
    assert all(is_of(message, thread[place]) for message, place in zip(kept, places, strict=True))
    assert [m for m in thread if m["role"] == "system"] == [m for m in kept if m["role"] == "system"]
    others = [at for at, m in enumerate(thread) if m["role"] != "system"]
    if others:
        assert {others[0], others[-1]} <= set(places)
    for at, message in enumerate(thread):
        for call in message.get("tool_calls", ()):
            answered = next(n for n, m in enumerate(thread) if m.get("tool_call_id") == call["id"])
            assert (at in places) == (answered in places)
    assert compress(found.request, room) is None


def is_of(message: dict[str, Any], original: dict[str, Any]) -> bool:
    """Return whether a message is another one, or that with its text cut."""
    if {**message, "content": None} != {**original, "content": None}:
        return False
    content, whole = message["content"], original["content"]
    if content == whole:
        return True
    if isinstance(content, list):
        if not isinstance(whole, list) or content[1] != whole[1]:
            return False
        content, whole = content[0]["text"], whole[0]["text"]
    if not isinstance(content, str) or not isinstance(whole, str):
        return False
    begin, gap, end = content.partition("\n[...]\n")
    return bool(gap) and whole.startswith(begin) and whole.endswith(end)
