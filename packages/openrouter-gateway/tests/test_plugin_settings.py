"""The sections [media] and [web], and what is made of them."""

import ipaddress
from pathlib import Path

import pytest

from openrouter_gateway.callers.pool import Pool, Timeouts
from openrouter_gateway.config.plugins import build_plugins
from openrouter_gateway.config.settings import Settings, load_settings
from openrouter_gateway.errors import ConfigError


def load(folder: Path, text: str) -> Settings:
    file = folder / "gateway.toml"
    file.write_text(text)
    return load_settings(file)


async def build(settings: Settings) -> str:
    """Return what plugins work with, as it shows itself."""
    pool = Pool(Timeouts())
    plugins = build_plugins(settings, pool, lambda: "2026-11-24")
    await plugins.close()
    await pool.close()
    return f"{plugins!r} {plugins.media!r}"


async def test_nothing_is_needed() -> None:
    """Then nothing but the public internet is fetched from, and the web is not searched."""
    settings = load_settings(None)

    assert ([], None) == (settings.media.allowed_networks, settings.web.engine)
    assert (
        "<Plugins search=None> "
        "<MediaFetcher MediaLimits(max_bytes=20971520, max_request_bytes=52428800, timeout_s=20.0, parallel=4)>"
    ) == await build(settings)


async def test_everything(tmp_path: Path) -> None:
    """Every key; secrets do not show."""
    settings = load(
        tmp_path,
        """
        [media]
        max_bytes = 2048
        max_request_bytes = 4096
        timeout_s = 1.5
        allowed_networks = ["10.1.0.0/16", "fd00:1::/64"]
        [web]
        engine = "exa"
        api_key = "secret"
        base_url = "https://proxy.example"
        max_results = 9
        timeout_s = 3
        """,
    )

    assert [
        ipaddress.ip_network("10.1.0.0/16"),
        ipaddress.ip_network("fd00:1::/64"),
    ] == settings.media.allowed_networks
    assert (9, 3.0) == (settings.web.max_results, settings.web.timeout_s)
    shown = await build(settings)
    assert "search=exa" in shown
    assert "max_bytes=2048, max_request_bytes=4096, timeout_s=1.5" in shown
    assert "secret" not in shown + repr(settings)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[media]\nallowed_networks = ["10.1.0.1/16"]', "media.allowed_networks.0"),
        ('[media]\nallowed_networks = ["localhost"]', "media.allowed_networks.0"),
        ("[media]\nmax_bytes = 0", "media.max_bytes"),
        ("[media]\nallow_private = true", "unknown key"),
        ('[web]\nengine = "searxng"', "web.base_url says where"),
        ('[web]\nengine = "exa"', "set web.api_key"),
        ('[web]\nengine = "gogle"', "web.engine"),
        ('[web]\nengine = "searxng"\nbase_url = "ftp://x"', "web.base_url"),
        ('[web]\napi_key = "a b"', "web.api_key"),
        ("[web]\nmax_results = 26", "web.max_results"),
    ],
)
def test_refused(tmp_path: Path, text: str, reason: str) -> None:
    """With the key that is wrong."""
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path, text)
