"""Custom tools' input in the arguments of the functions that stand for them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.wire.custom_tools import InputReader, to_arguments

TEXTS = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('"\\\n{}/\U0001f600')))


def read(arguments: str, sizes: list[int]) -> str:
    """Return the input as it arrives in pieces of these sizes."""
    reader, pieces = InputReader(), list[str]()
    for size in sizes:
        pieces.append(reader.feed(arguments[:size]))
        arguments = arguments[size:]
    pieces += [reader.feed(arguments), reader.finish()]
    assert reader.text == "".join(pieces)
    return reader.text


@given(TEXTS, st.lists(st.integers(0, 4), max_size=40), st.booleans())
def test_any_text_comes_back(text: str, sizes: list[int], ascii_only: bool) -> None:
    """However it is escaped, and wherever it is cut into pieces."""
    assert text == read(to_arguments(text), sizes)
    assert text == read(json.dumps({"input": text}, ensure_ascii=ascii_only), sizes)


@given(st.text(st.sampled_from('{}"\\:, inputd83dDE00xn'), max_size=40), st.lists(st.integers(0, 4), max_size=40))
def test_any_arguments_are_read_alike_in_pieces_and_whole(rest: str, sizes: list[int]) -> None:
    """What comes of them can be sent."""
    for arguments in (rest, '{"input":"' + rest):
        text = read(arguments, sizes)

        assert text == read(arguments, [])
        assert text == text.encode().decode()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (r'{"input":"a\ud83dx"}', "a\ufffdx"),
        (r'{"input":"a\ud83d"}', "a\ufffd"),
        (r'{"input":"\ude00"}', "\ufffd"),
        (r'{"input":"\d+ \uZZ, and more"}', r"\d+ \uZZ, and more"),
        (' {\n"input" :"x", "more": 1} ', "x"),
        ('{"why":1,"input":"x"}', "x"),
        ('{"input":"abc\\u00', "abc"),
        ('{"input":1}', '{"input":1}'),
        ('["input"]', '["input"]'),
        ("*** Begin", "*** Begin"),
        ("[" * 100_000, "[" * 100_000),
        ("", ""),
    ],
)
def test_arguments_that_are_not_as_they_should_be(arguments: str, text: str) -> None:
    """Text that is wrong is taken as it is, and what has no input is the input."""
    assert text == read(arguments, [])
