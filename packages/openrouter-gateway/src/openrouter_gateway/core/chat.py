"""A chat request in the hub dialect: OpenRouter's chat completions, the superset of all that providers speak.

`params` is the typed view that decisions are made on; `fields` is the request as the caller wrote it, one undecoded
JSON value per top-level key, so that what the gateway does not know or need travels on untouched.
"""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Raw, Struct

from openrouter_gateway.core.embedding import Embedding
from openrouter_gateway.core.plugins import CONTEXT_COMPRESSION, Plugin
from openrouter_gateway.core.rerank import Rerank

Task: TypeAlias = Embedding | Rerank
Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
NonNegative: TypeAlias = Annotated[int, Meta(ge=0)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
SortBy: TypeAlias = Literal["price", "throughput", "latency", "exacto"]

QUANTIZATIONS: Final = frozenset(
    {"int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"}
)
"""What `provider.quantizations` may name, in any case."""


class FunctionCall(Struct, frozen=True, kw_only=True):
    """A call's function: `arguments` is a JSON document as text."""

    name: str
    arguments: str = ""


class ToolCall(Struct, frozen=True, kw_only=True):
    """A tool call that an assistant message made."""

    function: FunctionCall
    id: str | None = None
    type: str = "function"


class Message(Struct, frozen=True, kw_only=True):
    """One message. Content parts stay dictionaries: protocols read the kinds that they can carry.

    `is_error`: it is the result of a tool that failed. Anthropic's field, which OpenRouter's chat has not.
    """

    role: Role
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None


class FunctionTool(Struct, frozen=True, kw_only=True):
    """The function of a tool: `parameters` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, frozen=True, kw_only=True):
    """A function tool, or a server tool such as `openrouter:web_search` (then `function` is None)."""

    type: str = "function"
    function: FunctionTool | None = None


class NamedFunction(Struct, frozen=True, kw_only=True):
    """The function that a `tool_choice` object names."""

    name: str


class NamedToolChoice(Struct, frozen=True, kw_only=True):
    """`{"type": "function", "function": {"name": ...}}`, or a server tool by its type."""

    type: str
    function: NamedFunction | None = None


class JSONSchemaFormat(Struct, frozen=True, kw_only=True):
    """The `json_schema` member of a response format."""

    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(Struct, frozen=True, kw_only=True):
    """What the answer is to look like. There are no other kinds (OpenRouter API, response_format, 2026-08-22)."""

    type: Literal["text", "json_object", "json_schema", "grammar", "python"]
    json_schema: JSONSchemaFormat | None = None


class MaxPrice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Price ceiling: USD per million tokens (text, audio), per request, per image. Numbers or decimal strings."""

    prompt: Decimal | None = None
    completion: Decimal | None = None
    request: Decimal | None = None
    image: Decimal | None = None
    audio: Decimal | None = None


class Sort(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The object form of `provider.sort`. `partition`: sort the endpoints of each model, or of all `models` as one."""

    by: SortBy | None = None
    partition: Literal["model", "none"] | None = None


class Cutoffs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wanted throughput (tokens per second) or latency (seconds to the first token), by percentile."""

    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p99: float | None = None


class ProviderPreferences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request's `provider` object. Unknown keys are refused: a misspelt data policy must not pass silently."""

    order: list[str] | None = None
    only: list[str] | None = None
    ignore: list[str] | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    enforce_distillable_text: bool | None = None
    quantizations: list[str] | None = None
    sort: SortBy | Sort | None = None
    preferred_min_throughput: float | Cutoffs | None = None
    preferred_max_latency: float | Cutoffs | None = None
    max_price: MaxPrice | None = None
    options: dict[str, Any] | None = None


class ChatParams(Struct, frozen=True, kw_only=True):
    """The fields that the gateway itself reads or checks. Ranges: OpenRouter API, chat completions (2026-08-22)."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    model: str | None = None
    models: list[str] | None = None
    route: Literal["fallback", "sort"] | None = None
    stream: bool | None = None
    provider: ProviderPreferences | None = None
    plugins: list[Plugin] | None = None
    transforms: list[Literal["middle-out"]] | None = None
    service_tier: str | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: NonNegative | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_a: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    seed: int | None = None
    n: Positive | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    session_id: Annotated[str, Meta(max_length=256)] | None = None
    prompt_cache_key: str | None = None
    trace: dict[str, Any] | None = None


class ChatRequest(Struct, frozen=True, kw_only=True):
    """One request as parsed: the typed view, and every top-level field verbatim.

    `task` is what is asked of the model where that is no answer to the messages. Keys, routing and records do not care:
    for them a task is a request whose messages are what the model reads, each by itself.

    `betas` are features of Anthropic's API by name, asked for in the header `x-anthropic-beta`. `echo` is what another
    skin than chat remembers of the caller's own body, to answer in its terms.
    """

    params: ChatParams
    fields: dict[str, Raw]
    task: Task | None = None
    betas: tuple[str, ...] = ()
    echo: dict[str, Any] = {}

    @property
    def stream(self) -> bool:
        """Whether the caller asked for server-sent events."""
        return bool(self.params.stream)

    @property
    def prompt_size(self) -> int:
        """Bytes of JSON that the model reads."""
        if self.task is None:
            return len(self.fields["messages"])
        return sum(len(self.fields[name]) for name in self.task.reads)

    @property
    def requested_models(self) -> list[str]:
        """Model ids in the order in which they are to be tried: `model`, then `models`, each once."""
        params = self.params
        named = [params.model] if params.model else []
        return list(dict.fromkeys([*named, *params.models])) if params.models else named

    def plugin(self, name: str) -> Plugin | None:
        """Return the entry of a plugin, switched on or off; the first if there are several."""
        for plugin in self.params.plugins or ():
            if plugin.id == name:
                return plugin
        return None

    def wants(self, name: str) -> bool:
        """Whether a plugin is switched on."""
        plugin = self.plugin(name)
        return plugin is not None and plugin.enabled is not False

    @property
    def compression(self) -> bool | None:
        """Whether the prompt may be compressed; None: not said. `transforms` is the old word for the plugin."""
        plugin = self.plugin(CONTEXT_COMPRESSION)
        if plugin is not None:
            return plugin.enabled is not False
        transforms = self.params.transforms
        return None if transforms is None else bool(transforms)
