"""From `offer` to the destinations, over real HTTP in simulated time: what one of them does, others do not notice."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from broadcast_receiver import Receiver, receiving, settle
from broadcast_running import CANARY, Setup, eventually, ids, in_order, is_empty, running, spooled, webhook
from broadcast_samples import ANSWER, QUESTION, make_destination, make_record
from msgspec import Raw, convert

from openrouter_gateway.broadcast.queue import Limits
from openrouter_gateway.core.destination import FilterRules

MIB = 1024 * 1024
HOUR_S = 3600


class TestDelivery:
    """What arrives while all is well."""

    async def test_records_become_batches(self) -> None:
        """A batch is what came together within the interval."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            setup.offer(20)
            await setup.time.advance(1)
            setup.offer(5)
            await setup.time.advance(1)
            assert [20, 5] == [len(arrival.generation_ids) for arrival in receiver.arrivals]
            assert setup.all_ids == ids(receiver.arrivals)
            counts = setup.of("one").counts
            assert (25, 25, 0, 0) == (counts.offered, counts.delivered, counts.rejected, counts.dropped)

    async def test_batches_are_bounded(self) -> None:
        """In traces, and in bytes."""
        limits = Limits(batch_bytes=10_000)
        async with receiving() as receiver, running(webhook("one", receiver.url), limits=limits) as setup:
            setup.offer(30)
            await setup.time.advance(1)
            assert setup.all_ids == in_order(ids(receiver.arrivals))
            assert len(receiver.arrivals) >= 8
            assert all(len(arrival.body) < 11_000 for arrival in receiver.arrivals)

    async def test_group_spans_are_sent_once(self) -> None:
        """By the first generation below them that the destination gets."""
        rules = convert(
            {"groups": [{"rules": [{"field": "model", "operator": "equals", "value": "b/two"}]}]}, FilterRules
        )
        async with receiving() as every, receiving() as some:
            both = (webhook("all", every.url), webhook("some", some.url, filter_rules=rules))
            async with running(*both) as setup:
                trace = {"trace_id": "run-7", "trace_name": "agent"}
                for model in ("a/one", "b/two", "b/two"):
                    setup.offer(trace=trace, model=model)
                    await setup.time.advance(1)
                for receiver, expected in (
                    (every, ["agent", "a/one", "b/two", "b/two"]),
                    (some, ["agent"] + ["b/two"] * 2),
                ):
                    spans = [span for arrival in receiver.arrivals for span in arrival.spans]
                    assert expected == [span["name"] for span in spans]
                    assert {spans[0]["spanId"]} == {span["parentSpanId"] for span in spans[1:]}

    async def test_an_agent_run_is_one_tree(self) -> None:
        """Two calls of a model, with the tool between them as the caller's own span."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            for number in (1, 2):
                setup.offer(traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01", trace={"generation_name": f"call {number}"})
            await setup.time.advance(1)
            spans = [span for arrival in receiver.arrivals for span in arrival.spans]
            assert [("ab" * 16, "cd" * 8)] * 2 == [(span["traceId"], span["parentSpanId"]) for span in spans]
            assert ["call 1", "call 2"] == [span["name"] for span in spans]

    async def test_privacy_mode_is_for_one_destination(self) -> None:
        async with receiving() as open_, receiving() as private:
            both = (webhook("open", open_.url), webhook("private", private.url, privacy_mode=True))
            async with running(*both) as setup:
                assert setup.broadcaster.wants_content
                setup.offer()
                await setup.time.advance(1)
                assert QUESTION.encode() in open_.arrivals[0].body
                for said in (QUESTION, ANSWER):
                    assert said.encode() not in private.arrivals[0].body
                assert open_.arrivals[0].spans[0]["spanId"] == private.arrivals[0].spans[0]["spanId"]

    async def test_content_need_not_be_kept(self) -> None:
        """If no destination takes it, or looks into it."""
        looks = convert(
            {"groups": [{"rules": [{"field": "input", "operator": "contains", "value": "x"}]}]}, FilterRules
        )
        cases = [
            ([], False),
            ([webhook("a", "http://x")], True),
            ([webhook("a", "http://x", enabled=False)], False),
            ([webhook("a", "http://x", privacy_mode=True)], False),
            ([webhook("a", "http://x", privacy_mode=True, filter_rules=looks)], True),
        ]
        for destinations, expected in cases:
            async with running(*destinations) as setup:
                assert expected == setup.broadcaster.wants_content
                assert setup.broadcaster.is_wanted == any(each.enabled for each in destinations)

    async def test_odd_records_stop_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """One that cannot be encoded, and one that is none at all."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            setup.offer(reply=[{"role": "assistant", "content": "\ud800"}])
            setup.broadcaster.offer(make_record(2, trace="nonsense"))
            setup.offered = 2
            setup.offer()
            await setup.time.advance(1)
            assert ["gen-3"] == ids(receiver.arrivals)
            assert (1, 1) == (setup.of("one").counts.unencodable, setup.broadcaster.dropped)
        assert QUESTION not in caplog.text

    async def test_observation(self) -> None:
        """Also without any destination."""
        seen: list[str] = []
        async with running(observe=lambda record: seen.append(record.generation.id)) as setup:
            setup.offer(2)
            await setup.time.advance(1)
            assert ["gen-1", "gen-2"] == seen

    async def test_states_are_visible(self) -> None:
        async with running(webhook("one", "http://127.0.0.1:9")) as setup:
            setup.offer()
            assert "<Broadcaster queued=1 dropped=0 [<Courier webhook 'one' working waiting=0>]>" == repr(
                setup.broadcaster
            )


