# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""The dictionaries that users write: every key has its type, and the constructor takes keys that are not known yet."""

from langchain_openrouter import (
    ChatOpenRouter,
    MaxPrice,
    PluginConfig,
    ProviderPreferences,
    ReasoningConfig,
    TraceConfig,
)

price: MaxPrice = {"prompt": 1, "completion": "2.5", "request": 0, "image": 0.01}
preferences: ProviderPreferences = {
    "order": ["anthropic", "openai"],
    "only": ["anthropic"],
    "ignore": ["azure"],
    "allow_fallbacks": False,
    "require_parameters": True,
    "data_collection": "deny",
    "zdr": True,
    "enforce_distillable_text": True,
    "quantizations": ["fp8"],
    "sort": "price",
    "max_price": price,
    "preferred_min_throughput": 50,
    "preferred_max_latency": {"p90": 2.5},
}
by_object: ProviderPreferences = {"sort": {"by": "price", "partition": "none"}}
reasoning: ReasoningConfig = {
    "effort": "high",
    "max_tokens": 1000,
    "exclude": True,
    "enabled": True,
    "summary": "concise",
}
trace: TraceConfig = {
    "trace_id": "1",
    "trace_name": "checkout",
    "span_name": "ask",
    "generation_name": "answer",
    "parent_span_id": "2",
}
plugin: PluginConfig = {
    "id": "web",
    "enabled": True,
    "max_results": 3,
    "search_prompt": "Search for:",
    "engine": "exa",
    "pdf": {"engine": "native"},
}

ChatOpenRouter(
    model="acme/one",
    api_key="key",
    openrouter_provider=preferences,
    reasoning=reasoning,
    trace=trace,
    plugins=[plugin, {"id": "file-parser"}],
)
# Keys that the API gains later.
ChatOpenRouter(
    model="acme/one",
    api_key="key",
    openrouter_provider={"order": ["anthropic"], "new_key": 1},
    reasoning={"effort": "high", "new_key": 1},
    trace={"trace_id": "1", "environment": "production"},
    plugins=[{"id": "moderation", "new_key": 1}],
)


def rejected() -> None:
    """What type checkers must find."""
    ProviderPreferences(order="anthropic")  # pyright: ignore[reportArgumentType]
    ProviderPreferences(ordr=[])  # pyright: ignore[reportCallIssue]
    ProviderPreferences(data_collection="maybe")  # pyright: ignore[reportArgumentType]
    MaxPrice(prompt=None)  # pyright: ignore[reportArgumentType]
    ReasoningConfig(effort="huge")  # pyright: ignore[reportArgumentType]
    TraceConfig(trace_id=1)  # pyright: ignore[reportArgumentType]
    PluginConfig(max_results=3)  # pyright: ignore[reportCallIssue]
