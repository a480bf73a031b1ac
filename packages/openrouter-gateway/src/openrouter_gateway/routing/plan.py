"""The route plan: the endpoints of the requested models in the order in which to try them, and why not the others.

OpenRouter API, provider routing (2026-08-22). The steps: names to listings (`resolve`, `routers`), filters
(`filters`), order (`order`) within each model or across all. Preferences that only order endpoints never fail a
request; those that exclude endpoints do, and say which preference it was.
"""

from collections import Counter
from functools import cached_property
from operator import attrgetter
from typing import Final

from msgspec import Struct

from openrouter_gateway.core.catalog import Catalog, Endpoint, Listing, Tier
from openrouter_gateway.core.chat import ChatRequest, ProviderPreferences, Sort, SortBy
from openrouter_gateway.errors import ConstraintFiltered, PrivacyRestricted, RoutingError
from openrouter_gateway.routing.demand import Demand, read_demand
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.filters import Cut, Removal, TierWish, select
from openrouter_gateway.routing.index import ListingIndex, Row, index_of
from openrouter_gateway.routing.order import Arrangement, Ordering, Wish, arrange, read_cutoffs
from openrouter_gateway.routing.resolve import Strategy, Target, requested_names
from openrouter_gateway.routing.routers import CHOOSING, candidates, choose_auto, choose_free
from openrouter_gateway.routing.rules import NO_PREFERENCES, Reason, build_rules
from openrouter_gateway.routing.tasks import check_output, resolve_for, wrong_router

__all__ = ["Removal", "RoutePlan", "draft_route", "plan_route", "refusal_of"]

_NO_FACTS: Final = Facts()
_ENDPOINT_OF: Final = attrgetter("endpoint")
_DEFAULT_WISH: Final = Wish()
_DEFAULT_WISH_WITH_TOOLS: Final = Wish(tools=True)
_PRIORITY: Final = frozenset({"priority", "fast"})
_FLEX_ALONE: Final = Reason(
    "allowed_providers", lambda _endpoint, _: "comes behind the first, and service tier flex has no fallbacks"
)
_FIRST_ALONE: Final = Reason(
    "allowed_providers", lambda _endpoint, _: "comes behind the first, and provider.allow_fallbacks is false"
)


_EXCLUDED_MODEL: Final = Reason(
    "allowed_providers", lambda _endpoint, _: "is of a model that the router's plugin does not allow", "plugins"
)
_FEATURELESS: Final = Reason(
    "require_parameters",
    lambda _, demand: f"does not support {' and '.join(' or '.join(names) for names in demand.preferred)}",
)
_NO_CHOICE: Final = "No models match your request and model restrictions"
_MOST_TOLD: Final = 20


class RoutePlan(Struct, frozen=True, dict=True):
    """Endpoints in the order in which to try them; at least one, but for a draft.

    `requested` are the names as they came, `strategy` and `router` how they were understood, `ordering` and
    `arrangements` (one per model, or one for all) why the order is as it is. `plugins` are those switched on. The
    limits are seconds for the shell to enforce.
    """

    endpoints: tuple[Endpoint, ...]
    cuts: tuple[Cut, ...] = ()
    allow_fallbacks: bool = True
    requested: tuple[str, ...] = ()
    strategy: Strategy = "direct"
    router: str | None = None
    ordering: Ordering = "balanced"
    arrangements: tuple[Arrangement, ...] = ()
    prompt_tokens: int = 0
    plugins: tuple[str, ...] = ()
    attempt_limit_s: float | None = None
    request_limit_s: float | None = None

    @cached_property
    def removed(self) -> tuple[Removal, ...]:
        """What was taken out, each endpoint once, with the reason; worked out when asked for."""
        kept = {id(endpoint) for endpoint in self.endpoints}
        found: dict[int, Removal] = {}
        for cut in self.cuts:
            for removal in cut.removals():
                if id(removal.endpoint) not in kept:
                    found.setdefault(id(removal.endpoint), removal)
        return tuple(found.values())


