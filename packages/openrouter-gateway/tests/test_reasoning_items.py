"""Reasoning in both of its forms, and that it survives the change from one to the other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.wire.reasoning_items import ReasoningItem, block_index, to_details, to_items

OPENAI = "openai-responses-v1"


def summary(text: str, **fields: object) -> dict[str, Any]:
    return {"type": "reasoning.summary", "summary": text} | fields


def encrypted(data: str, **fields: object) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": data} | fields


def text(text: str, **fields: object) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text} | fields


def shown(*details: object) -> list[tuple[str | None, list[str], str | None]]:
    """Return the items that details are of: id, texts, encrypted content."""
    return [(item.id, [part for _, part in item.parts], item.encrypted) for item in to_items(list(details))]


@pytest.mark.parametrize(
    ("details", "items"),
    [
        ([], []),
        ([summary("a", id="1"), summary("b", id="1", index=1), encrypted("x", id="1")], [("1", ["a", "b"], "x")]),
        ([encrypted("x", id="1"), encrypted("y", id="2")], [("1", [], "x"), ("2", [], "y")]),
        ([encrypted("x"), encrypted("y")], [(None, [], "x"), (None, [], "y")]),
        ([summary("a", index=0), encrypted("x", index=0, id="1")], [("1", ["a"], "x")]),
        ([summary("a", index=0), summary("b", index=1000)], [(None, ["a"], None), (None, ["b"], None)]),
        ([summary("a", index=0), summary("b", index=0)], [(None, ["ab"], None)]),
        ([summary("a", index=0), summary("b", index=1)], [(None, ["a", "b"], None)]),
        ([text("a"), text("b")], [(None, ["ab"], None)]),
        ([text("a", signature="s"), text("b")], [(None, ["a"], None), (None, ["b"], None)]),
        ([text("a", index=0), text("", index=0, signature="s"), text("b")], [(None, ["a"], None), (None, ["b"], None)]),
        ([text("a", index=0, format="f"), encrypted("x", index=1, format="f")], [(None, ["a"], None), (None, [], "x")]),
        ([summary("a", format=OPENAI), text("b", format="f")], [(None, ["a"], None), (None, ["b"], None)]),
        ([summary("a", id="1", index=0), summary("b", id="2", index=0)], [("1", ["a"], None), ("2", ["b"], None)]),
    ],
)  # fmt: skip
def test_which_details_are_one_item(details: list[object], items: list[object]) -> None:
    """Ids tell, else places, else the end that encrypted content and signatures make; the format always does."""
    assert items == shown(*details)


@pytest.mark.parametrize(
    "detail", [None, 1, "x", [], {}, {"type": "new"}, {"type": 1}, {"type": "reasoning.text", "text": 1}]
)
def test_what_is_no_detail_is_passed_over(detail: object) -> None:
    """Nothing that a caller sends here is a crash."""
    assert [("1", [], "x")] == shown(detail, encrypted("x", id="1"))
    assert [] == to_items(detail)


@pytest.mark.parametrize(
    ("item", "form"),
    [
        ({"encrypted_content": "x"}, OPENAI),
        ({"encrypted_content": "x", "format": "xai-responses-v1"}, "xai-responses-v1"),
        ({"content": [{"type": "reasoning_text", "text": "a"}], "signature": "s"}, "anthropic-claude-v1"),
        ({"signature": "s"}, "anthropic-claude-v1"),
        ({"content": [{"type": "reasoning_text", "text": "a"}]}, None),
    ],
)
def test_the_format_that_an_item_does_not_name(item: dict[str, Any], form: str | None) -> None:
    """Its fields tell whose it is."""
    assert {form} == {detail["format"] for detail in to_details(item, 0)}


def test_ids_that_were_made_up_here_stay_here() -> None:
    """A provider would not know them."""
    assert [False, True] == ["id" in to_details({"id": i, "content": ["a"]}, 0)[0] for i in ("rs_or_1", "rs_1")]


def test_no_item_runs_into_the_next() -> None:
    """However many blocks it has."""
    assert [0, 999, 999, 1000] == [block_index(0, 0), block_index(0, 999), block_index(0, 5000), block_index(1, 0)]


_TEXTS = st.lists(st.text(max_size=5), max_size=4)
_ITEMS = st.builds(
    lambda summaries, texts, data, number: {
        "type": "reasoning",
        "id": f"rs_{number}",
        "summary": [{"type": "summary_text", "text": one} for one in summaries],
        **({"content": [{"type": "reasoning_text", "text": one} for one in texts]} if texts else {}),
        "encrypted_content": data,
    },
    _TEXTS,
    _TEXTS,
    st.text(min_size=1, max_size=5),
    st.integers(0, 10**6),
)


@given(st.lists(_ITEMS, max_size=4, unique_by=lambda item: item["id"]), st.booleans())
def test_items_survive_being_details(items: list[dict[str, Any]], keep_ids: bool) -> None:
    """Every block in its order, with ids and without."""
    details = [detail for place, item in enumerate(items) for detail in to_details(item, place)]
    if not keep_ids:
        details = [{key: value for key, value in detail.items() if key != "id"} for detail in details]
        items = [{key: value for key, value in item.items() if key != "id"} for item in items]

    found = to_items(details)

    assert items == [item.to_item() for item in found]
    assert list(range(len(items))) == [item.place for item in found]


@given(st.lists(_ITEMS, min_size=1, max_size=3, unique_by=lambda item: item["id"]), st.data())
def test_details_in_pieces_are_the_same_items(items: list[dict[str, Any]], data: st.DataObject) -> None:
    """Texts that arrive in pieces, as in a stream."""
    whole = [detail for place, item in enumerate(items) for detail in to_details(item, place)]
    pieces: list[dict[str, Any]] = []
    for detail in whole:
        key = "summary" if "summary" in detail else "text"
        cut = data.draw(st.integers(0, len(detail.get(key, ""))))
        if "data" in detail:
            pieces.append(detail)
        else:
            pieces += [detail | {key: detail[key][:cut]}, detail | {key: detail[key][cut:]}]

    assert [item.to_item() for item in to_items(whole)] == [item.to_item() for item in to_items(pieces)]


def test_an_item_of_nothing() -> None:
    """It takes any detail, and shows what it has."""
    item = ReasoningItem()

    assert item.accepts(summary("a"))
    assert {"type": "reasoning", "summary": []} == item.to_item()
