"""Patterns of model ids such as `anthropic/*` or `*/claude-*` (OpenRouter API, auto router, 2026-08-22)."""

from collections.abc import Iterable
from typing import Final

from openrouter_gateway.errors import BadRequest

_MAX_CHARACTERS: Final = 65_536


class Patterns:
    """Some patterns; `*` stands for any characters, none among them. Matching takes linear time.

    Raises:
        BadRequest: they are longer than 65,536 characters together.
    """

    __slots__ = ("_exact", "_others", "_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = list(patterns)
        if sum(map(len, patterns)) > _MAX_CHARACTERS:
            raise BadRequest(f"plugins: the patterns of models are longer than {_MAX_CHARACTERS} characters together")
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.find("*") == len(pattern) - 1 >= 0)
        self._others = [pattern.split("*") for pattern in patterns if 0 <= pattern.find("*") < len(pattern) - 1]

    def match(self, name: str) -> bool:
        """Return whether one of them does."""
        return (
            name in self._exact
            or name.startswith(self._prefixes)
            or any(_matches(name, pieces) for pieces in self._others)
        )


def _matches(name: str, pieces: list[str]) -> bool:
    """Return whether the pieces are in a name, in this order, the first at its start and the last at its end."""
    first, *middle, last = pieces
    if not (name.startswith(first) and name.endswith(last)):
        return False
    place, end = len(first), len(name) - len(last)
    for piece in middle:
        place = name.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return place <= end