def plan_route(request: ChatRequest, catalog: Catalog, facts: Facts = _NO_FACTS) -> RoutePlan:
    """Return the plan of a request. It depends on the arguments alone.

    Raises:
        BadRequest: no model is named and there is no default; a preference is malformed or asks for what is not done.
        ModelNotFound: one of the requested models is not in the catalogue.
        WrongEndpoint: one of them does something else than what is asked for.
        ConstraintFiltered: nothing is left of the endpoints.
        RoutingError: an alias or router has no model, a model has no endpoint.
    """
    plan = draft_route(request, catalog, facts)
    if not plan.endpoints:
        raise refusal_of(plan)
    return plan


def draft_route(request: ChatRequest, catalog: Catalog, facts: Facts = _NO_FACTS) -> RoutePlan:
    """Return the plan of a request, also when no endpoint is left; what else is wrong raises as in `plan_route`."""
    names = requested_names(request, catalog)
    params = request.params
    draft = _Draft(request, catalog, facts)
    for target in resolve_for(request, names, catalog):
        draft.add(target)
    arrangements, endpoints = draft.arrange()
    return RoutePlan(
        endpoints,
        tuple(draft.cuts),
        draft.allow_fallbacks,
        tuple(names),
        "fallback" if len(names) > 1 else draft.strategy or "direct",
        draft.router,
        draft.ordering,
        arrangements,
        draft.demand.prompt_tokens,
        tuple(p.id for p in params.plugins if p.enabled is not False) if params.plugins else (),
        facts.attempt_limit_s,
        facts.request_limit_s,
    )


def refusal_of(plan: RoutePlan) -> RoutingError:
    """Return the error of a draft without endpoints: a 404, or a 400 when the request is too long for every one."""
    requested = list(plan.requested)
    chosen = plan.router is not None and plan.strategy in CHOOSING
    if not plan.removed:
        message = _NO_CHOICE if chosen else f"{requested[0]} has no endpoints here"
        return RoutingError(message, requested_models=requested)
    reasons = list(dict.fromkeys(removal.excluded_by for removal in plan.removed))
    detail = _tell(plan.removed)
    types = {cut.reason.error_type for cut in plan.cuts}
    too_long = types.pop() if len(types) == 1 else None
    summary = "The request is too long for" if too_long else "No allowed providers are available for"
    emptied_by = {id(cut.index): cut.reason for cut in plan.cuts}.values()  # the last of each model
    fields = {reason.field for reason in emptied_by}
    kind = PrivacyRestricted if all(reason.is_privacy for reason in emptied_by) else ConstraintFiltered
    error = kind(
        f"{_NO_CHOICE if chosen else f'{summary} the selected model'}. {detail}",
        requested_models=requested,
        excluded_by=reasons,
        detail=detail,
        field=fields.pop() if len(fields) == 1 else None,
    )
    if too_long:
        error.status, error.error_type = 400, too_long
    return error


def _tell(removed: tuple[Removal, ...]) -> str:
    """Return every endpoint with its reason, or how many there are of each reason where that would be a long list."""
    lines = dict.fromkeys(f"{removal.endpoint.tag}: {removal.detail}" for removal in removed)
    if len({removal.endpoint.model_id for removal in removed}) > 1:
        lines = [f"{found.endpoint.model_id} at {found.endpoint.tag}: {found.detail}" for found in removed]
    if len(lines) <= _MOST_TOLD:
        return "; ".join(lines)
    counts = Counter(removal.detail for removal in removed)
    told = [f"{detail} ({count} endpoints)" for detail, count in counts.most_common(_MOST_TOLD)]
    return "; ".join(told) + (f"; and {len(counts) - _MOST_TOLD} reasons more" if len(counts) > _MOST_TOLD else "")


class _Selection(Struct, frozen=True):
    index: ListingIndex
    mask: int
    wish: Wish
    flex_only: bool


