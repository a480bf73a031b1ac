"""Replies as plugins change them."""

from decimal import Decimal
from typing import Any

import pytest

from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Cut
from openrouter_gateway.plugins.replies import Annotator, HeldReply, add_usage
from openrouter_gateway.plugins.web import SearchResult

NEWS = SearchResult(url="https://news.test/a", title="News")
FILE = {"type": "file", "file": {"hash": "abc", "content": []}}
LINK = "[news.test](https://news.test/a)"


def step(content: Any = None, finish: str | None = None, index: int = 0, **delta: Any) -> Step:
    if content is not None:
        delta["content"] = content
    return Step({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]})


def annotations(events: list[Event]) -> list[tuple[int, list[Any]]]:
    """Return the annotations of choices, in the order in which they come."""
    return [
        (choice["index"], choice["delta"]["annotations"])
        for event in events
        if isinstance(event, Step)
        for choice in event.choices
        if "annotations" in choice["delta"]
    ]


class TestAnnotator:
    """What is added to choices as they end."""

    def test_a_link_in_pieces(self) -> None:
        """Is found, and told in the step with the finish reason."""
        annotator = Annotator(sources=[NEWS])

        found = [annotator.take([step(piece)]) for piece in ("See ", *LINK)]
        last = annotator.take([step("", "stop"), Ended()])

        assert [] == [each for events in found for each in annotations(events)]
        ((index, (citation,)),) = annotations(last)
        assert (0, 4, 4 + len(LINK)) == (
            index, citation["url_citation"]["start_index"], citation["url_citation"]["end_index"]
        )  # fmt: skip
        assert 2 == len(last)

    def test_a_whole_body(self) -> None:
        """Files first, then citations; the provider's own annotations stay in front."""
        annotator = Annotator([FILE], [NEWS])

        ((_, found),) = annotations(annotator.take([step(LINK, "stop", annotations=["theirs"])]))

        assert ["theirs", FILE] == found[:2]
        assert "url_citation" == found[2]["type"]

    def test_several_choices(self) -> None:
        """Each has its own."""
        annotator = Annotator([FILE], [NEWS])

        found = annotator.take([step("x", index=1), step(LINK), step(None, "stop", index=1), step(None, "length")])

        assert [(1, 1), (0, 2)] == [(index, len(each)) for index, each in annotations(found)]

    def test_no_finish_reason(self) -> None:
        """A step of its own, before the end."""
        found = Annotator([FILE]).take([step("x"), step("y", index=1), Ended()])

        assert [(0, [FILE]), (1, [FILE])] == annotations(found)
        assert isinstance(found[-2], Step)
        assert [Ended()] == found[-1:]

    def test_nothing_to_add(self) -> None:
        """Leaves steps alone."""
        events: list[Event] = [step("x", "stop", content_parts=1), Ended()]

        assert [] == annotations(Annotator(sources=[NEWS]).take(events))
        assert 2 == len(Annotator().take(events))


class TestHeldReply:
    """Whole replies that are kept back."""

    @pytest.mark.parametrize(
        ("steps", "expected"),
        [
            ([step("a"), step("b", "stop")], {0: "ab"}),
            ([step("a", "stop"), step("b", "stop", index=1)], {0: "a", 1: "b"}),
            ([step("a"), step(None, "length")], {}),
            ([step("a", "content_filter")], {}),
            ([step("a", "stop", tool_calls=[{}])], {}),
            ([step([{"type": "text"}], "stop")], {}),
            ([step("", "stop")], {}),
            ([step("a")], {0: "a"}),
        ],
    )
    def test_texts(self, steps: list[Step], expected: dict[int, str]) -> None:
        """Those that are whole, and nothing but text."""
        held = HeldReply()
        for each in steps:
            held.add([each])

        assert expected == held.texts()

    def test_release(self) -> None:
        """A new text stands where the first piece of the old one did; all else stays."""
        held = HeldReply()
        held.add([step("a", reasoning="r"), step("b")])
        held.add([step("c", "stop", index=1), step("d", "stop"), UsageReported(Usage(total_tokens=1)), Ended()])

        found = held.release({0: "new"}, Usage(total_tokens=5))

        assert held.has_ended
        assert [{"reasoning": "r", "content": "new"}, {"content": ""}, {"content": "c"}, {"content": ""}] == [
            choice["delta"] for event in found if isinstance(event, Step) for choice in event.choices
        ]
        assert [UsageReported(Usage(total_tokens=5)), Ended()] == found[-2:]

    def test_a_failure(self) -> None:
        """Is no end."""
        held = HeldReply()
        assert not held.has_ended
        held.add([step("a", "stop"), Failed(Cut("cut"))])

        assert not held.has_ended


def test_usage_of_two_calls() -> None:
    """Every bucket is summed."""
    one = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3, cached_tokens=1, reported_cost=Decimal("0.1"))
    other = Usage(prompt_tokens=10, completion_tokens=20, total_tokens=30, estimated=True)

    assert Usage(
        prompt_tokens=11,
        completion_tokens=22,
        total_tokens=33,
        cached_tokens=1,
        reported_cost=Decimal("0.1"),
        estimated=True,
    ) == add_usage(one, other)
    assert Decimal("0.3") == add_usage(one, Usage(reported_cost=Decimal("0.2"))).reported_cost
    assert None is add_usage(Usage(), Usage()).reported_cost
