"""Any OTLP/HTTP receiver: collectors, and services whose address and headers are all that there is to say."""

from typing import Literal
from urllib.parse import urlsplit

from openrouter_gateway.broadcast.destinations.attributes import semantic
from openrouter_gateway.broadcast.destinations.base import Config, Text, join_url
from openrouter_gateway.broadcast.destinations.otlp_kind import otlp_kind


class OTelCollectorConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """`encoding` is this gateway's own: some receivers, Phoenix among them, take protobuf only."""

    endpoint: Text
    encoding: Literal["json", "protobuf"] = "json"


def _url(config: OTelCollectorConfig) -> str:
    """The path may be left out (OpenRouter API, 2026-11-27); then it is OTLP's own (opentelemetry-proto, OTLP/HTTP)."""
    parts = urlsplit(config.endpoint)
    return config.endpoint if parts.path.strip("/") or parts.query else join_url(config.endpoint, "/v1/traces")


OTEL_COLLECTOR = otlp_kind(
    "otel-collector",
    OTelCollectorConfig,
    _url,
    translate=semantic,
    encoding=lambda config: config.encoding,
    address="endpoint",
)
