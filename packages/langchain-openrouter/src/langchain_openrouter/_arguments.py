"""What type checkers show as the arguments of `ChatOpenRouter`: its fields, by their names and by their aliases.

Pydantic takes both, but type checkers see a field's alias alone.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.caches import BaseCache
from langchain_core.callbacks import Callbacks
from langchain_core.language_models import ModelProfile
from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import SecretStr
from typing_extensions import TypedDict

from langchain_openrouter.settings import Plugin, Provider, Reasoning, Trace

if TYPE_CHECKING:
    import httpx2

Timeout: TypeAlias = "float | tuple[float | None, float | None, float | None, float | None] | httpx2.Timeout | None"


class Arguments(TypedDict, total=False):
    """Every argument but `model`."""

    model_name: str
    openrouter_api_key: SecretStr | str | None
    api_key: SecretStr | str | None
    openrouter_api_base: str | None
    base_url: str | None
    app_url: str | None
    app_title: str | None
    app_categories: list[str] | str | None
    default_headers: Mapping[str, str] | None
    request_timeout: Timeout
    timeout: Timeout
    max_retries: int
    http_client: "httpx2.Client | None"
    http_async_client: "httpx2.AsyncClient | None"
    temperature: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    top_a: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    seed: int | None
    stop: list[str] | str | None
    stop_sequences: list[str] | str | None
    n: int | None
    logit_bias: dict[str, int | float] | None
    logprobs: bool | None
    top_logprobs: int | None
    response_format: dict[str, Any] | None
    parallel_tool_calls: bool | None
    reasoning: Reasoning | None
    reasoning_effort: str | None
    verbosity: str | None
    modalities: list[str] | None
    image_config: dict[str, Any] | None
    audio: dict[str, Any] | None
    prediction: dict[str, Any] | None
    plugins: list[Plugin] | None
    transforms: list[str] | None
    web_search_options: dict[str, Any] | None
    openrouter_provider: Provider | None
    models: list[str] | None
    route: str | None
    service_tier: str | None
    cache_control: dict[str, Any] | None
    user: str | None
    session_id: str | None
    trace: Trace | None
    streaming: bool
    stream_usage: bool | None
    model_kwargs: dict[str, Any]
    extra_body: dict[str, Any] | None
    # LangChain's own, of every chat model:
    name: str | None
    cache: BaseCache | bool | None
    verbose: bool
    callbacks: Callbacks
    tags: list[str] | None
    metadata: dict[str, Any] | None
    custom_get_token_ids: Callable[[str], list[int]] | None
    rate_limiter: BaseRateLimiter | None
    disable_streaming: bool | Literal["tool_calling"]
    output_version: str | None
    profile: ModelProfile | None
