"""How long to wait for a destination that failed. Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_FIRST_S: Final = 1.0
_LONGEST_S: Final = 60.0
_LONGEST_ASKED_S: Final = 3600.0


def wait_s(failures: int, dice: float, asked_s: float | None = None) -> float:
    """Return the seconds to wait after so many failures in a row, 1 for the first.

    The wait doubles up to a minute; `dice`, from 0 to 1, takes up to half of it away, so that processes do not return
    together. What the destination asks for is honoured, up to an hour.
    """
    longest = min(_LONGEST_S, _FIRST_S * 2 ** min(failures - 1, 16))
    own = longest * (1 - dice / 2)
    return own if asked_s is None else max(own, min(asked_s, _LONGEST_ASKED_S))


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for: a number or a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - datetime.fromtimestamp(now, UTC).timestamp())
