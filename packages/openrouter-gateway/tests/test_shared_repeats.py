"""`Idempotency-Key` over several processes: one of them makes the answer, all of them give it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis_server import new_server, shared_server

from openrouter_gateway.delivery import Client, Headers
from openrouter_gateway.edge.repeats import Repeats
from openrouter_gateway.errors import Conflict, Unprocessable
from openrouter_gateway.stores import shared_repeats
from openrouter_gateway.stores.shared_repeats import SharedRepeats
from openrouter_gateway.stores.state import SharedState, StateUnavailable
from openrouter_gateway.stores.state_memory import MemoryState
from openrouter_gateway.stores.state_redis import RedisState

NAME = (b"key", b"/path", b"order-66")


class Caller(Client):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.received: list[object] = []

    async def start_stream(self, content_type: bytes, headers: Headers) -> None:
        self.received.append((content_type, headers))

    async def write(self, data: bytes, *, last: bool = False) -> None:
        self.received.append((data, last))

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        self.received.append((status, body, headers))


class Provider:
    """Makes answers and counts them; `gate` holds them back, `status` is how they end."""

    def __init__(self) -> None:
        self.made = 0
        self.status = 200
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def stream(self, client: Client) -> None:
        self.made += 1
        self.begun.set()
        await client.start_stream(b"text/event-stream", [(b"x-generation-id", b"gen-1")])
        await client.write(b"one")
        await self.gate.wait()
        await client.write(b"two", last=True)

    async def whole(self, client: Client) -> None:
        self.made += 1
        self.begun.set()
        await self.gate.wait()
        await client.answer(self.status, b"{}", [])


class Process:
    """One of several."""

    def __init__(self, state: SharedState, *, wait_s: float = 5) -> None:
        self.repeats = Repeats()
        self.shared = SharedRepeats(state, time.time, wait_s=wait_s)

    async def ask(
        self, make: Callable[[Client], Awaitable[None]], body: bytes = b"{}", *, keep: bool = True
    ) -> list[object]:
        caller = Caller()
        await self.repeats.serve(NAME, body, make, caller, self.shared, keep=keep)
        return caller.received


@pytest.fixture(params=["memory", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[SharedState]:
    if request.param == "memory":
        yield MemoryState()
        return
    found = RedisState(shared_server().url)
    await found.open()
    await found._send("FLUSHALL")
    yield found
    await found.close()


async def test_another_process_gives_the_finished_answer(state: SharedState) -> None:
    """Byte for byte, and says that it is a repeat; so does each later caller there."""
    provider, one, other = Provider(), Process(state), Process(state)
    replayed = (b"idempotent-replayed", b"true")

    first = await one.ask(provider.stream)
    again = [await other.ask(provider.stream) for _ in range(2)]

    head, *rest = first
    assert (b"text/event-stream", [(b"x-generation-id", b"gen-1")]) == head
    assert [[(b"text/event-stream", [(b"x-generation-id", b"gen-1"), replayed]), *rest]] * 2 == again
    assert 1 == provider.made


async def test_another_process_waits_for_the_running_answer(state: SharedState) -> None:
    """However many callers come meanwhile, wherever."""
    provider = Provider()
    provider.gate.clear()
    processes = [Process(state) for _ in range(3)]
    asking = [asyncio.create_task(process.ask(provider.whole)) for process in processes for _ in range(2)]
    await provider.begun.wait()
    await asyncio.sleep(0.1)
    provider.gate.set()

    answers = await asyncio.gather(*asking)

    assert [(200, b"{}")] * 6 == [(status, body) for ((status, body, _),) in answers]  # type: ignore[misc]
    assert 1 == provider.made


async def test_one_who_waited_too_long_is_told_to_come_back(state: SharedState) -> None:
    """The work goes on, and the answer is there then."""
    provider, one, other = Provider(), Process(state), Process(state, wait_s=0)
    provider.gate.clear()
    running = asyncio.create_task(one.ask(provider.whole))
    await provider.begun.wait()

    with pytest.raises(Conflict) as caught:
        await other.ask(provider.whole)
    assert (409, [(b"retry-after", b"5")]) == (caught.value.status, caught.value.headers())

    provider.gate.set()
    await running
    assert 1 == len(await other.ask(provider.whole))
    assert 1 == provider.made


async def test_a_failure_is_tried_again_by_whoever_comes(state: SharedState) -> None:
    """It is no answer to keep."""
    provider, one, other = Provider(), Process(state), Process(state)
    provider.status = 502

    assert [502, 502] == [(await process.ask(provider.whole))[0][0] for process in (one, other)]  # type: ignore[index]
    assert 2 == provider.made


async def test_a_key_is_for_one_request_in_all_processes(state: SharedState) -> None:
    """Another body under the same key is refused, while the answer is made and afterwards."""
    provider, one, other = Provider(), Process(state), Process(state)
    await one.ask(provider.whole)

    with pytest.raises(Unprocessable):
        await other.ask(provider.whole, b'{"other": 1}')


async def test_content_that_may_not_be_kept(state: SharedState) -> None:
    """Another process knows that it was paid for, and no more."""
    provider, one, other = Provider(), Process(state), Process(state)
    await one.ask(provider.whole, keep=False)

    with pytest.raises(Conflict, match="not kept"):
        await other.ask(provider.whole)
    assert 1 == len(await one.ask(provider.whole))
    assert 1 == provider.made


async def test_a_crashed_process_is_not_waited_for_for_ever() -> None:
    """When nothing was heard of it for a while, the next makes the answer."""
    now = 1_000.0
    state, provider = MemoryState(), Provider()
    crashed = SharedRepeats(state, lambda: now)
    key, body = b"\x01" * 32, b"\x02" * 32
    await crashed.take(key, body)

    with pytest.raises(Conflict):
        await SharedRepeats(state, lambda: now + shared_repeats.LEASE_S - 1, wait_s=0).take(key, body)
    lease = await SharedRepeats(state, lambda: now + shared_repeats.LEASE_S, wait_s=0).take(key, body)

    assert isinstance(lease, shared_repeats.Lease)
    assert 0 == provider.made


async def test_a_process_that_is_ending_says_so() -> None:
    """Also to a caller who waits for another process's answer."""
    state, provider = MemoryState(), Provider()
    one, other = Process(state), Process(state)
    provider.gate.clear()
    running = asyncio.create_task(one.ask(provider.whole))
    await provider.begun.wait()
    waiting = asyncio.create_task(other.ask(provider.whole))
    await asyncio.sleep(0.05)

    await other.repeats.close()
    with pytest.raises(Exception, match="shutting down"):
        await waiting
    provider.gate.set()
    await running


async def test_without_the_server_nothing_is_made() -> None:
    """Who else makes the answer cannot be known, and paying twice is what the key rules out."""
    server, provider = new_server(), Provider()
    state = RedisState(server.url)
    await state.open()
    server.stop()

    with pytest.raises(StateUnavailable):
        await Process(state).ask(provider.whole)
    assert 0 == provider.made
    await state.close()
    server.remove()
