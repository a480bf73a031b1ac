"""The kinds of destinations, by the `type` that the API calls them."""

from collections.abc import Mapping
from typing import Final

from openrouter_gateway.broadcast.destinations.base import Kind
from openrouter_gateway.broadcast.destinations.clickhouse import CLICKHOUSE
from openrouter_gateway.broadcast.destinations.langfuse import LANGFUSE
from openrouter_gateway.broadcast.destinations.langsmith import LANGSMITH
from openrouter_gateway.broadcast.destinations.otel_collector import OTEL_COLLECTOR
from openrouter_gateway.broadcast.destinations.s3 import S3
from openrouter_gateway.broadcast.destinations.vendors import VENDORS
from openrouter_gateway.broadcast.destinations.webhook import WEBHOOK

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind for kind in (OTEL_COLLECTOR, WEBHOOK, LANGFUSE, LANGSMITH, S3, CLICKHOUSE, *VENDORS)
}
