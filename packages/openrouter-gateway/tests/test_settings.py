"""Settings from a file and the environment: what is taken, and what the operator is told."""

import traceback
from decimal import Decimal
from pathlib import Path

import pytest

from openrouter_gateway.config.settings import CONFIG_VARIABLE, Settings, load_settings, settings_from_environment
from openrouter_gateway.errors import ConfigError

PREFIX = "OPENROUTER_GATEWAY__"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def load(config: Path, text: str) -> Settings:
    """Return the settings of a file with this content."""
    config.write_text(text)
    return load_settings(config)


def refuse(config: Path | None, text: str = "") -> str:
    """Return what the operator is told about a file that is refused."""
    if config is not None:
        config.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(config)
    return str(caught.value)


def test_nothing_is_needed() -> None:
    """Without a file, the gateway listens on the loopback address and offers its own model."""
    settings = load_settings(None)

    assert (settings.server.host, settings.server.port, settings.server.workers) == ("127.0.0.1", 8787, 1)
    assert settings.embedded.enabled
    assert settings.is_loopback
    assert not settings.has_keys
    assert not settings.stand_in


def test_a_file(config: Path) -> None:
    """Every kind of value."""
    settings = load(
        config,
        """
        stand_in = true
        [server]
        port = 9000
        allowed_hosts = ["gateway.example"]
        [auth]
        keys = ["sk-or-v1-one"]
        [ledger]
        journal = "generations.jsonl"
        [providers.acme]
        base_url = "http://127.0.0.1:1/v1"
        trains_on_prompts = false
        [[providers.acme.models]]
        id = "acme/one"
        pricing = { prompt = "0.0000001", input_cache_read = 1 }
        [[providers.acme.models]]
        id = "acme/two"
        """,
    )

    assert settings.server.port == 9000
    assert settings.auth.keys[0].get_secret_value() == "sk-or-v1-one"
    assert Path("generations.jsonl") == settings.ledger.journal
    model, unpriced = settings.providers["acme"].models
    assert None is unpriced.pricing
    assert model.pricing is not None
    assert (Decimal("0.0000001"), Decimal(1), None) == (
        model.pricing.prompt,
        model.pricing.input_cache_read,
        model.pricing.input_cache_write,
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot = 1", "prot: unknown key"),
        ("[server]\nprot = 1", "server.prot: unknown key"),
        ("[[providers.acme.models]]\nid = 'a/b'\nprice = 1", "providers.acme.models.0.price: unknown key"),
        ("[server]\nport = 'x'", "server.port: "),
        ("[server]\nport = 65536", "server.port: "),
        ("[server]\nworkers = 0", "server.workers: "),
        ("[server]\nmax_body_bytes = 1", "server.max_body_bytes: "),
        ("[server]\ncomment_interval_s = 0", "server.comment_interval_s: "),
        ("server = 1", "server: "),
        ("[auth]\nkey_hashes = ['x']", "auth.key_hashes.0: "),
        ("[upstream]\nidle_timeout_s = -1", "upstream.idle_timeout_s: "),
        ("[providers.Acme]\nbase_url = 'http://x'", "providers.Acme: "),
        ("[providers.acme]\nbase_url = 'ftp://x'", "providers.acme.base_url: "),
        ("[providers.acme]\nbase_url = 'http://'", "providers.acme.base_url: "),
        ("[providers.acme]\nbase_url = 'https:///v1'", "providers.acme.base_url: "),
        ("[providers.acme]\nbase_url = 'http://:80'", "providers.acme.base_url: "),
        ("[providers.acme]\nbase_url = 'http://x:y'", "providers.acme.base_url: "),
        ("[providers.acme]\nbase_url = 'http://[x'", "providers.acme.base_url: "),
        ("[providers.acme]\nbase_url = 'http://x y'", "providers.acme.base_url: "),
        ("[providers.acme]\nbase_url = 'http://x/v1?a=b'", "providers.acme.base_url: "),
        ("[auth]\nkeys = ['ok', '']", "auth.keys.1: "),
        ("[providers.acme]\nprotocol = 'smtp'", "providers.acme.protocol: "),
        ("[[providers.acme.models]]\nid = 'one'", "providers.acme.models.0.id: "),
        ("[[providers.acme.models]]\nname = 'one'", "providers.acme.models.0.id: "),
        ("[[providers.acme.models]]\nid = 'a/b'\npricing = {prompt = -1}", "providers.acme.models.0.pricing.prompt: "),
        ("[[providers.acme.models]]\nid = 'a/b'\npricing = {prompt = nan}", "providers.acme.models.0.pricing.prompt: "),
        *(
            (f"[[providers.acme.models]]\nid = 'a/b'\npricing = {{prompt = '{price}'}}", ":3: providers.acme.models.0")
            for price in ("1000001", "1e999999999", "1e-999999999")
        ),
        (
            "[[providers.acme.models]]\nid = 'a/b'\nquantization = 'q5'",
            ":3: providers.acme.models.0.quantization: must be",
        ),
        ("[[providers.acme.models]]\nid = 'a/b'\ninput_modalities = ['txt']", "models.0.input_modalities.0: "),
        (f"a = {'[' * 5000}{']' * 5000}", "nests its values too deeply"),
        ("stand_in = true\n[embedded]\nenabled = false", "stand_in"),
        ("[policy]\nzdr = 'yes'", ":2: policy.zdr: must be true or false"),
        ("[policy]\nzdr = true\ndeny_training = 1", ":3: policy.deny_training: must be true or false"),
        ("[providers.acme]\nretains_prompts = 'no'", ":2: providers.acme.retains_prompts: must be true or false"),
        ("port = ", "not valid TOML"),
        ("a = 1\na = 2", "not valid TOML"),
    ],
)
def test_a_wrong_file(config: Path, text: str, told: str) -> None:
    """The message names the file, the key and the reason, a line per problem."""
    message = refuse(config, text)

    assert message.startswith(str(config))
    assert told in message
    assert "\n" not in message


