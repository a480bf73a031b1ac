"""Two processes with one Redis server: what one learns of an endpoint the other knows."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fakes.gateway import Gateway, chat_body, provider_config, running_gateway, wait_for
from fakes.provider import FakeProvider
from fakes.stores import new_redis

MODELS = {"fake/broken": "status:500", "fake/busy": "throttled", "fake/slow": "hang", "fake/answer": "answer"}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def state(stack: ExitStack) -> str:
    server = new_redis()
    stack.callback(server.remove)
    return f'[state]\nurl = "{server.url}"\n'


def start(stack: ExitStack, directory: Path, provider: FakeProvider, state: str) -> Gateway:
    """Start a process with a ledger of its own."""
    config = provider_config({"first": provider.base_url}, MODELS, head=state)
    config = config.replace('upstream_id = "hang"', 'upstream_id = "hang"\nmax_concurrent = 1')
    return stack.enter_context(running_gateway(directory, config))


def health(gateway: Gateway, model: str) -> dict[str, Any]:
    """Return what a process knows of a model's endpoint."""
    plan = httpx2.post(f"{gateway.base_url}/route/explain", json=chat_body(model)).json()
    return plan["endpoints"][0]["health"] or {}


def test_what_one_learns_the_other_knows(stack: ExitStack, tmp_path: Path, provider: FakeProvider, state: str) -> None:
    """A circuit that opens in one process is open in all, also in those that start later."""
    one, other = (start(stack, tmp_path / name, provider, state) for name in ("one", "other"))
    for _ in range(5):
        assert 502 == one.post("fake/broken").status_code
    assert 429 == one.post("fake/busy").status_code
    assert 200 == one.post("fake/answer").status_code
    late = start(stack, tmp_path / "late", provider, state)
    for gateway in (other, late):
        wait_for(lambda g=gateway: health(g, "fake/broken").get("failures_in_a_row") == 5)
        assert health(gateway, "fake/broken")["broken"]
        assert health(gateway, "fake/busy")["cooling_for_s"] > 0
    rows = httpx2.get(f"{other.base_url}/models/fake/answer/endpoints").json()["data"]["endpoints"]
    assert (100, True) == (rows[0]["uptime_last_30m"], rows[0]["latency_last_30m"] is not None)


def test_places_are_counted_over_all(stack: ExitStack, tmp_path: Path, provider: FakeProvider, state: str) -> None:
    """An endpoint that takes one request at a time takes one, not one of each process."""
    one, other = (start(stack, tmp_path / name, provider, state) for name in ("one", "other"))
    holder = threading.Thread(target=lambda: _hold(one, 2.0))
    holder.start()
    wait_for(lambda: len(provider.requests) == 1)
    refused = other.post("fake/slow")
    assert (1, 429) == (len(provider.requests), refused.status_code), refused.text
    holder.join()
    wait_for(lambda: _hold(other, 0.5), within_s=10)
    assert 2 == len(provider.requests)


def _hold(gateway: Gateway, seconds: float) -> bool:
    """Take the place and leave after a while; return whether there was one."""
    try:
        return gateway.post("fake/slow", timeout_s=seconds).status_code != 429
    except httpx2.ReadTimeout:
        return True
