"""The tables of the durable store. `migrations/` makes them; a test holds the two together.

Moments are microseconds since 1970 in UTC, days are whole days since then, durations are microseconds, amounts of USD
are two integers (`money`), lists and objects are JSON in text: so all of it means the same on every database.
"""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, Table, Text

REVISION: Final = "0005"
"""The newest migration. A database that has it is used without loading Alembic."""
VERSION_TABLE: Final = "openrouter_gateway_schema"
METADATA: Final = MetaData()


def _text(name: str, *, required: bool = False) -> Column[str]:
    return Column(name, Text, nullable=not required)


def _integer(name: str, *, required: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=not required)


GENERATIONS: Final = Table(
    "generations",
    METADATA,
    Column("id", Text, primary_key=True),
    _integer("created_us", required=True),
    _text("api_type", required=True),
    _text("ending", required=True),
    _integer("status", required=True),
    _text("error_type"),
    _text("finish_reason"),
    _text("native_finish_reason"),
    Column("streamed", Boolean, nullable=False),
    _text("requested_models", required=True),
    _text("model"),
    _text("provider"),
    _text("provider_name"),
    _text("endpoint"),
    _text("upstream_id"),
    _text("service_tier"),
    _text("attempts", required=True),
    _integer("prompt_tokens", required=True),
    _integer("completion_tokens", required=True),
    _integer("total_tokens", required=True),
    _integer("cached_tokens", required=True),
    _integer("cache_write_tokens", required=True),
    _integer("reasoning_tokens", required=True),
    _text("other_tokens"),
    Column("tokens_estimated", Boolean, nullable=False),
    _integer("normalized_prompt_tokens"),
    _integer("normalized_completion_tokens"),
    _integer("cost_nano", required=True),
    _integer("cost_atto", required=True),
    _text("cost_parts"),
    _integer("reported_nano"),
    _integer("reported_atto"),
    _text("catalog_version"),
    _integer("latency_us"),
    _integer("duration_us", required=True),
    _text("key_hash"),
    _text("app_url"),
    _text("app_title"),
    _text("app_categories"),
    _text("user_agent"),
    _text("external_user"),
    _text("session_id"),
    _text("trace"),
    _text("cache_source_id"),
    Index("generations_created", "created_us"),
    Index("generations_key_created", "key_hash", "created_us"),
)
"""One row per generation."""

DIMENSIONS: Final = ("key_hash", "model", "provider", "endpoint")
SUMS: Final = (
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cost_nano",
    "cost_atto",
    "reported_nano",
    "reported_atto",
)

DAILY_TOTALS: Final = Table(
    "daily_totals",
    METADATA,
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Text, primary_key=True) for name in DIMENSIONS),
    *(_integer(name, required=True) for name in SUMS),
)
"""What is left of generations that are no longer kept, so that sums outlive them. Empty text stands for null."""

KEYS: Final = Table(
    "keys",
    METADATA,
    Column("hash", Text, primary_key=True),
    _integer("version", required=True),
    _text("label", required=True),
    _text("name", required=True),
    Column("management", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    _integer("limit_nano"),
    _integer("limit_atto"),
    _text("limit_reset"),
    Column("include_byok_in_limit", Boolean, nullable=False),
    _integer("requests_per_minute"),
    _integer("tokens_per_minute"),
    _integer("concurrent_requests"),
    _integer("created_us", required=True),
    _integer("updated_us"),
    _integer("expires_us"),
    _integer("deleted_us"),
    Index("keys_version", "version"),
)
"""One row per key that ever was. `version` is that of `ACCOUNT_VERSION` at its last change."""

CREDITS: Final = Table(
    "credits",
    METADATA,
    Column("id", Text, primary_key=True),
    _integer("created_us", required=True),
    _integer("nano", required=True),
    _integer("atto", required=True),
    _text("note"),
)
"""What was paid in, or taken back."""

ACCOUNT_VERSION: Final = Table(
    "account_version",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    _integer("version", required=True),
)
"""One row, raised with each change of keys, credits or destinations: so processes see that there was one."""

DESTINATIONS: Final = Table(
    "destinations",
    METADATA,
    Column("id", Text, primary_key=True),
    _text("type", required=True),
    _text("settings", required=True),
    _integer("created_us", required=True),
    _integer("updated_us", required=True),
)
"""One row per destination that was made by the API; `settings` has its credentials."""

CONTENTS: Final = Table(
    "contents",
    METADATA,
    Column("id", Text, primary_key=True),
    _integer("created_us", required=True),
    _text("key_hash"),
    _integer("size_bytes", required=True),
    _text("input", required=True),
    _text("output", required=True),
    _text("error"),
    Index("contents_created", "created_us", "size_bytes"),
)
"""One row per generation whose content is kept; the index has all that the sweeper reads."""
