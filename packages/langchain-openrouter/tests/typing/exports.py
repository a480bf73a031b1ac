# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""`import *` brings the public names, typed, and nothing else."""

# ruff: noqa: F403, F405 - the subject of this file
from typing import assert_type

from langchain_openrouter import *  # pyright: ignore[reportWildcardImportFromLibrary]

assert_type(ChatOpenRouter(model="acme/one", api_key="key").model, str)
assert_type(RateLimited("Too fast.").status, int | None)
preferences: ProviderPreferences = {"order": ["anthropic"]}


def rejected() -> None:
    """What type checkers must find."""
    len(chat_models)  # pyright: ignore[reportUndefinedVariable, reportUnknownArgumentType]
