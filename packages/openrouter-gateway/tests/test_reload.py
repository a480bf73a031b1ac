"""Reading the configuration again, and telling where in it an error is."""

from pathlib import Path

import pytest

from openrouter_gateway.config.reload import reload_settings
from openrouter_gateway.config.settings import CONFIG_VARIABLE, load_settings
from openrouter_gateway.config.toml_lines import find_line
from openrouter_gateway.errors import ConfigError

TEXT = """\
# a comment
stand_in = false

[server]
port = 1
allowed_hosts = [
  "a",
  "b",
]

[providers.acme]
base_url = \"""
http://x\"""
name = "[not.a.table]"

[[providers.acme.models]]
id = "a/one"
pricing = { prompt = "1",  completion = "2" }

[[providers.acme.models]]
id = "a/two"
[providers.acme.models.pricing]
prompt = "3"

[models."a/one"]
name = "One"
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("stand_in",), 2),
        (("server",), 4),
        (("server", "port"), 5),
        (("server", "allowed_hosts", 1), 6),
        (("server", "prot"), 4),
        (("providers", "acme", "base_url"), 12),
        (("providers", "acme", "name"), 14),
        (("providers", "acme", "models", 0), 16),
        (("providers", "acme", "models", 0, "pricing", "completion"), 18),
        (("providers", "acme", "models", 1, "id"), 21),
        (("providers", "acme", "models", 1, "pricing", "prompt"), 23),
        (("providers", "acme", "models", 1, "nothing"), 20),
        (("models", "a/one", "name"), 26),
        (("nothing", "at", "all"), None),
        ((), None),
    ],
)
def test_a_key_is_found(path: tuple[str | int, ...], line: int | None) -> None:
    """At the line that sets it, or else at the nearest table around it."""
    assert line == find_line(TEXT, path)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file of this process."""
    file = tmp_path / "gateway.toml"
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return file


PROVIDER = (
    "[providers.acme]\nbase_url = 'http://127.0.0.1:1'\napi_key = '{key}'\n[[providers.acme.models]]\nid = '{model}'\n"
)


def test_providers_and_keys_are_read_again(config: Path) -> None:
    """What is offered, and with which key."""
    config.write_text(PROVIDER.format(key="one", model="a/one"))
    running = load_settings(config)
    config.write_text(PROVIDER.format(key="two", model="a/two") + "[aliases]\n'a/best' = 'a/two'\n")

    found = reload_settings(running)

    assert {"a/two", "local/smollm2-135m-instruct"} == found.catalog.listings.keys()
    assert {"a/best": "a/two"} == found.catalog.aliases
    assert "two" == found.keys["acme"]
    assert () == found.waiting


def test_what_needs_a_start_waits_for_it(config: Path) -> None:
    """And is said, until the file is as it was."""
    config.write_text("[server]\nport = 1\n")
    running = load_settings(config)
    config.write_text("[server]\nport = 2\n[embedded]\nenabled = false\n")

    found = reload_settings(running)

    assert ("embedded", "server") == found.waiting
    assert 1 == found.settings.server.port
    assert found.catalog.default_model is not None
    assert found.waiting == reload_settings(found.settings).waiting


def test_keys_of_callers_change_but_do_not_come_or_go(config: Path) -> None:
    """Without any, names would have to be checked."""
    config.write_text("[auth]\nkeys = ['a']\n")
    running = load_settings(config)
    config.write_text("[auth]\nkeys = ['b']\n")
    assert "b" == reload_settings(running).settings.auth.keys[0].get_secret_value()

    config.write_text("")
    found = reload_settings(running)

    assert (("auth",), running.auth) == (found.waiting, found.settings.auth)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\n\nport = 'x'", ":3: server.port: "),
        ("[server]\nport = ", ":2:8: not valid TOML: "),
        ("[server", ":1:8: not valid TOML: "),
        ("\n[providers.acme]\nname = 'x'", ":2: providers.acme: base_url is missing"),
        ("[providers.acme]\nbase_url = 'http://x'\napi_key_env = 'NOT_SET'", ":3: providers.acme.api_key_env: "),
        ("\n[models.'no/such']\nname = 'x'", ':2: models."no/such": '),
        ("[aliases]\n'a/b' = 'no/such'", ':2: aliases."a/b": '),
        ("[catalog]\nfile = '/nowhere/catalog.json'", "/nowhere/catalog.json"),
    ],
)
def test_a_wrong_file_is_refused(config: Path, text: str, told: str) -> None:
    """With file, line, key and reason."""
    config.write_text("")
    running = load_settings(config)
    config.write_text(text)

    with pytest.raises(ConfigError) as caught:
        reload_settings(running)

    assert told in str(caught.value)
    assert str(caught.value).startswith((f"{config}:", "cannot read"))


def test_a_variable_is_blamed_for_what_it_says(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wins over the file, which may be right."""
    config.write_text("[server]\nport = 1\nworkers = 0")
    monkeypatch.setenv("OPENROUTER_GATEWAY__SERVER__PORT", "x")

    with pytest.raises(ConfigError) as caught:
        load_settings(config)

    lines = str(caught.value).splitlines()
    assert ["the environment: server.port: ", f"{config}:3: server.workers: "] == [
        line[: line.index(": ", line.index("server")) + 2] for line in lines
    ]


def test_scripted_faults_are_read_again(config: Path) -> None:
    """Recordings are not: their pool is there from the start."""
    config.write_text("[[faults]]\nkind = 'timeout'\n")
    running = load_settings(config)
    config.write_text("[recording]\nmode = 'record'\ndirectory = 'x'\n")

    found = reload_settings(running)

    assert ([], "off", ("recording",)) == (found.settings.faults, found.settings.recording.mode, found.waiting)
