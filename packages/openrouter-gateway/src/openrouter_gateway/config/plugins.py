"""What plugins work with, made of the settings."""

from collections.abc import Callable

from openrouter_gateway.callers.fetch import Fetcher
from openrouter_gateway.callers.media import MediaFetcher, MediaLimits
from openrouter_gateway.callers.plugins import Plugins
from openrouter_gateway.callers.pool import Poster
from openrouter_gateway.callers.search import HTTPSearchEngine
from openrouter_gateway.callers.workshop import Workshop, WorkshopLimits
from openrouter_gateway.config.plugin_settings import WebSettings
from openrouter_gateway.config.settings import Settings


def build_plugins(settings: Settings, pool: Poster, today: Callable[[], str]) -> Plugins:
    """Return what plugins work with; to be closed. `pool` is for the search engine, `today` gives a date to be read.

    Raises:
        ConfigError: the search engine's address cannot be one.
    """
    media = settings.media
    limits = MediaLimits(
        max_bytes=media.max_bytes, max_request_bytes=media.max_request_bytes, timeout_s=media.timeout_s
    )
    return Plugins(
        media=MediaFetcher(Fetcher(allowed=media.allowed_networks), limits),
        workshop=Workshop(WorkshopLimits()),
        today=today,
        search=_search_engine(settings.web, pool),
        search_results=settings.web.max_results,
    )


def _search_engine(web: WebSettings, pool: Poster) -> HTTPSearchEngine | None:
    if web.engine is None:
        return None
    key = "" if web.api_key is None else web.api_key.get_secret_value()
    return HTTPSearchEngine(pool, web.engine, base_url=web.base_url, key=key, timeout_s=web.timeout_s)
