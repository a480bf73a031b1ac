"""Canonical slugs, the dated names of models: found among the names that the price tables know a model by.

OpenRouter's are the id with the day behind it (`openai/gpt-5-2025-08-07`), in older ones with the words in another
order (`anthropic/claude-4.5-haiku-20251001`). Price tables list them beside names that mean other models at the same
price, so only those count that are made of the words of the id.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic

_DAY: Final = re.compile(r"-(20\d\d)-?(0[1-9]|1[0-2])-?([0-2]\d|3[01])$")
_MONTH: Final = re.compile(r"-(2[3-9])(0[1-9]|1[0-2])$")
_SHORT_DAY: Final = re.compile(r"-(0[1-9]|1[0-2])-?([0-2]\d|3[01])$")


def canonical_slug(model_id: str, names: Iterable[str]) -> str:
    """Return the earliest name that is the id with a day; the id itself if it has one, `""` if there is none."""
    base, author = model_id.partition(":")[0], model_id.partition("/")[0]
    if _DAY.search(base):
        return base
    words = _words(_SHORT_DAY.sub("", base))
    dated = [
        (found.group(1, 2, 3), place, name)
        for place, name in enumerate(names)
        if (found := _DAY.search(name)) and name.startswith(f"{author}/") and _words(_DAY.sub("", name)) == words
    ]
    return min(dated)[2] if dated else ""


def creation_of(model_id: str, slug: str) -> int:
    """Return the day in a canonical slug, or the month that an id ends in (`-2512`), in unix seconds; 0 without."""
    if found := _DAY.search(slug):
        year, month, day = (int(part) for part in found.groups())
    elif found := _MONTH.search(model_id.partition(":")[0]):
        year, month, day = 2000 + int(found[1]), int(found[2]), 1
    else:
        return 0
    try:
        return int(datetime(year, month, day, tzinfo=UTC).timestamp())
    except ValueError:  # digits that are no day
        return 0


def names_in(match: "MatchLogic") -> Iterator[str]:
    """Yield the names that a rule of the price tables matches exactly."""
    from genai_prices.types import ClauseEquals, ClauseOr

    if isinstance(match, ClauseEquals):
        yield match.equals
    elif isinstance(match, ClauseOr):
        for clause in match.or_:
            yield from names_in(clause)


def _words(name: str) -> list[str]:
    return sorted(re.split(r"[/.-]", name.lower()))
