"""What models can do, as LangChain's `ModelProfile`s, from a file that a command writes and nobody edits.

    python -m langchain_openrouter.profiles refresh --help

A profile says nothing where its source says nothing: a missing key means unknown, False means no. The file that
`OPENROUTER_MODEL_PROFILES` names comes first, for the models it lists.
"""

import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
from langchain_core.language_models import ModelProfile

from langchain_openrouter._warnings import warn_user
from langchain_openrouter.errors import ConfigurationError

__all__ = ["ModelProfile", "profile_of"]

PACKAGED: Final = Path(__file__).with_name("_profile_data.json")
OWN_FILE: Final = "OPENROUTER_MODEL_PROFILES"


class ProfileFile(msgspec.Struct, frozen=True, kw_only=True):
    """The data file: where its facts are from, and the profile of each model, still as JSON.

    A row is decoded anew for each caller, who may then change it; the hundreds that nobody asks for never are.
    """

    source: str
    profiles: dict[str, msgspec.Raw]


# Decoding to the type also drops keys that the installed langchain-core does not know and would warn about.
_PROFILE: Final = msgspec.json.Decoder(ModelProfile)
_FILE: Final = msgspec.json.Decoder(ProfileFile)


def profile_of(model: str) -> ModelProfile | None:
    """Return what is known of a model, or None; the caller owns the result.

    A variant that is not listed (`openai/gpt-4o:nitro`) has the profile of its base model, and so has a model with
    a preset (`openai/gpt-4o@preset/mine`). Routers and `~author/family-latest` have none: what they stand for
    changes.

    Warns:
        UserWarning: The file that `OPENROUTER_MODEL_PROFILES` names cannot be used (told once, then ignored).
    """
    rows = _rows(os.environ.get(OWN_FILE) or None)
    name = model.partition("@")[0]
    while name:
        if (row := rows.get(name)) is not None:
            return _PROFILE.decode(row)
        name = name.rpartition(":")[0]
    return None


@cache
def _rows(own: str | None) -> Mapping[str, msgspec.Raw]:
    packaged = _FILE.decode(PACKAGED.read_bytes()).profiles
    if own is None:
        return packaged
    try:
        return {**packaged, **_load_own(Path(own).expanduser())}
    except ConfigurationError as failure:
        # Raised, it would be lost: LangChain makes a model whatever becomes of its profile.
        warn_user(f"{OWN_FILE} is ignored: {failure}")
        return packaged


def _load_own(path: Path) -> Mapping[str, msgspec.Raw]:
    try:
        rows = _FILE.decode(path.read_bytes()).profiles
        for row in rows.values():
            _PROFILE.decode(row)
    except OSError as failure:
        raise ConfigurationError(f"cannot read {path}: {failure.strerror}") from failure
    except msgspec.DecodeError as failure:
        raise ConfigurationError(f"{path} is no file of profiles: {failure}") from failure
    return rows


if __name__ == "__main__":
    from langchain_openrouter._profile_refresh import main

    sys.exit(main())
