"""What users pass for the HTTP library, checked without importing it: only `_http` does, at the first call."""

import sys
from typing import Any, Final, cast

from langchain_openrouter._warnings import warn_user
from langchain_openrouter.errors import ConfigurationError

LONGEST_PLAUSIBLE_TIMEOUT_S: Final = 3600.0
"""A longer `timeout` is taken for milliseconds by mistake, and warned about."""

LONGEST_TIMEOUT_S: Final = 1e9
"""Clocks of sockets overflow soon after (`threading.TIMEOUT_MAX` is 9.2e9 on Linux); None waits for ever."""


def check_timeout(value: object) -> None:
    """Tell what is wrong with a timeout before it is used.

    Raises:
        ConfigurationError: It is neither seconds that can be waited, nor four of them, nor a `httpx2.Timeout`.
    """
    phases = _phases_of(value)
    if (len(phases) == 4 or phases == [value]) and all(phase is None or _is_duration(phase) for phase in phases):
        return
    raise ConfigurationError(
        "timeout must be seconds, more than 0 and at most 1e9, four of them (connect, read, write, pool) or a "
        f"httpx2.Timeout, not {value!r}"
    )


def warn_of_milliseconds(value: object) -> None:
    """Warn about a timeout that can only be meant in milliseconds, as in the other package of this name."""
    if _is_httpx2(value, "Timeout"):
        return  # its documentation says seconds
    longest = max((phase for phase in _phases_of(value) if isinstance(phase, int | float)), default=0)
    if longest > LONGEST_PLAUSIBLE_TIMEOUT_S:
        warn_user(f"timeout={value} is in seconds here; did you mean {longest / 1000:g}?")


def dumpable_timeout(value: object) -> dict[str, Any]:
    """Return the argument that stands for a `httpx2.Timeout` in JSON, or nothing for what has a form there."""
    return {"request_timeout": _phases_of(value)} if _is_httpx2(value, "Timeout") else {}


def check_client(argument: str, client: object, kind: str) -> None:
    """Tell what is wrong with a client of the user before it is used.

    Raises:
        ConfigurationError: It is of another library, or synchronous where an asynchronous one is needed.
    """
    if client is not None and not _is_httpx2(client, kind):
        given = f"{type(client).__module__}.{type(client).__name__}"
        raise ConfigurationError(f"{argument} must be a httpx2.{kind}, not a {given}")


def _phases_of(value: object) -> list[object]:
    """Return the durations of a timeout: one, or as many as it has."""
    if isinstance(value, list | tuple):
        return list(cast("list[object]", value))
    return list(cast("Any", value).as_dict().values()) if _is_httpx2(value, "Timeout") else [value]


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST_TIMEOUT_S


def _is_httpx2(value: object, kind: str) -> bool:
    # Where the library has not been imported, nobody can have made one of its objects.
    library = sys.modules.get("httpx2")
    return library is not None and isinstance(value, getattr(library, kind))
