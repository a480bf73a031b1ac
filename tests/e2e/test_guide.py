"""The guide: every file of examples/guide runs as its user runs it, and does what its page in docs/client says.

Two gateways serve it. Behind one stand scripted providers: what they were sent is compared with `SENT`, and what the
example printed with the output that its page shows, where `...` is anything. The other has only its own small model,
which stands in for all others: `STAND_IN` are the examples that it can do, with what a real answer must be like.
"""

import doctest
import getpass
import operator
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from langchain_core.messages import HumanMessage

from fakes.gateway import Gateway, clean_environment, running_gateway
from fakes.guide_provider import SIGNATURE, THOUGHTS, GuideProvider, running_guide_provider
from langchain_openrouter import ChatOpenRouter, NotFound, ServerFailed

Json: TypeAlias = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = {path.stem: path for path in sorted((ROOT / "examples/guide").glob("*.py"))}
PAGES: Final = sorted((ROOT / "docs/client").glob("*.md"))
KEY: Final = "sk-or-guide-1234567890"
SOUND: Final = b"RIFF\x24\0\0\0WAVEfmt "

CLAUDE: Final = "anthropic/claude-sonnet-4.5"
LLAMA: Final = "meta-llama/llama-4-maverick"
CONFIG: Final = """
[embedded]
enabled = false

[auth]
keys = ["sk-or-guide-1234567890"]

# An OpenRouter itself, so it is sent every field; the gateway takes OpenRouter's own out for the others.
[providers.openrouter]
base_url = "ROOT/openrouter/v1"
trains_on_prompts = true
models = [
    { id = "anthropic/claude-sonnet-4.5", pricing = { prompt = "0.000003", completion = "0.000015" } },
    { id = "anthropic/claude-opus-4.5" },
    { id = "openai/gpt-4o" },
    { id = "openai/gpt-5.4" },
    { id = "google/gemini-2.5-flash" },
    { id = "google/gemini-2.5-pro" },
]

[providers.anthropic]
name = "Anthropic"
protocol = "openai"
base_url = "ROOT/anthropic/v1"
trains_on_prompts = false
retains_prompts = false
models = [{ id = "anthropic/claude-opus-4.5" }]

[providers.google]
name = "Google"
protocol = "openai"
base_url = "ROOT/google/v1"
trains_on_prompts = false
retains_prompts = true
models = [{ id = "anthropic/claude-opus-4.5" }]

[providers.openai]
name = "OpenAI"
protocol = "openai"
base_url = "ROOT/openai/v1"
trains_on_prompts = false
retains_prompts = false
models = [{ id = "openai/gpt-4o", supported_parameters = ["temperature"] }]

[providers.azure]
name = "Azure"
protocol = "openai"
base_url = "ROOT/azure/v1"
trains_on_prompts = false
retains_prompts = false
models = [{ id = "openai/gpt-4o", supported_parameters = ["temperature"] }]

[providers.deepinfra]
name = "DeepInfra"
protocol = "openai"
base_url = "ROOT/deepinfra/v1"
trains_on_prompts = true
models = [{ id = "meta-llama/llama-4-maverick", quantization = "fp8" }]

[providers.novita]
name = "Novita"
protocol = "openai"
base_url = "ROOT/novita/v1"
trains_on_prompts = true
models = [{ id = "meta-llama/llama-4-maverick", quantization = "bf16" }]

[providers.together]
name = "Together"
protocol = "openai"
base_url = "ROOT/together/v1"
trains_on_prompts = true
models = [{ id = "meta-llama/llama-4-maverick", quantization = "fp16" }]
"""

