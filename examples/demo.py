"""The whole product in a minute: starts a gateway with its own model, talks to it through LangChain, stops it.

Needs no key and no network. Run it with `make demo`.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from langchain_core.messages import AIMessage, AIMessageChunk
from pydantic import BaseModel, Field
from rich.console import Console
from rich.panel import Panel

from langchain_openrouter import ChatOpenRouter

console = Console(highlight=False, soft_wrap=True)


class GetWeather(BaseModel):
    """Get the current weather in a given location."""

    location: str = Field(description="The city and state, e.g. San Francisco, CA")


class City(BaseModel):
    """A city with its country."""

    name: str = Field(description="The name of the city")
    country: str = Field(description="The country that the city is in")
    population_millions: int = Field(description="Millions of people", ge=1, le=50)


@contextmanager
def running_gateway() -> Generator[str]:
    """Start `openrouter-gateway serve` on a free loopback port; give its base URL; stop it."""
    command = [str(Path(sys.executable).with_name("openrouter-gateway")), "serve", "--port", "0"]
    # The demo shows the embedded model: keys that happen to be in the environment stay out of it.
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_API_KEY") and "OPENROUTER" not in name
    }
    with (
        tempfile.TemporaryDirectory() as data,  # its records are not for keeping
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment | {"XDG_DATA_HOME": data}
        ) as process,
    ):
        try:
            banner = process.stdout.readline().strip() if process.stdout else ""
            if "http://" not in banner:
                raise SystemExit("The gateway did not start; its message is above.")
            base_url = "http://" + banner.partition("http://")[2]
            wait_until_ready(base_url.removesuffix("/api/v1") + "/readyz", process)
            console.print(f"[dim]$ {' '.join(['openrouter-gateway', *command[1:]])}[/]\n{banner}\n")
            yield base_url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


def wait_until_ready(url: str, process: subprocess.Popen[str]) -> None:
    """Poll until the embedded model is loaded."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The gateway did not become ready: {error}") from None
            time.sleep(0.1)


def stream_an_answer(model: ChatOpenRouter) -> AIMessage:
    """Print the answer as it arrives."""
    question = "Write two sentences about the sea."
    console.print(f"[bold]1. Streaming[/]  [cyan]{question}[/]")
    whole: AIMessageChunk | None = None
    for chunk in model.stream(question):
        console.print(chunk.text, end="", markup=False)
        whole = chunk if whole is None else whole + chunk
    console.print()
    if whole is None or not whole.text:
        raise SystemExit("The model streamed no text.")
    return whole


def call_a_tool(model: ChatOpenRouter) -> AIMessage:
    """Let the model call a Pydantic tool."""
    question = "What is the weather like in San Francisco?"
    console.print(f"[bold]2. A tool[/]     [cyan]{question}[/]")
    message = model.bind_tools([GetWeather], tool_choice="GetWeather").invoke(question)
    for call in message.tool_calls:
        console.print(f"   {call['name']}({call['args']})  [dim]{call['id']}[/]")
    if not message.tool_calls:
        raise SystemExit("The model called no tool.")
    GetWeather.model_validate(message.tool_calls[0]["args"])
    return message


def get_an_object(model: ChatOpenRouter) -> AIMessage:
    """Get a Pydantic object back."""
    question = "Tell me about Paris."
    console.print(f"[bold]3. An object[/]  [cyan]{question}[/]")
    answer = model.with_structured_output(City, method="json_schema", include_raw=True).invoke(question)
    if not isinstance(answer["parsed"], City):
        raise SystemExit(f"The model gave no City: {answer}")
    console.print(f"   {answer['parsed']!r}")
    return answer["raw"]


def show_account(message: AIMessage) -> None:
    """Print what a call used and cost, and who served it."""
    usage, metadata = message.usage_metadata, message.response_metadata
    if usage is None:
        raise SystemExit("No token counts arrived.")
    console.print(
        f"   [dim]{usage['input_tokens']} tokens in, {usage['output_tokens']} out, "
        f"${metadata['cost']:.6f}, provider {metadata['provider']}, {metadata['id']}[/]\n"
    )


def main() -> None:
    """Run the demo."""
    began = time.monotonic()
    console.print(Panel.fit("ChatOpenRouter  ->  openrouter-gateway  ->  the model inside it", style="bold"))
    with running_gateway() as base_url:
        model = ChatOpenRouter(
            model="local/smollm2-135m-instruct", base_url=base_url, max_tokens=80, temperature=0, seed=1
        )
        for step in (stream_an_answer, call_a_tool, get_an_object):
            show_account(step(model))
    console.print(f"[green]Done in {time.monotonic() - began:.1f} s; the gateway has stopped.[/]")


if __name__ == "__main__":
    main()
