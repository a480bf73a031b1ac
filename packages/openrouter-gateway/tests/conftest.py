"""What the gateway's tests share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # test modules are imported by path; this finds their neighbours

# How fast examples are made and run is the machine's matter: a busy one must not fail the tests.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out of the tests."""
    for name in os.environ:
        if name.upper().startswith("OPENROUTER_GATEWAY_"):
            monkeypatch.delenv(name)