ROUTES: Final[dict[str, tuple[str, ...]]] = {
    "routing_order": ("anthropic", "google", "openrouter"),
    "routing_only": ("openai", "azure"),
    "routing_ignore": ("novita", "together"),
    "routing_sort_throughput": ("openai", "azure", "openrouter"),
    "routing_sort_latency": ("openai", "azure", "openrouter"),
    "routing_data_collection": ("anthropic",),
    "routing_quantizations": ("novita", "together"),
    "routing_route": ("anthropic", "google", "openrouter"),
    "routing_combined": ("openai", "azure"),
}
"""Providers that each example about routing allows."""

IN_ORDER: Final = {"routing_order", "routing_combined"}
"""Of these, the examples that say in which order."""

NAMES: Final = {
    "openrouter": "OpenRouter", "anthropic": "Anthropic", "google": "Google", "openai": "OpenAI", "azure": "Azure",
    "novita": "Novita", "together": "Together",
}  # fmt: skip

WEATHER_TOOL: Final[Json] = {
    "name": "GetWeather",
    "description": "Get the current weather in a given location.",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "City and state, e.g. San Francisco, CA"}},
        "required": ["location"],
    },
}
STRICT_TOOL: Final[Json] = {
    **WEATHER_TOOL,
    "strict": True,
    "parameters": {**WEATHER_TOOL["parameters"], "additionalProperties": False},
}
MOVIE_SCHEMA: Final[Json] = {
    "name": "Movie",
    "description": "A movie with details.",
    "schema": {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "The title of the movie"},
            "year": {"type": "integer", "description": "The year it was released"},
            "director": {"type": "string", "description": "The name of its director"},
            "rating": {"type": "number", "description": "Its rating out of 10"},
        },
        "required": ["title", "year", "director", "rating"],
    },
}
STRICT_MOVIE_SCHEMA: Final[Json] = {
    **MOVIE_SCHEMA,
    "strict": True,
    "schema": {**MOVIE_SCHEMA["schema"], "additionalProperties": False},
}


def _media(text: str, block: Json) -> Json:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": text}, block]}]}


