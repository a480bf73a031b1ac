"""Model ids with suffixes (OpenRouter API, variants, 2026-08-22).

Static variants (`:free`, `:extended`, `:thinking`, `:batch`) are models of their own in the catalogue and stay in the
id. Dynamic ones say how to route and are taken off; they stack, in any place: `author/slug:free:nitro`.
"""

from collections.abc import Container
from typing import Any, Final

import msgspec

from openrouter_gateway.core.amend import amend
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.plugins import WEB

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


def lift_online(request: ChatRequest, known: Container[str]) -> ChatRequest:
    """Return the request with `:online` as what it stands for: the `web` plugin (OpenRouter API, variants, 2026-08-22).

    An entry for the plugin that is there already says how to search, also if it switches it off. `known` are ids of
    models, in which the suffix is part of the name.
    """
    params = request.params
    if not params.models and ":online" not in (params.model or ""):
        return request
    lifted = {
        name: _without_online(name) for name in request.requested_models if ":online" in name and name not in known
    }
    if not lifted:
        return request
    changes: dict[str, Any] = {}
    if params.model:
        changes["model"] = lifted.get(params.model, params.model)
    if params.models:
        changes["models"] = [lifted.get(name, name) for name in params.models]
    if request.plugin(WEB) is None:
        plugins: list[Any] = list(msgspec.json.decode(request.fields["plugins"])) if params.plugins else []
        changes["plugins"] = [*plugins, {"id": WEB}]
    return amend(request, changes)


def _without_online(name: str) -> str:
    base, *suffixes = name.split(":")
    return ":".join([base, *(suffix for suffix in suffixes if suffix != "online")])
