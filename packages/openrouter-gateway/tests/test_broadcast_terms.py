"""What waits for a destination that is to get less than when it was encoded."""

from pathlib import Path
from typing import Any

import pytest
from broadcast_receiver import receiving
from broadcast_running import eventually, ids, in_order, is_empty, running, spooled, webhook
from broadcast_samples import QUESTION, make_destination
from ledger_samples import KEY
from msgspec import convert

from openrouter_gateway.broadcast.queue import Limits
from openrouter_gateway.broadcast.terms import Terms, terms_of
from openrouter_gateway.core.destination import FilterRules

OTHER = "00" * 32
SAID = "traces that waited are dropped: it may not have them any more"


def only(model: str, *, enabled: bool = True) -> FilterRules:
    rule = {"field": "model", "operator": "equals", "value": model}
    return convert({"groups": [{"rules": [rule]}], "enabled": enabled}, FilterRules)


PRIVATE = {"privacy_mode": True}
NARROWED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, PRIVATE),
    ({}, {"filter_rules": only("a/one")}),
    ({"filter_rules": only("a/one")}, {"filter_rules": only("b/two")}),
    ({"filter_rules": only("a/one", enabled=False)}, {"filter_rules": only("a/one")}),
    ({}, {"api_key_hashes": [KEY]}),
    ({"api_key_hashes": [KEY, OTHER]}, {"api_key_hashes": [KEY]}),
    ({"broadcast_generation_identity": True}, {}),
    ({"broadcast_generation_request_context": True}, PRIVATE),
]
NOT_NARROWED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    (PRIVATE, {}),
    ({}, {"sampling_rate": 0.5}),
    ({}, {"enabled": False}),
    ({}, {"name": "two", "config": {"url": "http://x"}}),
    ({"filter_rules": only("a/one")}, {}),
    ({"filter_rules": only("a/one")}, {"filter_rules": only("a/one")}),
    ({}, {"filter_rules": only("a/one", enabled=False)}),
    ({"api_key_hashes": [KEY]}, {"api_key_hashes": [OTHER, KEY]}),
    ({"api_key_hashes": [KEY]}, {}),
    ({}, {"broadcast_generation_identity": True}),
]


class TestTerms:
    """Whether one configuration lets through less than another."""

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [*((*pair, False) for pair in NARROWED), *((*pair, True) for pair in NOT_NARROWED)],
    )
    def test_narrowed(self, old: dict[str, Any], new: dict[str, Any], expected: bool) -> None:
        then, now = terms_of(make_destination(**old)), terms_of(make_destination(**new))
        assert expected == now.cover(then)

    def test_what_an_older_version_left(self) -> None:
        """It may have content, of any generation."""
        assert Terms().cover(None)
        for narrower in (*NARROWED[0], NARROWED[1][1], NARROWED[4][1]):
            assert (not narrower) == terms_of(make_destination(**narrower)).cover(None)


class TestWaiting:
    """By real receivers, which must not get what they may not have any more."""

    @pytest.mark.parametrize("has_disk", [True, False])
    @pytest.mark.parametrize("fields", [PRIVATE, {"filter_rules": only("b/two")}])
    async def test_a_change(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, has_disk: bool, fields: dict[str, Any]
    ) -> None:
        """What waits is dropped wherever it waits, and counted, and one line says so; what comes then arrives."""
        async with receiving() as receiver:
            receiver.behave = lambda _: 503
            directory = tmp_path if has_disk else None
            async with running(webhook("one", receiver.url), directory=directory) as setup:
                for _ in range(20):
                    setup.offer(5)
                    await setup.time.advance(1)
                assert 100 == setup.of("one").waiting
                assert has_disk == any(spooled(tmp_path))
                asked_before = len(receiver.arrivals)
                receiver.behave = lambda _: 200
                await setup.broadcaster.set_destinations([webhook("one", receiver.url, **fields)])
                await eventually(lambda: SAID in caplog.text)
                setup.offer(model="b/two")
                await setup.time.advance(2)
                await eventually(lambda: not setup.of("one").waiting)
                assert ["gen-101"] == ids(receiver.arrivals[asked_before:])
                counts = setup.of("one").counts
                assert (1, 0, 100) == (counts.delivered, counts.rejected, counts.dropped)
                assert QUESTION.encode() not in receiver.arrivals[-1].body or fields != PRIVATE
                assert [] == spooled(tmp_path)
        assert 1 == caplog.text.count(f"100 {SAID}")

    async def test_it_is_down_for_longer(self, tmp_path: Path) -> None:
        """What waits does not stay on disk until it is back."""
        async with running(webhook("one", "http://127.0.0.1:9"), directory=tmp_path) as setup:
            await setup.run(20)
            await setup.broadcaster.set_destinations([webhook("one", "http://127.0.0.1:9", **PRIVATE)])
            await eventually(lambda: not spooled(tmp_path))
            assert 20 == setup.of("one").counts.dropped

    async def test_a_change_while_no_gateway_runs(self, tmp_path: Path) -> None:
        """What an earlier process left is dropped as well."""
        async with receiving() as receiver:
            receiver.behave = lambda _: 503
            async with running(webhook("one", receiver.url), directory=tmp_path) as setup:
                await setup.run(5)
            asked_before = len(receiver.arrivals)
            receiver.behave = lambda _: 200
            async with running(webhook("one", receiver.url, **PRIVATE), directory=tmp_path) as again:
                await eventually(lambda: not again.of("one").waiting)
                assert 5 == again.of("one").counts.dropped
            assert asked_before == len(receiver.arrivals)
            assert is_empty(tmp_path)

    async def test_a_change_just_before_the_end(self, tmp_path: Path) -> None:
        """What is on its way to the disk does not get there."""
        async with running(
            webhook("one", "http://127.0.0.1:9"), directory=tmp_path, limits=Limits(memory_bytes=1000)
        ) as setup:
            setup.offer(3)
            await setup.time.advance(0.5)
            await setup.broadcaster.set_destinations([webhook("one", "http://127.0.0.1:9", **PRIVATE)])
        assert [] == spooled(tmp_path)

    async def test_it_is_to_get_more(self, tmp_path: Path) -> None:
        """What waits is delivered as it was encoded."""
        async with receiving() as receiver:
            receiver.behave = lambda _: 503
            async with running(webhook("one", receiver.url, **PRIVATE), directory=tmp_path) as setup:
                await setup.run(5)
                receiver.behave = lambda _: 200
                await setup.broadcaster.set_destinations([webhook("one", receiver.url)])
                await eventually(lambda: not setup.of("one").waiting)
                assert setup.all_ids == in_order(ids(receiver.accepted))
                assert all(QUESTION.encode() not in arrival.body for arrival in receiver.arrivals)
