"""The OpenAPI document: complete, and right about what is decoded."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import msgspec
import pytest
from gateway_samples import MESSAGES
from starlette.applications import Starlette

from openrouter_gateway.edge.accounts import Creation, build_account_routes
from openrouter_gateway.edge.asgi import BASES, credential_of
from openrouter_gateway.edge.openapi import build_document, served_operations
from openrouter_gateway.edge.openapi_operations import OPERATIONS
from openrouter_gateway.edge.routes import build_routes
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.observability import build_observability_routes
from openrouter_gateway.wire.skins import SKINS


def never() -> NoReturn:
    """Nothing of the gateway is asked for."""
    raise AssertionError("the table of routes is all that is needed")


@asynccontextmanager
async def no_lifespan(_: Starlette) -> AsyncGenerator[None]:
    yield


def served(base: str = BASES[0]) -> list[tuple[str, str]]:
    """Return the operations of the gateway as `app` puts it together."""
    more = [*build_account_routes(never, credential_of, BASES), *build_observability_routes(never)]
    application = build_routes(services=never, ready=never, lifespan=no_lifespan, bases=BASES, more=more)
    return served_operations(application.routes, SKINS, base)


DOCUMENT = build_document(served(), BASES)
SCHEMAS = DOCUMENT["components"]["schemas"]


def references(value: Any) -> set[str]:
    """Return what a part of the document refers to."""
    if isinstance(value, list):
        return {name for each in value for name in references(each)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"].removeprefix("#/components/schemas/")} if isinstance(value.get("$ref"), str) else set[str]()
    return own.union(*(references(each) for each in value.values()))


def test_every_operation_is_described() -> None:
    """A new route, or one that is gone, needs a look at its row."""
    assert sorted(OPERATIONS) == sorted(served())
    described = {
        (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item.keys() - {"servers"}
    }
    assert OPERATIONS.keys() == described


def test_both_bases_serve_the_same() -> None:
    """The document speaks of the first; the second has nothing less and nothing more."""
    assert served() == served(BASES[1])
    assert [{"url": "/api/v1"}, {"url": "/v1"}] == DOCUMENT["servers"]


def test_references_lead_somewhere() -> None:
    """And no schema is there for nothing: else two have one name."""
    assert references(DOCUMENT) == SCHEMAS.keys()


def test_keys() -> None:
    """Wanted everywhere but by probes."""
    free = {path for path, item in DOCUMENT["paths"].items() if any(each == [] for each in securities(item))}

    assert [{"key": []}] == DOCUMENT["security"]
    assert {"/healthz", "/readyz"} == free


def securities(item: dict[str, Any]) -> list[Any]:
    """Return what the operations of a path say of keys themselves."""
    return [operation["security"] for operation in item.values() if "security" in operation]


def test_parameters_of_paths() -> None:
    """All that a path names, and the ids that a query must have."""
    shown = DOCUMENT["paths"]["/models/{author}/{slug}/endpoints"]["get"]["parameters"]
    (wanted,) = DOCUMENT["paths"]["/generation"]["get"]["parameters"]

    assert [("author", "path", True), ("slug", "path", True)] == [(p["name"], p["in"], p["required"]) for p in shown]
    assert ("id", "query", True) == (wanted["name"], wanted["in"], wanted["required"])


def test_amounts_are_numbers_or_text() -> None:
    """As they are decoded."""
    amount = {"anyOf": [{"type": "number"}, {"type": "string", "format": "decimal"}]}

    assert amount == SCHEMAS["Creation"]["properties"]["limit"]["anyOf"][0]
    assert amount == SCHEMAS["MaxPrice"]["properties"]["prompt"]["anyOf"][0]
    for limit in (b"1.5", b'"1.5"'):
        assert msgspec.json.decode(b'{"name":"x","limit":' + limit + b"}", type=Creation).limit


def test_text_takes_what_chat_takes() -> None:
    """But messages."""
    text, conversation = SCHEMAS["CompletionParams"]["properties"], SCHEMAS["ChatParams"]["properties"]

    assert conversation.keys() - text.keys() == {"messages"}
    assert text.keys() - conversation.keys() == {"prompt", "echo", "suffix", "best_of"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"messages": MESSAGES}),
        ("/completions", {"prompt": "x"}),
        ("/responses", {"input": "x"}),
        ("/messages", {"messages": MESSAGES}),
        ("/embeddings", {"model": "a/one", "input": "x"}),
        ("/rerank", {"model": "a/one", "query": "q", "documents": ["x"]}),
    ],
)
def test_required_fields_are_required(path: str, body: dict[str, Any]) -> None:
    """The least that the document allows is parsed, and nothing less."""
    schema = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    alternatives = [SCHEMAS.get(next(iter(references(each)), ""), each) for each in schema.get("anyOf", [schema])]

    assert sorted(body) in [sorted(each["required"]) for each in alternatives]
    SKINS[path].parse(json.dumps({"model": "a/one", "max_tokens": 1} | body).encode())
    for name in body:
        with pytest.raises(BadRequest):
            SKINS[path].parse(json.dumps({key: value for key, value in body.items() if key != name}).encode())
