"""Services that take plain OTLP: an address, headers that carry the key, and little else. Pages read 2026-11-27.

The encoding is the one that the service's page shows or its exporter sends: not all take JSON.
"""

from typing import Final, Literal
from urllib.parse import urlsplit

from openrouter_gateway.broadcast.destinations.attributes import open_inference, semantic
from openrouter_gateway.broadcast.destinations.base import Config, Secret, Text, basic_auth, join_url
from openrouter_gateway.broadcast.destinations.otlp_kind import OTLPKind, otlp_kind


class ArizeConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """`model_id` is the project's name. With another `base_url` it is a Phoenix server."""

    api_key: Secret
    space_key: Secret
    model_id: Text
    base_url: Text = "https://otlp.arize.com"


class BraintrustConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """Of a project."""

    api_key: Secret
    project_id: Text
    base_url: Text = "https://api.braintrust.dev"


class GrafanaConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """Of a stack; its address depends on the region."""

    api_key: Secret
    instance_id: Text
    base_url: Text = "https://otlp-gateway-prod-us-west-0.grafana.net"


class NewRelicConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """Of an account."""

    license_key: Secret
    region: Literal["us", "eu"] = "us"


class OpikConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """Of a workspace. `base_url` is this gateway's own, for servers of one's own."""

    api_key: Secret
    workspace: Text
    project_name: Text
    base_url: Text = "https://www.comet.com/opik/api"


class SentryConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """Both as the project's settings show them."""

    dsn: Text
    otlp_endpoint: Text


class WeaveConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """Of a project."""

    api_key: Secret
    entity: Text
    project: Text
    base_url: Text = "https://trace.wandb.ai"


# github.com/Arize-ai/arize-otel-python, src/arize/otel/otel.py: address, headers, resource attribute.
_ARIZE: Final = otlp_kind(
    "arize",
    ArizeConfig,
    lambda config: join_url(config.base_url, "/v1/traces"),
    headers=lambda config: {
        "authorization": config.api_key.reveal(),
        "arize-space-id": config.space_key.reveal(),
        "arize-interface": "otel",
    },
    translate=open_inference,
    encoding="protobuf",
    resource=lambda config, _: {"openinference.project.name": config.model_id},
)

# braintrust.dev/docs/integrations/sdk-integrations/opentelemetry; it reads the GenAI conventions.
_BRAINTRUST: Final = otlp_kind(
    "braintrust",
    BraintrustConfig,
    lambda config: join_url(config.base_url, "/otel/v1/traces"),
    headers=lambda config: {
        "Authorization": f"Bearer {config.api_key.reveal()}",
        "x-bt-parent": f"project_id:{config.project_id}",
    },
    translate=semantic,
    encoding="protobuf",
)

# grafana.com/docs/grafana-cloud/send-data/traces/set-up/verify-ingestion; openrouter.ai's page says that it takes JSON.
_GRAFANA: Final = otlp_kind(
    "grafana",
    GrafanaConfig,
    lambda config: join_url(config.base_url, "/otlp/v1/traces"),
    headers=lambda config: {"Authorization": basic_auth(config.instance_id, config.api_key.reveal())},
    translate=semantic,
    encoding="json",
)

_NEW_RELIC_URLS: Final = {
    "us": "https://otlp.nr-data.net/v1/traces",
    "eu": "https://otlp.eu01.nr-data.net/v1/traces",
}

# docs.newrelic.com/docs/opentelemetry/best-practices/opentelemetry-otlp; it recommends protobuf.
_NEW_RELIC: Final = otlp_kind(
    "newrelic",
    NewRelicConfig,
    lambda config: _NEW_RELIC_URLS[config.region],
    headers=lambda config: {"api-key": config.license_key.reveal()},
    translate=semantic,
    encoding="protobuf",
    address="region",
)

# comet.com/docs/opik/tracing/opentelemetry/overview; the key stands alone, without a scheme.
_OPIK: Final = otlp_kind(
    "opik",
    OpikConfig,
    lambda config: join_url(config.base_url, "/v1/private/otel/v1/traces"),
    headers=lambda config: {
        "Authorization": config.api_key.reveal(),
        "Comet-Workspace": config.workspace,
        "projectName": config.project_name,
    },
    translate=semantic,
    encoding="protobuf",
)


def _sentry_headers(config: SentryConfig) -> dict[str, str]:
    """The DSN's user is the public key."""
    return {"x-sentry-auth": f"sentry sentry_key={urlsplit(config.dsn).username or ''}"}


# docs.sentry.io/concepts/otlp/direct/traces, whose example sends JSON.
_SENTRY: Final = otlp_kind(
    "sentry",
    SentryConfig,
    lambda config: config.otlp_endpoint,
    headers=_sentry_headers,
    translate=semantic,
    encoding="json",
    address="otlpEndpoint",
)

# docs.wandb.ai/weave/guides/tracking/otel; protobuf only.
_WEAVE: Final = otlp_kind(
    "weave",
    WeaveConfig,
    lambda config: join_url(config.base_url, "/otel/v1/traces"),
    headers=lambda config: {"wandb-api-key": config.api_key.reveal()},
    translate=semantic,
    encoding="protobuf",
    resource=lambda config, _: {"wandb.entity": config.entity, "wandb.project": config.project},
)

VENDORS: Final[tuple[OTLPKind, ...]] = (_ARIZE, _BRAINTRUST, _GRAFANA, _NEW_RELIC, _OPIK, _SENTRY, _WEAVE)
