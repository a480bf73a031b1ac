"""Places at endpoints, of one process and of several."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest
from gateway_samples import make_endpoint
from redis_server import new_server

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.stores.shared_places import SharedPlaces
from openrouter_gateway.stores.state_memory import MemoryState
from openrouter_gateway.stores.state_redis import RedisState

NOW = 1_771_043_112.25


def two_at_a_time() -> Endpoint:
    return msgspec.structs.replace(make_endpoint("a"), max_concurrent=2)


@pytest.fixture
async def processes() -> AsyncIterator[list[SharedPlaces]]:
    """Two processes with one server."""
    server = new_server()
    async with AsyncExitStack() as stack:
        stack.callback(server.remove)
        found: list[SharedPlaces] = []
        for _ in range(2):
            state = RedisState(server.url)
            await state.open()
            stack.push_async_callback(state.close)
            places = SharedPlaces(state, lambda: NOW, ask_again_s=0)
            stack.push_async_callback(places.close)
            found.append(places)
        yield found


async def test_one_process() -> None:
    """As many as there are, and again as many as are given back."""
    places, endpoint = SharedPlaces(MemoryState(), lambda: NOW), two_at_a_time()
    assert [True, True, False] == [await places.take(endpoint, str(number)) for number in range(3)]
    assert {endpoint.key} == places.busy
    places.give_back(endpoint, "0")
    assert set() == places.busy
    assert await places.take(endpoint, "3")


async def test_without_a_limit() -> None:
    """There is always one, and nothing is counted."""
    places, endpoint = SharedPlaces(MemoryState(), lambda: NOW), make_endpoint("a")
    assert all([await places.take(endpoint, str(number)) for number in range(100)])
    assert set() == places.busy


async def test_several_processes(processes: list[SharedPlaces]) -> None:
    """What one has taken the other cannot have, until it is given back."""
    one, other = processes
    endpoint = two_at_a_time()
    assert await one.take(endpoint, "a")
    assert await other.take(endpoint, "b")
    assert not await one.take(endpoint, "c")
    assert {endpoint.key} == one.busy, "plans put it last"
    other.give_back(endpoint, "b")
    await other.close()
    assert await one.take(endpoint, "d")


async def test_it_is_tried_again_after_a_moment(processes: list[SharedPlaces]) -> None:
    """Nobody tells that a place is free: plans hold it for busy only so long."""
    one, other = processes
    endpoint = two_at_a_time()
    await other.take(endpoint, "a")
    await other.take(endpoint, "b")
    assert not await one.take(endpoint, "c")
    assert {endpoint.key} == one.busy
    await asyncio.sleep(0.01)
    assert set() == one.busy


async def test_without_the_server() -> None:
    """Each process goes by its own count, and gives back what it took."""
    server = new_server()
    state = RedisState(server.url)
    await state.open()
    server.stop()
    places, endpoint = SharedPlaces(state, lambda: NOW), two_at_a_time()
    assert [True, True, False] == [await places.take(endpoint, str(number)) for number in range(3)]
    places.give_back(endpoint, "0")
    assert await places.take(endpoint, "3")
    await places.close(timeout_s=0)
    await state.close()
    server.remove()
