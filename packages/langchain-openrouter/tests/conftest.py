"""Fixtures of the client's tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # test modules are imported by path; this finds their neighbours

from scripted_server import ScriptedServer

# How fast examples are made and run is the machine's matter: a busy one must not fail the tests.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_SETTINGS = ("APP_URL", "APP_TITLE", "APP_CATEGORIES", "SESSION_ID", "API_KEY", "API_BASE", "MODEL_PROFILES")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out of the tests."""
    for name in _SETTINGS:
        monkeypatch.delenv(f"OPENROUTER_{name}", raising=False)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running
