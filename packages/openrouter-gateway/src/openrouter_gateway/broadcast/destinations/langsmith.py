"""LangSmith, by its OTLP endpoint (docs.langchain.com/langsmith/trace-with-opentelemetry, 2026-11-27)."""

from openrouter_gateway.broadcast.content import to_json
from openrouter_gateway.broadcast.destinations.base import Config, Secret, Text, join_url
from openrouter_gateway.broadcast.destinations.otlp_kind import otlp_kind
from openrouter_gateway.broadcast.spans import Attributes, Span, Trace


class LangSmithConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """`workspace_id` is for keys of an organisation; self-hosted endpoints end with `/api/v1`."""

    api_key: Secret
    project: Text = "main"
    endpoint: Text = "https://api.smith.langchain.com"
    workspace_id: str | None = None


def _headers(config: LangSmithConfig) -> dict[str, str]:
    headers = {"x-api-key": config.api_key.reveal(), "Langsmith-Project": config.project}
    return headers if config.workspace_id is None else headers | {"X-Tenant-Id": config.workspace_id}


def _translate(trace: Trace, span: Span) -> Attributes:
    attributes = dict(span.attributes)
    # All string arrays are tags (digest 10.6); each once, and what is called so comes first.
    listed = sorted(trace.metadata.items(), key=lambda item: item[0] != "tags")
    tags = dict.fromkeys(tag for _, value in listed if isinstance(value, list) for tag in value)
    if tags:
        attributes["langsmith.span.tags"] = ",".join(tags)
    for key, value in trace.metadata.items():
        attributes[f"langsmith.metadata.{key}"] = value if isinstance(value, str) else to_json(value)
    generation = trace.generation
    for key, value in (
        ("user_id", generation.user),
        ("session_id", generation.session_id),
        ("trace_name", trace.name),
    ):
        if value:
            attributes[f"langsmith.metadata.{key}"] = value
    attributes["langsmith.trace.name"] = span.name
    if span.kind == "group":
        return attributes | {"langsmith.span.kind": "chain"}
    attributes["langsmith.span.kind"] = "llm"
    if generation.usage.reasoning_tokens:
        attributes["gen_ai.usage.details.reasoning_tokens"] = generation.usage.reasoning_tokens
    if trace.messages is not None:
        attributes["gen_ai.prompt"] = to_json({"messages": trace.messages})
    if trace.reply is not None:
        attributes["gen_ai.completion"] = to_json({"messages": trace.reply})
    return attributes


LANGSMITH = otlp_kind(
    "langsmith",
    LangSmithConfig,
    lambda config: join_url(config.endpoint, "/otel/v1/traces"),
    headers=_headers,
    translate=_translate,
    encoding="protobuf",  # what the exporter that its page names sends
    address="endpoint",
)