class _Draft:
    """A plan in the making: what the request says is read once, then its models are added in turn."""

    def __init__(self, request: ChatRequest, catalog: Catalog, facts: Facts) -> None:
        params = request.params
        self._request = request
        self._catalog = catalog
        self._facts = facts
        self._preferences = params.provider or NO_PREFERENCES
        self.demand = read_demand(request, facts.runs)
        self._rules = build_rules(request, self._preferences, self.demand, facts.policy, facts.search_engine)
        self.allow_fallbacks = self._preferences.allow_fallbacks is not False
        self.selections: list[_Selection] = []
        self.cuts: list[Cut] = []
        self.strategy: Strategy | None = None
        self.router: str | None = None
        self.ordering: Ordering = "balanced"

    def add(self, target: Target) -> None:
        """Filter the endpoints of a target. The first one's strategy and order are what the plan says of all."""
        wish = _wish(self._preferences, self._request, target.variants)
        if self.strategy is None:
            self.strategy, self.ordering = target.strategy, wish.by
            self.router = None if target.strategy == "direct" else target.name
        if target.listing is not None:
            self._add_listing(target.listing, target, wish)
        else:
            self._add_choices(target, wish)

    def _add_choices(self, target: Target, wish: Wish) -> None:
        """Filter the endpoints of a router's first choices among those that can serve; or note why none can."""
        if self._request.task is not None:
            raise wrong_router(target.name, self._request.task)

        def can_serve(listing: Listing) -> bool:
            index = index_of(listing)
            mask, _ = select(index, self._rules, self.demand, self._tiers(index, target))
            return bool(mask) and _has_features(index, mask, self.demand)

        if target.strategy == "free":
            listings = choose_free(self._catalog, self._facts, can_serve)
        else:
            listings = choose_auto(target.name, self._request, self._catalog, self._facts, can_serve)
        if not listings:
            for listing, is_allowed in candidates(target.name, self._request, self._catalog):
                self.cuts += self._why_not(index_of(listing), target) if is_allowed else [_not_allowed(listing)]
        for listing in listings:
            self._add_listing(listing, target, wish)

    def _why_not(self, index: ListingIndex, target: Target) -> list[Cut]:
        mask, cuts = select(index, self._rules, self.demand, self._tiers(index, target))
        return [*cuts, Cut(index, mask, _FEATURELESS, self.demand)] if mask else cuts

    def _tiers(self, index: ListingIndex, target: Target) -> TierWish | None:
        """Return which service tiers are admitted, where there are any."""
        if not index.tiered:
            return None
        return _tier_wish(self._preferences, self._request.params.service_tier, target.variants)

    def _add_listing(self, listing: Listing, target: Target, wish: Wish) -> None:
        index = index_of(listing)
        if self._request.task is not None or not index.chats:
            check_output(listing, self._request, target.name)
        tiers = self._tiers(index, target)
        mask, cuts = select(index, self._rules, self.demand, tiers)
        self.cuts += cuts
        flex_only = tiers is not None and tiers.flex_only
        self.selections.append(_Selection(index, mask, wish, flex_only))

    def arrange(self) -> tuple[tuple[Arrangement, ...], tuple[Endpoint, ...]]:
        """Order what is left, within each model or across all of them."""
        selections = self.selections
        if len(selections) == 1:
            only = selections[0]
            found = self._arrange_rows(only.index.rows_in(only.mask), only)
            return (found,), tuple(map(_ENDPOINT_OF, found.rows))
        if not selections:
            return (), ()
        if _is_one_list(self._preferences, self._request.params.route):
            rows = [row for selection in selections for row in selection.index.rows_in(selection.mask)]
            rows.sort(key=lambda row: row.cost)
            arrangements = [self._arrange_rows(_unique(rows), selections[0])]
        else:
            arrangements = [self._arrange_rows(s.index.rows_in(s.mask), s) for s in selections]
        rows = _unique([row for arrangement in arrangements for row in arrangement.rows])
        return tuple(arrangements), tuple(map(_ENDPOINT_OF, rows))

    def _arrange_rows(self, rows: list[Row], selection: _Selection) -> Arrangement:
        found = arrange(rows, selection.wish, self._facts)
        if len(found.rows) < 2:
            return found
        if selection.flex_only and found.rows[0].tier == "flex":
            self.allow_fallbacks = False
            reason = _FLEX_ALONE
        elif not self.allow_fallbacks and not self._preferences.order:
            reason = _FIRST_ALONE
        else:
            return found
        self._cut(found.rows[1:], reason)
        return Arrangement(found.rows[:1], found.wish, found.facts, found.pool)

    def _cut(self, rows: list[Row], reason: Reason) -> None:
        lost = {id(row) for row in rows}
        for selection in self.selections:
            mask = sum(row.bit for row in selection.index.rows if id(row) in lost)
            if mask:
                self.cuts.append(Cut(selection.index, mask, reason))


