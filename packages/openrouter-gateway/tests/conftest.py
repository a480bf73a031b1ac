"""What the gateway's tests share."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from openrouter_gateway.stores.database import Database

sys.path.insert(0, str(Path(__file__).parent))  # test modules are imported by path; this finds their neighbours

from store_servers import DATABASES, new_database

# How fast examples are made and run is the machine's matter: a busy one must not fail the tests.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out of the tests."""
    for name in os.environ:
        if name.upper().startswith("OPENROUTER_GATEWAY_"):
            monkeypatch.delenv(name)


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind."""
    return new_database(request.param, tmp_path)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """The same, open."""
    database = Database(url)
    await database.open()
    yield database
    await database.close()
