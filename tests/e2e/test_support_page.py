"""The page of what is supported says what the tests say."""

import pytest

from support_page import PAGE, Cover, Support, Table, load_support


@pytest.fixture(scope="module")
def support() -> Support:
    """The tables, and every mark there is."""
    return load_support()


def test_every_cell_has_tests_or_a_reason(support: Support) -> None:
    """And every mark names a cell."""
    assert [] == sorted(set(support.problems()))


def test_the_page_is_current(support: Support) -> None:
    """If not: `make support`."""
    assert support.render() == PAGE.read_text()


def test_gaps_and_unknown_names_are_found() -> None:
    """A cell with nothing, a mark that misspells a row or a column, a reason for no row, and no other."""
    table = Table(
        title="T", about="A.", columns={"one": "One"}, rows=["text", "tools", "seed"],
        no={"one": {"tools": "It has none.", "logprobs": "Neither."}, "two": {}},
    )  # fmt: skip
    covers = [
        Cover(test="test_a.py::test_b", name=None, column="t.one", rows=["text", "txt"]),
        Cover(test="test_a.py::test_c", name=None, column="t.on", rows=["text"]),
    ]
    assert [
        "`test_a.py::test_b` covers 'txt' of t.one, which is no row",
        "`test_a.py::test_c` covers 't.on', which is no column",
        "t.two has reasons and is no column",
        "t.one has a reason for 'logprobs', which is no row",
        "t.one has neither a test nor a reason for 'seed'",
    ] == list(Support(tables={"t": table}, covers=covers).problems())
