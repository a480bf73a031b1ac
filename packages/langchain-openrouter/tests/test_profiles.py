"""Model profiles: what is looked up, what the command writes, and what LangChain makes of it."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, cast, get_type_hints

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models import ModelProfile
from pydantic import BaseModel
from scripted_server import Json, ScriptedServer, completion, json_reply

from langchain_openrouter import ChatOpenRouter, ConfigurationError, NotFound, ProtocolViolation, profiles
from langchain_openrouter._profile_refresh import (
    ROUTERS,
    encode_profiles,
    fetch_profiles,
    load_profiles,
    main,
    to_profiles,
)
from langchain_openrouter.profiles import OWN_FILE, PACKAGED, profile_of

PACKAGE = Path(__file__).parents[1]
DATA: Json = json.loads(PACKAGED.read_bytes())
TODAY = date(2027, 2, 3)


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test read the files anew, without the developer's own."""
    monkeypatch.delenv(OWN_FILE, raising=False)
    profiles._rows.cache_clear()
    yield
    profiles._rows.cache_clear()


def row(model: str = "acme/one", **changes: Any) -> Json:
    """Return a row as `GET /models` has it (digest 6.2)."""
    return {
        "id": model,
        "canonical_slug": model,
        "name": "Acme: One",
        "created": 1771043112,
        "context_length": 200_000,
        "architecture": {
            "modality": "text+image+file->text",
            "input_modalities": ["text", "image", "file"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
        },
        "pricing": {"prompt": "0.000003", "completion": "0.000015"},
        "top_provider": {"context_length": 200_000, "max_completion_tokens": 64_000, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": ["max_tokens", "reasoning", "structured_outputs", "temperature", "tools"],
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{model}/endpoints"},
        **changes,
    }


def listing(*rows: Json) -> Json:
    return {"data": [*rows], "total_count": len(rows), "links": {"next": None}}


def own_file(path: Path, **known: ModelProfile) -> Path:
    path.write_bytes(encode_profiles({f"acme/{name}": profile for name, profile in known.items()}, "a test"))
    return path


def refresh(*arguments: object) -> int:
    return main(["refresh", *map(str, arguments)], TODAY)


# -- look-ups ------------------------------------------------------------------------------------------


def test_a_known_model() -> None:
    profile = profile_of("openai/gpt-4o-mini") or {}
    assert 128_000 == profile.get("max_input_tokens")
    assert 16_384 == profile.get("max_output_tokens")
    assert True is profile.get("tool_calling")
    assert True is profile.get("structured_output")
    assert True is profile.get("image_inputs")
    assert False is profile.get("reasoning_output")


@pytest.mark.parametrize("suffix", [":nitro", ":free:online", "@preset/mine", ":floor@preset/mine"])
def test_a_variant_that_is_not_listed_has_the_profile_of_its_base(suffix: str) -> None:
    assert profile_of(f"openai/gpt-4o-mini{suffix}") == profile_of("openai/gpt-4o-mini") != None  # noqa: E711


def test_a_variant_that_is_listed_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, ModelProfile] = {"one": {"max_input_tokens": 9}, "one:free": {"max_input_tokens": 3}}
    monkeypatch.setenv(OWN_FILE, str(own_file(tmp_path / "own.json", **known)))
    assert {"max_input_tokens": 9} == profile_of("acme/one:nitro")
    assert {"max_input_tokens": 3} == profile_of("acme/one:free") == profile_of("acme/one:free:online")


@pytest.mark.parametrize(
    "model",
    [
        "acme/unheard-of",
        "openrouter/auto",
        "~anthropic/claude-sonnet-latest",
        "@preset/mine",
        "",
        ":",
        "openai/",
        "gpt-4o",
    ],
)
def test_other_models_have_none(model: str) -> None:
    assert None is profile_of(model)


def test_callers_own_what_they_get() -> None:
    first = profile_of("openai/gpt-4o-mini")
    assert first is not None
    first.clear()
    assert profile_of("openai/gpt-4o-mini")


def test_the_data_is_read_at_the_first_look_up() -> None:
    code = (
        "import sys\n"
        "read = []\n"
        "sys.addaudithook(lambda event, args: event == 'open' and read.append(str(args[0])))\n"
        "times = lambda: sum('_profile_data' in name for name in read)\n"
        "import langchain_openrouter\n"
        "assert 'langchain_openrouter.profiles' not in sys.modules\n"
        "from langchain_openrouter.profiles import profile_of\n"
        "assert times() == 0\n"
        "assert profile_of('openai/gpt-4o-mini') and profile_of('openai/gpt-4o')\n"
        "assert times() == 1\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# -- a file of one's own -------------------------------------------------------------------------------


def test_the_own_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.json"
    path.write_bytes(encode_profiles({"openai/gpt-4o": {"max_input_tokens": 7}, "a/b": {"name": "B"}}, "a test"))
    monkeypatch.setenv(OWN_FILE, str(path))
    assert {"max_input_tokens": 7} == profile_of("openai/gpt-4o")
    assert {"name": "B"} == profile_of("a/b")
    assert (profile_of("openai/gpt-4o-mini") or {}).get("tool_calling")


def test_keys_of_another_langchain_core_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.json"
    path.write_text('{"source": "", "profiles": {"a/b": {"name": "B", "smell_inputs": true}}, "more": 1}')
    monkeypatch.setenv(OWN_FILE, str(path))
    assert {"name": "B"} == profile_of("a/b")


@pytest.mark.parametrize(
    "content",
    [None, "", "[]", "{", '{"profiles": {}}', '{"source": "", "profiles": {"a/b": {"max_input_tokens": "many"}}}'],
)
def test_an_unusable_own_file_is_told_once(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(OWN_FILE, str(path))
    with pytest.warns(UserWarning, match=r"OPENROUTER_MODEL_PROFILES is ignored: .*own\.json"):
        assert profile_of("openai/gpt-4o-mini")
    assert profile_of("openai/gpt-4o")  # a second warning would be an error here


# -- the data ------------------------------------------------------------------------------------------


def test_the_data_has_the_form_that_the_command_writes() -> None:
    assert PACKAGED.read_bytes() == encode_profiles(DATA["profiles"], DATA["source"])


def test_the_data_holds_profiles_of_models() -> None:
    hints = {"int": int, "bool": bool, "str": str}
    types = {key: hints.get(getattr(hint, "__name__", ""), list) for key, hint in get_type_hints(ModelProfile).items()}
    assert DATA["source"]
    assert len(DATA["profiles"]) > 300
    for model, profile in DATA["profiles"].items():
        author, slash, slug = model.partition("/")
        assert author, model
        assert slash, model
        assert slug, model
        assert not model.startswith("~"), model
        assert model not in ROUTERS, model
        assert {key: type(value) for key, value in profile.items()} == {key: types[key] for key in profile}, model
        assert profile.get("max_input_tokens", 1) > 0, model
        assert profile.get("max_output_tokens", 1) > 0, model
        assert profile.get("tool_calling") == profile.get("tool_call_streaming"), model


def test_the_data_is_in_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=PACKAGE, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert PACKAGED.read_bytes() == archive.read(f"langchain_openrouter/{PACKAGED.name}")


# -- from rows to profiles -----------------------------------------------------------------------------


def test_a_row_of_the_api() -> None:
    reasoning = {
        "supported_efforts": ["xhigh", "high", "low", "none", "odd"],
        "default_effort": "low",
        "mandatory": False,
    }
    full = row(reasoning=reasoning, hugging_face_id="acme/one", expiration_date="2027-01-31")
    assert {
        "name": "Acme: One",
        "status": "deprecated",
        "open_weights": True,
        "max_input_tokens": 200_000,
        "max_output_tokens": 64_000,
        "text_inputs": True,
        "image_inputs": True,
        "image_url_inputs": True,
        "audio_inputs": False,
        "video_inputs": False,
        "pdf_inputs": True,
        "attachment": True,
        "text_outputs": True,
        "image_outputs": False,
        "audio_outputs": False,
        "video_outputs": False,
        "reasoning_output": True,
        "reasoning_effort_levels": ["none", "low", "high", "xhigh", "odd"],
        "reasoning_effort_default": "low",
        "tool_calling": True,
        "tool_call_streaming": True,
        "tool_choice": False,
        "structured_output": True,
        "temperature": True,
    } == to_profiles(listing(full))["acme/one"]


def test_what_a_row_does_not_say_is_left_out() -> None:
    silent = {
        "id": "acme/one",
        "context_length": None,
        "top_provider": {},
        "supported_parameters": [],
        "reasoning": None,
    }
    assert {"acme/one": {}} == to_profiles(listing(silent))
    assert {"acme/one": {}} == to_profiles(listing({"id": "acme/one", "context_length": 0, "name": None}))


def test_a_model_without_pdfs_is_not_said_to_refuse_them() -> None:
    """The API turns PDFs into text for models that cannot read them (digest 9.3)."""
    text_only = {"input_modalities": ["text"], "output_modalities": ["text"]}
    profile = to_profiles(listing(row(architecture=text_only)))["acme/one"]
    assert "pdf_inputs" not in profile
    assert False is profile.get("image_inputs")
    assert False is profile.get("attachment")


def test_routers_aliases_and_models_that_do_not_chat_are_left_out() -> None:
    router = {"input_modalities": ["text"], "output_modalities": ["text"], "tokenizer": "Router"}
    embeddings = {"input_modalities": ["text"], "output_modalities": ["embeddings"]}
    others = [
        row("openrouter/auto"),
        row("openrouter/new-router", architecture=router),
        row("~acme/one-latest", alias_target={"slug": "acme/one", "name": "Acme: One"}),
        row("acme/embed", architecture=embeddings),
    ]
    assert ["acme/one", "openrouter/stealth-alpha"] == sorted(
        to_profiles(listing(row(), row("openrouter/stealth-alpha"), *others))
    )


def test_a_model_of_models_dev() -> None:
    model = {
        "id": "openai/gpt-5",
        "name": "GPT-5",
        "attachment": False,
        "reasoning": True,
        "reasoning_options": [
            {"type": "toggle"},
            {"type": "budget_tokens", "min": 1024},
            {"type": "effort", "values": ["high", "low", None, "minimal"]},
        ],
        "tool_call": True,
        "structured_output": True,
        "temperature": False,
        "knowledge": "2024-10-01",
        "release_date": "2025-08-07",
        "last_updated": "2025-08-07",
        "open_weights": False,
        "modalities": {"input": ["text", "pdf"], "output": ["text"]},
        "limit": {"context": 400_000, "input": 272_000, "output": 128_000},
        "cost": {"input": 1.25, "output": 10},
    }
    others = {"anthropic": {"models": {"claude": {"id": "claude"}}}}
    profile = to_profiles({**others, "openrouter": {"id": "openrouter", "models": {"openai/gpt-5": model}}})
    assert {
        "openai/gpt-5": {
            "name": "GPT-5",
            "release_date": "2025-08-07",
            "last_updated": "2025-08-07",
            "open_weights": False,
            "max_input_tokens": 272_000,
            "max_output_tokens": 128_000,
            "text_inputs": True,
            "image_inputs": False,
            "image_url_inputs": False,
            "audio_inputs": False,
            "video_inputs": False,
            "pdf_inputs": True,
            "attachment": False,
            "text_outputs": True,
            "image_outputs": False,
            "audio_outputs": False,
            "video_outputs": False,
            "reasoning_output": True,
            "reasoning_effort_levels": ["minimal", "low", "high"],
            "tool_calling": True,
            "tool_call_streaming": True,
            "structured_output": True,
            "temperature": False,
        }
    } == profile


def test_limits_of_0_tokens_are_unknown() -> None:
    unlimited = {"id": "acme/one", "limit": {"context": 0, "output": 0}}
    assert {"acme/one": {}} == to_profiles({"openrouter": {"models": {"acme/one": unlimited}}})


BAD: list[tuple[object, str]] = [
    ([], "no list of models"),
    ("models", "no list of models"),
    ({}, "neither the list of an API"),
    ({"data": {}}, "no list of models"),
    ({"data": []}, "no chat model"),
    (listing(row("openrouter/auto")), "no chat model"),
    ({"openrouter": {"name": "OpenRouter"}}, "no list of models"),
    ({"openrouter": {"models": {}}}, "no chat model"),
    (listing(row(), "acme/two"), "model 1: Expected `object`"),  # pyright: ignore[reportArgumentType]
    (listing({"name": "no id"}), "model 0: .*`id`"),
    (listing(row("")), "model 0: .*length >= 1"),
    (listing(row(context_length="many")), r"model acme/one: .*\$\.context_length"),
    (listing(row(context_length=-1)), r"model acme/one: .*\$\.context_length"),
    (listing(row(context_length=True)), r"model acme/one: .*\$\.context_length"),
    (listing(row(supported_parameters="tools")), r"model acme/one: .*\$\.supported_parameters"),
    (listing(row(architecture={"input_modalities": [1]})), r"\$\.architecture\.input_modalities"),
]


@pytest.mark.parametrize(("given", "told"), BAD)
def test_an_unusable_list(given: object, told: str, tmp_path: Path, server: ScriptedServer) -> None:
    path = tmp_path / "models.json"
    path.write_text(json.dumps(given))
    with pytest.raises(ConfigurationError, match=rf"models\.json: .*{told}"):
        load_profiles(path)
    if isinstance(given, dict) and isinstance(given.get("data"), list) and "acme/two" not in given["data"]:
        server.answer(json_reply(given))
        with pytest.raises(ProtocolViolation, match=told):
            fetch_profiles(server.url)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"<html>"])
def test_a_file_that_is_no_json(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"models\.json"):
        load_profiles(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*: No such file or directory"):
        load_profiles(tmp_path / "models.json")


# -- the command ---------------------------------------------------------------------------------------


def test_refresh_from_a_server(server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer(json_reply(listing(row("acme/two"), row("acme/one", name="Größe"))))
    output = tmp_path / "own.json"
    assert 0 == refresh("--base-url", server.url, "--output", output)
    assert "/api/v1/models" == server.seen[0].path
    assert "authorization" not in server.seen[0].headers
    assert f"2 models written to {output}\n" == capsys.readouterr().out
    head, first, second, end = output.read_text(encoding="utf-8").splitlines()
    assert f'{{"source":"{server.url}/models, 2027-02-03","profiles":{{' == head
    assert first.startswith('"acme/one":{"attachment":true,')
    assert '"name":"Größe"' in first
    assert second.startswith('"acme/two":{')
    assert "}}" == end
    assert [output] == list(tmp_path.iterdir())


def test_the_order_of_a_list_does_not_matter(tmp_path: Path) -> None:
    rows = [row("acme/one"), row("acme/two", supported_parameters=["tools", "seed"]), row("acme/one:free")]
    written: list[bytes] = []
    for given in (rows, rows[::-1]):
        path = tmp_path / "models.json"
        path.write_text(json.dumps(listing(*given)))
        assert 0 == refresh("--from", path, "--output", tmp_path / "own.json")
        written.append((tmp_path / "own.json").read_bytes())
    assert written[0] == written[1]
    assert b'{"source":"models.json",' == written[0][:24]


def test_the_first_file_that_lists_a_model_describes_it(tmp_path: Path) -> None:
    for name, rows in {"a": [row("acme/one")], "b": [row("acme/one", name="Other"), row("acme/two")]}.items():
        (tmp_path / name).write_text(json.dumps(listing(*rows)))
    output = tmp_path / "own.json"
    assert 0 == refresh("--from", tmp_path / "a", "--from", tmp_path / "b", "--source", "ours", "--output", output)
    written = json.loads(output.read_bytes())
    assert "ours" == written["source"]
    assert ["acme/one", "acme/two"] == list(written["profiles"])
    assert "Acme: One" == written["profiles"]["acme/one"]["name"]


def test_what_was_written_is_found(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server and the file can come from the environment, as they do for models."""
    server.answer(json_reply(listing(row("acme/one"))))
    monkeypatch.setenv("OPENROUTER_API_BASE", server.url)
    monkeypatch.setenv(OWN_FILE, str(tmp_path / "own.json"))
    assert 0 == refresh()
    assert to_profiles(listing(row()))["acme/one"] == profile_of("acme/one:nitro")


@pytest.mark.parametrize("given", [listing(), listing(row(context_length="many")), {"error": {"message": "no"}}])
def test_a_failure_leaves_the_old_file(
    given: Json, server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = own_file(tmp_path / "own.json", one={"max_input_tokens": 9})
    before = output.read_bytes()
    server.answer(json_reply(given))
    assert 1 == refresh("--base-url", server.url, "--output", output)
    assert capsys.readouterr().err.startswith("error: ")
    assert before == output.read_bytes()
    assert [output] == list(tmp_path.iterdir())


def test_a_refusal_of_the_server_is_told(
    server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer(json_reply({"error": {"message": "no such page", "code": 404}}, status=404))
    assert 1 == refresh("--base-url", server.url, "--output", tmp_path / "own.json")
    assert "no such page" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())
    with pytest.raises(NotFound):
        fetch_profiles(server.url)


@pytest.mark.parametrize("output", [".", "missing/own.json", "folder"])
def test_a_place_that_cannot_be_written(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "models.json").write_text(json.dumps(listing(row())))
    assert 1 == refresh("--from", "models.json", "--output", output)
    assert f"error: cannot write {output}: " in capsys.readouterr().err
    assert ["folder", "models.json"] == sorted(path.name for path in tmp_path.iterdir())


def test_the_key_is_not_told(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-0123456789abcdef")
    server.answer(json_reply(listing(row())), json_reply({"error": {"message": "bad sk-or-v1-0123456789abcdef"}}, 401))
    for status in (0, 1):
        assert status == refresh("--base-url", server.url, "--output", tmp_path / "own.json")
    assert "Bearer sk-or-v1-0123456789abcdef" == server.seen[0].headers["authorization"]
    assert "0123456789" not in "".join(capsys.readouterr())
    assert b"0123456789" not in (tmp_path / "own.json").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "status"), [(["refresh", "--help"], 0), ([], 2), (["refresh", "--form", "x"], 2)]
)
def test_the_command_line(arguments: list[str], status: int) -> None:
    command = [sys.executable, "-W", "error", "-m", "langchain_openrouter.profiles", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert status == done.returncode
    assert "usage: python -m langchain_openrouter.profiles" in done.stdout + done.stderr


# -- what LangChain makes of profiles ------------------------------------------------------------------


class Capital(BaseModel):
    """A capital city."""

    name: str


def to_model(server: ScriptedServer, **profile: Any) -> ChatOpenRouter:
    return ChatOpenRouter(model="acme/one", base_url=server.url, profile=cast("ModelProfile", profile))


@pytest.mark.parametrize("native", [True, False, None])
def test_an_agent_asks_for_structured_output_natively_when_the_model_can(
    native: bool | None, server: ScriptedServer
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "Capital", "arguments": '{"name": "Paris"}'}}
    server.answer(json_reply(completion('{"name": "Paris"}') if native else completion(None, tool_calls=[call])))
    profile = {} if native is None else {"structured_output": native}
    agent: Any = create_agent(to_model(server, **profile), response_format=Capital)
    state = agent.invoke({"messages": [("user", "The capital of France?")]}, {"recursion_limit": 5})
    assert Capital(name="Paris") == state["structured_response"]
    assert bool(native) == ("response_format" in server.seen[0].body)
    assert bool(native) != bool(server.seen[0].body.get("tools"))


def test_summaries_start_at_a_fraction_of_the_context(server: ScriptedServer) -> None:
    model = to_model(server, max_input_tokens=100_000)
    middleware = SummarizationMiddleware(
        model,
        trigger=("fraction", 0.5),
        keep=("messages", 1),
        token_counter=lambda messages: 30_000 * len([*messages]),
        trim_tokens_to_summarize=None,
    )
    agent: Any = create_agent(model, middleware=[middleware])
    for messages, calls in ((1, 1), (3, 2)):
        server.seen.clear()
        agent.invoke({"messages": [("user", "Hello")] * messages}, {"recursion_limit": 10})
        assert calls == len(server.seen)
    with pytest.raises(ValueError, match="Model profile information is required"):
        SummarizationMiddleware(to_model(server), trigger=("fraction", 0.5))
