"""From the names in a request to listings of the catalogue: variants, aliases, routers.

OpenRouter API, variants, routers and aliases (2026-08-22).
"""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from openrouter_gateway.core.catalog import Catalog, Listing
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import BadRequest, ModelNotFound, RoutingError
from openrouter_gateway.routing.variants import split_variants

Strategy: TypeAlias = Literal["direct", "auto", "free", "latest", "alias", "fallback"]
"""How the model was found, in the words of OpenRouter's router metadata."""

ROUTERS: Final[dict[str, Strategy]] = {
    "openrouter/auto": "auto",
    "openrouter/auto-beta": "auto",
    "openrouter/free": "free",
}
_KEPT_AS: Final = "routing.aliases"
_NO_VARIANTS: Final[frozenset[str]] = frozenset()


class Target(Struct, frozen=True):
    """What a name stands for: a listing, or a router, which chooses among all of them (then there is no listing)."""

    name: str
    listing: Listing | None
    variants: frozenset[str] = _NO_VARIANTS
    strategy: Strategy = "direct"


def requested_names(request: ChatRequest, catalog: Catalog) -> list[str]:
    """Return the names to try, in order.

    Raises:
        BadRequest: none is given, and there is no default.
    """
    params = request.params
    if params.model and not params.models:
        return [params.model]
    names = request.requested_models
    if names:
        return names
    if catalog.default_model:
        return [catalog.default_model]
    raise BadRequest("model: no model is named, and this gateway has no default model")


def resolve(names: list[str], catalog: Catalog) -> list[Target]:
    """Return what each name stands for.

    Raises:
        BadRequest: a suffix asks for what this gateway does not do.
        ModelNotFound: a name is none of a model, alias or router.
        RoutingError: an alias has no model here.
    """
    targets: list[Target] = []
    for name in names:
        listing = catalog.listings.get(name)
        target = Target(name, listing) if listing is not None else _look_further(name, names, catalog)
        if target is None:
            raise ModelNotFound(f"{name} is not a valid model ID", requested_models=names)
        targets.append(target)
    return targets


def _look_further(name: str, names: list[str], catalog: Catalog) -> Target | None:
    base, variants = split_variants(name)
    if base in ROUTERS:
        found = Target(name, None, variants, ROUTERS[base])
    elif (listing := catalog.listings.get(base)) is not None:
        found = Target(name, listing, variants)
    elif (alias := _find_alias(base, catalog)) is not None:
        listing = catalog.listings.get(alias)
        if listing is None:
            raise RoutingError(f"{name} stands for {alias}, which this gateway does not have", requested_models=names)
        found = Target(name, listing, variants, "latest" if base.startswith("~") else "alias")
    else:
        return None
    if "online" in variants:
        raise BadRequest(f"model: {name} asks for web search, which this gateway does not do; leave ':online' out")
    return found


def _find_alias(name: str, catalog: Catalog) -> str | None:
    """Return the id that a name stands for; a static variant of an alias is that variant of its model."""
    aliases = _aliases_of(catalog)
    if name in aliases:
        return aliases[name]
    base, colon, variant = name.partition(":")
    return aliases[base] + colon + variant if colon and base in aliases else None


def _aliases_of(catalog: Catalog) -> dict[str, str]:
    """Return the catalogue's aliases, and those that its models bring: made once, kept with it."""
    derived = catalog.derived
    found: dict[str, str] | None = derived.get(_KEPT_AS)
    if found is None:
        found = dict(catalog.aliases)
        for listing in catalog.listings.values():
            model = listing.model
            for alias in (*model.aliases, model.canonical_slug):
                if alias:
                    found.setdefault(alias, model.id)
        derived[_KEPT_AS] = found
    return found
