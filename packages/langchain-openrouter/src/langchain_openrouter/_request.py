"""Settings, messages and the arguments of one call turned into the bytes of a request; pure.

Rule: nothing is sent that the user did not set, and what the user set is sent as it is. An argument of a
call overrides a setting; None in a call takes the setting out of the request. Source: API digest 1.1, 0.3.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec
from langchain_core.messages import BaseMessage

from langchain_openrouter._decoding import Secrets
from langchain_openrouter._messages import to_wire
from langchain_openrouter._tools import to_response_format, to_wire_tool
from langchain_openrouter.errors import ConfigurationError

Json: TypeAlias = dict[str, Any]
Header: TypeAlias = tuple[bytes, bytes]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

DEFAULT_BASE_URL: Final = "https://openrouter.ai/api/v1"

SESSION_LIMIT: Final = 256

SETTINGS: Final[tuple[str, ...]] = (
    "models",
    "route",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "top_p",
    "top_k",
    "min_p",
    "top_a",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "stop",
    "n",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "response_format",
    "parallel_tool_calls",
    "reasoning",
    "reasoning_effort",
    "verbosity",
    "modalities",
    "image_config",
    "audio",
    "prediction",
    "plugins",
    "transforms",
    "web_search_options",
    "service_tier",
    "cache_control",
    "user",
    "session_id",
    "trace",
)
"""Attributes of the model that go into the body under their own name."""

_RENAMED: Final[Mapping[str, str]] = {
    "openrouter_provider": "provider",
    "model_name": "model",
    "stop_sequences": "stop",
}

_HEADERS: Final = ("default_headers", "http_headers", "extra_headers")
"""Arguments of a call that hold headers; the second one is the name in 0.2 versions of this package."""

_METADATA: Final = "x_open_router_metadata"
"""The name of those versions for the header that asks for `openrouter_metadata` (API digest 9.8)."""

UNTRACED: Final = frozenset({*_HEADERS, "http_client", "http_async_client"})
"""Arguments of a call that tracers must not record: secrets and sockets."""

_STEERING: Final = frozenset(
    {
        *UNTRACED,
        _METADATA,
        "app_categories",
        "app_title",
        "app_url",
        "extra_body",
        "max_retries",
        "request_timeout",
        "stream",
        "stream_usage",
        "timeout",
        "ls_structured_output_format",
        "structured_output_format",
    }
)
"""Arguments of a call that steer the client and are no field of the body."""


_INSTEAD: Final[Mapping[str, str]] = {
    "client": "http_client",
    "retries": "max_retries",
    "server_url": "base_url",
    "timeout_ms": "timeout, which is in seconds",
}
"""Arguments of the library under 0.2 versions of this package, and what to give here."""

_CONSTRUCTOR_INSTEAD: Final[Mapping[str, str]] = {
    **_INSTEAD,
    **dict.fromkeys((*_HEADERS[1:], _METADATA), "default_headers"),
}


def refuse_old_names(names: Iterable[str], *, call: bool) -> None:
    """Refuse arguments that 0.2 versions of this package took and the body must not hold.

    Raises:
        ConfigurationError: It says what to give instead.
    """
    instead = _INSTEAD if call else _CONSTRUCTOR_INSTEAD
    if old := sorted(instead.keys() & set(names)):
        raise ConfigurationError("; ".join(f"{name}: give {instead[name]}" for name in old))


def client_arguments(fields: Mapping[str, str | None]) -> frozenset[str]:
    """Return the names that belong to the constructor only: a call that has one is refused.

    Args:
        fields: Every field of the model and its alias.
    """
    names = {*fields, *(alias for alias in fields.values() if alias)}
    sent = {*SETTINGS, *_RENAMED, *_RENAMED.values()}
    return frozenset(names - sent - _STEERING)


@dataclass(frozen=True, kw_only=True, slots=True)
class WireRequest:
    """One request, ready to be sent as often as the retry policy says.

    Attributes:
        url: Absolute address.
        headers: Every header but those of the HTTP library's own making.
        body: JSON.
        timeout: What the user gave, in seconds or as an object of the HTTP library, or None.
        secrets: The API key and the like, to be kept out of errors.
    """

    url: str
    headers: list[Header] = field(repr=False)
    body: bytes = field(repr=False)
    timeout: object = None
    secrets: Secrets = field(default=(), repr=False)


def build_body(
    settings: Mapping[str, Any],
    messages: Iterable[BaseMessage],
    *,
    stop: list[str] | None,
    call: Mapping[str, Any],
    stream: bool,
    refused: frozenset[str] = frozenset(),
) -> Json:
    """Return the body of a chat completion request.

    Args:
        settings: Attributes of the model by name; those that are None are not sent.
        messages: The prompt.
        stop: LangChain's own argument of every call.
        call: Arguments of this call; keys that are unknown here are fields of the body.
        stream: Whether the answer is to be streamed.
        refused: Names of constructor arguments, see `client_arguments`; among them is the key.

    Raises:
        ConfigurationError: A message has no form on the wire, or a call has an argument of the constructor.
    """
    if misplaced := sorted(refused & call.keys()):
        raise ConfigurationError(f"{', '.join(misplaced)}: for the constructor of the model, not for a call")
    refuse_old_names(call, call=True)
    body: Json = {"model": settings["model_name"], "messages": to_wire(messages)}
    for name in SETTINGS:
        if (value := settings[name]) is not None:
            body[name] = value
    if (provider := settings["openrouter_provider"]) is not None:
        body["provider"] = provider
    body.update(settings["model_kwargs"])
    if stop is not None:
        body["stop"] = stop
    _lay_over(body, call)
    if stream:
        body["stream"] = True
        if call.get("stream_usage", settings["stream_usage"]):
            body.setdefault("stream_options", {"include_usage": True})
    body.update(settings["extra_body"] or {})
    body.update(call.get("extra_body") or {})
    check_session(body.get("session_id"))
    return body


def check_session(session_id: object) -> None:
    """Refuse a session id that the API would refuse.

    Raises:
        ConfigurationError: It is longer than 256 characters (API digest 1.1).
    """
    if isinstance(session_id, str) and len(session_id) > SESSION_LIMIT:
        raise ConfigurationError(f"session_id takes {SESSION_LIMIT} characters, not {len(session_id)}")


def _lay_over(body: Json, call: Mapping[str, Any]) -> None:
    for name, value in call.items():
        key = _RENAMED.get(name, name)
        if key in _STEERING:
            continue
        if value is None:
            body.pop(key, None)
        elif key == "tools" and isinstance(value, list | tuple):
            # Dicts travel as they are; classes and functions become what `bind_tools` makes of them.
            tools = cast("list[Any]", value)
            body[key] = [tool if isinstance(tool, Mapping) else to_wire_tool(tool) for tool in tools]
        elif key == "response_format" and isinstance(value, type):
            body[key] = to_response_format(value)
        else:
            body[key] = value


def encode_body(body: Json) -> bytes:
    """Return a body as JSON.

    Raises:
        ConfigurationError: It holds a value that JSON has no form for.
    """
    try:
        return msgspec.json.encode(body, enc_hook=_plain)
    except (TypeError, ValueError, OverflowError) as cause:
        raise ConfigurationError(f"the request cannot be written as JSON: {cause}") from cause


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    raise TypeError(f"a value of type {type(value).__name__} is not JSON")


def app_headers(settings: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the headers that tell the API which application asks (API digest 0.3); a call overrides a setting."""
    url, title, categories = (call.get(name, settings[name]) for name in ("app_url", "app_title", "app_categories"))
    listed = categories if isinstance(categories, str) else ",".join(categories or ())
    return {"http-referer": url, "x-title": title, "x-openrouter-categories": listed}


