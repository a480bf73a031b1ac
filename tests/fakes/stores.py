"""Servers of shared state and of ledgers, as the gateway's own tests start them."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "packages/openrouter-gateway/tests"))

# Typed by hand: the type checker does not look there.
new_redis: Callable[[], Any] = importlib.import_module("redis_server").new_server
postgres: Callable[[], Any] = importlib.import_module("store_servers").postgres
