"""`ChatOpenRouter`: the fields users set, and thin methods over the pure modules and the HTTP drivers."""

import copy
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, TypeVar, cast, overload

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils import from_env, secret_from_env
from langchain_core.utils.utils import LC_ID_PREFIX
from pydantic import ConfigDict, Field, SecretStr, SkipValidation, field_validator, model_validator
from typing_extensions import Unpack, override

from langchain_openrouter import _blocks
from langchain_openrouter._decoding import hide, secrets_in
from langchain_openrouter._http_options import check_client, check_timeout, dumpable_timeout, warn_of_milliseconds
from langchain_openrouter._request import (
    DEFAULT_BASE_URL,
    UNTRACED,
    WireRequest,
    app_headers,
    build_body,
    build_headers,
    check_session,
    client_arguments,
    completions_url,
    encode_body,
    is_loopback,
    refuse_old_names,
    user_headers,
)
from langchain_openrouter._retry import RetryPolicy
from langchain_openrouter._structured import Method, structure_output
from langchain_openrouter._tools import ToolLike, close_format, to_wire_choice, to_wire_tools
from langchain_openrouter._trace_context import trace_headers
from langchain_openrouter._warnings import warn_user
from langchain_openrouter.errors import ConfigurationError
from langchain_openrouter.settings import Plugin, Provider, Reasoning, Trace

if TYPE_CHECKING:
    from langchain_openrouter._arguments import Arguments

__all__ = ["ChatOpenRouter"]

_T = TypeVar("_T")

_blocks.register()

Number: TypeAlias = int | float
"""An integer stays one on its way to the body: pydantic turns a plain `float` field's 0 into 0.0."""

_CLIENTS: Final[Mapping[str, str]] = {"http_client": "Client", "http_async_client": "AsyncClient"}
"""Fields that hold an HTTP client of the user, and its class."""


