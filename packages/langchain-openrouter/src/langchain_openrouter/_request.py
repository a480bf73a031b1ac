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

from langchain_openrouter._messages import to_wire
from langchain_openrouter.errors import ConfigurationError

Json: TypeAlias = dict[str, Any]
Header: TypeAlias = tuple[bytes, bytes]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

DEFAULT_BASE_URL: Final = "https://openrouter.ai/api/v1"

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

NOT_SENT: Final = frozenset(
    {
        "extra_body",
        "extra_headers",
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


@dataclass(frozen=True, kw_only=True, slots=True)
class WireRequest:
    """One request, ready to be sent as often as the retry policy says.

    Attributes:
        url: Absolute address.
        headers: Every header but those of the HTTP library's own making.
        body: JSON.
        timeout: What the user gave, in seconds or as an object of the HTTP library, or None.
        secret: The API key, to be kept out of errors.
    """

    url: str
    headers: list[Header] = field(repr=False)
    body: bytes = field(repr=False)
    timeout: object = None
    secret: str | None = field(default=None, repr=False)


def build_body(
    settings: Mapping[str, Any],
    messages: Iterable[BaseMessage],
    *,
    stop: list[str] | None,
    call: Mapping[str, Any],
    stream: bool,
) -> Json:
    """Return the body of a chat completion request.

    Args:
        settings: Attributes of the model by name; those that are None are not sent.
        messages: The prompt.
        stop: LangChain's own argument of every call.
        call: Arguments of this call; keys that are unknown here are fields of the body.
        stream: Whether the answer is to be streamed.

    Raises:
        ConfigurationError: A message has no form on the wire.
    """
    body: Json = {"model": settings["model_name"], "messages": to_wire(messages)}
    for name in SETTINGS:
        if (value := settings[name]) is not None:
            body[name] = value
    if (provider := settings["openrouter_provider"]) is not None:
        body["provider"] = provider
    body.update(settings["model_kwargs"])
    if stop is not None:
        body["stop"] = stop
    for name, value in call.items():
        key = _RENAMED.get(name, name)
        if key in NOT_SENT:
            continue
        if value is None:
            body.pop(key, None)
        else:
            body[key] = value
    if stream:
        body["stream"] = True
        if call.get("stream_usage", settings["stream_usage"]):
            body["stream_options"] = {"include_usage": True}
    body.update(settings["extra_body"] or {})
    body.update(call.get("extra_body") or {})
    return body


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


def build_headers(
    *,
    api_key: str | None,
    user_agent: str,
    app: Mapping[str, str | None],
    user_headers: Iterable[Mapping[str, str]] = (),
    stream: bool,
) -> list[Header]:
    """Return the headers of a request; those of the user win, whatever their case.

    Args:
        api_key: Sent as a bearer token; None for a server that needs none.
        user_agent: Name and version of this package.
        app: Attribution headers; those without a value are not sent.
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
    for headers in user_headers:
        named.update({name.lower(): value for name, value in headers.items()})
    for name, value in named.items():
        if _CONTROL.search(value):
            raise ConfigurationError(f"the header {name} holds a line break or another control character")
    return [(name.encode(), value.encode()) for name, value in named.items()]


def completions_url(base_url: str) -> str:
    """Return the address of chat completions under a base such as `https://openrouter.ai/api/v1`.

    Raises:
        ConfigurationError: The base is not an absolute http or https URL.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
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
