"""`GET /openapi.json`: the API as an OpenAPI 3.1 document, made of the routes that are served.

Request bodies are described by the types that decode them, answers by `openapi_schemas`, all else by
`openapi_operations`. The document wants a key like every route but the probes: it tells a stranger what there is to
attack and in which version, and whoever may use the API has a key to read it with.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from openrouter_gateway.core.chat import ChatParams
from openrouter_gateway.edge.accounts import Change, Creation
from openrouter_gateway.edge.destinations import DestinationChange, NewDestination
from openrouter_gateway.edge.openapi_operations import OPERATIONS, ROOT, Operation
from openrouter_gateway.edge.openapi_schemas import ANSWERS, TEXT, Schema, array, nullable, obj, ref
from openrouter_gateway.wire.skins.completions import CompletionParams
from openrouter_gateway.wire.skins.embeddings import EmbeddingParams
from openrouter_gateway.wire.skins.rerank import RerankParams

_BODIES: Final = (
    ChatParams,
    CompletionParams,
    EmbeddingParams,
    RerankParams,
    Creation,
    Change,
    NewDestination,
    DestinationChange,
)
_DECIMAL: Final[Schema] = {"type": "string", "format": "decimal"}
_AMOUNT: Final[Schema] = {"anyOf": [{"type": "number"}, _DECIMAL]}
_REQUEST_HEADERS: Final = {
    "HTTP-Referer": "Address of the application.",
    "X-Title": "Name of the application.",
    "X-Session-Id": "Groups requests, at most 256 characters; `session_id` of the body comes first.",
    "X-OpenRouter-Metadata": "`enabled`: tell in the answer how it was routed.",
    "X-OpenRouter-Cache": "`true`: answer the same request again from the response cache.",
    "Idempotency-Key": "A repeated request gets the answer that is being made, or was.",
}
_GENERATION_ID: Final[Schema] = {"X-Generation-Id": {"description": "The id of its record.", "schema": TEXT}}


class Describer:
    """Answers with the document of `routes` and of inference; it is made when somebody asks for it."""

    def __init__(self, skins: Iterable[str], bases: Sequence[str]) -> None:
        self.routes: Sequence[BaseRoute] = ()
        self._skins = tuple(skins)
        self._bases = bases
        self._document: bytes | None = None

    async def describe(self, _: Request) -> Response:
        """Answer."""
        if self._document is None:
            served = served_operations(self.routes, self._skins, self._bases[0])
            self._document = msgspec.json.encode(build_document(served, self._bases))
        return Response(self._document, media_type="application/json")


def served_operations(routes: Iterable[BaseRoute], skins: Iterable[str], base: str) -> list[tuple[str, str]]:
    """Return method and path of everything that is served: below one base, without it, and at the root."""
    found = [("POST", path) for path in skins]
    for route in routes:
        if isinstance(route, Route) and (route.path.startswith(f"{base}/") or route.path in ROOT):
            methods = sorted((route.methods or {"GET"}) - {"HEAD"})
            found += [(method, route.path.removeprefix(base)) for method in methods]
    return list(dict.fromkeys(found))


def build_document(served: Iterable[tuple[str, str]], bases: Sequence[str]) -> dict[str, Any]:
    """Return the document of these operations; what is not described is left out."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path in served:
        operation = OPERATIONS.get((method, path))
        if operation is not None:
            item = paths.setdefault(path, {"servers": [{"url": "/"}]} if path in ROOT else {})
            item[method.lower()] = _describe(operation, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "openrouter-gateway",
            "version": version("openrouter-gateway"),
            "description": "The OpenRouter API, served by a gateway of your own.",
        },
        "servers": [{"url": base} for base in bases],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _describe(operation: Operation, path: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": _parameters(operation, path),
        "responses": _responses(operation),
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _json(operation.body)}
    if not operation.key:
        described["security"] = []
    return described


def _parameters(operation: Operation, path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": TEXT | {"minLength": 1}} for name in names
    ]
    found += [
        {"name": name, "in": "query", "required": name in operation.required, "schema": schema}
        for name, schema in operation.query.items()
    ]
    if operation.inference:
        found += [
            {"name": name, "in": "header", "required": False, "description": description, "schema": TEXT}
            for name, description in _REQUEST_HEADERS.items()
        ]
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Schema] = {operation.media_type: {"schema": operation.answer}}
    description = HTTPStatus(operation.status).phrase
    if operation.streams:
        content["text/event-stream"] = {}
        description += "; with `stream: true`, server-sent events"
    success: dict[str, Any] = {"description": description, "content": content}
    failure: dict[str, Any] = {"content": _json(ref(operation.error))}
    if operation.inference:
        success["headers"] = _GENERATION_ID
    return {
        str(operation.status): success,
        "4XX": {"description": "The request or the key is at fault, or nothing can serve it", **failure},
        "5XX": {"description": "No provider could answer, or the gateway cannot", **failure},
    }


def _json(schema: Schema) -> dict[str, dict[str, Any]]:
    return {"application/json": {"schema": schema}}


_TOKENS: Final[Schema] = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_INPUTS: Final[Schema] = {"minItems": 1, "maxItems": 2048}
_INPUT: Final[Schema] = {
    "anyOf": [
        TEXT,
        array(TEXT) | _INPUTS,
        _TOKENS,
        array(_TOKENS) | _INPUTS,
        array(obj(content=array(obj(type=TEXT)) | {"minItems": 1})) | _INPUTS,
    ]
}
_DOCUMENT: Final[Schema] = {
    "anyOf": [
        TEXT,
        {"type": "object", "properties": {"text": nullable(TEXT), "image": nullable(TEXT)}, "minProperties": 1},
    ]
}


def _schemas() -> dict[str, Schema]:
    """Return those of bodies and answers, with what the types of bodies leave open said more exactly."""
    _, found = msgspec.json.schema_components(_BODIES, ref_template="#/components/schemas/{name}")
    schemas: dict[str, Schema] = {name: _with_amounts(schema) for name, schema in found.items()}
    shared = schemas["ChatParams"]["properties"]
    text = schemas["CompletionParams"]
    text["properties"] = {name: value for name, value in shared.items() if name != "messages"} | text["properties"]
    text["properties"]["prompt"] = {"anyOf": [TEXT, array(TEXT) | {"minItems": 1, "maxItems": 1}]}
    schemas["EmbeddingParams"]["properties"]["input"] = _INPUT
    schemas["RerankParams"]["properties"]["documents"]["items"] = _DOCUMENT
    return dict(sorted((schemas | ANSWERS).items()))


def _with_amounts(schema: Any) -> Any:
    """Return a schema in which amounts may be numbers, too: they are decoded from either."""
    if isinstance(schema, list):
        return [_with_amounts(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = cast("Schema", schema)
    return _AMOUNT if members == _DECIMAL else {key: _with_amounts(value) for key, value in members.items()}