def test_every_problem_is_told(config: Path) -> None:
    """Not just the first."""
    assert len(refuse(config, "[server]\nport = 'x'\nprot = 1").splitlines()) == 2


def test_a_file_that_is_not_there(config: Path) -> None:
    """Its name is in the message."""
    with pytest.raises(ConfigError, match=r"cannot read .*gateway\.toml"):
        load_settings(config)


def test_a_file_that_is_not_text(config: Path) -> None:
    """Nor is it TOML."""
    config.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(config)


@pytest.mark.parametrize(
    "text",
    [
        "[auth]\nkeys = ['sk-secret', 5]",
        "[auth]\nkeys = 'sk-secret'",
        "[auth]\nkey_hashes = ['sk-secret']",
        "auth = 'sk-secret'",
        "[providers.acme]\napi_key = ['sk-secret']",
        "[server]\nhost = '0.0.0.0'\n[providers.acme]\napi_key = 'sk-secret'",
        "[auth]\nkeys = ['sk-secret'",
    ],
)
def test_a_secret_is_never_said_back(config: Path, text: str) -> None:
    """Not in the message, and not in a traceback of it."""
    config.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load_settings(config)

    assert "sk-secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("key", ["sk secret", "sk-secret\\n", "\\u0000sk-secret", "sk-s\\u00e9cret", " sk-secret"])
@pytest.mark.parametrize(("table", "path"), [("auth", "auth.keys.0"), ("providers.acme", "providers.acme.api_key")])
def test_what_cannot_be_a_key(config: Path, table: str, path: str, key: str) -> None:
    """It could not be sent in a header; the setting is named, the key is not."""
    config.write_text(f"[{table}]\n" + (f'keys = ["{key}"]' if table == "auth" else f'api_key = "{key}"'))

    with pytest.raises(ConfigError) as caught:
        load_settings(config)

    assert f"{path}: has characters that no key has" in str(caught.value)
    assert "cret" not in "".join(traceback.format_exception(caught.value))


def test_settings_can_be_shown(config: Path) -> None:
    """Keys are masked wherever settings are printed."""
    settings = load(config, "[auth]\nkeys = ['sk-secret']\n[providers.acme]\napi_key = 'sk-secret'")

    assert "sk-secret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


class TestEnvironment:
    """Variables are laid over the file."""

    def test_it_wins_over_the_file(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Key by key: what it does not name stays."""
        monkeypatch.setenv(PREFIX + "SERVER__PORT", "9001")

        settings = load(config, "[server]\nport = 9000\nworkers = 3")

        assert (settings.server.port, settings.server.workers) == (9001, 3)

    def test_lists_are_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And so are tables."""
        monkeypatch.setenv(PREFIX + "AUTH__KEYS", '["sk-a", "sk-b"]')
        monkeypatch.setenv(PREFIX + "PROVIDERS__ACME__BASE_URL", "http://127.0.0.1:1")

        settings = load_settings(None)

        assert [key.get_secret_value() for key in settings.auth.keys] == ["sk-a", "sk-b"]
        assert settings.providers["acme"].base_url == "http://127.0.0.1:1"

    @pytest.mark.parametrize("name", ["AUTH__KEYS", "AUTH", "PROVIDERS"])
    def test_what_is_not_json(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The setting is named, its value is not."""
        monkeypatch.setenv(PREFIX + name, "sk-secret")

        with pytest.raises(ConfigError) as caught:
            load_settings(None)

        assert name.partition("__")[0].lower() in str(caught.value)
        assert "sk-secret" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(
        ("name", "named"),
        [("SERVER__PROT", "server.prot"), ("SERVR__PORT", "SERVR__PORT"), ("PORT", "PORT")],
    )
    def test_a_misspelt_variable_is_named(self, name: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It must not be lost in silence."""
        monkeypatch.setenv(PREFIX + name, "1")

        assert named in refuse(None)

    def test_the_configuration_file_is_named_by_one(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that worker processes find it."""
        config.write_text("[server]\nport = 9000")
        monkeypatch.setenv(CONFIG_VARIABLE, str(config))

        assert settings_from_environment().server.port == 9000


class TestExposure:
    """Who can reach the gateway, and what they must present."""

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "LocalHost", "::1"])
    def test_the_loopback_needs_no_keys(self, config: Path, host: str) -> None:
        """Only this machine can reach it."""
        assert load(config, f"[server]\nhost = '{host}'").is_loopback

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.1", "gateway.example", "127.evil.example"])
    def test_elsewhere_it_does(self, config: Path, host: str) -> None:
        """The gateway does not start without; the message says what to do."""
        message = refuse(config, f"[server]\nhost = '{host}'")

        assert "no keys are configured" in message
        assert "auth.keys" in message

    @pytest.mark.parametrize("keys", ["keys = ['sk-a']", f"key_hashes = ['{'0' * 64}']"])
    def test_with_keys_it_may_be_anywhere(self, config: Path, keys: str) -> None:
        """As keys, or as their hashes."""
        settings = load(config, f"[server]\nhost = '0.0.0.0'\n[auth]\n{keys}")

        assert settings.has_keys
        assert not settings.is_loopback