def user_headers(settings: Mapping[str, Any], call: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Return the headers of the model, then those of the call."""
    given = [settings["default_headers"], *(call.get(name) for name in _HEADERS)]
    if (wanted := call.get(_METADATA)) is not None:
        given.append({"x-openrouter-metadata": wanted})
    return [headers for headers in given if headers]


def build_headers(
    *,
    api_key: str | None,
    user_agent: str,
    app: Mapping[str, str | None],
    trace: Mapping[str, str],
    user_headers: Iterable[Mapping[str, str]] = (),
    stream: bool,
) -> list[Header]:
    """Return the headers of a request; those of the user win, whatever their case.

    Args:
        api_key: Sent as a bearer token; None for a server that needs none.
        user_agent: Name and version of this package.
        app: Attribution headers; those without a value are not sent.
        trace: Headers that place the request in a trace of the caller's.
        user_headers: Headers of the model, then those of the call.
        stream: Whether the answer is a stream, which must not be compressed: a compressor holds text back.

    Raises:
        ConfigurationError: A header holds a line break or another control character.
    """
    named: dict[str, str] = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        "accept-encoding": "identity" if stream else "gzip, deflate",
        "user-agent": user_agent,
    }
    if api_key:
        named["authorization"] = f"Bearer {api_key}"
    named.update({name.lower(): value for name, value in app.items() if value})
    named.update(trace)
    for headers in user_headers:
        named.update({name.lower(): value for name, value in headers.items()})
    for name, value in named.items():
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users' dicts are unchecked
            raise ConfigurationError(f"the header {name} must be a string, not a {type(value).__name__}")
        if _CONTROL.search(value):
            raise ConfigurationError(f"the header {name} holds a line break or another control character")
    return [(name.encode(), value.encode()) for name, value in named.items()]


def completions_url(base_url: str) -> str:
    """Return the address of chat completions under a base such as `https://openrouter.ai/api/v1`.

    Raises:
        ConfigurationError: The base is not an absolute http or https URL, or more than that.
    """
    try:
        parts = urlsplit(base_url)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ConfigurationError(f"base_url must be an http or https URL such as {DEFAULT_BASE_URL}") from None
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError("base_url must not hold a user, a query or a fragment")  # nor show them
    if not whole:
        raise ConfigurationError(f"base_url must be an http or https URL such as {DEFAULT_BASE_URL}, not {base_url!r}")
    return f"{base_url.rstrip('/')}/chat/completions"


def is_loopback(base_url: str) -> bool:
    """Tell whether a base URL names this machine, where a server may run without keys."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
