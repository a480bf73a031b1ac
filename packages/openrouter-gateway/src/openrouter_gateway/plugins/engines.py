"""Search engines that the `web` plugin can use: one row each, with what is sent and what comes back."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from openrouter_gateway.plugins.web import SearchQuery, SearchResult

_encode = msgspec.json.Encoder().encode
_decode_reply = msgspec.json.Decoder(dict[str, Any]).decode
_FORM: Final = "application/x-www-form-urlencoded"
_HIGHLIGHT_CHARACTERS: Final = 2_000
_SEPARATOR: Final = "\n[...]\n"  # between excerpts of one page, as OpenRouter has it (web plugin, 2026-08-22)
_MOST_RESULTS: Final = 20


class Engine(Struct, frozen=True, kw_only=True):
    """How to ask an engine. All are asked by POST at `base_url` + `path`, unless another base is configured."""

    path: str
    headers: Callable[[str], Mapping[str, str]]
    body: Callable[[SearchQuery], bytes]
    content: Callable[[dict[str, Any]], str]
    base_url: str | None = None
    needs_key: bool = True


class NotResults(Exception):
    """The engine answered something else."""


def read_results(engine: Engine, body: bytes) -> list[SearchResult]:
    """Return the results of an engine's answer; entries without a URL are left out.

    Raises:
        NotResults: it has none.
    """
    try:
        listed = _decode_reply(body).get("results")
    except (msgspec.DecodeError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise NotResults
    entries = [cast("dict[str, Any]", each) for each in cast("list[Any]", listed) if isinstance(each, dict)]
    return [
        SearchResult(url=url, title=_text(entry.get("title")) or url, content=engine.content(entry))
        for entry in entries
        if (url := _text(entry.get("url")))
    ]


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _exa_body(query: SearchQuery) -> bytes:
    body: dict[str, Any] = {
        "query": query.text,
        "type": "auto",
        "numResults": query.max_results,
        "contents": {"highlights": {"maxCharacters": _HIGHLIGHT_CHARACTERS}},
    }
    if query.include_domains:
        body["includeDomains"] = query.include_domains
    if query.exclude_domains:
        body["excludeDomains"] = query.exclude_domains
    return _encode(body)


def _exa_content(entry: dict[str, Any]) -> str:
    excerpts = entry.get("highlights")
    if isinstance(excerpts, list) and excerpts:
        return _SEPARATOR.join(_text(excerpt) for excerpt in cast("list[Any]", excerpts))
    return _text(entry.get("text"))


def _tavily_body(query: SearchQuery) -> bytes:
    return _encode(
        {
            "query": query.text,
            "max_results": min(query.max_results, _MOST_RESULTS),
            "include_domains": query.include_domains,
            "exclude_domains": query.exclude_domains,
        }
    )


def _searxng_body(query: SearchQuery) -> bytes:
    """Domains are filtered afterwards: not every engine behind it knows the same operators."""
    return urlencode({"q": query.text, "format": "json"}).encode()


ENGINES: Final[dict[str, Engine]] = {
    # exa.ai/docs/reference/search, 2026-11
    "exa": Engine(
        base_url="https://api.exa.ai",
        path="/search",
        headers=lambda key: {"x-api-key": key},
        body=_exa_body,
        content=_exa_content,
    ),
    # docs.searxng.org/dev/search_api.html, 2026-11; `json` has to be among its `search.formats`
    "searxng": Engine(
        path="/search",
        headers=lambda key: {"Content-Type": _FORM} | ({"Authorization": f"Bearer {key}"} if key else {}),
        body=_searxng_body,
        content=lambda entry: _text(entry.get("content")),
        needs_key=False,
    ),
    # docs.tavily.com/api-reference/endpoint/search, 2026-11
    "tavily": Engine(
        base_url="https://api.tavily.com",
        path="/search",
        headers=lambda key: {"Authorization": f"Bearer {key}"},
        body=_tavily_body,
        content=lambda entry: _text(entry.get("content")),
    ),
}
