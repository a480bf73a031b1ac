"""Patterns of operators: what they match, what they may not have, and how long they take."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.broadcast.pattern import compile_pattern


class TestMatching:
    """As Python's own engine has it."""

    @given(
        pattern=st.sampled_from(
            ["a", "^a", "a$", "^a$", "^$", "a.b", "[^b]$", "(?i)A", "(?m)^a$", "(?s)a.b", "a|b$", "(?P<x>a)+$"]
        ),
        text=st.text("abAé\n", max_size=5),
    )
    def test_it_is_what_it_was(self, pattern: str, text: str) -> None:
        """Anywhere in the text, with case, and with anchors that know of a last line's end."""
        assert (re.search(pattern, text) is not None) == compile_pattern(pattern)(text)

    def test_the_very_end(self) -> None:
        assert compile_pattern(r"a\z")("a")
        assert not compile_pattern(r"a\z")("a\n")

    def test_half_characters(self) -> None:
        """A text may have some: nothing can match them, and they do not raise."""
        assert compile_pattern("Peru")("\ud800 Peru")
        assert not compile_pattern("é")("\ud800")


class TestRefusal:
    """What is no pattern, or is none here."""

    @pytest.mark.parametrize(
        ("pattern", "reason"),
        [
            ("(", r"missing \)"),
            ("(?=a)", "invalid perl operator.*without look-around and back-references"),
            ("(?<!a)b", "invalid perl operator.*without look-around"),
            (r"(a)\1", "invalid escape sequence.*back-references"),
            ("a{1001}", "invalid repetition size"),
            ("\ud800", "half a character"),
            ("(a|b.*c)" * 1000, "too large"),
        ],
    )
    def test_the_reason_is_said(self, pattern: str, reason: str) -> None:
        with pytest.raises(ValueError, match=reason) as caught:
            compile_pattern(pattern)
        assert len(str(caught.value)) < 200


class TestTime:
    """It is in proportion to the text."""

    @pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)+$", "(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
    def test_patterns_that_explode_elsewhere(self, pattern: str) -> None:
        """Python's own engine would take longer than anyone lives."""
        search = compile_pattern(pattern)
        began = time.perf_counter()
        assert not search("a" * 64 * 1024 + "!")
        assert time.perf_counter() - began < 1
