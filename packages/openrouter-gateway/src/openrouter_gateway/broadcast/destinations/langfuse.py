"""Langfuse, by its OTLP endpoint (langfuse.com/integrations/native/opentelemetry, 2026-11-27)."""

import datetime as dt
from typing import Any

from openrouter_gateway.broadcast.content import to_json
from openrouter_gateway.broadcast.destinations.base import Config, Secret, Text, basic_auth, join_url
from openrouter_gateway.broadcast.destinations.otlp_kind import otlp_kind
from openrouter_gateway.broadcast.spans import Attributes, Span, Trace
from openrouter_gateway.core.generation import Generation


class LangfuseConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """A project's keys."""

    public_key: Secret
    secret_key: Secret
    base_url: Text = "https://us.cloud.langfuse.com"


def _resource(_: LangfuseConfig, trace: Trace) -> Attributes:
    return {f"langfuse.{key}": str(trace.metadata[key]) for key in ("environment", "release") if key in trace.metadata}


def _translate(trace: Trace, span: Span) -> Attributes:
    """Langfuse filters by span, so each has what belongs to the trace."""
    attributes = dict(span.attributes)
    for key, value in trace.metadata.items():
        if key in ("environment", "release"):
            attributes[f"langfuse.{key}"] = str(value)
        elif key == "tags" and isinstance(value, list):
            attributes["langfuse.trace.tags"] = value
        else:
            attributes[f"langfuse.trace.metadata.{key}"] = value if isinstance(value, str) else to_json(value)
    if trace.name:
        attributes["langfuse.trace.name"] = trace.name
    if span.kind == "group":
        return attributes | {"langfuse.observation.type": "span"}
    generation = trace.generation
    attributes |= {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": trace.model,
        "langfuse.observation.usage_details": to_json(_usage_details(generation)),
        "langfuse.observation.cost_details": to_json(_cost_details(generation)),
    }
    if generation.streamed and generation.latency_s is not None:
        began = dt.datetime.fromtimestamp(generation.created + generation.latency_s, dt.UTC)
        attributes["langfuse.observation.completion_start_time"] = began.isoformat()
    if span.error is not None:
        attributes |= {"langfuse.observation.level": "ERROR", "langfuse.observation.status_message": span.error}
    if trace.messages is not None:
        attributes["langfuse.observation.input"] = to_json(trace.messages)
    if trace.reply is not None:
        attributes["langfuse.observation.output"] = to_json(trace.reply)
    return attributes


def _usage_details(generation: Generation) -> dict[str, int]:
    """Counts that do not overlap: Langfuse adds up what begins with `input`, and what begins with `output`."""
    usage = generation.usage
    return {
        "input": max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens),
        "input_cached_tokens": usage.cached_tokens,
        "input_cache_creation": usage.cache_write_tokens,
        "output": max(0, usage.completion_tokens - usage.reasoning_tokens),
        "output_reasoning_tokens": usage.reasoning_tokens,
        "total": usage.total_tokens,
    }


def _cost_details(generation: Generation) -> dict[str, Any]:
    cost = generation.cost
    return {"input": cost.prompt, "output": cost.completion, "request": cost.request, "total": cost.total}


LANGFUSE = otlp_kind(
    "langfuse",
    LangfuseConfig,
    lambda config: join_url(config.base_url, "/api/public/otel/v1/traces"),
    headers=lambda config: {
        "Authorization": basic_auth(config.public_key.reveal(), config.secret_key.reveal()),
        "x-langfuse-ingestion-version": "4",
    },
    translate=_translate,
    encoding="json",
    resource=_resource,
)
