r"""Patterns that operators write, matched in time that grows with the text and never faster than that.

Python's own engine can take exponential time. RE2 cannot, and so lacks what makes for it: look-around and
back-references (github.com/google/re2/wiki/Syntax, 2026-11-27). `\w`, `\d`, `\s` and `\b` know ASCII alone there.
"""

from collections.abc import Callable
from typing import Any, Final

import re2 as _untyped  # pyright: ignore[reportMissingTypeStubs]

_re2: Any = _untyped

_LARGEST: Final = 2000
"""Instructions of a compiled pattern: each may cost its time for each character."""
_ERROR: Final[type[Exception]] = _re2.error
_LACKING: Final = ("invalid perl operator", "invalid escape sequence")
"""What RE2 says of syntax that it does not have."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Return whether a text has a match of a pattern anywhere, as a function. `$` is also before a last line's end.

    Raises:
        ValueError: the pattern is none, or has what RE2 does not have; the message says what.
    """
    options: Any = _re2.Options()
    options.log_errors = False
    options.never_capture = True  # whether there is a match is all that is asked
    try:
        compiled: Any = _re2.compile(pattern.encode(), options)
    except UnicodeEncodeError:
        raise ValueError("it has half a character") from None
    except _ERROR as error:
        raise ValueError(_explain(error)) from None
    if compiled.programsize > _LARGEST:
        raise ValueError("it is too large")
    forgives = r"\z" not in pattern

    def search(text: str) -> bool:
        encoded = text.encode("utf-8", "replace")
        if compiled.search(encoded) is not None:
            return True
        # RE2's `$` is the very end
        return forgives and encoded.endswith(b"\n") and compiled.search(encoded[:-1]) is not None

    return search


def _explain(error: Exception) -> str:
    said: object = error.args[0] if error.args else ""
    reason = (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said))[:100]
    if reason.startswith(_LACKING):
        return f"{reason}: patterns are RE2's, without look-around and back-references"
    return reason