def _tier_wish(preferences: ProviderPreferences, wanted: str | None, variants: frozenset[str]) -> TierWish | None:
    """Return which service tiers are admitted; None for none at all (OpenRouter API, service tiers, 2026-08-22)."""
    named = (*(preferences.order or ()), *(preferences.only or ()))
    admitted: list[Tier] = []
    if wanted in _PRIORITY:
        admitted.append("priority")
    elif wanted == "flex":
        admitted.append("flex")
    if variants and wanted != "default" and not preferences.order:
        if "nitro" in variants:
            admitted.append("priority")
        if "floor" in variants:
            admitted.append("flex")
    if not named and not admitted:
        return None
    return TierWish(tuple(admitted), named, flex_only=wanted == "flex")


def _wish(preferences: ProviderPreferences, request: ChatRequest, variants: frozenset[str]) -> Wish:
    """Return how endpoints are to be ordered: `order`, else a sort, else by a suffix or tier, else balanced."""
    tools = bool(request.params.tools)
    tier = request.params.service_tier
    if preferences is NO_PREFERENCES and not variants and not tier:
        return _DEFAULT_WISH_WITH_TOOLS if tools else _DEFAULT_WISH
    by: Ordering = "balanced"
    if preferences.order:
        by = "order"
    elif sort := _sort_by(preferences):
        by = sort
    elif tier in _PRIORITY or "nitro" in variants:
        by = "throughput"
    elif tier == "flex" or "floor" in variants:
        by = "price"
    elif "exacto" in variants:
        by = "exacto"
    throughput, latency = read_cutoffs(preferences)
    listed = tuple([name.lower() for name in preferences.order]) if preferences.order else ()
    return Wish(by, listed, tier in _PRIORITY and by != "order", throughput, latency, tools)


def _sort_by(preferences: ProviderPreferences) -> SortBy | None:
    return preferences.sort.by if isinstance(preferences.sort, Sort) else preferences.sort


def _is_one_list(preferences: ProviderPreferences, route: str | None) -> bool:
    """Return whether the endpoints of all models are one list; `route` is the old word for it."""
    if isinstance(preferences.sort, Sort) and preferences.sort.partition is not None:
        return preferences.sort.partition == "none"
    return route == "sort"


def _not_allowed(listing: Listing) -> Cut:
    index = index_of(listing)
    return Cut(index, index.everything, _EXCLUDED_MODEL)


def _has_features(index: ListingIndex, mask: int, demand: Demand) -> bool:
    """Return whether an endpoint is left that is not known to lack a wanted parameter: routers choose by that."""
    for names in demand.preferred:
        supporting = 0
        for name in names:
            supporting |= index.supporting.get(name, 0)
        if not mask & (supporting | ~index.knowing):
            return False
    return True


def _unique(rows: list[Row]) -> list[Row]:
    """Leave out repetitions: one endpoint may be listed under several models."""
    found: dict[int, Row] = {}
    for row in rows:
        found.setdefault(id(row.endpoint), row)
    return list(found.values())
