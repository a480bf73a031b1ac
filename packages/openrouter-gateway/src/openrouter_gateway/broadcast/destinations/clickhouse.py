"""ClickHouse, by its HTTP interface: a row per span (clickhouse.com/docs/interfaces/http and formats, 2026-11-27)."""

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from openrouter_gateway.broadcast.content import to_json
from openrouter_gateway.broadcast.destinations.base import (
    Config,
    HTTPRequest,
    InvalidConfig,
    Part,
    Payload,
    Secret,
    Text,
    check_url,
    with_headers,
)
from openrouter_gateway.broadcast.spans import Span, Trace

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NS: Final = 1_000_000_000
_PARAMETERS: Final = "gen_ai.request."
_encode = msgspec.json.Encoder(decimal_format="number").encode

CREATE_TABLE: Final = """\
CREATE TABLE IF NOT EXISTS OPENROUTER_TRACES
(
    TRACE_ID String,
    SPAN_ID String,
    PARENT_SPAN_ID Nullable(String),
    NAME String,
    TIMESTAMP DateTime64(6, 'UTC'),
    MODEL LowCardinality(String),
    PROVIDER_NAME LowCardinality(String),
    API_KEY_NAME String,
    USER_ID String,
    SESSION_ID String,
    SPAN_TYPE LowCardinality(String),
    STATUS LowCardinality(String),
    LEVEL LowCardinality(String),
    FINISH_REASON LowCardinality(String),
    PROMPT_TOKENS UInt64,
    COMPLETION_TOKENS UInt64,
    TOTAL_TOKENS UInt64,
    TOTAL_COST Decimal(38, 18),
    DURATION_MS Float64,
    INPUT String,
    OUTPUT String,
    METADATA String,
    ATTRIBUTES String,
    MODEL_PARAMETERS String,
    TAGS Array(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(TIMESTAMP)
ORDER BY (TIMESTAMP, TRACE_ID, SPAN_ID)
"""
"""The table that is expected. A row that is sent again, after an answer got lost, replaces itself."""


class ClickHouseConfig(Config, frozen=True, kw_only=True, rename="camel"):
    """`host` is the URL of the HTTP interface."""

    host: Text
    database: Text
    username: Text
    password: Secret
    table: Text = "OPENROUTER_TRACES"


class ClickHouseKind:
    """See `base.Kind`."""

    name = "clickhouse"
    config: type[Config] = ClickHouseConfig
    most = 1024
    connections = 2

    def check(self, config: ClickHouseConfig) -> None:
        """See `base.Kind`."""
        check_url(config.host, "host")
        for field in ("database", "table"):
            if not _NAME.fullmatch(getattr(config, field)):
                raise InvalidConfig(f"config.{field}: must be letters, digits and underscores")

    def encode(self, config: ClickHouseConfig, trace: Trace) -> Part:
        """See `base.Kind`."""
        return Part(body=b"".join(_encode(_row(trace, span)) + b"\n" for span in trace.spans))

    def join(self, config: ClickHouseConfig, parts: Sequence[Part]) -> Payload:
        """See `base.Kind`."""
        return Payload(body=b"".join(part.body for part in parts), traces=len(parts))

    def request(self, config: ClickHouseConfig, payload: Payload, now: float) -> HTTPRequest:
        """See `base.Kind`."""
        query = {
            "query": f"INSERT INTO `{config.database}`.`{config.table}` FORMAT JSONEachRow",
            "input_format_skip_unknown_fields": "1",
            "date_time_input_format": "best_effort",
        }
        own = {
            "Content-Type": "application/x-ndjson",
            "X-ClickHouse-User": config.username,
            "X-ClickHouse-Key": config.password.reveal(),
        }
        return HTTPRequest(
            method="POST",
            url=f"{config.host.rstrip('/')}/?{urlencode(query)}",
            headers=with_headers(own, config),
            body=payload.body,
        )

    def trial(self, config: ClickHouseConfig, now: float) -> HTTPRequest:
        """See `base.Kind`: an insertion of no rows, which fails if there is no such table."""
        return self.request(config, Payload(body=b"", traces=0), now)

    def passes(self, status: int) -> bool:
        """See `base.Kind`."""
        return 200 <= status < 300


def _row(trace: Trace, span: Span) -> dict[str, Any]:
    generation, metadata = trace.generation, trace.metadata
    tags = metadata.get("tags")
    if isinstance(tags, list):
        metadata = {key: value for key, value in metadata.items() if key != "tags"}
    is_generation = span.kind == "generation"
    usage = generation.usage
    attributes = span.attributes
    return {
        "TRACE_ID": trace.trace_id,
        "SPAN_ID": span.span_id,
        "PARENT_SPAN_ID": span.parent_id,
        "NAME": span.name,
        "TIMESTAMP": dt.datetime.fromtimestamp(span.start_ns / _NS, dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "MODEL": trace.model if is_generation else "",
        "PROVIDER_NAME": (generation.provider_name or generation.provider or "") if is_generation else "",
        "API_KEY_NAME": trace.key_name or "",
        "USER_ID": generation.user or "",
        "SESSION_ID": generation.session_id or "",
        "SPAN_TYPE": "GENERATION" if is_generation else "SPAN",
        "STATUS": "ok" if span.error is None else "error",
        "LEVEL": "DEFAULT" if span.error is None else "ERROR",
        "FINISH_REASON": (generation.finish_reason or "") if is_generation else "",
        "PROMPT_TOKENS": usage.prompt_tokens if is_generation else 0,
        "COMPLETION_TOKENS": usage.completion_tokens if is_generation else 0,
        "TOTAL_TOKENS": usage.total_tokens if is_generation else 0,
        "TOTAL_COST": generation.cost.total if is_generation else 0,
        "DURATION_MS": (span.end_ns - span.start_ns) / 1e6,
        "INPUT": _content(trace.messages) if is_generation else "",
        "OUTPUT": _content(trace.reply) if is_generation else "",
        "METADATA": to_json(metadata),
        "ATTRIBUTES": to_json(attributes),
        "MODEL_PARAMETERS": to_json(
            {key.removeprefix(_PARAMETERS): held for key, held in attributes.items() if key.startswith(_PARAMETERS)}
        ),
        "TAGS": tags if isinstance(tags, list) else [],
    }


def _content(messages: list[dict[str, Any]] | None) -> str:
    return "" if messages is None else to_json(messages)


CLICKHOUSE: Final = ClickHouseKind()
