"""What a kind of destination is: its configuration, and pure functions from traces to HTTP requests and back."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias
from typing import Protocol as Interface
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from openrouter_gateway.broadcast.spans import Trace
from openrouter_gateway.broadcast.terms import Terms

Verdict: TypeAlias = Literal["accepted", "retry", "rejected"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What header names are made of (RFC 9110, 5.6.2)."""

_OF_MESSAGES: Final = frozenset({"content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"})
"""Headers that say how a request is sent: who sends it knows that (RFC 9112, 6; RFC 9110, 7.8 and 10.1)."""

_DATA_AT_FAULT: Final = frozenset({400, 413, 415, 422})
"""Sending the same again cannot help. What is wrong with a request's address or headers, an operator can put right."""

_USERINFO: Final = re.compile(r"(?<=://)[^/?#]*@")
_QUERY_VALUE: Final = re.compile(r"([?&][^=&#]*=)[^&#]+")

Text: TypeAlias = Annotated[str, Meta(min_length=1)]


class InvalidConfig(ValueError):
    """A configuration cannot be used. The message names the field and quotes no value."""


class Secret:
    """A credential: its text is had by `reveal` alone."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret('********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self) -> str:
        """Return the text, for a request."""
        return self._text


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What all configurations have: headers to send along (OpenRouter API, 2026-11-27). Values may be credentials."""

    headers: dict[str, Secret] = {}


class Part(Struct, frozen=True, kw_only=True):
    """One trace, encoded. `name` is what it is to be stored as, where destinations store things by name."""

    body: bytes
    name: str = ""


class Payload(Struct, frozen=True, kw_only=True, array_like=True):
    """What one request carries: no credentials are in it, so it may be kept on disk. `traces` says how many.

    `terms` are the courier's: on which it was encoded.
    """

    body: bytes
    traces: int
    name: str = ""
    terms: Terms | None = None


class HTTPRequest(Struct, frozen=True, kw_only=True):
    """A request, with its credentials."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<HTTPRequest {self.method} of {len(self.body)} bytes>"


class Kind(Interface):
    """A kind of destination. Nothing here does I/O; times are unix seconds.

    `most` is how many traces one request may carry, `connections` how many requests may be under way.
    """

    @property
    def name(self) -> str:
        """The `type` of the API."""
        ...

    @property
    def config(self) -> type[Config]:
        """What configures it."""
        ...

    @property
    def most(self) -> int: ...  # noqa: D102 - see the class

    @property
    def connections(self) -> int: ...  # noqa: D102 - see the class

    def check(self, config: Any) -> None:
        """Raise `InvalidConfig` for what its types do not show."""
        ...

    def encode(self, config: Any, trace: Trace) -> Part:
        """Encode one trace."""
        ...

    def join(self, config: Any, parts: Sequence[Part]) -> Payload:
        """Put traces together, `most` at most."""
        ...

    def request(self, config: Any, payload: Payload, now: float) -> HTTPRequest:
        """Return the request that delivers a payload."""
        ...

    def trial(self, config: Any, now: float) -> HTTPRequest:
        """Return a request that shows whether the destination can be used, and leaves no trace behind."""
        ...

    def passes(self, status: int) -> bool:
        """Return whether the answer to `trial` shows that it can."""
        ...


def judge(status: int) -> Verdict:
    """Return what an answer means for what was sent.

    What is not at fault itself is kept and tried again, within the limits of the queue: also when the key or the
    address is wrong, because the operator may put that right. Redirects are not followed.
    """
    if 200 <= status < 300:
        return "accepted"
    return "rejected" if status in _DATA_AT_FAULT else "retry"


def parse_config(kind: Kind, fields: Mapping[str, Any]) -> Config:
    """Return the configuration that fields as the API takes them stand for.

    Raises:
        InvalidConfig: a field is missing, not known, or cannot be used.
    """
    try:
        config = msgspec.convert(dict(fields), kind.config, dec_hook=_to_secret)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"config: {error}") from None
    for name, value in config.headers.items():
        if not _TOKEN.fullmatch(name) or not is_sendable(value.reveal()):
            raise InvalidConfig("config.headers: a name or value has characters that cannot be sent")
        if name.lower() in _OF_MESSAGES:
            raise InvalidConfig(f"config.headers: {name} is for the gateway to say")
    kind.check(config)
    return config


def _to_secret(wanted: type, value: Any) -> Any:
    if wanted is Secret and isinstance(value, str) and value:
        if not is_sendable(value):
            raise ValueError("has characters that cannot be sent")
        return Secret(value)
    raise ValueError("must be a text that is not empty")


def is_sendable(text: str) -> bool:
    """Return whether a text can be a header's value: visible ASCII and spaces."""
    return all(" " <= character <= "~" for character in text)


def check_url(text: str, field: str) -> str:
    """Return a URL that requests can be sent to.

    Raises:
        InvalidConfig: it is none. Its value is not quoted: it may hold a password.
    """
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise InvalidConfig(f"config.{field}: is not a valid URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not all("!" <= char <= "~" for char in text):
        raise InvalidConfig(f"config.{field}: must be http:// or https:// and a host")
    return text


def join_url(base: str, path: str) -> str:
    """Return a base URL with a path appended."""
    return base.rstrip("/") + path


def basic_auth(user: str, password: str) -> str:
    """Return the value of an `Authorization` header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def with_headers(own: Mapping[str, str], config: Config) -> dict[str, str]:
    """Return a request's headers; the operator's win over ours of the same name."""
    theirs = {name: value.reveal() for name, value in config.headers.items()}
    taken = {name.lower() for name in theirs}
    return {name: value for name, value in own.items() if name.lower() not in taken} | theirs


def secret_fields(kind: Kind) -> frozenset[str]:
    """Return the names, as the API spells them, of fields that hold a credential."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind.config) if _holds_secret(field.type))


def _holds_secret(annotation: Any) -> bool:
    return annotation is Secret or Secret in getattr(annotation, "__args__", ())


def mask_config(kind: Kind, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as it may be shown."""
    secret = secret_fields(kind)
    return {name: _mask(value, secret=name in secret) for name, value in fields.items()}


def _mask(value: Any, *, secret: bool) -> Any:
    if isinstance(value, dict):
        return {name: _mask(held, secret=True) for name, held in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, str):
        return value
    return mask_text(value) if secret else mask_url(value)


def mask_text(text: str) -> str:
    """Return a form to know a credential by: its ends, if it is long enough to have a middle."""
    return f"{text[:4]}...{text[-4:]}" if len(text) >= 20 else "********"


def mask_url(text: str) -> str:
    """Return a URL without user and password and what its query says: all may be credentials. Other texts stay."""
    return _QUERY_VALUE.sub(r"\1********", _USERINFO.sub("********@", text)) if "://" in text else text


def merge_config(kind: Kind, known: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration after a change; masked values in it mean what they mask (OpenRouter API, 2026-11-27)."""
    shown = mask_config(kind, known)
    merged = dict(known)
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(known.get(name), dict):
            held, masked = known[name], shown[name]
            merged[name] = {  # pyright: ignore[reportUnknownVariableType]
                key: held[key] if key in held and text == masked[key] else text
                for key, text in value.items()  # pyright: ignore[reportUnknownVariableType]
            }
        elif name not in shown or value != shown[name]:
            merged[name] = value
    return merged
