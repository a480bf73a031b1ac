"""Destinations of the configuration and of the database, used as one."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from broadcast_samples import make_destination

from openrouter_gateway.accounting.authorize import Grant
from openrouter_gateway.config.settings import Settings
from openrouter_gateway.observability import Observability
from openrouter_gateway.stores.database import Database


@pytest.fixture
async def observability(tmp_path: Path) -> AsyncGenerator[Observability]:
    database = Database(f"sqlite:///{tmp_path}/ledger.db")
    await database.open()
    settings = Settings.model_validate({"broadcast": {"directory": str(tmp_path / "spool")}})
    running = Observability(settings, [], database, lambda _: Grant())
    await running.start()
    yield running
    await running.close()
    await database.close()


def used(observability: Observability) -> list[str]:
    return [status.name for status in observability.observatory().broadcaster.status()]


async def test_a_reload_while_a_destination_changes(observability: Observability) -> None:
    """What was made is used, and what was removed is not, whenever the configuration is read again."""
    stored = observability.observatory().destinations
    configured = [make_destination(id="configured", name="configured")]

    async def reloading(change: asyncio.Task[object]) -> list[str]:
        while not change.done():
            await observability.reconfigure(configured)
            await asyncio.sleep(0)
        await change
        return used(observability)

    making = asyncio.create_task(stored.create(make_destination(id="made", name="made")))
    assert ["configured", "made"] == await reloading(making)
    assert ["configured"] == await reloading(asyncio.create_task(stored.delete("made")))
