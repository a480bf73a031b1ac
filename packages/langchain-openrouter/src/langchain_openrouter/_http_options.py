"""What users pass for the HTTP library, checked without importing it: only `_http` does, at the first call."""

import sys
from typing import Final, cast

from langchain_openrouter._warnings import warn_user
from langchain_openrouter.errors import ConfigurationError

LONGEST_PLAUSIBLE_TIMEOUT_S: Final = 3600.0
"""A longer `timeout` is taken for milliseconds by mistake, and warned about."""


def check_timeout(value: object) -> None:
    """Tell what is wrong with a timeout before it is used.

    Raises:
        ConfigurationError: It is neither seconds, nor four of them, nor a `httpx2.Timeout`.
    """
    if isinstance(value, list | tuple):
        phases = cast("list[object]", value)
        good = len(phases) == 4 and all(phase is None or _is_duration(phase) for phase in phases)
    else:
        good = value is None or _is_duration(value) or _is_httpx2(value, "Timeout")
    if good:
        return
    raise ConfigurationError(
        f"timeout must be seconds, four of them (connect, read, write, pool) or a httpx2.Timeout, not {value!r}"
    )


def warn_of_milliseconds(value: object) -> None:
    """Warn about a timeout that can only be meant in milliseconds, as in the other package of this name."""
    if isinstance(value, int | float) and value > LONGEST_PLAUSIBLE_TIMEOUT_S:
        warn_user(f"timeout={value} is in seconds here; did you mean {value / 1000:g}?")


def check_client(argument: str, client: object, kind: str) -> None:
    """Tell what is wrong with a client of the user before it is used.

    Raises:
        ConfigurationError: It is of another library, or synchronous where an asynchronous one is needed.
    """
    if client is not None and not _is_httpx2(client, kind):
        given = f"{type(client).__module__}.{type(client).__name__}"
        raise ConfigurationError(f"{argument} must be a httpx2.{kind}, not a {given}")


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_httpx2(value: object, kind: str) -> bool:
    # Where the library has not been imported, nobody can have made one of its objects.
    library = sys.modules.get("httpx2")
    return library is not None and isinstance(value, getattr(library, kind))
