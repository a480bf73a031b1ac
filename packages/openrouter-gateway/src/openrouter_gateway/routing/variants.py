"""Model ids with suffixes (OpenRouter API, variants, 2026-08-22).

Static variants (`:free`, `:extended`, `:thinking`, `:batch`) are models of their own in the catalogue and stay in the
id. Dynamic ones say how to route and are taken off; they stack, in any place: `author/slug:free:nitro`.
"""

from typing import Final

DYNAMIC: Final = frozenset({"nitro", "floor", "exacto", "online"})
STATIC: Final = frozenset({"free", "extended", "thinking", "batch"})


def split_variants(name: str) -> tuple[str, frozenset[str]]:
    """Return the id without its dynamic suffixes, and those. What is no suffix stays: some ids have colons."""
    base, *suffixes = name.split(":")
    dynamic = DYNAMIC.intersection(suffixes)
    return ":".join([base, *(suffix for suffix in suffixes if suffix not in dynamic)]), dynamic


def is_static_variant(model_id: str) -> bool:
    """Return whether a catalogue id is a variant of another."""
    return model_id.rpartition(":")[2] in STATIC
