"""What is lost, and that it is counted."""

from pathlib import Path

import pytest
from broadcast_receiver import receiving
from broadcast_running import running, webhook


class TestGone:
    """Destinations that are removed, or renamed, which for those of a file is the same."""

    @pytest.mark.parametrize("has_disk", [True, False])
    async def test_what_waits_is_dropped(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, has_disk: bool
    ) -> None:
        """Wherever it waits, and also what was being sent; a line says how much."""
        directory = tmp_path if has_disk else None
        async with receiving() as receiver, running(webhook("one", receiver.url), directory=directory) as setup:
            receiver.behave = lambda _: 503
            await setup.run(9)
            await setup.broadcaster.set_destinations([webhook("two", receiver.url)])
            (gone,) = setup.broadcaster.gone()
            assert ("one", 9, 0, 0, 0) == (
                gone.name,
                gone.counts.dropped,
                gone.waiting,
                gone.memory_bytes,
                gone.disk_bytes,
            )
            assert not gone.failing
        assert 1 == caplog.text.count("destination 'one' (webhook) is gone: 9 traces that waited for it are dropped")

    async def test_what_is_being_sent(self) -> None:
        """It may arrive or not, and is not waited for."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            receiver.silent = True
            setup.offer(3)
            await setup.time.advance(1)
            assert 1 == len(receiver.arrivals)
            await setup.broadcaster.set_destinations([])
            assert [3] == [each.counts.dropped for each in setup.broadcaster.gone()]

    async def test_nothing_waits(self, caplog: pytest.LogCaptureFixture) -> None:
        """Then there is nothing to say."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            setup.offer()
            await setup.time.advance(1)
            await setup.broadcaster.set_destinations([])
            assert [(1, 0)] == [(each.counts.delivered, each.counts.dropped) for each in setup.broadcaster.gone()]
        assert "is gone" not in caplog.text
