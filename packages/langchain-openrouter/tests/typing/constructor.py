# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""The constructor takes every field by its name and by its alias, each with its type; checked, and run."""

from typing import assert_type

import httpx2
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import StdOutCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.rate_limiters import InMemoryRateLimiter
from pydantic import SecretStr

from langchain_openrouter import ChatOpenRouter

ChatOpenRouter(
    model="acme/one",
    api_key="key",
    base_url="https://example.com/v1",
    timeout=30,
    stop_sequences=["END"],
)
ChatOpenRouter(
    model_name="acme/one",
    openrouter_api_key=SecretStr("key"),
    openrouter_api_base="https://example.com/v1",
    request_timeout=30.5,
    stop=["END"],
)
ChatOpenRouter(
    model="acme/one",
    api_key="key",
    app_url="https://app.example",
    app_title="App",
    app_categories=["cli-agent"],
    default_headers={"X-Team": "blue"},
    max_retries=0,
    http_client=httpx2.Client(),
    http_async_client=httpx2.AsyncClient(),
)
ChatOpenRouter(
    model="acme/one",
    api_key="key",
    temperature=0,
    max_tokens=10,
    max_completion_tokens=10,
    top_p=0.9,
    top_k=40,
    min_p=0.1,
    top_a=0,
    frequency_penalty=0.5,
    presence_penalty=0.5,
    repetition_penalty=1.1,
    seed=1,
    n=1,
    logit_bias={"50256": -100},
    logprobs=True,
    top_logprobs=2,
    response_format={"type": "json_object"},
    parallel_tool_calls=False,
)
ChatOpenRouter(
    model="acme/one",
    api_key="key",
    reasoning={"effort": "high"},
    reasoning_effort="high",
    verbosity="low",
    modalities=["text"],
    image_config={"aspect_ratio": "1:1"},
    audio={"voice": "alloy", "format": "wav"},
    prediction={"type": "content", "content": "x"},
    plugins=[{"id": "web", "max_results": 3}],
    transforms=["middle-out"],
    web_search_options={"search_context_size": "low"},
)
ChatOpenRouter(
    model="acme/one",
    api_key="key",
    openrouter_provider={"order": ["anthropic"]},
    models=["acme/two"],
    route="fallback",
    service_tier="flex",
    cache_control={"type": "ephemeral"},
    user="user-1",
    session_id="session-1",
    trace={"trace_id": "1"},
    streaming=True,
    stream_usage=False,
    model_kwargs={"new_field": 1},
    extra_body={"metadata": {"a": "b"}},
)
# What every LangChain model takes.
ChatOpenRouter(
    model="acme/one",
    api_key="key",
    name="chat",
    cache=InMemoryCache(),
    verbose=False,
    callbacks=[StdOutCallbackHandler()],
    tags=["a"],
    metadata={"a": 1},
    custom_get_token_ids=lambda text: [len(text)],
    rate_limiter=InMemoryRateLimiter(),
    disable_streaming="tool_calling",
    output_version="v1",
    profile={"max_input_tokens": 1000},
)

# Other types of the same arguments, and nothing at all.
ChatOpenRouter(model="acme/one", api_key="key", stop="END", timeout=(1, 2, 3, None), cache=True)
ChatOpenRouter(model="acme/one", api_key="key", timeout=httpx2.Timeout(5), disable_streaming=True)
ChatOpenRouter(model="acme/one", api_key="key", temperature=None, stop=None, timeout=None, reasoning=None)
ChatOpenRouter(model="acme/one", api_key="key", app_categories="cli-agent, writing")
options = {"order": ["anthropic"]}
ChatOpenRouter(model="acme/one", api_key="key", openrouter_provider=options)

model = ChatOpenRouter(model="acme/one", api_key="key")
base: BaseChatModel = model
assert_type(model.model, str)
assert_type(model.model_name, str)
assert_type(model.temperature, int | float | None)
assert_type(model.stop, list[str] | str | None)
assert_type(model.openrouter_api_key, SecretStr | str | None)
assert_type(model.streaming, bool)


def rejected() -> None:
    """What type checkers must find."""
    ChatOpenRouter("acme/one")  # pyright: ignore[reportCallIssue]
    ChatOpenRouter(model=1)  # pyright: ignore[reportArgumentType]
    ChatOpenRouter(model="acme/one", modell="acme/two")  # pyright: ignore[reportCallIssue]
    ChatOpenRouter(model="acme/one", temperature="hot")  # pyright: ignore[reportArgumentType]
    ChatOpenRouter(model="acme/one", max_tokens=1.5)  # pyright: ignore[reportArgumentType]
    ChatOpenRouter(model="acme/one", timeout="30s")  # pyright: ignore[reportArgumentType]
    ChatOpenRouter(model="acme/one", stop=1)  # pyright: ignore[reportArgumentType]
    ChatOpenRouter(model="acme/one", models="acme/two")  # pyright: ignore[reportArgumentType]
    ChatOpenRouter(model="acme/one", openrouter_provider="anthropic")  # pyright: ignore[reportArgumentType]
    ChatOpenRouter(model="acme/one", plugins=[1])  # pyright: ignore[reportArgumentType]
    ChatOpenRouter(model="acme/one", http_client=httpx2.AsyncClient())  # pyright: ignore[reportArgumentType]
    ChatOpenRouter(model="acme/one", callbacks="all")  # pyright: ignore[reportArgumentType]
