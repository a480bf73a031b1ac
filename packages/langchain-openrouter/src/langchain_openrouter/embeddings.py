"""`OpenRouterEmbeddings`: the LangChain embeddings of OpenRouter and of gateways that speak its API."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.embeddings import Embeddings
from langchain_core.load.serializable import Serializable
from pydantic import ConfigDict, Field, SecretStr, SkipValidation, field_validator
from typing_extensions import override

from langchain_openrouter._access import (
    Access,
    app_title_from_env,
    app_url_from_env,
    base_url_from_env,
    categories_from_env,
    check_clients,
    key_from_env,
    split_categories,
)
from langchain_openrouter._decoding import hide
from langchain_openrouter._embeddings import Embedded, parse_embeddings
from langchain_openrouter._http_options import dumpable_timeout
from langchain_openrouter._request import DEFAULT_BASE_URL, WireRequest, encode_body
from langchain_openrouter._retry import plan_waits
from langchain_openrouter.costs import count_call
from langchain_openrouter.settings import Provider

__all__ = ["OpenRouterEmbeddings"]


class OpenRouterEmbeddings(Serializable, Embeddings):
    """Embedding model behind OpenRouter or a gateway that speaks its API.

    What is not set is not sent. Within `track_costs` its tokens and costs are counted.

        from langchain_openrouter import OpenRouterEmbeddings

        embeddings = OpenRouterEmbeddings(model="openai/text-embedding-3-small", dimensions=256)
        embeddings.embed_query("What is the capital of France?")

    Raises:
        ConfigurationError: No API key (and the server is not on this machine), or a value cannot work.
        pydantic.ValidationError: An argument is unknown or has the wrong type.
    """

    model_name: str = Field(alias="model")
    """Model to ask, `author/slug[:variant]`."""

    dimensions: int | None = Field(default=None, ge=1)
    """Length of the vectors, for models that can shorten them."""

    encoding_format: Literal["float", "base64"] | None = None
    """How vectors travel: "base64" is about a third of the bytes, as 32-bit floats. Results are lists of floats."""

    input_type: str | None = None
    """What the texts are to the model, such as "search_document"; some models ask for it."""

    query_input_type: str | None = None
    """The same for `embed_query`, such as "search_query"; `input_type` when not set."""

    openrouter_provider: SkipValidation[Provider] | None = None
    """Which providers may serve the requests and in which order; `provider` on the wire, sent verbatim."""

    user: str | None = None
    """Your own id of the end user."""

    extra_body: SkipValidation[dict[str, Any]] | None = None
    """Fields that are laid over the finished request body."""

    chunk_size: int = Field(default=96, ge=1)
    """Texts per request. Providers differ in their limits: Cohere takes 96 (LangChain's reference of
    `CohereEmbeddings`, November 2026), OpenAI more."""

    # `str` is for callers only: of two types that fit, pydantic takes the left one.
    openrouter_api_key: SecretStr | str | None = Field(default_factory=key_from_env, alias="api_key")
    """API key; from `OPENROUTER_API_KEY` when not given. A server on this machine needs none."""

    openrouter_api_base: str | None = Field(default_factory=base_url_from_env, alias="base_url")
    """Base URL of the API; from `OPENROUTER_API_BASE`, else `https://openrouter.ai/api/v1`."""

    app_url: str | None = Field(default_factory=app_url_from_env)
    """Address of your application, sent as `HTTP-Referer`; from `OPENROUTER_APP_URL`."""

    app_title: str | None = Field(default_factory=app_title_from_env)
    """Name of your application, sent as `X-Title`; from `OPENROUTER_APP_TITLE`."""

    app_categories: list[str] | None = Field(default_factory=categories_from_env)
    """Categories of your application, sent as `X-OpenRouter-Categories`; from
    `OPENROUTER_APP_CATEGORIES`, separated by commas."""

    default_headers: Mapping[str, str] | None = Field(default=None, exclude=True, repr=False)
    """Headers of every request; they win over the ones above, whatever their case."""

    request_timeout: SkipValidation[Any] = Field(default=None, alias="timeout")
    """Seconds, as for `ChatOpenRouter`."""

    max_retries: int = Field(default=2, ge=0)
    """Further tries of each request after a failed one, with the rules of `ChatOpenRouter`."""

    http_client: SkipValidation[Any] = Field(default=None, exclude=True, repr=False)
    """A `httpx2.Client` to use instead of the shared one."""

    http_async_client: SkipValidation[Any] = Field(default=None, exclude=True, repr=False)
    """A `httpx2.AsyncClient` for the asynchronous methods; it belongs to one event loop."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, hide_input_in_errors=True, protected_namespaces=())

    if not TYPE_CHECKING:  # the fields above are the signature that type checkers show

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # Not in a validator: pydantic would turn the error into one of its own.
            self._api.check()
            check_clients(http_client=self.http_client, http_async_client=self.http_async_client)

    @field_validator("app_categories", mode="before")
    @classmethod
    def _split_categories(cls, value: Any) -> Any:
        return split_categories(value)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        # Pydantic does not look at what is assigned.
        super().__setattr__(name, hide(value) if name == "openrouter_api_key" else value)

    # -- what LangChain asks of a serializable object ------------------------------------------------------

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

    @override
    def __getstate__(self) -> dict[Any, Any]:
        """Leave the user's HTTP clients behind: sockets cannot be pickled, the copy uses the shared ones."""
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "http_client": None, "http_async_client": None}}

    @override
    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy everything but the user's HTTP clients, which the copy shares."""
        shared = {id(client): client for client in (self.http_client, self.http_async_client)}
        return super().__deepcopy__({**(memo or {}), **shared})

    # -- calls -------------------------------------------------------------------------------------------

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each text, in order; no text, no request.

        Raises:
            OpenRouterError: Of the first request that failed; vectors of earlier ones are lost.
        """
        return [vector for batch in self._batches(texts) for vector in self._embed(batch, self.input_type)]

    @override
    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text.

        Raises:
            OpenRouterError: The request failed.
        """
        return self._embed([text], self.query_input_type or self.input_type)[0]

    @override
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Do as `embed_documents` does, asynchronously."""
        return [vector for batch in self._batches(texts) for vector in await self._aembed(batch, self.input_type)]

    @override
    async def aembed_query(self, text: str) -> list[float]:
        """Do as `embed_query` does, asynchronously."""
        return (await self._aembed([text], self.query_input_type or self.input_type))[0]

    def _embed(self, texts: Sequence[str], input_type: str | None) -> list[list[float]]:
        from langchain_openrouter._fetch import fetch

        parse = partial(parse_embeddings, count=len(texts))
        waits = plan_waits(self._api.policy, random.random)
        return _counted(fetch(self._request(texts, input_type), waits, parse, self.http_client))

    async def _aembed(self, texts: Sequence[str], input_type: str | None) -> list[list[float]]:
        from langchain_openrouter._fetch import afetch

        parse = partial(parse_embeddings, count=len(texts))
        waits = plan_waits(self._api.policy, random.random)
        return _counted(await afetch(self._request(texts, input_type), waits, parse, self.http_async_client))

    def _batches(self, texts: Iterable[str]) -> Iterator[list[str]]:
        every = list(texts)
        for start in range(0, len(every), self.chunk_size):
            yield every[start : start + self.chunk_size]

    def _request(self, texts: Sequence[str], input_type: str | None) -> WireRequest:
        fields = {
            "model": self.model_name,
            "input": texts,
            "dimensions": self.dimensions,
            "encoding_format": self.encoding_format,
            "input_type": input_type,
            "provider": self.openrouter_provider,
            "user": self.user,
        }
        body = {name: value for name, value in fields.items() if value is not None} | (self.extra_body or {})
        return self._api.request("/embeddings", body=encode_body(body))

    @property
    def _api(self) -> Access:
        return Access(
            base_url=self.openrouter_api_base or DEFAULT_BASE_URL,
            api_key=self.openrouter_api_key,
            app={
                "http-referer": self.app_url,
                "x-title": self.app_title,
                "x-openrouter-categories": ",".join(self.app_categories or ()),
            },
            default_headers=self.default_headers,
            timeout=self.request_timeout,
            max_retries=self.max_retries,
        )


def _counted(embedded: Embedded) -> list[list[float]]:
    count_call(embedded.model, embedded.provider, embedded.cost, embedded.usage)
    return embedded.vectors
