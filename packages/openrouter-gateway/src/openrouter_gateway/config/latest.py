"""`~author/family-latest`: the newest model of a family, among those that are offered.

A model belongs to a family when its slug without (some of) its versions is the family's name: `claude-opus-4.5` to
`claude-opus`, `deepseek-v4-flash-0731` to `deepseek-v4-flash`. The newest is the one created last, where that is known
of all of them, or else the one with the highest version; a release comes before a preview of the same version.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from openrouter_gateway.core.catalog import Model

_VERSION: Final = re.compile(r"[a-z]?(\d+(?:\.\d+)?)")
_PREVIEW: Final = frozenset({"preview", "beta", "exp"})
_PREFIX, _SUFFIX = "~", "-latest"


def newest(alias: str, models: Iterable[Model]) -> str | None:
    """Return the id of the model that an alias such as `~author/family-latest` stands for, if there is any."""
    author, _, name = alias.removeprefix(_PREFIX).partition("/")
    family = name.removesuffix(_SUFFIX).split("-")
    members: list[tuple[Model, tuple[Decimal, ...], bool]] = []
    for model in models:
        its_author, _, slug = model.id.partition("/")
        if its_author == author and ":" not in slug and (dropped := _versions(slug.split("-"), family)) is not None:
            members.append((model, *dropped))
    if not members:
        return None
    dated = all(model.created for model, _, _ in members)
    return max(members, key=lambda member: (member[0].created if dated else 0, *member[1:], member[0].id))[0].id


def _versions(words: list[str], family: list[str]) -> tuple[tuple[Decimal, ...], bool] | None:
    """Return the versions in a slug, and whether it is a release; None where it is not of the family."""
    left = list(family)
    versions: list[Decimal] = []
    release = True
    for word in words:
        if left and word == left[0]:
            left.pop(0)
        elif found := _VERSION.fullmatch(word):
            versions.append(Decimal(found[1]))
        elif word in _PREVIEW:
            release = False
        else:
            return None
    return None if left else (tuple(versions), release)