class ChatOpenRouter(BaseChatModel):
    """Chat model for OpenRouter and for gateways that speak its API.

    Every field that describes the request can be given to the constructor, to one call
    (`model.invoke("...", temperature=0)`) or with `bind`; what is not set is not sent. Fields of the API that
    are not listed here travel through `model_kwargs`, `extra_body` or the arguments of a call.

        from langchain_openrouter import ChatOpenRouter

        model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5", temperature=0)
        model.invoke("What is the capital of France?").content

    Raises:
        ConfigurationError: No API key (and the server is not on this machine), or a value cannot work.
        pydantic.ValidationError: An argument has the wrong type.
    """

    model_name: str = Field(alias="model")
    """Model to ask, `author/slug[:variant]`."""

    openrouter_api_key: SecretStr | str | None = Field(
        default_factory=secret_from_env("OPENROUTER_API_KEY", default=None), alias="api_key"
    )
    """API key; from `OPENROUTER_API_KEY` when not given. A server on this machine needs none."""

    openrouter_api_base: str | None = Field(
        default_factory=from_env("OPENROUTER_API_BASE", default=None), alias="base_url"
    )
    """Base URL of the API; from `OPENROUTER_API_BASE`, else `https://openrouter.ai/api/v1`."""

    app_url: str | None = Field(default_factory=from_env("OPENROUTER_APP_URL", default=None))
    """Address of your application, sent as `HTTP-Referer`; from `OPENROUTER_APP_URL`."""

    app_title: str | None = Field(default_factory=from_env("OPENROUTER_APP_TITLE", default=None))
    """Name of your application, sent as `X-Title`; from `OPENROUTER_APP_TITLE`."""

    app_categories: list[str] | None = None
    """Categories of your application, sent as `X-OpenRouter-Categories`; from
    `OPENROUTER_APP_CATEGORIES`, separated by commas."""

    default_headers: Mapping[str, str] | None = Field(default=None, exclude=True, repr=False)
    """Headers of every request; they win over the ones above, whatever their case."""

    request_timeout: SkipValidation[Any] = Field(default=None, alias="timeout")
    """Seconds of silence after which a request fails: a number, a (connect, read, write, pool) tuple or a
    `httpx2.Timeout`. The default is 10 seconds to connect and 600 seconds between two bytes, so a slow answer
    that keeps the connection alive is never cut. Not milliseconds, as in the other package of this name."""

    max_retries: int = Field(default=2, ge=0)
    """Further tries after a failed one, with growing waits: connection failures and statuses 408, 429 and
    5xx (but 501), before anything of the answer was handed on. A `Retry-After` is honoured up to 60 seconds."""

    http_client: SkipValidation[Any] = Field(default=None, exclude=True, repr=False)
    """A `httpx2.Client` to use instead of the shared one, with its own proxies, certificates and limits."""

    http_async_client: SkipValidation[Any] = Field(default=None, exclude=True, repr=False)
    """A `httpx2.AsyncClient` for the asynchronous methods; it belongs to one event loop."""

    temperature: Number | None = None
    max_tokens: int | None = None
    """Upper bound of the answer in tokens. The API prefers `max_completion_tokens`."""
    max_completion_tokens: int | None = None
    top_p: Number | None = None
    top_k: int | None = None
    min_p: Number | None = None
    top_a: Number | None = None
    frequency_penalty: Number | None = None
    presence_penalty: Number | None = None
    repetition_penalty: Number | None = None
    seed: int | None = None
    stop: list[str] | str | None = Field(default=None, alias="stop_sequences")
    n: int | None = Field(default=None, ge=1)
    """Answers per call (`generate` shows them all); more than one cannot be streamed."""
    logit_bias: dict[str, Number] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: SkipValidation[dict[str, Any]] | None = None
    parallel_tool_calls: bool | None = None

    reasoning: SkipValidation[Reasoning] | None = None
    """How much the model may think and what of it is returned, such as `{"effort": "high"}`."""
    reasoning_effort: str | None = None
    verbosity: str | None = None

    modalities: list[str] | None = None
    image_config: SkipValidation[dict[str, Any]] | None = None
    audio: SkipValidation[dict[str, Any]] | None = None
    prediction: SkipValidation[dict[str, Any]] | None = None
    plugins: SkipValidation[list[Plugin]] | None = None
    transforms: list[str] | None = None
    web_search_options: SkipValidation[dict[str, Any]] | None = None

    openrouter_provider: SkipValidation[Provider] | None = None
    """Which providers may serve the request and in which order; `provider` on the wire, sent verbatim."""
    models: list[str] | None = None
    """Models to fall back to, in order."""
    route: str | None = None
    service_tier: str | None = None
    cache_control: SkipValidation[dict[str, Any]] | None = None

    user: str | None = None
    session_id: str | None = Field(default_factory=from_env("OPENROUTER_SESSION_ID", default=None), max_length=256)
    """Groups requests of one workflow, at most 256 characters; from `OPENROUTER_SESSION_ID`, "" is unset."""
    trace: SkipValidation[Trace] | None = None
    """Annotations of the request for observability destinations."""

    streaming: bool = False
    """Whether `invoke` streams as well, so that callbacks see tokens as they arrive."""
    stream_usage: bool | None = None
    """OpenRouter reports usage in every stream. True asks other servers for it (`stream_options`);
    False leaves `usage_metadata` out of streams."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request body; unknown constructor arguments end up here, with a warning."""
    extra_body: SkipValidation[dict[str, Any]] | None = None
    """Fields that are laid over the finished request body. The API's `metadata` goes here: LangChain uses
    that name for its own."""

    model_config = ConfigDict(populate_by_name=True, hide_input_in_errors=True, protected_namespaces=())

    if TYPE_CHECKING:  # pydantic tells checkers of aliases alone

        def __init__(self, *, model: str = ..., **arguments: Unpack[Arguments]) -> None: ...

    else:

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # Not in a validator: pydantic would turn the error into one of its own.
            self._check()

    @model_validator(mode="before")
    @classmethod
    def _move_unknown_arguments(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = cast("dict[str, Any]", values)
        known = {*cls.model_fields, *(field.alias for field in cls.model_fields.values() if field.alias)}
        moved: dict[str, Any] = {**(given.get("model_kwargs") or {})}
        unknown = sorted(given.keys() - known)
        refuse_old_names((*unknown, *moved), call=False)
        if twice := sorted(moved.keys() & {name for name, value in given.items() if value is not None}):
            raise ValueError(f"{', '.join(twice)}: given twice, as an argument and in model_kwargs")
        if not unknown:
            return given
        moved |= {name: given[name] for name in unknown}
        warn_user(f"{', '.join(unknown)}: no argument of {cls.__name__}; sent to the API as part of model_kwargs")
        return {**{k: v for k, v in given.items() if k not in unknown}, "model_kwargs": moved}

    @field_validator("openrouter_api_key", mode="before")
    @classmethod
    def _keep_secret(cls, value: Any) -> Any:
        # The annotation has `str` for callers only: what the field holds is a secret, in every repr and dump.
        return hide(value)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, hide(value) if name == "openrouter_api_key" else value)

    @field_validator("app_categories", mode="before")
    @classmethod
    def _split_categories(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fill_from_environment(self) -> Self:
        if self.app_categories is None:
            listed = from_env("OPENROUTER_APP_CATEGORIES", default=None)()
            self.app_categories = [part.strip() for part in listed.split(",")] if listed else None
        self.session_id = self.session_id or None
        self._add_version("langchain-openrouter", _version())
        return self

    def _check(self) -> None:
        completions_url(self._base_url)
        check_session(self.session_id)  # the environment's has passed pydantic unchecked, as every default does
        if self._api_key is None and not is_loopback(self._base_url):
            raise ConfigurationError(
                "no API key: set the environment variable OPENROUTER_API_KEY or pass api_key=... "
                "(keys are made at https://openrouter.ai/settings/keys)"
            )
        if self.streaming and (self.n or 1) > 1:
            raise ConfigurationError("n must be 1 when streaming: a stream holds one answer")
        timeout = self.request_timeout
        check_timeout(timeout)
        for name in _CLIENTS:
            self._client(name, {})
        warn_of_milliseconds(timeout)

    # -- what LangChain asks of a model ------------------------------------------------------------------

    @property
    @override
    def _llm_type(self) -> str:
        return "openrouter-chat"

    @property
    def model(self) -> str:
        """The model id, under the name of the constructor argument."""
        return self.model_name

    @property
    @override
    def lc_secrets(self) -> dict[str, str]:
        return {"openrouter_api_key": "OPENROUTER_API_KEY"}

    @property
    @override
    def lc_attributes(self) -> dict[str, Any]:
        """What `dumps` writes in another form: JSON has none for a `httpx2.Timeout`."""
        return dumpable_timeout(self.request_timeout)

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        return True

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "top_p": self.top_p,
            "streaming": self.streaming,
            "reasoning": self.reasoning,
            "openrouter_provider": self.openrouter_provider,
            "route": self.route,
            "model_kwargs": self.model_kwargs,
        }

    @override
    def _resolve_model_profile(self) -> ModelProfile | None:
        from langchain_openrouter.profiles import profile_of

        return profile_of(self.model_name)

    @override
    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return what tracers record of a call: no headers, and no misplaced key of a call that will be refused."""
        hidden = {*UNTRACED, *_constructor_only(type(self))}
        shown = {name: value for name, value in kwargs.items() if name not in hidden}
        return super()._get_invocation_params(stop=stop, **shown)

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "openrouter"
        params["ls_model_name"] = kwargs.get("model") or kwargs.get("model_name") or self.model_name
        limit = kwargs.get("max_completion_tokens", self.max_completion_tokens)
        if limit is not None:
            params.setdefault("ls_max_tokens", limit)
        if (stop := stop or _list_of(self.stop)) is not None:
            params["ls_stop"] = stop
        return params

    @override
    def __getstate__(self) -> dict[Any, Any]:
        """Leave the user's HTTP clients behind: sockets cannot be pickled, the copy uses the shared ones."""
        state = super().__getstate__()
        attributes = {**state["__dict__"], "http_client": None, "http_async_client": None}
        return {**state, "__dict__": attributes}

    @override
    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy everything but the user's HTTP clients, which the copy shares."""
        memo = {} if memo is None else memo
        for client in (self.http_client, self.http_async_client):
            memo[id(client)] = client
        return super().__deepcopy__(memo)

    # -- calls -------------------------------------------------------------------------------------------

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        from langchain_openrouter import _http

        request = self._request(messages, stop, kwargs, stream=False)
        return _http.complete(request, self._policy(kwargs), self._client("http_client", kwargs))

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        from langchain_openrouter import _http

        request = self._request(messages, stop, kwargs, stream=False)
        return await _http.acomplete(request, self._policy(kwargs), self._client("http_async_client", kwargs))

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        from langchain_openrouter import _http

        request = self._request(messages, stop, kwargs, stream=True)
        policy, with_usage = self._policy(kwargs), self._wants_usage(kwargs)
        client = self._client("http_client", kwargs)
        for chunk in _http.stream(request, policy, client, with_usage=with_usage):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        from langchain_openrouter import _http

        request = self._request(messages, stop, kwargs, stream=True)
        policy, with_usage = self._policy(kwargs), self._wants_usage(kwargs)
        client = self._client("http_async_client", kwargs)
        async for chunk in _http.astream(request, policy, client, with_usage=with_usage):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _stream_chat_model_events(
        self, messages: list[BaseMessage], stop: list[str] | None = None, *, run_manager: Any, **kwargs: Any
    ) -> Iterator[Any]:
        """Stream the typed events of LangChain's newer interface, which looks for a method of this name."""
        from langchain_core.language_models._compat_bridge import chunks_to_events

        chunks = map(_blocks.EventChunks().take, self._stream(messages, stop, run_manager, **kwargs))
        return chunks_to_events(chunks, message_id=f"{LC_ID_PREFIX}-{run_manager.run_id}")

    async def _astream_chat_model_events(
        self, messages: list[BaseMessage], stop: list[str] | None = None, *, run_manager: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Do as `_stream_chat_model_events` does, asynchronously."""
        from langchain_core.language_models._compat_bridge import achunks_to_events

        held = _blocks.EventChunks()
        stream = cast("AsyncGenerator[ChatGenerationChunk]", self._astream(messages, stop, run_manager, **kwargs))
        async with aclosing(stream) as chunks:
            taken = (held.take(chunk) async for chunk in chunks)
            async for event in achunks_to_events(taken, message_id=f"{LC_ID_PREFIX}-{run_manager.run_id}"):
                yield event

    @property
    def _base_url(self) -> str:
        return self.openrouter_api_base or DEFAULT_BASE_URL

    @property
    def _api_key(self) -> str | None:
        key = self.openrouter_api_key
        plain = key.get_secret_value() if isinstance(key, SecretStr) else key
        return (plain or "").strip() or None

    def _policy(self, call: Mapping[str, Any]) -> RetryPolicy:
        given = call.get("max_retries")
        retries = self.max_retries if given is None else given
        if not isinstance(retries, int) or retries < 0:
            raise ConfigurationError(f"max_retries must be a whole number of 0 or more, not {retries!r}")
        return RetryPolicy(max_retries=retries)

    def _client(self, name: str, call: Mapping[str, Any]) -> Any:
        """Return the HTTP client of the user for a call, or None for the shared one."""
        client = call.get(name, getattr(self, name))
        check_client(name, client, _CLIENTS[name])
        return client

    def _wants_usage(self, call: Mapping[str, Any]) -> bool:
        return call.get("stream_usage", self.stream_usage) is not False

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, call: Mapping[str, Any], *, stream: bool
    ) -> WireRequest:
        refused = _constructor_only(type(self))
        body = build_body(self.__dict__, messages, stop=stop, call=call, stream=stream, refused=refused)
        if stream and body.get("n", 1) != 1:
            raise ConfigurationError("n must be 1 when streaming: a stream holds one answer")
        api_key = self._api_key
        headers = build_headers(
            api_key=api_key,
            user_agent=f"langchain-openrouter/{_version()}",
            app=app_headers(self.__dict__, call),
            trace=trace_headers(),
            user_headers=user_headers(self.__dict__, call),
            stream=stream,
        )
        timeout = call.get("timeout", call.get("request_timeout", self.request_timeout))
        check_timeout(timeout)
        if timeout is not self.request_timeout:
            warn_of_milliseconds(timeout)
        return WireRequest(
            url=completions_url(self._base_url),
            headers=headers,
            body=encode_body(body),
            timeout=timeout,
            secrets=secrets_in(headers),
        )

    # -- tools and structured output ---------------------------------------------------------------------

    @override
    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools bound to it.

        Args:
            tools: Pydantic classes, TypedDicts, functions, LangChain tools, or dicts of the API, which travel
                verbatim, also server tools such as `{"type": "openrouter:web_search"}`.
            tool_choice: "auto", "none", "required" or "any", True for the only tool, a name, or a dict.
            strict: True asks for arguments that match the schema exactly.
            kwargs: Further arguments of the calls, such as `parallel_tool_calls=False`.

        Raises:
            ConfigurationError: `tool_choice` names none of the tools.
        """
        wire = to_wire_tools(tools, strict=strict)
        if tool_choice is not None:
            kwargs["tool_choice"] = to_wire_choice(tool_choice, wire)
        if "response_format" in kwargs:
            kwargs["response_format"] = close_format(kwargs["response_format"])
        if wire:  # `create_agent` binds none; providers refuse an empty list
            kwargs["tools"] = wire
        return self.bind(**kwargs)

    @overload
    def with_structured_output(
        self,
        schema: type[_T],
        *,
        method: Method = ...,
        include_raw: Literal[False] = ...,
        strict: bool | None = ...,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, _T]: ...
    @overload
    def with_structured_output(
        self,
        schema: type[_T],
        *,
        method: Method = ...,
        include_raw: Literal[True],
        strict: bool | None = ...,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any]]: ...
    @overload
    def with_structured_output(
        self,
        schema: type[_T],
        *,
        method: Method = ...,
        include_raw: bool,
        strict: bool | None = ...,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, _T | dict[str, Any]]: ...
    @overload
    def with_structured_output(
        self,
        schema: dict[str, Any] | None = ...,
        *,
        method: Method = ...,
        include_raw: bool = ...,
        strict: bool | None = ...,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any]]: ...
    @override
    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return this model with answers parsed into a schema.

        Args:
            schema: A Pydantic class (answers are its instances), a TypedDict or a JSON Schema (answers are
                dicts). None is possible with "json_mode" only.
            method: "function_calling" makes the model call a tool, "json_schema" constrains its text,
                "json_mode" asks for any JSON object; describe the keys in the prompt then.
            include_raw: True returns `{"raw", "parsed", "parsing_error"}` and raises no parsing error.
            strict: True asks for an exact match; not possible with "json_mode".
            kwargs: Further arguments of the calls.

        Raises:
            ConfigurationError: The arguments do not go together.
        """
        return structure_output(self, schema, method=method, include_raw=include_raw, strict=strict, call=kwargs)


def _list_of(stop: list[str] | str | None) -> list[str] | None:
    return [stop] if isinstance(stop, str) else copy.copy(stop)


@cache
def _constructor_only(cls: type[ChatOpenRouter]) -> frozenset[str]:
    return client_arguments({name: field.alias for name, field in cls.model_fields.items()})


@cache
def _version() -> str:
    return version("langchain-openrouter")
