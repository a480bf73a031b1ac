"""A web address that takes OTLP as JSON (OpenRouter API, broadcast, webhook, 2026-11-27)."""

from typing import Literal

from openrouter_gateway.broadcast.destinations.attributes import semantic
from openrouter_gateway.broadcast.destinations.base import Config, Text
from openrouter_gateway.broadcast.destinations.otlp_kind import otlp_kind


class WebhookConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """Where to, and how."""

    url: Text
    method: Literal["POST", "PUT"] = "POST"


WEBHOOK = otlp_kind(
    "webhook",
    WebhookConfig,
    lambda config: config.url,
    translate=semantic,
    encoding="json",
    method=lambda config: config.method,
    trial_headers={"X-Test-Connection": "true"},
    trial_accepts=frozenset({400}),  # a receiver that wants spans may refuse an empty body
    address="url",
)
