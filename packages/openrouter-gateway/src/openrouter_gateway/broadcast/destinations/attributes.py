"""The attributes of spans in the vocabularies that several destinations read."""

from openrouter_gateway.broadcast.content import to_json, to_semantic
from openrouter_gateway.broadcast.spans import Attributes, Span, Trace


def semantic(trace: Trace, span: Span) -> Attributes:
    """OpenTelemetry's conventions, with messages as JSON texts.

    OTLP has structured values, too, but few destinations take them (gen-ai-spans.md allows for both, 2026-11-27).
    """
    if span.kind == "group":
        return span.attributes
    attributes = dict(span.attributes)
    if trace.messages is not None:
        attributes["gen_ai.input.messages"] = to_json(to_semantic(trace.messages))
    if trace.reply is not None:
        finish_reason = trace.generation.finish_reason or ""
        attributes["gen_ai.output.messages"] = to_json(to_semantic(trace.reply, finish_reason))
    return attributes


def open_inference(trace: Trace, span: Span) -> Attributes:
    """OpenInference's conventions, which Arize and Phoenix read, beside OpenTelemetry's.

    Names: github.com/Arize-ai/openinference, spec/semantic_conventions.md (2026-11-27).
    """
    attributes = dict(span.attributes)
    metadata = dict(trace.metadata)
    if metadata:
        attributes["metadata"] = to_json(metadata)
        attributes |= {f"metadata.{key}": value for key, value in metadata.items()}
    if span.kind == "group":
        return attributes | {"openinference.span.kind": "CHAIN"}
    usage = trace.generation.usage
    attributes |= {
        "openinference.span.kind": "LLM",
        "llm.token_count.prompt": usage.prompt_tokens,
        "llm.token_count.completion": usage.completion_tokens,
        "llm.token_count.total": usage.total_tokens,
        "llm.token_count.prompt_details.cache_read": usage.cached_tokens,
        "llm.token_count.prompt_details.cache_write": usage.cache_write_tokens,
        "llm.token_count.completion_details.reasoning": usage.reasoning_tokens,
        "llm.cost.total": float(trace.generation.cost.total),
    }
    if trace.generation.model:
        attributes["llm.model_name"] = trace.generation.model
    if trace.generation.provider:
        attributes["llm.provider"] = trace.generation.provider
    if trace.messages is not None:
        attributes |= {"input.value": to_json({"messages": trace.messages}), "input.mime_type": "application/json"}
        attributes |= _flat("llm.input_messages", trace.messages)
    if trace.reply is not None:
        attributes |= {"output.value": to_json({"messages": trace.reply}), "output.mime_type": "application/json"}
        attributes |= _flat("llm.output_messages", trace.reply)
    return attributes


def _flat(prefix: str, messages: list[dict[str, object]]) -> Attributes:
    """OpenInference writes lists as attributes with indexes in their names."""
    attributes: Attributes = {}
    for index, message in enumerate(messages):
        above = f"{prefix}.{index}.message"
        attributes[f"{above}.role"] = str(message["role"])
        content = message.get("content")
        if content is not None:
            attributes[f"{above}.content"] = content if isinstance(content, str) else to_json(content)
    return attributes