class TestQueue:
    """The queue is bounded, in both ways."""

    async def test_records(self) -> None:
        async with receiving() as receiver, running(webhook("one", receiver.url), most_records=10) as setup:
            setup.offer(15)
            assert (10, 5) == (setup.broadcaster.queued, setup.broadcaster.dropped)
            await setup.time.advance(1)
            setup.offer()
            await setup.time.advance(1)
            assert [*setup.all_ids[:10], "gen-16"] == ids(receiver.arrivals)

    async def test_bytes_of_content(self) -> None:
        async with running(webhook("one", "http://127.0.0.1:9"), most_bytes=250) as setup:
            for dropped in (3, 6):
                setup.offer(5)
                assert (2, dropped) == (setup.broadcaster.queued, setup.broadcaster.dropped)
                await setup.time.advance(1)
                assert 0 == setup.broadcaster.queued

    async def test_nobody_wants_any(self) -> None:
        """Then nothing is kept, and nothing is counted as lost."""
        async with running() as setup:
            assert not setup.broadcaster.offer(make_record())
            assert (0, 0) == (setup.broadcaster.queued, setup.broadcaster.dropped)


async def outage(
    behave: Callable[[Receiver], None],
    directory: Path,
    *,
    seconds: int = HOUR_S,
    every_s: int = 30,
    timeout_s: float = 10,
) -> tuple[Setup, Receiver, int, int]:
    """Let one of two destinations be in trouble, and then well again.

    Returns also how many traces waited for it just before, and how often the other one was retried.
    """
    async with receiving() as troubled, receiving() as well:
        both = (webhook("troubled", troubled.url), webhook("well", well.url))
        limits = Limits(timeout_s=timeout_s, disk_bytes=64 * MIB)
        async with running(*both, directory=directory, limits=limits) as setup:
            behave(troubled)
            peak = 0
            for _ in range(10):
                await setup.run(seconds // 10, 20, every_s)
                peak = max(peak, setup.of("troubled").memory_bytes)
            assert peak < MIB
            await eventually(lambda: not setup.of("well").waiting, setup.time)
            assert set(setup.all_ids) == set(ids(well.arrivals))
            status = setup.of("troubled")
            assert status.failing
            troubled.behave, troubled.silent = (lambda _: 200), False
            await setup.time.advance(90)
            await eventually(lambda: not setup.of("troubled").waiting, setup.time)
            return setup, troubled, status.waiting, setup.of("well").counts.retries


class TestTrouble:
    """An hour of it, in simulated time, at one of two destinations."""

    @pytest.mark.parametrize("status", [429, 500, 503, 401])
    async def test_it_refuses(self, status: int, tmp_path: Path) -> None:
        """Everything waits on disk, and arrives when it is over; the other misses nothing."""

        def refuse(receiver: Receiver) -> None:
            receiver.behave = lambda _: status

        setup, troubled, _, retries = await outage(refuse, tmp_path)
        assert setup.all_ids == in_order(ids(troubled.accepted))
        assert 0 == retries
        refused = len(troubled.arrivals) - len(troubled.accepted)
        assert 60 <= refused <= 120, "it is asked about once a minute"

    async def test_it_is_down(self, tmp_path: Path) -> None:
        """Nothing listens at its address."""
        async with (
            receiving() as well,
            running(webhook("down", "http://127.0.0.1:9"), webhook("well", well.url), directory=tmp_path) as setup,
        ):
            await setup.run(HOUR_S, 20, every_s=30)
            await eventually(lambda: not setup.of("well").waiting)
            assert setup.all_ids == in_order(ids(well.arrivals))
            status = setup.of("down")
            assert (True, setup.offered, 0) == (status.failing, status.waiting, status.counts.dropped)
            assert status.memory_bytes < 100_000 < status.disk_bytes

    async def test_it_is_silent(self, tmp_path: Path) -> None:
        """It takes requests and never answers: each costs the timeout, in real time, so the hour is shorter."""

        def hush(receiver: Receiver) -> None:
            receiver.silent = True

        setup, troubled, waited, _ = await outage(hush, tmp_path, seconds=600, timeout_s=0.2)
        assert setup.offered == waited, "it got none while it was silent"
        assert set(setup.all_ids) == set(ids(troubled.accepted))

    async def test_it_says_when(self) -> None:
        """`Retry-After` is honoured."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            receiver.behave = lambda _: (429, "Retry-After: 600\r\n")
            setup.offer()
            await setup.time.advance(599)
            assert 1 == len(receiver.arrivals)
            receiver.behave = lambda _: 200
            await setup.time.advance(2)
            assert ["gen-1"] == ids(receiver.accepted)

    async def test_requests_that_fail_together_are_one_failure(self) -> None:
        """Else the pause would be that of as many failures in a row."""
        limits = Limits(batch_bytes=1000)
        async with receiving() as receiver, running(webhook("one", receiver.url), limits=limits) as setup:
            receiver.behave = lambda _: 503
            setup.offer(10)
            await setup.time.advance(0.6)
            assert 4 == len(receiver.arrivals)
            receiver.behave = lambda _: 200
            await setup.time.advance(1)
            await eventually(lambda: not setup.of("one").waiting)
            assert setup.all_ids == in_order(ids(receiver.accepted))

    async def test_it_refuses_for_good(self, caplog: pytest.LogCaptureFixture) -> None:
        """What it says is not valid is not sent again, and holds up nothing."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            receiver.behave = lambda arrival: 400 if "gen-1" in arrival.generation_ids else 200
            setup.offer()
            await setup.time.advance(1)
            setup.offer()
            await setup.time.advance(1)
            assert ["gen-2"] == ids(receiver.accepted)
            counts = setup.of("one").counts
            assert (1, 1, 0) == (counts.delivered, counts.rejected, counts.retries)
        assert "refuses 1 traces for good: it answers 400" in caplog.text

    async def test_one_payload_makes_it_fail(self, tmp_path: Path) -> None:
        """The others go past it, and in the end it is given up."""
        async with receiving() as receiver, running(webhook("one", receiver.url), directory=tmp_path) as setup:
            receiver.behave = lambda arrival: 500 if "gen-1" in arrival.generation_ids else 200
            await setup.run(1200, every_s=20)
            assert setup.all_ids[1:] == in_order(ids(receiver.accepted))
            counts = setup.of("one").counts
            assert (1, setup.offered - 1, 0) == (counts.rejected, counts.delivered, counts.dropped)

    async def test_a_flaky_one_loses_nothing(self, tmp_path: Path) -> None:
        """Every other request fails."""
        async with receiving() as receiver, running(webhook("one", receiver.url), directory=tmp_path) as setup:
            receiver.behave = lambda _: 500 if len(receiver.arrivals) % 2 else 200
            await setup.run(300, every_s=5)
            await setup.time.advance(600)
            await eventually(lambda: not setup.of("one").waiting)
            assert setup.all_ids == in_order(ids(receiver.accepted))

    async def test_without_a_disk(self) -> None:
        """The newest are kept, within the limit of the memory, and the others counted."""
        limits = Limits(memory_bytes=100_000)
        async with receiving() as receiver, running(webhook("one", receiver.url), limits=limits) as setup:
            receiver.behave = lambda _: 503
            await setup.run(120)
            status = setup.of("one")
            assert status.memory_bytes <= 100_000 + 5_000
            receiver.behave = lambda _: 200
            await setup.time.advance(120)
            await eventually(lambda: not setup.of("one").waiting)
            accepted = in_order(ids(receiver.accepted))
            assert 20 < len(accepted) < 100
            assert setup.all_ids[-20:] == accepted[-20:]
            assert setup.offered == len(accepted) + setup.of("one").counts.dropped

    async def test_the_limit_of_the_disk(self, tmp_path: Path) -> None:
        """The oldest go, and are counted."""
        limits = Limits(disk_bytes=100_000)
        async with (
            receiving() as receiver,
            running(webhook("one", receiver.url), directory=tmp_path, limits=limits) as setup,
        ):
            receiver.behave = lambda _: 503
            await setup.run(300)
            assert sum(map(len, spooled(tmp_path))) == setup.of("one").disk_bytes <= 100_000
            receiver.behave = lambda _: 200
            await setup.time.advance(120)
            await eventually(lambda: not setup.of("one").waiting)
            accepted = in_order(ids(receiver.accepted))
            assert setup.all_ids[-20:] == accepted[-20:]
            assert setup.offered == len(accepted) + setup.of("one").counts.dropped

    async def test_a_slow_one(self, tmp_path: Path) -> None:
        """More comes than it takes: what memory does not hold goes to disk, and nothing is lost."""
        limits = Limits(memory_bytes=40_000, timeout_s=5)
        async with receiving() as receiver, receiving() as well:
            both = (webhook("slow", receiver.url), webhook("well", well.url))
            async with running(*both, directory=tmp_path, limits=limits) as setup:
                receiver.taking.clear()
                await setup.run(100)
                status = setup.of("slow")
                assert not status.failing
                assert status.memory_bytes <= 40_000 + 5_000
                assert status.disk_bytes > 10_000
                await eventually(lambda: not setup.of("well").waiting)
                assert setup.all_ids == in_order(ids(well.arrivals))
                receiver.taking.set()
                await eventually(lambda: not setup.of("slow").waiting and len(ids(receiver.accepted)) == setup.offered)
                assert setup.all_ids == in_order(ids(receiver.accepted))

    async def test_a_disk_that_cannot_be_used(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Then memory has to do."""
        (tmp_path / "file").write_text("")
        async with receiving() as receiver, running(webhook("one", receiver.url), directory=tmp_path / "file") as setup:
            setup.offer()
            await setup.time.advance(1)
            assert ["gen-1"] == ids(receiver.arrivals)
        assert "nothing is kept on disk" in caplog.text


class TestEnd:
    """Shutting down, and beginning again."""

    async def test_what_is_queued_is_still_delivered(self) -> None:
        """Within the time that there is."""
        async with receiving() as receiver:
            async with running(webhook("one", receiver.url)) as setup:
                setup.offer(3)
            assert setup.all_ids == ids(receiver.arrivals)

    async def test_what_is_on_its_way_to_the_disk_at_the_end(self, tmp_path: Path) -> None:
        """A process that ends while it writes to the disk of a destination that is down ends after that."""
        for number in range(20):
            directory = tmp_path / str(number)
            async with receiving() as receiver:
                receiver.behave = lambda _: 503
                async with running(webhook("one", receiver.url), directory=directory) as setup:
                    setup.offer()
                    await setup.time.advance(1)
                    await eventually(lambda s=setup: s.of("one").failing)
                    setup.offer()
                receiver.behave = lambda _: 200
                async with running(webhook("one", receiver.url), directory=directory) as later:
                    await eventually(lambda s=later: not s.of("one").waiting)
                assert {"gen-1", "gen-2"} == set(ids(receiver.accepted))

    async def test_what_cannot_be_delivered_is_left_to_the_next(self, tmp_path: Path) -> None:
        """To the same destination, before what comes then."""
        async with receiving() as receiver:
            receiver.behave = lambda _: 503
            async with running(webhook("one", receiver.url), directory=tmp_path) as setup:
                await setup.run(10)
            assert [] == receiver.accepted
            receiver.behave = lambda _: 200
            async with running(webhook("one", receiver.url), directory=tmp_path) as again:
                assert 10 == again.of("one").waiting
                await eventually(lambda: len(ids(receiver.accepted)) == 10)
                assert setup.all_ids == in_order(ids(receiver.accepted))
                await eventually(lambda: not again.of("one").waiting)
            assert is_empty(tmp_path)

    async def test_shutting_down_takes_no_longer_than_it_may(self, tmp_path: Path) -> None:
        """A silent destination holds up nothing, and what was under way is kept."""
        async with receiving() as receiver:
            receiver.silent = True
            async with running(webhook("one", receiver.url), directory=tmp_path) as setup:
                setup.offer()
                await setup.time.advance(1)
                began = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - began < 1.5
            async with running(webhook("one", receiver.url), directory=tmp_path) as again:
                assert 1 == again.of("one").waiting

    async def test_nothing_is_left_running(self) -> None:
        before = asyncio.all_tasks()
        async with running(webhook("one", "http://127.0.0.1:9")) as setup:
            setup.offer()
            await setup.time.advance(1)
        await settle()
        assert before == asyncio.all_tasks()


class TestChanges:
    """Destinations that come, change and go while it runs."""

    async def test_added_and_removed(self, tmp_path: Path) -> None:
        """What waits for one that is gone is forgotten."""
        async with receiving() as receiver, running(directory=tmp_path) as setup:
            setup.offer()
            await setup.time.advance(1)
            await setup.broadcaster.set_destinations([webhook("one", receiver.url)])
            setup.offer()
            await setup.time.advance(1)
            assert ["gen-2"] == ids(receiver.arrivals)
            receiver.behave = lambda _: 503
            await setup.run(5)
            await setup.broadcaster.set_destinations([])
            assert is_empty(tmp_path)
            assert [] == setup.broadcaster.status()

    async def test_changed(self, tmp_path: Path) -> None:
        """What waits goes where it is to go now, at once."""
        async with (
            receiving() as old,
            receiving() as new,
            running(webhook("one", old.url), directory=tmp_path) as setup,
        ):
            old.behave = lambda _: 401
            await setup.run(600, every_s=10)
            await setup.broadcaster.set_destinations([webhook("one", new.url)])
            await eventually(lambda: len(ids(new.accepted)) == setup.offered)
            assert [] == old.accepted

    async def test_what_is_not_valid_changes_nothing(self) -> None:
        """And the message quotes no credential."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            with pytest.raises(ValueError, match=r"config\.url") as caught:
                await setup.broadcaster.set_destinations([webhook("one", f"ftp://{CANARY}@x")])
            assert CANARY not in str(caught.value)
            with pytest.raises(ValueError, match="'nonsense' is not known"):
                await setup.broadcaster.set_destinations([make_destination("nonsense")])
            setup.offer()
            await setup.time.advance(1)
            assert ["gen-1"] == ids(receiver.arrivals)


class TestSecrets:
    """Keys of destinations stay with their destinations."""

    async def test_they_are_in_no_log_and_on_no_disk(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Whatever goes wrong."""
        caplog.set_level(logging.DEBUG)
        async with (
            receiving() as receiver,
            running(
                webhook("one", receiver.url),
                webhook("down", f"http://user:{CANARY}@127.0.0.1:9"),
                webhook("odd", "http://127.0.0.1:9/\N{SNOWMAN}".encode().decode("ascii", "ignore")),
                directory=tmp_path,
            ) as setup,
        ):
            for status in (500, 401, 400, 302):
                receiver.behave = lambda _, status=status: status
                await setup.run(5)
            assert CANARY not in repr(setup.broadcaster)
            assert CANARY not in str(setup.broadcaster.status())
            assert spooled(tmp_path)
            assert all(CANARY.encode() not in content for content in spooled(tmp_path))
            assert all(CANARY.encode() not in arrival.body for arrival in receiver.arrivals)
            assert all(arrival.headers["x-key"] == CANARY for arrival in receiver.arrivals)
        assert CANARY not in caplog.text

    async def test_content_is_in_no_log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            receiver.behave = lambda _: 400
            setup.offer(request={"messages": Raw(b'[{"role":"user","content":"%b"}]' % CANARY.encode())})
            await setup.time.advance(1)
            assert CANARY.encode() in receiver.arrivals[0].body
        assert CANARY not in caplog.text
