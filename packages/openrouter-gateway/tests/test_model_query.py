"""What lists of models are asked for: filters, sorts, pages."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint
from hypothesis import given
from hypothesis import strategies as st
from route_samples import catalog_of, listing

from openrouter_gateway.core.catalog import Catalog, DataPolicy, Endpoint, Price
from openrouter_gateway.edge.catalog import models_object
from openrouter_gateway.edge.model_query import parse_query
from openrouter_gateway.errors import BadRequest

DAY_S = 86_400
NOW = 1_000 * DAY_S


def priced(tag: str, model_id: str, prompt: str, completion: str = "0", **fields: Any) -> Endpoint:
    """Return an endpoint with prices in USD per million tokens."""
    price = Price(prompt=Decimal(prompt) / 1_000_000, completion=Decimal(completion) / 1_000_000)
    return msgspec.structs.replace(make_endpoint(tag, model_id, **fields), price=price)


CATALOG = catalog_of(
    listing(
        priced("acme", "a/cheap", "1", "2", parameters={"tools", "seed"}, policy=DataPolicy(retains=False)),
        created=NOW - 10 * DAY_S,
        context_length=8_000,
        tokenizer="Llama3",
        distillable=True,
        description="Writes prose.",
    ),
    listing(
        priced("beta", "a/dear", "10", "20", name="Beta Inc"),
        created=NOW - 2 * DAY_S,
        context_length=200_000,
        input_modalities=("text", "image"),
        tokenizer="GPT",
        distillable=False,
        supported_parameters=("tools",),
    ),
    listing(make_endpoint("acme", "b/unpriced", prompt=None), tokenizer="Other"),
    listing(priced("acme", "b/vectors", "0.1"), output_modalities=("embeddings",)),
    listing(priced("acme", "b/both", "0.5"), output_modalities=("text", "embeddings"), created=NOW - 100 * DAY_S),
    aliases={"~a/cheap-latest": "a/cheap", "b/alias": "a/dear"},
)
TEXT = ["a/cheap", "a/dear", "b/unpriced", "b/both", "~a/cheap-latest"]


def ids(catalog: Catalog = CATALOG, **query: str) -> list[str]:
    """Return the ids that a query lists."""
    return [row["id"] for row in models_object(catalog, parse_query(query, NOW))["data"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, TEXT),
        ({"output_modalities": "text"}, TEXT),
        ({"output_modalities": "embeddings"}, ["b/vectors", "b/both"]),
        ({"output_modalities": "rerank,Embeddings"}, ["b/vectors", "b/both"]),
        ({"output_modalities": "all"}, [*TEXT[:3], "b/vectors", *TEXT[3:]]),
        ({"output_modalities": "video"}, []),
        ({"output_modalities": ""}, TEXT),
        ({"input_modalities": "image"}, ["a/dear"]),
        ({"input_modalities": "image,text"}, TEXT),
        ({"supported_parameters": "tools"}, ["a/cheap", "a/dear", "~a/cheap-latest"]),
        ({"supported_parameters": "tools, seed"}, ["a/cheap", "~a/cheap-latest"]),
        ({"q": "PROSE"}, ["a/cheap", "~a/cheap-latest"]),
        ({"q": "b/"}, ["b/unpriced", "b/both"]),
        ({"context": "8000"}, ["a/cheap", "a/dear", "~a/cheap-latest"]),
        ({"context": "8001"}, ["a/dear"]),
        ({"min_price": "1"}, ["a/cheap", "a/dear", "~a/cheap-latest"]),
        ({"max_price": "1.0"}, ["a/cheap", "b/both", "~a/cheap-latest"]),
        ({"min_price": "0.6", "max_price": "9"}, ["a/cheap", "~a/cheap-latest"]),
        ({"min_output_price": "20"}, ["a/dear"]),
        ({"max_output_price": "2"}, ["a/cheap", "b/both", "~a/cheap-latest"]),
        ({"arch": "gpt,claude"}, ["a/dear"]),
        ({"model_authors": "B"}, ["b/unpriced", "b/both"]),
        ({"providers": "beta inc"}, ["a/dear"]),
        ({"providers": "beta,nobody"}, ["a/dear"]),
        ({"distillable": "true"}, ["a/cheap", "~a/cheap-latest"]),
        ({"distillable": "false"}, ["a/dear"]),
        ({"zdr": "true"}, ["a/cheap", "~a/cheap-latest"]),
        ({"zdr": "false"}, TEXT),
        ({"min_age_days": "10"}, ["a/cheap", "b/both", "~a/cheap-latest"]),
        ({"max_age_days": "9"}, ["a/dear"]),
        ({"sort": "newest"}, ["a/dear", "a/cheap", "~a/cheap-latest", "b/both", "b/unpriced"]),
        ({"sort": "pricing-low-to-high"}, ["b/both", "a/cheap", "~a/cheap-latest", "a/dear", "b/unpriced"]),
        ({"sort": "pricing-high-to-low"}, ["a/dear", "a/cheap", "~a/cheap-latest", "b/both", "b/unpriced"]),
        ({"sort": "context-high-to-low"}, ["a/dear", "a/cheap", "~a/cheap-latest", "b/unpriced", "b/both"]),
        ({"sort": "top-weekly"}, TEXT),
        ({"unknown": "1"}, TEXT),
    ],
)
def test_filters_and_sorts(query: dict[str, str], expected: list[str]) -> None:
    """By what the catalogue knows; what is not known passes no filter and goes last."""
    assert expected == ids(**query)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("limit", "0", "limit: must be a whole number from 1 to 1000"),
        ("limit", "1001", "limit: "),
        ("offset", "-1", "offset: must be a whole number from 0"),
        ("offset", "\N{ARABIC-INDIC DIGIT ONE}", "offset: "),
        ("offset", "9" * 500, "offset: "),
        ("context", "many", "context: "),
        ("min_price", "free", "min_price: must be a number"),
        ("max_price", "NaN", "max_price: "),
        ("max_output_price", "-1", "max_output_price: "),
        ("min_output_price", "1e999999999", "min_output_price: "),
        ("distillable", "maybe", "distillable: must be true or false"),
        ("zdr", "1", "zdr: "),
        ("min_age_days", "1.5", "min_age_days: "),
        ("sort", "best", "sort: must be one of "),
        ("category", "programming", "category: this gateway has no such data"),
        ("region", "eu", "region: this gateway has no such data"),
        ("min_coding_index", "50", "min_coding_index: this gateway has no such data"),
        ("use_rss", "true", "use_rss: this gateway has no such data"),
    ],
)
def test_what_cannot_be_told(name: str, text: str, said: str) -> None:
    """Refused, not passed over."""
    with pytest.raises(BadRequest) as caught:
        parse_query({name: text}, NOW)

    assert caught.value.message.startswith(said), caught.value.message


def test_pages() -> None:
    """The next page's address keeps what was asked for, and leads to the end."""
    shown = models_object(CATALOG, parse_query({"limit": "2", "q": "a/", "x": "é"}, NOW))
    rest = models_object(CATALOG, parse_query({"limit": "2", "offset": "2", "q": "a/"}, NOW))

    assert (["a/cheap", "a/dear"], 3) == ([row["id"] for row in shown["data"]], shown["total_count"])
    assert {"next": "/api/v1/models?q=a%2F&x=%C3%A9&offset=2&limit=2"} == shown["links"]
    assert (["~a/cheap-latest"], 3, {"next": None}) == (
        [row["id"] for row in rest["data"]],
        rest["total_count"],
        rest["links"],
    )


def test_models_that_make_embeddings() -> None:
    """Their list has pages and no filters."""
    query = {"limit": "1", "output_modalities": "text", "category": "x"}

    shown = models_object(CATALOG, parse_query(query, NOW, path="/embeddings/models", outputs="embeddings"))

    assert ["b/vectors"] == [row["id"] for row in shown["data"]]
    assert (2, {"next": "/api/v1/embeddings/models?offset=1&limit=1"}) == (shown["total_count"], shown["links"])


@given(offset=st.integers(0, 8), limit=st.integers(1, 8))
def test_pages_are_slices(offset: int, limit: int) -> None:
    """Of the whole list, in its order."""
    assert TEXT[offset : offset + limit] == ids(offset=str(offset), limit=str(limit))
