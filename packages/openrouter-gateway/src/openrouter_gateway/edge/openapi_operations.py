"""Every operation that the gateway serves, as its OpenAPI document describes them. A new route needs a row here."""

from typing import Any, Final

from msgspec import Struct

from openrouter_gateway.edge.openapi_schemas import (
    ANY_OBJECT,
    COUNT,
    FLAG,
    TEXT,
    Schema,
    array,
    data_of,
    literal,
    nullable,
    obj,
    ref,
)


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path. `status` and `answer` are those of success; `query` has the parameters by name.

    `streams`: it may answer with server-sent events. `inference`: it makes a generation. `media_type` is what `answer`
    comes as, `error` the schema of its failures. `key`: whether it wants a key, where keys are configured.
    """

    summary: str
    tag: str
    answer: Schema
    body: Schema | None = None
    query: dict[str, Schema] = {}
    required: tuple[str, ...] = ()
    status: int = 200
    streams: bool = False
    inference: bool = False
    media_type: str = "application/json"
    error: str = "Error"
    key: bool = True


_PAGE: Final[dict[str, Schema]] = {
    "offset": COUNT,
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
}
_MODELS: Final[dict[str, Schema]] = {
    "output_modalities": TEXT | {"description": "Comma-separated, or all; text by default."},
    "input_modalities": TEXT,
    "supported_parameters": TEXT,
    "q": TEXT,
    "context": COUNT,
    "min_price": TEXT | {"description": "USD per million tokens."},
    "max_price": TEXT,
    "min_output_price": TEXT,
    "max_output_price": TEXT,
    "arch": TEXT,
    "model_authors": TEXT,
    "providers": TEXT,
    "distillable": FLAG,
    "zdr": FLAG,
    "min_age_days": COUNT,
    "max_age_days": COUNT,
    "sort": TEXT,
}
_RESPONSES: Final[Schema] = {
    "description": "As OpenAI's; `provider`, `models` and other fields of chat are taken, too.",
    "type": "object",
    "properties": {
        "model": TEXT,
        "input": {"anyOf": [TEXT, array(ANY_OBJECT)]},
        "instructions": nullable(TEXT),
        "max_output_tokens": nullable({"type": "integer", "minimum": 1}),
        "stream": nullable(FLAG),
        "tools": nullable(array(ANY_OBJECT)),
        "reasoning": nullable(ANY_OBJECT),
    },
    "required": ["input"],
}
_MESSAGES: Final[Schema] = {
    "description": "As Anthropic's; `provider`, `models` and `fallbacks` are taken, too.",
    "type": "object",
    "properties": {
        "model": TEXT,
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": obj(role=literal("user", "assistant", "system"), content={"anyOf": [TEXT, array(ANY_OBJECT)]}),
        },
        "max_tokens": {"type": "integer", "minimum": 1},
        "system": nullable({"anyOf": [TEXT, array(ANY_OBJECT)]}),
        "stream": nullable(FLAG),
        "tools": nullable(array(ANY_OBJECT)),
    },
    "required": ["messages"],
}
_KEY: Final = data_of(ref("Key"))
_DESTINATION: Final = data_of(ref("Destination"))


def _infers(summary: str, body: Schema, answer: Schema, **more: Any) -> Operation:
    return Operation(summary=summary, tag="Inference", body=body, answer=answer, inference=True, **more)


def _shows(summary: str, answer: Schema, tag: str = "Models", **more: Any) -> Operation:
    return Operation(summary=summary, tag=tag, answer=answer, **more)


OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/chat/completions"): _infers(
        "Answer a conversation, or a prompt in the place of messages",
        {"anyOf": [ref("ChatParams"), ref("CompletionParams")]},
        {"anyOf": [ref("ChatResult"), ref("TextCompletion")]},
        streams=True,
    ),
    ("POST", "/completions"): _infers(
        "Complete a text: the legacy form", ref("CompletionParams"), ref("TextCompletion"), streams=True
    ),
    ("POST", "/responses"): _infers("Answer, in the Responses API", _RESPONSES, ref("ResponsesResult"), streams=True),
    ("POST", "/messages"): _infers(
        "Answer, in Anthropic's Messages API", _MESSAGES, ref("MessagesResult"), streams=True, error="MessagesError"
    ),
    ("POST", "/messages/count_tokens"): Operation(
        summary="Count the tokens of a request in Anthropic's Messages API",
        tag="Inference",
        body=_MESSAGES,
        answer=ref("TokenCount"),
        error="MessagesError",
    ),
    ("POST", "/embeddings"): _infers("Make vectors of texts", ref("EmbeddingParams"), ref("Embeddings")),
    ("POST", "/rerank"): _infers("Order documents by relevance", ref("RerankParams"), ref("Ranking")),
    ("POST", "/route/explain"): _shows(
        "Explain how a chat request would be routed; nothing is sent", ref("Route"), body=ref("ChatParams")
    ),
    ("GET", "/models"): _shows("List models", ref("Models"), query=_PAGE | _MODELS),
    ("GET", "/models/user"): _shows("List the models that the key may use", ref("Models"), query=_PAGE | _MODELS),
    ("GET", "/models/count"): _shows("Count models", data_of(obj(count=COUNT)), query=_MODELS),
    ("GET", "/embeddings/models"): _shows("List models that make embeddings", ref("Models"), query=_PAGE),
    ("GET", "/model/{author}/{slug}"): _shows("Show a model", data_of(ref("Model"))),
    ("GET", "/models/{author}/{slug}/endpoints"): _shows("Show who serves a model", data_of(ref("ModelEndpoints"))),
    ("GET", "/providers"): _shows("List providers", data_of(array(ref("Provider")))),
    ("GET", "/endpoints/zdr"): _shows("List endpoints that retain no data", data_of(array(ref("Endpoint")))),
    ("GET", "/generation"): _shows(
        "Show the record of an answer", data_of(ref("Generation")), "Accounting", query={"id": TEXT}, required=("id",)
    ),
    ("GET", "/generation/content"): _shows(
        "Show what was asked and answered, where that is kept",
        data_of(ref("Content")),
        "Accounting",
        query={"id": TEXT},
        required=("id",),
    ),
    ("GET", "/activity"): _shows(
        "Sum up what was used on past days",
        data_of(array(ref("Activity"))),
        "Accounting",
        query={"date": TEXT | {"format": "date"}, "api_key_hash": TEXT},
    ),
    ("GET", "/credits"): _shows("Show credits and their use", data_of(ref("Credits")), "Accounting"),
    ("GET", "/key"): _shows("Show the key that asks", data_of(ref("OwnKey")), "Keys"),
    ("GET", "/keys"): _shows(
        "List keys", data_of(array(ref("Key"))), "Keys", query={"offset": COUNT, "include_disabled": TEXT}
    ),
    ("POST", "/keys"): _shows("Make a key", obj(data=ref("Key"), key=TEXT), "Keys", body=ref("Creation"), status=201),
    ("GET", "/keys/{hash}"): _shows("Show a key", _KEY, "Keys"),
    ("PATCH", "/keys/{hash}"): _shows("Change a key", _KEY, "Keys", body=ref("Change")),
    ("DELETE", "/keys/{hash}"): _shows("Delete a key", obj(deleted=FLAG), "Keys"),
    ("GET", "/observability/destinations"): _shows(
        "List the destinations of traces",
        obj(data=array(ref("Destination")), total_count=COUNT),
        "Observability",
        query={"offset": COUNT, "limit": COUNT, "workspace_id": TEXT},
    ),
    ("POST", "/observability/destinations"): _shows(
        "Add a destination, if a test of its connection succeeds",
        _DESTINATION,
        "Observability",
        body=ref("NewDestination"),
        status=201,
    ),
    ("GET", "/observability/destinations/{id}"): _shows("Show a destination", _DESTINATION, "Observability"),
    ("PATCH", "/observability/destinations/{id}"): _shows(
        "Change a destination", _DESTINATION, "Observability", body=ref("DestinationChange")
    ),
    ("DELETE", "/observability/destinations/{id}"): _shows("Remove a destination", obj(deleted=FLAG), "Observability"),
    ("GET", "/metrics"): _shows("Show what was served, for Prometheus", TEXT, "Observability", media_type="text/plain"),
    ("GET", "/openapi.json"): _shows("Describe the API: this document", obj(openapi=TEXT, paths=ANY_OBJECT), "Gateway"),
    ("GET", "/healthz"): _shows("Tell that the process runs", obj(status=TEXT), "Gateway", key=False),
    ("GET", "/readyz"): _shows("Tell whether requests would be served", obj(status=TEXT), "Gateway", key=False),
}
"""By method and path below the base; those of `ROOT` are below nothing."""

ROOT: Final = frozenset({"/healthz", "/metrics", "/readyz"})
