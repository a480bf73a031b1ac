"""The models that `openrouter/auto` and `openrouter/free` choose from the catalogue.

OpenRouter ranks models by what its users spend on the kind of task at hand. A gateway has no such data: here

* `openrouter/auto` takes a band of cost (`cost_tier`, or `medium`), in it the dearest models first, since price is the
  only sign of quality that there is, then the newest. A band with no model that can serve the request gives way to
  the next cheaper one, then to dearer ones. Variants, aliases and models without a known price are no candidates
  (the latter unless there are no others). `cost_quality_tradeoff`, which OpenRouter has deprecated, is not read.
* `openrouter/free` draws among the models whose endpoints are all free.

Both route to three models: the first choice and two fallbacks.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, get_args

import msgspec
from msgspec import Struct

from openrouter_gateway.core.catalog import Catalog, Listing
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.plugins import CostTier, Plugin
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.index import UNKNOWN_COST, blend
from openrouter_gateway.routing.patterns import Patterns
from openrouter_gateway.routing.resolve import Strategy
from openrouter_gateway.routing.variants import is_static_variant, split_variants

CHOICES: Final = 3
CHOOSING: Final[frozenset[Strategy]] = frozenset({"auto", "free"})
"""The strategies of names that stand for a choice."""

_KEPT_AS: Final = "routing.candidates"
_COST_TIERS: Final[tuple[str, ...]] = get_args(CostTier)
_PLUGIN: Final = {"openrouter/auto": "auto-router", "openrouter/auto-beta": "auto-beta-router"}
_DEFAULT_TIER: Final = "medium"


class Candidates(Struct, frozen=True):
    """A catalogue's listings as routers see it: by band of cost, each in the order of preference; and the free ones."""

    bands: tuple[tuple[Listing, ...], ...]
    free: tuple[Listing, ...]


def choose_auto(
    name: str, request: ChatRequest, catalog: Catalog, facts: Facts, can_serve: Callable[[Listing], bool]
) -> list[Listing]:
    """Return the models that `openrouter/auto` routes to, at most three; none if no model can serve.

    Raises:
        BadRequest: the patterns are too long.
    """
    plugin = _find_plugin(request, _PLUGIN[split_variants(name)[0]])
    eligible = _eligible(plugin, can_serve)
    found: list[Listing] = []
    for band in _bands(plugin, catalog):
        found = _first(listing for listing in band if eligible(listing))
        if found:
            break
    remembered = facts.remembered.model if facts.remembered else None
    found.sort(key=lambda listing: listing.model.id != remembered)
    pinned = catalog.listings.get(_last_model(request) or "") if plugin.pin_model else None
    if pinned is not None and eligible(pinned):
        found = [pinned, *(listing for listing in found if listing is not pinned)]
    return found[:CHOICES]


def choose_free(catalog: Catalog, facts: Facts, can_serve: Callable[[Listing], bool]) -> list[Listing]:
    """Return the models that `openrouter/free` routes to, at most three, drawn among those that can serve."""
    return _first(listing for listing in _shuffle(_candidates_of(catalog).free, facts.dice) if can_serve(listing))


def candidates(name: str, request: ChatRequest, catalog: Catalog) -> Iterator[tuple[Listing, bool]]:
    """Yield every model that a router chooses among, and whether its plugin allows it.

    Raises:
        BadRequest: the patterns are too long.
    """
    plugin_id = _PLUGIN.get(split_variants(name)[0])
    if plugin_id is None:
        yield from ((listing, True) for listing in _candidates_of(catalog).free)
        return
    plugin = _find_plugin(request, plugin_id)
    is_allowed = _eligible(plugin, lambda _: True)
    yield from ((listing, is_allowed(listing)) for band in _bands(plugin, catalog) for listing in band)


def _find_plugin(request: ChatRequest, plugin_id: str) -> Plugin:
    for plugin in request.params.plugins or ():
        if plugin.id == plugin_id and plugin.enabled is not False:
            return plugin
    return Plugin(id=plugin_id)


def _eligible(plugin: Plugin, can_serve: Callable[[Listing], bool]) -> Callable[[Listing], bool]:
    allowed = None if plugin.allowed_models is None else Patterns(plugin.allowed_models)
    excluded = Patterns(plugin.excluded_models or ())

    def check(listing: Listing) -> bool:
        model_id = listing.model.id
        if excluded.match(model_id) or (allowed is not None and not allowed.match(model_id)):
            return False
        return can_serve(listing)

    return check


def _bands(plugin: Plugin, catalog: Catalog) -> Iterator[tuple[Listing, ...]]:
    bands = _candidates_of(catalog).bands
    wanted = _COST_TIERS.index(plugin.cost_tier or _DEFAULT_TIER)
    yield from reversed(bands[: wanted + 1])
    yield from bands[wanted + 1 :]


def _candidates_of(catalog: Catalog) -> Candidates:
    derived = catalog.derived
    found: Candidates | None = derived.get(_KEPT_AS)
    if found is None:
        found = derived[_KEPT_AS] = _find_candidates(catalog)
    return found


def _find_candidates(catalog: Catalog) -> Candidates:
    costs: list[tuple[float, Listing]] = []
    free: list[Listing] = []
    for listing in catalog.listings.values():
        model = listing.model
        if "text" not in model.output_modalities or model.id.startswith(("~", "openrouter/")):
            continue
        prices = [blend(endpoint.price) for endpoint in listing.endpoints]
        if prices and not any(prices):
            free.append(listing)
        if prices and not is_static_variant(model.id):
            costs.append((min(prices), listing))
    priced = [pair for pair in costs if pair[0] != UNKNOWN_COST] or costs
    return Candidates(_split_bands(priced), tuple(free))


def _split_bands(costs: list[tuple[float, Listing]]) -> tuple[tuple[Listing, ...], ...]:
    """Return five bands by percentile of cost."""
    costs.sort(key=lambda pair: (pair[0], pair[1].model.id))
    bands: list[list[tuple[float, Listing]]] = [[] for _ in _COST_TIERS]
    for place, pair in enumerate(costs):
        bands[place * len(bands) // len(costs)].append(pair)
    for band in bands:
        band.sort(key=lambda pair: (-pair[0], -pair[1].model.created, pair[1].model.id))
    return tuple(tuple(listing for _, listing in band) for band in bands)


def _first(listings: Iterable[Listing]) -> list[Listing]:
    found: list[Listing] = []
    for listing in listings:
        found.append(listing)
        if len(found) == CHOICES:
            break
    return found


def _shuffle(listings: tuple[Listing, ...], dice: Callable[[], float] | None) -> Iterator[Listing]:
    left = list(listings)
    while left:
        place = int(dice() * len(left)) if dice else 0
        yield left.pop(place)


def _last_model(request: ChatRequest) -> str | None:
    """Return the `model` that the last assistant message says it is from."""
    messages = msgspec.json.decode(request.fields["messages"], type=list[_Origin])
    return next((message.model for message in reversed(messages) if message.role == "assistant"), None)


class _Origin(Struct, frozen=True):
    role: str
    model: str | None = None
