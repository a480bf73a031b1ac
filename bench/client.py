"""Measures the CPU time that `ChatOpenRouter` adds to LangChain and to its HTTP library.

Compared in one process, in interleaved rounds, by medians, against a fast fake server in another process:
* floor: a `BaseChatModel` that builds the same messages and does no I/O, which no integration can beat;
* raw: `httpx2` sending the same request and reading the same bytes, unparsed;
* ours, and its ratio to floor + raw;
* with `--others`, `ChatOpenAI` where `langchain-openai` is installed.

    python bench/client.py [--json] [--others] [--seconds 20]
"""

import argparse
import asyncio
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from typing_extensions import override

from langchain_openrouter import ChatOpenRouter

EVENTS = 200
"""Content events per stream."""

ID = "gen-1771043112-abcdefghij0123456789"
PROMPT = "Say a word " * 8
METADATA: dict[str, Any] = {
    "model_name": "acme/one",
    "id": ID,
    "created": 1771043112,
    "object": "chat.completion",
    "finish_reason": "stop",
    "native_finish_reason": "stop",
    "logprobs": None,
    "model_provider": "openrouter",
    "provider": "Acme",
    "cost": 0.0001,
}
USAGE = UsageMetadata(input_tokens=12, output_tokens=EVENTS, total_tokens=12 + EVENTS)
METRICS = {"invoke": 1, "ainvoke": 1, "stream": EVENTS, "astream": EVENTS}
"""What is measured, and the units in one run of it: calls, or streamed chunks."""


class Floor(BaseChatModel):
    """Builds the messages that ours returns, and does nothing else."""

    @property
    @override
    def _llm_type(self) -> str:
        return "floor"

    def _result(self) -> ChatResult:
        message = AIMessage(
            content=" word" * EVENTS,
            id=ID,
            tool_calls=[],
            invalid_tool_calls=[],
            usage_metadata=USAGE,
            additional_kwargs={},
            response_metadata=dict(METADATA),
        )
        info = {"finish_reason": "stop", "logprobs": None}
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=info)])

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        for _ in range(EVENTS):
            metadata = {"model_provider": "openrouter"}
            yield ChatGenerationChunk(message=AIMessageChunk(content=" word", id=ID, response_metadata=metadata))
        last = AIMessageChunk(
            content="",
            id=ID,
            response_metadata=dict(METADATA),
            usage_metadata=USAGE,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last, generation_info={"finish_reason": "stop", "logprobs": None})

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._result()

    @override
    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._result()

    @override
    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        return self._chunks()

    @override
    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks():
            yield chunk


def of_model(model: BaseChatModel) -> dict[str, Callable[[], Any]]:
    """Return one run of each metric for a LangChain model."""

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
    }


def of_raw(url: str, client: httpx2.Client, aclient: httpx2.AsyncClient) -> dict[str, Callable[[], Any]]:
    """Return one run of each metric for the HTTP library alone."""
    body = {"model": "acme/one", "messages": [{"role": "user", "content": PROMPT}]}
    whole = json.dumps(body, separators=(",", ":")).encode()
    streamed = json.dumps({**body, "stream": True}, separators=(",", ":")).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer key"}

    def invoke() -> None:
        client.post(url, content=whole, headers=headers).raise_for_status()

    async def ainvoke() -> None:
        (await aclient.post(url, content=whole, headers=headers)).raise_for_status()

    def stream() -> None:
        with client.stream("POST", url, content=streamed, headers=headers) as response:
            for _ in response.iter_raw():
                pass

    async def astream() -> None:
        async with aclient.stream("POST", url, content=streamed, headers=headers) as response:
            async for _ in response.aiter_raw():
                pass

    return {"invoke": invoke, "ainvoke": ainvoke, "stream": stream, "astream": astream}


def cpu_of(run: Callable[[], Any], times: int, runner: asyncio.Runner) -> float:
    """Return the CPU seconds of `times` runs, of all threads of this process."""

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


def measure(subjects: dict[str, dict[str, Callable[[], Any]]], runner: asyncio.Runner, seconds: float) -> Any:
    """Return microseconds of CPU per unit, by metric and subject: medians of interleaved rounds."""
    pairs = [(metric, name) for metric in METRICS for name in subjects]
    share = seconds / len(pairs) / 7
    times: dict[tuple[str, str], int] = {}
    for metric, name in pairs:
        cpu_of(subjects[name][metric], 3, runner)
        once = cpu_of(subjects[name][metric], 5, runner) / 5
        times[metric, name] = max(5, int(share / max(once, 1e-6)))
    samples: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for _ in range(7):
        for metric, name in pairs:
            count = times[metric, name]
            spent = cpu_of(subjects[name][metric], count, runner)
            samples[metric, name].append(spent / count / METRICS[metric] * 1e6)
    table = {metric: {name: statistics.median(samples[metric, name]) for name in subjects} for metric in METRICS}
    for row in table.values():
        row["ratio"] = row["ours"] / (row["floor"] + row["raw"])
    return table


@contextmanager
def fake_server() -> Generator[str]:
    """Run the fake server as a process; give its base URL."""
    command = [sys.executable, str(Path(__file__).with_name("client_server.py")), str(EVENTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/api/v1"
        finally:
            process.stdin.close()


def others(url: str) -> dict[str, dict[str, Callable[[], Any]]]:
    """Return other clients that are installed."""
    if find_spec("langchain_openai") is None:
        return {}
    from langchain_openai import ChatOpenAI  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    return {"ChatOpenAI": of_model(ChatOpenAI(model="acme/one", base_url=url, api_key="key"))}  # pyright: ignore[reportUnknownArgumentType]


def show(table: dict[str, dict[str, float]]) -> None:
    """Print the table."""
    names = list(next(iter(table.values())))
    print(f"Python {platform.python_version()}, {platform.machine()}; CPU in us, {EVENTS} chunks per stream")
    print(f"{'':22}" + "".join(f"{name:>12}" for name in names))
    labels = {"invoke": "per invoke", "ainvoke": "per ainvoke", "stream": "per streamed chunk"}
    for metric, row in table.items():
        values = "".join(f"{v:12.2f}" if name == "ratio" else f"{v:12.1f}" for name, v in row.items())
        print(f"{labels.get(metric, 'per chunk, async'):22}{values}")
    print("ratio = ours / (floor + raw)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU cost of ChatOpenRouter")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--others", action="store_true", help="measure other clients too, where installed")
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds to spend, about (at most 50)")
    options = parser.parse_args()
    with fake_server() as url, asyncio.Runner() as runner, httpx2.Client() as client:
        aclient = httpx2.AsyncClient()
        raw = of_raw(f"{url}/chat/completions", client, aclient)
        ours = of_model(ChatOpenRouter(model="acme/one", base_url=url, api_key="key"))  # pyright: ignore[reportArgumentType]
        subjects = {"floor": of_model(Floor()), "raw": raw, "ours": ours}
        if options.others:
            subjects |= others(url)
        table = measure(subjects, runner, min(options.seconds, 50.0))
        runner.run(aclient.aclose())
    if options.json:
        print(json.dumps({"python": platform.python_version(), "events": EVENTS, "cpu_us": table}, indent=2))
    else:
        show(table)


if __name__ == "__main__":
    main()
