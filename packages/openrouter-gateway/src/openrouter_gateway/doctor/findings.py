"""What a check found."""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from openrouter_gateway.errors import ConfigError

Standing: TypeAlias = Literal["ok", "warning", "failure", "skipped"]

OFFLINE: Final = "not asked, because of --offline"


class Finding(Struct, frozen=True, kw_only=True):
    """One line of the report. Neither text has a secret, or anything that a stranger wrote."""

    check: str
    standing: Standing
    message: str
    remedy: str | None = None


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check=check, standing="ok", message=message)


def skipped(check: str, message: str) -> Finding:
    """Nobody looked."""
    return Finding(check=check, standing="skipped", message=message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """The gateway works, if not as well as it could."""
    return Finding(check=check, standing="warning", message=message, remedy=remedy)


def failure(check: str, message: str, remedy: str | None = None) -> Finding:
    """The gateway does not start, or a part of it does not work."""
    return Finding(check=check, standing="failure", message=message, remedy=remedy)


def refused(check: str, error: ConfigError) -> Finding:
    """A setting is wrong; the error says where, and how it should be."""
    return failure(check, " ".join(str(error).split()))
