"""Values that several sections of the configuration have, and what all sections are made of."""

from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from openrouter_gateway.core.chat import QUANTIZATIONS

NO_KEY: Final = "has characters that no key has: only visible ASCII, without spaces, can be sent in a header"
"""Why a key is refused. Never says the key."""


def is_key(text: str) -> bool:
    """Return whether a text can be sent as a key; an empty one is none at all, which is fine."""
    return all("!" <= character <= "~" for character in text)


def _check_key(key: SecretStr) -> SecretStr:
    if not is_key(key.get_secret_value()):
        raise ValueError(NO_KEY)
    return key


def _check_base_url(url: str) -> str:
    """Raise `ValueError` for what requests cannot be sent below. The value is not said: it may hold a password."""
    if not is_key(url):
        raise ValueError("a URL has no spaces and no characters outside ASCII")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be http:// or https:// and a host, as in https://api.example.com/v1")
    if parts.query or parts.fragment:
        raise ValueError("paths are appended to it, so it cannot have a query or a fragment")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("its port is not a number from 0 to 65535") from None
    return url


def _check_switch(value: object) -> bool:
    """Raise `ValueError` for what could be meant either way. Variables of the environment are text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _SPELT:
        return _SPELT[value.lower()]
    raise ValueError("must be true or false")


def _check_quantization(name: str) -> str:
    """Raise `ValueError` for what no request could name: `provider.quantizations` would never find the endpoint."""
    if name.lower() not in QUANTIZATIONS:
        raise ValueError(f"must be one of {', '.join(sorted(QUANTIZATIONS))}")
    return name.lower()


_SPELT: Final = {"true": True, "false": False}
Switch: TypeAlias = Annotated[bool, BeforeValidator(_check_switch)]
"""A setting that decides where prompts may go: nothing else than true or false, in the environment by name."""
Key: TypeAlias = Annotated[SecretStr, AfterValidator(_check_key)]
BaseURL: TypeAlias = Annotated[str, AfterValidator(_check_base_url)]
Quantization: TypeAlias = Annotated[str, AfterValidator(_check_quantization)]
InputModality: TypeAlias = Literal["text", "image", "file", "audio", "video"]
"""What parts of messages may be."""


class Section(BaseModel):
    """A table of the file: keys that are not known are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
