"""One subject of `client.py`, in a process and an environment of its own.

    client_subject.py NAME URL EVENTS

Reads lines `METRIC TIMES` and answers each with the CPU seconds that so many runs took, of all threads of this
process. `NAME` is `floor`, `raw`, `ours`, `existing` (the langchain-openrouter that is installed) or `chat-openai`.
Only what the subject needs is imported, so that one file serves every environment.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

PROMPT = "Say a word " * 8
MODEL = "acme/one"
Runs = dict[str, Callable[[], Any]]


def of_model(make: Callable[[], Any]) -> Runs:
    """Return one run of each metric for a LangChain model."""
    model = make()

    def stream() -> None:
        for _ in model.stream(PROMPT):
            pass

    async def astream() -> None:
        async for _ in model.astream(PROMPT):
            pass

    return {
        "invoke": partial(model.invoke, PROMPT),
        "ainvoke": partial(model.ainvoke, PROMPT),
        "stream": stream,
        "astream": astream,
        "construct": make,
    }


def of_floor(_url: str, events: int) -> Runs:
    """A model that builds the messages ours returns, and does nothing else."""
    from client_floor import Floor

    return of_model(lambda: Floor(events=events))


def of_raw(url: str, _events: int) -> Runs:
    """The HTTP library alone: the same bytes, unparsed."""
    import json

    import httpx2

    client, aclient = httpx2.Client(), httpx2.AsyncClient()
    endpoint = f"{url}/chat/completions"
    body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
    whole = json.dumps(body, separators=(",", ":")).encode()
    streamed = json.dumps({**body, "stream": True}, separators=(",", ":")).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer key"}

    def invoke() -> None:
        client.post(endpoint, content=whole, headers=headers).raise_for_status()

    async def ainvoke() -> None:
        (await aclient.post(endpoint, content=whole, headers=headers)).raise_for_status()

    def stream() -> None:
        with client.stream("POST", endpoint, content=streamed, headers=headers) as response:
            for _ in response.iter_raw():
                pass

    async def astream() -> None:
        async with aclient.stream("POST", endpoint, content=streamed, headers=headers) as response:
            async for _ in response.aiter_raw():
                pass

    return {"invoke": invoke, "ainvoke": ainvoke, "stream": stream, "astream": astream}


def of_openrouter(url: str, _events: int) -> Runs:
    """`ChatOpenRouter`, ours or the existing one: whichever this environment has."""
    from langchain_openrouter import ChatOpenRouter

    make: Any = ChatOpenRouter  # the two disagree in types
    return of_model(lambda: make(model=MODEL, base_url=url, api_key="key"))


def of_openai(url: str, _events: int) -> Runs:
    """LangChain's client for OpenAI."""
    make: Any = import_module("langchain_openai").ChatOpenAI  # not installed where the others are checked
    return of_model(lambda: make(model=MODEL, base_url=url, api_key="key", stream_usage=True))


SUBJECTS: dict[str, Callable[[str, int], Runs]] = {
    "floor": of_floor,
    "raw": of_raw,
    "ours": of_openrouter,
    "existing": of_openrouter,
    "chat-openai": of_openai,
}


def cpu_of(run: Callable[[], Any], times: int, runner: asyncio.Runner) -> float:
    """Return the CPU seconds of `times` runs."""

    async def repeat(first: Awaitable[Any]) -> None:
        await first
        for _ in range(times - 1):
            await run()

    start = time.process_time()
    outcome = run()
    if asyncio.iscoroutine(outcome):
        runner.run(repeat(outcome))
    else:
        for _ in range(times - 1):
            run()
    return time.process_time() - start


def count_sockets() -> int:
    """Return how many sockets this process has open."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except OSError:
            continue  # the directory's own descriptor
    return count


def main() -> None:
    """Measure what is asked for until standard input closes."""
    name, url, events = sys.argv[1:]
    runs = SUBJECTS[name](url, int(events))
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            metric, times = line.split()
            if metric == "sockets":
                for _ in range(int(times)):
                    runs["construct"]()
                print(count_sockets(), flush=True)
            else:
                print(cpu_of(runs[metric], int(times), runner), flush=True)


if __name__ == "__main__":
    main()
