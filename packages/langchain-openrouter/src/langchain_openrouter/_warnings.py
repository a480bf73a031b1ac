"""Warnings that point at the user's line, however many frames of libraries lie in between."""

import sys
import warnings
from types import FrameType
from typing import Final

_LIBRARIES: Final = frozenset({"langchain", "langchain_core", "langchain_openrouter", "pydantic"})


def warn_user(message: str) -> None:
    """Warn about code that is neither ours nor of a library that calls us."""
    # Python 3.12 has `skip_file_prefixes` for this.
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    level = 0
    while frame is not None and _library_of(frame) in _LIBRARIES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level + 1)


def _library_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
