"""How to reach the API, from arguments and the environment: base URL, key, headers and timeout of a request.

The rules are those of `ChatOpenRouter`. Sources: API digest 0.1 to 0.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any, Final, cast
from urllib.parse import urlencode

from langchain_core.utils import from_env, secret_from_env
from pydantic import SecretStr
from typing_extensions import TypedDict

from langchain_openrouter._decoding import secrets_in
from langchain_openrouter._http_options import check_client, check_timeout, warn_of_milliseconds
from langchain_openrouter._request import DEFAULT_BASE_URL, WireRequest, build_headers, completions_url, is_loopback
from langchain_openrouter._retry import RetryPolicy
from langchain_openrouter._trace_context import trace_headers
from langchain_openrouter.errors import ConfigurationError

key_from_env: Final = secret_from_env("OPENROUTER_API_KEY", default=None)
base_url_from_env: Final = from_env("OPENROUTER_API_BASE", default=None)
app_url_from_env: Final = from_env("OPENROUTER_APP_URL", default=None)
app_title_from_env: Final = from_env("OPENROUTER_APP_TITLE", default=None)


def categories_from_env() -> list[str] | None:
    """Return the categories that `OPENROUTER_APP_CATEGORIES` lists, separated by commas."""
    listed = from_env("OPENROUTER_APP_CATEGORIES", default=None)()
    return split_categories(listed) if listed else None


def split_categories(value: Any) -> Any:
    """Return a text with commas as a list, anything else as it is."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class ApiOptions(TypedDict, total=False):
    """Arguments of every function that asks the API, with the meaning they have for `ChatOpenRouter`.

    Without `api_key` and `base_url`, `OPENROUTER_API_KEY` and `OPENROUTER_API_BASE` count; `timeout` is in
    seconds.
    """

    api_key: SecretStr | str | None
    base_url: str | None
    default_headers: Mapping[str, str] | None
    timeout: Any
    max_retries: int


@dataclass(frozen=True, kw_only=True)
class Access:
    """Everything of a request but its path and body.

    Attributes:
        base_url: Address of the API.
        api_key: Key as given, or None.
        app: Attribution headers.
        default_headers: Headers of the user, which win.
        timeout: What the user gave.
        max_retries: Further tries after a failed one.
    """

    base_url: str
    api_key: SecretStr | str | None = field(default=None, repr=False)
    app: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    default_headers: Mapping[str, str] | None = field(default=None, repr=False)
    timeout: object = None
    max_retries: int = 2

    @classmethod
    def from_arguments(
        cls,
        *,
        api_key: SecretStr | str | None = None,
        base_url: str | None = None,
        default_headers: Mapping[str, str] | None = None,
        timeout: object = None,
        max_retries: int = 2,
    ) -> "Access":
        """Fill what is not given from the environment; the arguments are those of `ApiOptions`."""
        return cls(
            base_url=base_url or base_url_from_env() or DEFAULT_BASE_URL,
            api_key=api_key or key_from_env(),
            default_headers=default_headers,
            timeout=timeout,
            max_retries=max_retries,
        )

    def check(self, *, key_needed: bool = True) -> None:
        """Tell what cannot work before anything is sent.

        Raises:
            ConfigurationError: An argument cannot work, or a key is needed and missing.
        """
        completions_url(self.base_url)
        check_timeout(self.timeout)
        warn_of_milliseconds(self.timeout)
        retries = cast("object", self.max_retries)
        if not isinstance(retries, int) or retries < 0:
            raise ConfigurationError(f"max_retries must be a whole number of 0 or more, not {retries!r}")
        if key_needed and self._key is None and not is_loopback(self.base_url):
            raise ConfigurationError(
                "no API key: set the environment variable OPENROUTER_API_KEY or pass api_key=... "
                "(keys are made at https://openrouter.ai/settings/keys)"
            )

    def request(self, path: str, *, query: Mapping[str, Any] | None = None, body: bytes = b"") -> WireRequest:
        """Return a request: a POST when it has a body, else a GET.

        Args:
            path: Path under the base URL, with its slash.
            query: Parameters; lists are joined by commas, those that are None are not sent.
            body: JSON.
        """
        headers = build_headers(
            api_key=self._key,
            user_agent=f"langchain-openrouter/{_version()}",
            app=self.app,
            trace=trace_headers(),
            user_headers=(self.default_headers or {},),
            stream=False,
        )
        # The rules for base URLs are in `completions_url`, which also appends a path.
        url = completions_url(self.base_url).removesuffix("/chat/completions") + path
        if query and (pairs := {name: _parameter(value) for name, value in query.items() if value is not None}):
            url += f"?{urlencode(pairs)}"
        return WireRequest(url=url, headers=headers, body=body, timeout=self.timeout, secrets=secrets_in(headers))

    @property
    def policy(self) -> RetryPolicy:
        """How often and how patiently to try again."""
        return RetryPolicy(max_retries=self.max_retries)

    @property
    def _key(self) -> str | None:
        plain = self.api_key.get_secret_value() if isinstance(self.api_key, SecretStr) else self.api_key
        return (plain or "").strip() or None


def check_clients(*, http_client: object = None, http_async_client: object = None) -> None:
    """Refuse HTTP clients of another library or kind.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    check_client("http_client", http_client, "Client")
    check_client("http_async_client", http_async_client, "AsyncClient")


def _parameter(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return ",".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return str(value)


@cache
def _version() -> str:
    return version("langchain-openrouter")
