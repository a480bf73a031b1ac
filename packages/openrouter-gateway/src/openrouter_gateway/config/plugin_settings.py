"""The sections of the configuration that plugins work with."""

import ipaddress
from typing import Literal, Self

from pydantic import Field, model_validator

from openrouter_gateway.config.values import BaseURL, Key, Section


class MediaSettings(Section):
    """Images, videos and files that requests refer to by URL: fetched here for providers that want them as data."""

    max_bytes: int = Field(default=20 * 1024 * 1024, ge=1024, description="Of one of them.")
    max_request_bytes: int = Field(default=50 * 1024 * 1024, ge=1024, description="Of all in one request.")
    timeout_s: float = Field(default=20.0, gt=0)
    allowed_networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = Field(
        default_factory=list[ipaddress.IPv4Network | ipaddress.IPv6Network],
        description="Networks besides the public internet that may be fetched from, such as 10.1.0.0/16.",
    )


class WebSettings(Section):
    """What the `web` plugin searches with."""

    engine: Literal["exa", "searxng", "tavily"] | None = Field(default=None, description="Without, nothing does.")
    base_url: BaseURL | None = Field(default=None, description="By default the engine's own; searxng has none.")
    api_key: Key | None = None
    max_results: int = Field(default=5, ge=1, le=25, description="Where a request does not say how many.")
    timeout_s: float = Field(default=15.0, gt=0)

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.engine == "searxng" and self.base_url is None:
            raise ValueError("searxng is a server of your own: web.base_url says where")
        if self.engine in ("exa", "tavily") and self.api_key is None:
            raise ValueError(f"{self.engine} needs a key: set web.api_key")
        return self
