"""What the gateway's tests share."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # test modules are imported by path; this finds their neighbours


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out of the tests."""
    for name in os.environ:
        if name.upper().startswith("OPENROUTER_GATEWAY_"):
            monkeypatch.delenv(name)
