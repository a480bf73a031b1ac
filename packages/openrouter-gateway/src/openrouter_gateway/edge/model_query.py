"""What a list of models is asked for: which models, in which order, which page (OpenRouter API, models, 2026-08-22).

Filters and sorts go by the catalogue. A filter that it has no data for is refused: passed over, it would let through
what was to be kept out. A sort without data leaves the order as it is, as OpenRouter has models without data go last.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias
from urllib.parse import urlencode

from msgspec import Struct

from openrouter_gateway.core.catalog import Endpoint, Listing, Price
from openrouter_gateway.errors import BadRequest

Test: TypeAlias = Callable[[Listing], bool]
Entry: TypeAlias = tuple[str, Listing]
"""The id that a model is listed under, which may be an alias, and its listing."""

_MILLION: Final = Decimal(1_000_000)
_DAY_S: Final = 86_400
_MOST: Final = 10**9
_UNKNOWN_HERE: Final = frozenset(
    {
        "category", "region", "min_intelligence_index", "max_intelligence_index", "min_coding_index",
        "max_coding_index", "min_agentic_index", "max_agentic_index", "min_tool_success_rate",
        "max_tool_success_rate", "use_rss", "use_rss_chat_links",
    }
)  # fmt: skip
"""Parameters of OpenRouter's that go by data of its own: its users' traffic, benchmarks, regions, feeds."""


class Page(Struct, frozen=True, kw_only=True):
    """A part of a list."""

    offset: int
    limit: int


class ModelQuery(Struct, frozen=True, kw_only=True):
    """What is asked for. `page` None: all; `path` and `given` (the query's other parameters) make the next page's."""

    path: str = "/models"
    page: Page | None = None
    tests: tuple[Test, ...] = ()
    order: Callable[[Entry], Decimal | int] | None = None
    given: tuple[tuple[str, str], ...] = ()

    def select(self, entries: list[Entry]) -> tuple[list[Entry], int, str | None]:
        """Return those on the page, how many there are in all, and where the next page is."""
        found = [entry for entry in entries if all(test(entry[1]) for test in self.tests)]
        if self.order is not None:
            found.sort(key=self.order)
        total, page = len(found), self.page
        if page is None:
            return found, total, None
        end = page.offset + page.limit
        following = urlencode([*self.given, ("offset", end), ("limit", page.limit)])
        return found[page.offset : end], total, f"/api/v1{self.path}?{following}" if end < total else None


def parse_query(
    query: Mapping[str, str], now: float, *, path: str = "/models", outputs: str | None = None
) -> ModelQuery:
    """Return what a query asks for; `now` is unix seconds. With `outputs`, only models that give that, and no filters.

    Raises:
        BadRequest: a parameter is malformed, or goes by data that this gateway does not have.
    """
    page = _parse_page(query)
    if outputs is not None:
        return ModelQuery(path=path, page=page, tests=(_gives(outputs),))
    for name in query.keys() & _UNKNOWN_HERE:
        raise BadRequest(f"{name}: this gateway has no such data")
    tests = [_gives(query.get("output_modalities") or "text")]
    tests += [build(name, query[name], now) for name, build in _FILTERS.items() if query.get(name)]
    return ModelQuery(
        path=path,
        page=page,
        tests=tuple(tests),
        order=_parse_sort(query.get("sort")),
        given=tuple((name, value) for name, value in query.items() if name not in ("offset", "limit")),
    )


def first_endpoint(listing: Listing) -> Endpoint | None:
    """Return the endpoint that a model is shown by: the preferred one that is no service tier."""
    plain = (endpoint for endpoint in listing.endpoints if endpoint.service_tier is None)
    return next(plain, None) or next(iter(listing.endpoints), None)


def _parse_page(query: Mapping[str, str]) -> Page | None:
    if "offset" not in query and "limit" not in query:
        return None
    return Page(
        offset=_parse_count("offset", query.get("offset", "0"), highest=_MOST),
        limit=_parse_count("limit", query.get("limit", "500"), lowest=1, highest=1000),
    )


def _parse_count(name: str, text: str, *, lowest: int = 0, highest: int = _MOST) -> int:
    if not (text.isascii() and text.isdigit() and lowest <= int(text[:12]) <= highest):
        raise BadRequest(f"{name}: must be a whole number from {lowest} to {highest}")
    return int(text)


def _parse_amount(name: str, text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= _MOST):
        raise BadRequest(f"{name}: must be a number from 0 to {_MOST}")
    return amount


def _parse_flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise BadRequest(f"{name}: must be true or false")
    return text.lower() == "true"


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in text.split(",")) - {""}


def _gives(text: str) -> Test:
    wanted = _names(text)
    return lambda listing: "all" in wanted or not wanted.isdisjoint(listing.model.output_modalities)


def _takes(_: str, text: str, now: float) -> Test:
    wanted = _names(text)
    return lambda listing: not wanted.isdisjoint(listing.model.input_modalities)


def _supports(_: str, text: str, now: float) -> Test:
    wanted = _names(text)
    return lambda listing: wanted <= parameters_of(listing)


def parameters_of(listing: Listing) -> frozenset[str]:
    """Return what is said of the model, or else what any of its endpoints is known to support."""
    if listing.model.supported_parameters:
        return frozenset(listing.model.supported_parameters)
    return frozenset[str]().union(*(endpoint.supported_parameters or () for endpoint in listing.endpoints))


def _mentions(_: str, text: str, now: float) -> Test:
    wanted = text.lower()

    def test(listing: Listing) -> bool:
        model = listing.model
        return any(wanted in field.lower() for field in (model.id, model.name, model.description))

    return test


def _context(name: str, text: str, now: float) -> Test:
    least = _parse_count(name, text)
    return lambda listing: _context_of(listing) >= least


def _context_of(listing: Listing) -> int:
    first = first_endpoint(listing)
    return listing.model.context_length or (first.context_length if first else None) or 0


def _price(name: str, text: str, now: float) -> Test:
    """Bounds are USD per million tokens; a price that is not known is within none."""
    bound = _parse_amount(name, text) / _MILLION
    rate: Callable[[Price], Decimal] = (lambda p: p.completion) if "output" in name else (lambda p: p.prompt)
    at_least = name.startswith("min")

    def test(listing: Listing) -> bool:
        first = first_endpoint(listing)
        if first is None or first.price is None:
            return False
        return rate(first.price) >= bound if at_least else rate(first.price) <= bound

    return test


def _family(_: str, text: str, now: float) -> Test:
    wanted = _names(text)
    return lambda listing: listing.model.tokenizer.lower() in wanted


def _authors(_: str, text: str, now: float) -> Test:
    wanted = _names(text)
    return lambda listing: listing.model.id.partition("/")[0].lower() in wanted


def _hosted_by(_: str, text: str, now: float) -> Test:
    wanted = _names(text)
    return lambda listing: any(
        not wanted.isdisjoint((endpoint.provider.slug, endpoint.provider.name.lower()))
        for endpoint in listing.endpoints
    )


def _distillable(name: str, text: str, now: float) -> Test:
    wanted = _parse_flag(name, text)
    return lambda listing: listing.model.distillable is wanted


def _zdr(name: str, text: str, now: float) -> Test:
    wanted = _parse_flag(name, text)
    return lambda listing: (
        not wanted or any(endpoint.provider.policy.retains is False for endpoint in listing.endpoints)
    )


def _age(name: str, text: str, now: float) -> Test:
    days = _parse_count(name, text)
    at_least = name.startswith("min")

    def test(listing: Listing) -> bool:
        created = listing.model.created
        if not created:
            return False
        age_s = now - created
        return age_s >= days * _DAY_S if at_least else age_s <= days * _DAY_S

    return test


_FILTERS: Final[dict[str, Callable[[str, str, float], Test]]] = {
    "input_modalities": _takes,
    "supported_parameters": _supports,
    "q": _mentions,
    "context": _context,
    "min_price": _price,
    "max_price": _price,
    "min_output_price": _price,
    "max_output_price": _price,
    "arch": _family,
    "model_authors": _authors,
    "providers": _hosted_by,
    "distillable": _distillable,
    "zdr": _zdr,
    "min_age_days": _age,
    "max_age_days": _age,
}

_LAST: Final = Decimal(10**12)


def _by_price(sign: int) -> Callable[[Entry], Decimal]:
    def order(entry: Entry) -> Decimal:
        first = first_endpoint(entry[1])
        if first is None or first.price is None:
            return _LAST
        return sign * (first.price.prompt + first.price.completion)

    return order


_SORTS: Final[dict[str, Callable[[Entry], Decimal | int] | None]] = {
    "newest": lambda entry: -entry[1].model.created,
    "pricing-low-to-high": _by_price(1),
    "pricing-high-to-low": _by_price(-1),
    "context-high-to-low": lambda entry: -_context_of(entry[1]),
    **dict.fromkeys(
        (
            "most-popular", "top-weekly", "throughput-high-to-low", "latency-low-to-high", "intelligence-high-to-low",
            "coding-high-to-low", "agentic-high-to-low", "design-arena-elo-high-to-low",
        )
    ),
}  # fmt: skip
"""None: there is no data for it."""


def _parse_sort(name: str | None) -> Callable[[Entry], Decimal | int] | None:
    if name is None:
        return None
    if name not in _SORTS:
        raise BadRequest(f"sort: must be one of {', '.join(_SORTS)}")
    return _SORTS[name]
