"""What the models of Anthropic's API take and refuse, by family and version.

The API answers 400 to settings that a model does not know, so requests are fitted to the model. Sources, 2026-11:
platform.claude.com/docs/en/build-with-claude/{thinking,extended-thinking,effort,structured-outputs,
mid-conversation-system-messages}, .../docs/en/models/{opus-5-5,sonnet-5-5}/migration-guide, and OpenRouter's
migration guides for Claude 4.6, 4.7, Opus 5, Sonnet 5 and 5.5.
"""

import re
from functools import lru_cache
from typing import Final, Literal

from msgspec import Struct

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")


class Abilities(Struct, frozen=True, kw_only=True):
    """What one model takes. `known`: it is a Claude.

    `budgets`: `thinking.budget_tokens`. `adaptive`: thinking without a budget. `unasked`: it thinks unless told not to.
    `off`: how it is told, None where that is refused. `hides`: the text of thinking is left out unless asked for.
    `efforts`: levels of `output_config.effort`. `sampling`: temperature, top_p and top_k; `one_sampler`: not
    temperature and top_p at once. `formats`: `output_config.format`. `turns`: system messages after the first turn.
    """

    known: bool = True
    budgets: bool = True
    adaptive: bool = False
    unasked: bool = False
    off: Literal["disabled", "between_tools"] | None = "disabled"
    hides: bool = False
    efforts: tuple[str, ...] = ()
    sampling: bool = True
    one_sampler: bool = False
    formats: bool = True
    turns: bool = False


_WITHOUT_XHIGH: Final = ("low", "medium", "high", "max")

_UNKNOWN: Final = Abilities(known=False)
"""Not a Claude: other servers of this dialect take what its first years had."""
_3: Final = Abilities(budgets=False, formats=False)
_3_7: Final = Abilities(formats=False)
_4_1: Final = Abilities(formats=False, one_sampler=True)
_4_5: Final = Abilities(one_sampler=True)
_OPUS_4_5: Final = Abilities(one_sampler=True, efforts=("low", "medium", "high"))
_4_6: Final = Abilities(one_sampler=True, adaptive=True, efforts=_WITHOUT_XHIGH)
_4_7: Final = Abilities(budgets=False, adaptive=True, hides=True, efforts=EFFORTS, sampling=False)
_4_8: Final = Abilities(budgets=False, adaptive=True, hides=True, efforts=EFFORTS, sampling=False, turns=True)
_5: Final = Abilities(
    budgets=False, adaptive=True, unasked=True, hides=True, efforts=EFFORTS, sampling=False, turns=True
)
_BETWEEN_TOOLS: Final = Abilities(
    budgets=False,
    adaptive=True,
    unasked=True,
    off="between_tools",
    hides=True,
    efforts=EFFORTS,
    sampling=False,
    turns=True,
)
_ALWAYS: Final = Abilities(
    budgets=False, adaptive=True, unasked=True, off=None, hides=True, efforts=EFFORTS, sampling=False, turns=True
)

# Since which version a family is like that, newest first.
_SINCE: Final[dict[str, tuple[tuple[tuple[int, int], Abilities], ...]]] = {
    "opus": (
        ((5, 5), _ALWAYS),
        ((5, 0), _5),
        ((4, 8), _4_8),
        ((4, 7), _4_7),
        ((4, 6), _4_6),
        ((4, 5), _OPUS_4_5),
        ((4, 1), _4_1),
        ((3, 7), _3_7),
    ),
    "sonnet": (
        ((5, 5), _BETWEEN_TOOLS),
        ((5, 0), _5),
        ((4, 6), _4_6),
        ((4, 5), _4_5),
        ((3, 7), _3_7),
    ),
    "haiku": (
        ((5, 0), _5),
        ((4, 5), _4_5),
    ),
    "fable": (((0, 0), _ALWAYS),),
    "mythos": (((0, 0), _ALWAYS),),
}

# Before the family until 3.7, after it since 4; a date of eight digits may follow.
_NAME: Final = re.compile(
    r"claude-(?:(?P<early>\d)(?:[.-](?P<early_minor>\d))?-)?"
    r"(?P<family>opus|sonnet|haiku|fable|mythos)"
    r"(?:-(?P<major>\d)(?:[.-](?P<minor>\d{1,2}))?(?!\d))?"
)


@lru_cache(maxsize=1024)
def abilities_of(*names: str) -> Abilities:
    """Return what a model takes; the first of its names that is a Claude's decides.

    A family without a version is taken for its newest one.
    """
    for name in names:
        found = _NAME.search(name.lower())
        if found is not None:
            rows = _SINCE[found["family"]]
            major = found["major"] or found["early"]
            if major is None:
                return rows[0][1]
            version = int(major), int(found["minor"] or found["early_minor"] or 0)
            return next((row for since, row in rows if version >= since), _3)
        if "claude" in name.lower():
            return _3
    return _UNKNOWN


def fit_effort(wanted: str, abilities: Abilities) -> str | None:
    """Return the highest level that the model knows and that is not above the wanted one; None: it knows none.

    `minimal` is Anthropic's lowest, as at OpenRouter (migration guide for Claude 4.6, 2026-06-22).
    """
    wanted = "low" if wanted == "minimal" else wanted
    if wanted not in EFFORTS:
        return None
    below = EFFORTS[: EFFORTS.index(wanted) + 1]
    return next((level for level in reversed(below) if level in abilities.efforts), None)