CACHED: Final[Json] = {
    "messages": [
        {
            "role": "system",
            "content": [
                {
                    "type": "text",
                    "text": "You are a helpful assistant. " * 200,
                    "cache_control": {"type": "ephemeral"},
                }
            ],
        },
        {"role": "user", "content": "Say hi."},
    ]
}
SENT: Final[dict[str, list[Json]]] = {
    "set_api_key": [],
    "invoke": [
        {
            "model": "claude-sonnet-4.5",
            "temperature": 0,
            "max_tokens": 1024,
            "messages": [
                {"role": "system", "content": "You translate English to French. Translate the user's sentence."},
                {"role": "user", "content": "I love programming."},
            ],
        }
    ],
    "init_by_name": [{"model": "claude-sonnet-4.5", "temperature": 0}],
    "stream": [{"stream": True, "max_tokens": 64}],
    "stream_async": [{"stream": True, "max_tokens": 64}],
    "bind_tools": [{"tools": [{"type": "function", "function": WEATHER_TOOL}]}],
    "bind_tools_strict": [{"tools": [{"type": "function", "function": STRICT_TOOL}]}],
    "structured_output": [{"response_format": {"type": "json_schema", "json_schema": MOVIE_SCHEMA}}],
    "structured_output_strict": [{"response_format": {"type": "json_schema", "json_schema": STRICT_MOVIE_SCHEMA}}],
    "structured_agent": [{"model": "gpt-5.4"}] * 2,
    "reasoning": [{"max_tokens": 16384, "reasoning": {"effort": "high", "summary": "auto"}}],
    "image_input": [
        _media(
            "Describe this image.",
            {
                "type": "image_url",
                "image_url": {
                    "url": "https://upload.wikimedia.org/wikipedia/commons/d/dd/"
                    "Gfp-wisconsin-madison-the-nature-boardwalk.jpg"
                },
            },
        )
    ],
    "audio_input": [
        _media(
            "Transcribe this recording.",
            {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZFZm10IA==", "format": "wav"}},
        )
    ],
    "video_input": [
        _media("Describe this video.", {"type": "video_url", "video_url": {"url": "https://example.com/video.mp4"}})
    ],
    "pdf_input": [
        _media(
            "Summarize this document.",
            {
                "type": "file",
                "file": {"file_data": "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf"},
            },
        )
    ],
    "usage": [{}],
    "usage_reasoning": [{"reasoning": {"effort": "high"}}],
    "usage_cached": [CACHED] * 2,
    "usage_streamed": [{"stream": True}],
    "response_metadata": [{}],
    "app_attribution": [{}],
    "session": [{"session_id": "workflow-abc-123"}, {"session_id": "workflow-abc-123-step-1"}],
    "trace_metadata": [{"trace": {"trace_id": "trace-789", "span_name": "summarize", "customer_tier": "gold"}}],
}
"""Per example, what of its requests reaches the provider, among other fields."""

RUN_APART: Final = {"trace_with_langsmith"}
"""Examples that change the process they run in."""


# -- the pages -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """An example as a page shows it, and the output that follows."""

    page: str
    code: str
    output: str | None


_SHOWN: Final = re.compile(
    r"^\[(?P<name>\w+)\.py\]\(\.\./\.\./examples/guide/(?P=name)\.py\)\n\n"
    r"```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


def _read_pages() -> dict[str, list[Shown]]:
    found: dict[str, list[Shown]] = {}
    for page in PAGES:
        for match in _SHOWN.finditer(page.read_text("utf-8")):
            found.setdefault(match["name"], []).append(Shown(page.name, match["code"], match["output"]))
    return found


SHOWN: Final = _read_pages()


def _code_of(path: Path) -> str:
    """Return an example without its docstring, and the comments for the type checker above it."""
    return path.read_text("utf-8").split('"""', 2)[2].lstrip("\n")


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_shown_once(name: str) -> None:
    """Whole, so that it can be copied and run."""
    assert [_code_of(EXAMPLES[name])] == [shown.code for shown in SHOWN.get(name, [])]


@pytest.mark.parametrize("page", sorted({shown.page for several in SHOWN.values() for shown in several}))
def test_pages_have_no_other_code(page: str) -> None:
    """What is not an example would not be run."""
    blocks = (ROOT / "docs/client" / page).read_text("utf-8").count("```python\n")
    assert sum(shown.page == page for several in SHOWN.values() for shown in several) == blocks


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text("utf-8")
    assert [page.name for page in PAGES if f"(client/{page.name})" not in index] == []


@pytest.mark.parametrize("page", [ROOT / "docs/README.md", *PAGES], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of this repository, and to a heading of it where one is named."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text("utf-8")):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve()
        assert target.exists(), link
        assert not anchor or anchor in _anchors_of(target), link


def _anchors_of(page: Path) -> list[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_reference_lists_every_field() -> None:
    """Under the name that the constructor takes, which is the alias where there is one."""
    own = {name: field for name, field in ChatOpenRouter.model_fields.items() if name in ChatOpenRouter.__annotations__}
    constructor = (ROOT / "docs/client/reference.md").read_text("utf-8").partition("\n## Calls")[0]
    rows = re.findall(r"^\| `(\w+)`", constructor, re.MULTILINE)
    assert sorted(field.alias or name for name, field in own.items()) == sorted(rows)


# -- the examples ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """What an example left behind: its names and what it printed."""

    names: Json
    output: str

    def __getitem__(self, name: str) -> Any:
        return self.names[name]


Run: TypeAlias = Callable[[str, Gateway], Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs an example in this process against a gateway, with nothing but the documented variables set."""
    recording = tmp_path / "recording.wav"
    recording.write_bytes(SOUND)

    def run_example(name: str, gateway: Gateway) -> Ran:
        monkeypatch.setenv("OPENROUTER_API_BASE", gateway.base_url)
        monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
        monkeypatch.setattr(sys, "argv", [str(EXAMPLES[name]), str(recording)])
        capsys.readouterr()
        names = runpy.run_path(str(EXAMPLES[name]), run_name="__main__")
        return Ran(names, capsys.readouterr().out)

    return run_example


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Gateway, GuideProvider]]:
    """The scripted providers and a gateway in front of them that wants a key."""
    directory = tmp_path_factory.mktemp("guide")
    with (
        running_guide_provider() as provider,
        running_gateway(directory, CONFIG.replace("ROOT", provider.root)) as gateway,
    ):
        yield gateway, provider


@pytest.fixture
def gateway(running: tuple[Gateway, GuideProvider]) -> Gateway:
    return running[0]


@pytest.fixture
def provider(running: tuple[Gateway, GuideProvider]) -> GuideProvider:
    """The providers, with no memory of earlier tests."""
    running[1].forget()
    return running[1]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway whose own model answers for every other."""
    with running_gateway(tmp_path_factory.mktemp("stand-in"), arguments=["--stand-in"]) as gateway:
        yield gateway


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - ROUTES.keys() - RUN_APART))
def test_examples_do_what_their_page_says(name: str, gateway: Gateway, provider: GuideProvider, run: Run) -> None:
    """The right requests reach the provider, and the output is the one that is shown."""
    ran = run(name, gateway)
    assert ["openrouter"] * len(SENT[name]) == provider.asked
    for fields, seen in zip(SENT[name], provider.seen, strict=True):
        assert fields == {key: seen.body.get(key) for key in fields}
    assert _looks_like(SHOWN[name][0].output or "", ran.output), ran.output


def _looks_like(shown: str, printed: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown, printed.rstrip() + "\n" if printed else "", flags)


# -- a real model ----------------------------------------------------------------------------------------


def _has_text(ran: Ran) -> None:
    assert len(ran.output.split()) > 2


def _has_answered(ran: Ran) -> None:
    _has_text(ran)
    metadata = ran["message"].response_metadata
    assert (metadata["provider"], metadata["finish_reason"]) == ("Local", "stop")


def _has_called(ran: Ran) -> None:
    (call,) = ran["message"].tool_calls
    assert (call["name"], call["type"]) == ("GetWeather", "tool_call")
    assert "San Francisco" in call["args"]["location"]
    assert ran["message"].response_metadata["finish_reason"] == "tool_calls"


def _has_movie(ran: Ran) -> None:
    assert _looks_like("Movie(title=..., year=..., director=..., rating=...)\n", ran.output), ran.output


def _has_weather(ran: Ran) -> None:
    assert type(ran["result"]["structured_response"]) is ran["Weather"]


def _has_counted(ran: Ran) -> None:
    counts = ran["message"].usage_metadata
    assert counts["output_tokens"] > 0
    assert counts["input_tokens"] + counts["output_tokens"] == counts["total_tokens"]
    assert all(counts.get("input_token_details", {"some": 1}).values())  # what is zero is absent


def _has_metadata(ran: Ran) -> None:
    metadata = ran["message"].response_metadata
    documented = {"model_name", "id", "created", "object", "finish_reason", "logprobs", "model_provider"}
    assert documented <= metadata.keys()
    assert (metadata["object"], metadata["model_provider"]) == ("chat.completion", "openrouter")
    assert metadata["id"].startswith("gen-")


STAND_IN: Final[dict[str, Callable[[Ran], None]]] = {
    "invoke": _has_answered,
    "init_by_name": _has_text,
    "stream": _has_text,
    "stream_async": _has_text,
    "bind_tools": _has_called,
    "bind_tools_strict": _has_called,
    "structured_output": _has_movie,
    "structured_output_strict": _has_movie,
    "structured_agent": _has_weather,
    "usage": _has_counted,
    "usage_streamed": _has_counted,
    "response_metadata": _has_metadata,
}


@pytest.mark.parametrize("name", STAND_IN)
def test_examples_run_offline(name: str, stand_in: Gateway, run: Run) -> None:
    """Unchanged, against a gateway that has nothing but its own model."""
    STAND_IN[name](run(name, stand_in))


# -- routing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROUTES)
def test_routing(name: str, gateway: Gateway, provider: GuideProvider, run: Run) -> None:
    """One provider is asked, one of those that are allowed; where there is an order, the first of it."""
    ran = run(name, gateway)
    (served,) = provider.asked
    assert served in (ROUTES[name][:1] if name in IN_ORDER else ROUTES[name])
    assert f"{NAMES[served]}\n" == ran.output
    if (shown := SHOWN[name][0].output) is not None:
        assert shown == ran.output


@pytest.mark.parametrize("name", [name for name, allowed in ROUTES.items() if len(allowed) > 1])
def test_routing_to_the_last_that_works(name: str, gateway: Gateway, provider: GuideProvider, run: Run) -> None:
    """Providers that fail are passed over, whatever their place."""
    *others, last = ROUTES[name]
    provider.down = set(others)
    ran = run(name, gateway)
    assert f"{NAMES[last]}\n" == ran.output
    assert provider.asked == list(ROUTES[name]) if name in IN_ORDER else {*provider.asked} <= {*ROUTES[name]}


@pytest.mark.parametrize("name", ROUTES)
def test_routing_when_all_fail(name: str, gateway: Gateway, provider: GuideProvider, run: Run) -> None:
    """An error, and nobody is asked who is not allowed."""
    provider.down = set(ROUTES[name])
    with pytest.raises(ServerFailed):
        run(name, gateway)
    assert set(ROUTES[name]) == set(provider.asked)


PACES: Final = {"openai": (0.2, 100), "azure": (0.02, 1), "openrouter": (0.6, 30)}
"""Seconds to the answer and tokens in it: 500, 50 and 50 tokens per second at most."""


def test_routing_by_what_was_measured(tmp_path: Path, run: Run) -> None:
    """Each provider has answered once, and the one that was best at it serves every time; another when it fails."""
    with (
        running_guide_provider() as provider,
        running_gateway(tmp_path / "gateway", CONFIG.replace("ROOT", provider.root)) as gateway,
    ):
        provider.paces = dict(PACES)
        for slug in PACES:
            only: Json = {"only": [slug]}
            model = ChatOpenRouter(
                model="openai/gpt-4o", base_url=gateway.base_url, api_key=KEY, openrouter_provider=only
            )
            model.invoke("Say hi.")
        assert list(PACES) == provider.asked
        for by, best in {"throughput": "openai", "latency": "azure"}.items():
            provider.down.clear()
            for _ in range(5):
                assert f"{NAMES[best]}\n" == run(f"routing_sort_{by}", gateway).output
            provider.down = {best}
            provider.seen.clear()
            run(f"routing_sort_{by}", gateway)
            assert best == provider.asked[0] != provider.asked[-1]


MODELS: Final = """
[embedded]
enabled = false

[auth]
keys = ["sk-or-guide-1234567890"]

[providers.dear]
base_url = "ROOT/dear/v1"
models = [{ id = "acme/large", pricing = { prompt = "0.000009", completion = "0.00009" } }]

[providers.middling]
base_url = "ROOT/middling/v1"
models = [{ id = "acme/large", pricing = { prompt = "0.000002", completion = "0.00002" } }]

[providers.cheap]
base_url = "ROOT/cheap/v1"
models = [{ id = "acme/small", pricing = { prompt = "0.000001", completion = "0.00001" } }]
"""


def test_models_to_fall_back_to(tmp_path: Path) -> None:
    """They come when every provider of the first has failed; with "sort", the providers of all are one list."""
    cases: list[tuple[str | None, set[str], list[str]]] = [
        ("fallback", set(), ["middling"]),
        ("fallback", {"middling"}, ["middling", "dear"]),
        ("fallback", {"middling", "dear"}, ["middling", "dear", "cheap"]),
        (None, {"middling", "dear"}, ["middling", "dear", "cheap"]),
        ("sort", set(), ["cheap"]),
        ("sort", {"cheap"}, ["cheap", "middling"]),
    ]
    with (
        running_guide_provider() as provider,
        running_gateway(tmp_path, MODELS.replace("ROOT", provider.root)) as gateway,
    ):
        for route, provider.down, asked in cases:
            provider.seen.clear()
            model = ChatOpenRouter(
                model="acme/large",
                models=["acme/small"],
                route=route,
                openrouter_provider={"sort": "price"},
                base_url=gateway.base_url,
                api_key=KEY,
                max_retries=0,
            )
            message = model.invoke("Say hi.")
            served = "acme/small" if asked[-1] == "cheap" else "acme/large"
            assert (asked, served) == (provider.asked, message.response_metadata["model_name"])


@pytest.mark.parametrize("by", ["throughput", "latency"])
def test_preferences_reach_an_upstream_that_understands_them(
    by: str, gateway: Gateway, provider: GuideProvider, run: Run
) -> None:
    """An OpenRouter behind the gateway is sent them as they are."""
    provider.down = {"openai", "azure"}
    run(f"routing_sort_{by}", gateway)
    assert {"sort": by} == provider.seen[-1].body["provider"]


def test_preferences_that_nobody_meets(gateway: Gateway, provider: GuideProvider) -> None:
    """An error that says why, and no request to anyone."""
    preferences: list[Json] = [
        {"only": ["Nobody"]},
        {"ignore": ["DeepInfra", "novita", "TOGETHER"]},
        {"quantizations": ["int4"]},
        {"data_collection": "deny"},
        {"order": ["Nobody"], "allow_fallbacks": False},
    ]
    for preference in preferences:
        model = ChatOpenRouter(
            model=LLAMA, base_url=gateway.base_url, api_key=KEY, openrouter_provider=preference, max_retries=0
        )
        with pytest.raises(NotFound, match="No allowed providers") as nobody:
            model.invoke("Say hi.")
        assert nobody.value.status == 404
    assert provider.asked == []


# -- what a page says about more than one run ------------------------------------------------------------


def test_the_key_is_asked_for_once(
    gateway: Gateway, provider: GuideProvider, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is typed in is the one that requests carry; one that is set is not asked for again."""
    prompts: list[str] = []

    def type_in(prompt: str) -> str:
        prompts.append(prompt)
        return KEY

    monkeypatch.setattr(getpass, "getpass", type_in)
    monkeypatch.setenv("OPENROUTER_API_KEY", "")
    for _ in range(2):
        runpy.run_path(str(EXAMPLES["set_api_key"]))
    assert prompts == ["Your OpenRouter API key: "]
    model = ChatOpenRouter(model=CLAUDE, base_url=gateway.base_url)
    assert model.invoke("Say hi.").text == "Hi."


def test_calls_are_traced_in_langsmith(gateway: Gateway, provider: GuideProvider) -> None:
    """The run arrives with the model's name and token counts, and without the key."""
    environment = {
        "OPENROUTER_API_BASE": gateway.base_url,
        "OPENROUTER_API_KEY": KEY,
        "LANGSMITH_API_KEY": "ls-1234567890",
        "LANGSMITH_ENDPOINT": provider.root,
    }
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES["trace_with_langsmith"])],
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert _looks_like(SHOWN["trace_with_langsmith"][0].output or "", ran.stdout)
    traces = b"".join(data for _, data in provider.posted)
    for part in (b'"ls_provider":"openrouter"', b'"ls_model_name":"anthropic/claude-sonnet-4.5"', b'"total_tokens":37'):
        assert part in traces
    assert KEY.encode() not in traces


def test_attribution_and_session_are_recorded(gateway: Gateway, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As arguments, as an argument of one call, and from the environment."""
    run("app_attribution", gateway)
    run("session", gateway)
    monkeypatch.setenv("OPENROUTER_APP_URL", "https://other.example")
    monkeypatch.setenv("OPENROUTER_APP_TITLE", "Other App")
    monkeypatch.setenv("OPENROUTER_SESSION_ID", "from-the-environment")
    run("usage", gateway)
    assert _recorded(gateway, "app_title", "My App")["app_url"] == "https://myapp.com"
    assert _recorded(gateway, "session_id", "workflow-abc-123")["app_title"] is None
    assert _recorded(gateway, "session_id", "workflow-abc-123-step-1")["ending"] == "finished"
    record = _recorded(gateway, "session_id", "from-the-environment")
    assert (record["app_url"], record["app_title"]) == ("https://other.example", "Other App")


def _recorded(gateway: Gateway, field: str, value: str) -> Json:
    """Return the last record that has this value, as soon as there is one."""
    deadline = time.monotonic() + 5
    while True:
        for record in reversed(gateway.generations(0)):
            if record[field] == value:
                return record
        assert time.monotonic() < deadline, f"no generation with {field} {value!r} was recorded"
        time.sleep(0.02)


def test_a_call_can_leave_its_session_out(
    gateway: Gateway, provider: GuideProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_SESSION_ID", "from-the-environment")
    model = ChatOpenRouter(model=CLAUDE, base_url=gateway.base_url, api_key=KEY)
    model.invoke("Say hi.")
    model.invoke("Say hi.", session_id=None)
    assert ["from-the-environment", None] == [seen.body.get("session_id") for seen in provider.seen]


@pytest.mark.covers("clients.langchain_openrouter", "reasoning")
def test_thoughts_come_back_and_are_sent_back(gateway: Gateway, provider: GuideProvider) -> None:
    """As blocks, as text, with their signature, in a stream as well; the next request has them unmodified."""
    model = ChatOpenRouter(model=CLAUDE, base_url=gateway.base_url, api_key=KEY, reasoning={"effort": "high"})
    question = HumanMessage("What is the square root of 529?")
    whole, streamed = model.invoke([question]), reduce(operator.add, model.stream([question]))
    thoughts = "".join(THOUGHTS)
    details = [{"type": "reasoning.text", "index": 0, "text": thoughts, "signature": SIGNATURE}]
    for message in (whole, streamed):
        assert {"type": "reasoning", "reasoning": thoughts} == message.content_blocks[0]
        assert thoughts == message.additional_kwargs["reasoning_content"]
        assert details == message.additional_kwargs["reasoning_details"]
        assert {"reasoning": 62} == (message.usage_metadata or {}).get("output_token_details")
        model.invoke([question, message, HumanMessage("And of 530?")])
        assert {
            "role": "assistant",
            "content": "The square root of 529 is 23.",
            "reasoning_details": details,
        } == provider.seen[-1].body["messages"][1]


def test_inline_data_travels_as_data_urls(gateway: Gateway, provider: GuideProvider) -> None:
    """Pictures, videos and documents; what a block says beside its data goes along."""
    model = ChatOpenRouter(model=CLAUDE, base_url=gateway.base_url, api_key=KEY)
    blocks: list[str | Json] = [
        {"type": "text", "text": "Describe this image."},
        {"type": "image", "base64": "AAAA", "mime_type": "image/png", "detail": "high"},
        {"type": "video", "base64": "AAAA", "mime_type": "video/mp4"},
        {"type": "file", "base64": "AAAA", "mime_type": "application/pdf", "filename": "report.pdf"},
    ]
    model.invoke([HumanMessage(blocks)])
    assert [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
        {"type": "file", "file": {"filename": "report.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
    ] == provider.seen[-1].body["messages"][0]["content"][1:]
