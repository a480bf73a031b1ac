"""What answers look like, as JSON Schema: the keys that clients insist on, and their types (API digest 6 to 9, 11)."""

from typing import Any, Final, TypeAlias

Schema: TypeAlias = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
ANY_OBJECT: Final[Schema] = {"type": "object"}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def nullable(schema: Schema) -> Schema:
    """Return the schema of something that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def obj(description: str = "", /, **required: Schema) -> Schema:
    """Return the schema of an object with these keys, and any others."""
    schema: Schema = {"type": "object", "properties": required, "required": list(required)}
    return schema | {"description": description} if description else schema


def literal(*values: str) -> Schema:
    """Return the schema of one of a few words."""
    return {"enum": list(values)}


def data_of(schema: Schema) -> Schema:
    """Return the schema of an answer whose only member is `data`."""
    return obj(data=schema)


_PRICE: Final[Schema] = TEXT | {"description": "USD per unit, as a decimal."}
_USAGE: Final = obj("Tokens and their cost in USD.", prompt_tokens=COUNT, total_tokens=COUNT, cost=NUMBER)
_HEAD: Final[dict[str, Schema]] = {"id": TEXT, "created": COUNT, "model": TEXT, "provider": TEXT}
_CHOICE: Final[dict[str, Schema]] = {"index": COUNT, "finish_reason": nullable(TEXT)}
_KEY: Final[dict[str, Schema]] = {
    "label": TEXT,
    "limit": nullable(NUMBER),
    "limit_remaining": nullable(NUMBER),
    "limit_reset": nullable(TEXT),
    **dict.fromkeys(("usage", "usage_daily", "usage_weekly", "usage_monthly"), NUMBER),
}
_ARCHITECTURE: Final = obj(modality=nullable(TEXT), input_modalities=array(TEXT), output_modalities=array(TEXT))
_PERCENTILES: Final = nullable(obj(p50=NUMBER, p75=NUMBER, p90=NUMBER, p99=NUMBER))

ANSWERS: Final[dict[str, Schema]] = {
    "Error": obj(
        "Any failure; `code` is the HTTP status.",
        error=obj(code={"type": "integer"}, message=TEXT, metadata=obj(error_type=TEXT)),
    ),
    "MessagesError": obj(
        "Any failure, in Anthropic's shape.", type=literal("error"), error=obj(type=TEXT, message=TEXT)
    ),
    "ChatResult": obj(
        **_HEAD,
        object=literal("chat.completion"),
        system_fingerprint=nullable(TEXT),
        choices=array(obj(**_CHOICE, message=obj(role=literal("assistant")))),
        usage=_USAGE,
    ),
    "TextCompletion": obj(
        **_HEAD, object=literal("text_completion"), choices=array(obj(**_CHOICE, text=TEXT)), usage=_USAGE
    ),
    "ResponsesResult": obj(
        id=TEXT,
        object=literal("response"),
        created_at=COUNT,
        status=TEXT,
        model=TEXT,
        output=array(ANY_OBJECT),
        error=nullable(ANY_OBJECT),
    ),
    "MessagesResult": obj(
        id=TEXT,
        type=literal("message"),
        role=literal("assistant"),
        model=TEXT,
        content=array(ANY_OBJECT),
        stop_reason=nullable(TEXT),
        usage=obj(input_tokens=COUNT, output_tokens=COUNT),
    ),
    "TokenCount": obj(input_tokens=COUNT),
    "Embeddings": obj(
        id=TEXT,
        object=literal("list"),
        model=TEXT,
        provider=TEXT,
        data=array(obj(object=literal("embedding"), index=COUNT, embedding={"anyOf": [array(NUMBER), TEXT]})),
        usage=_USAGE,
    ),
    "Ranking": obj(
        id=TEXT,
        model=TEXT,
        provider=TEXT,
        results=array(obj(index=COUNT, relevance_score=NUMBER, document=ANY_OBJECT)),
        usage=obj(cost=NUMBER),
    ),
    "Model": obj(
        id=TEXT,
        canonical_slug=TEXT,
        name=TEXT,
        created=COUNT,
        context_length=nullable(COUNT),
        architecture=_ARCHITECTURE,
        pricing=obj(prompt=_PRICE, completion=_PRICE),
        top_provider=obj(is_moderated=FLAG),
        per_request_limits=nullable(ANY_OBJECT),
        supported_parameters=array(TEXT),
        default_parameters=nullable(ANY_OBJECT),
        supported_voices=nullable(array(TEXT)),
        links=obj(details=TEXT),
    ),
    "Models": obj(data=array(ref("Model")), total_count=COUNT, links=obj(next=nullable(TEXT))),
    "Endpoint": obj(
        name=TEXT,
        model_id=TEXT,
        model_name=TEXT,
        context_length=COUNT,
        pricing=obj(prompt=_PRICE, completion=_PRICE),
        provider_name=TEXT,
        tag=TEXT,
        quantization=nullable(TEXT),
        max_completion_tokens=nullable(COUNT),
        max_prompt_tokens=nullable(COUNT),
        supported_parameters=array(TEXT),
        status={"type": "integer"},
        uptime_last_5m=nullable(NUMBER),
        uptime_last_30m=nullable(NUMBER),
        uptime_last_1d=nullable(NUMBER),
        supports_implicit_caching=FLAG,
        latency_last_30m=_PERCENTILES,
        throughput_last_30m=_PERCENTILES,
    ),
    "ModelEndpoints": obj(
        id=TEXT,
        name=TEXT,
        created=COUNT,
        description=TEXT,
        architecture=_ARCHITECTURE,
        endpoints=array(ref("Endpoint")),
    ),
    "Provider": obj(name=TEXT, slug=TEXT, privacy_policy_url=nullable(TEXT)),
    "Generation": obj(
        "The record of one answer. Durations are milliseconds.",
        id=TEXT,
        model=TEXT,
        created_at=TEXT,
        api_type=nullable(TEXT),
        provider_name=nullable(TEXT),
        streamed=nullable(FLAG),
        cancelled=nullable(FLAG),
        finish_reason=nullable(TEXT),
        total_cost=NUMBER,
        usage=NUMBER,
        origin=TEXT,
        is_byok=FLAG,
        data_region=TEXT,
        latency=nullable(NUMBER),
        generation_time=nullable(NUMBER),
    ),
    "Content": obj(
        "`input` has `messages` or `prompt`.",
        input=ANY_OBJECT,
        output=obj(completion=nullable(TEXT), reasoning=nullable(TEXT), messages=array(ANY_OBJECT)),
        error=nullable(ANY_OBJECT),
    ),
    "Key": obj(**_KEY, hash=TEXT, name=TEXT, disabled=FLAG, created_at=TEXT, updated_at=nullable(TEXT)),
    "OwnKey": obj(**_KEY, is_management_key=FLAG, is_free_tier=FLAG, rate_limit=ANY_OBJECT),
    "Credits": obj(total_credits=NUMBER, total_usage=NUMBER),
    "Destination": obj(
        "Where traces are sent. Credentials in `config` are masked.",
        id=TEXT,
        type=TEXT,
        name=TEXT,
        enabled=FLAG,
        config=ANY_OBJECT,
        privacy_mode=FLAG,
        sampling_rate=NUMBER,
        api_key_hashes=nullable(array(TEXT)),
        filter_rules=nullable(ANY_OBJECT),
        broadcast_generation_cost=FLAG,
        broadcast_generation_identity=FLAG,
        broadcast_generation_request_context=FLAG,
        workspace_id=TEXT,
        created_at=TEXT,
        updated_at=TEXT,
    ),
    "Activity": obj(date=TEXT, model=TEXT, endpoint_id=TEXT, provider_name=TEXT, usage=NUMBER, requests=COUNT),
    "Route": obj(
        "How a request would be served now, and why; nothing is sent.",
        requested=array(TEXT),
        strategy=TEXT,
        sticky=nullable(obj("Where the request's conversation is kept.", model=TEXT, tag=TEXT)),
        endpoints=array(ANY_OBJECT),
        removed=array(ANY_OBJECT),
    ),
}
