"""Generations, and the daily totals of those that are no longer kept."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "generations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("api_type", sa.Text(), nullable=False),
        sa.Column("ending", sa.Text(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("error_type", sa.Text()),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("native_finish_reason", sa.Text()),
        sa.Column("streamed", sa.Boolean(), nullable=False),
        sa.Column("requested_models", sa.Text(), nullable=False),
        sa.Column("model", sa.Text()),
        sa.Column("provider", sa.Text()),
        sa.Column("provider_name", sa.Text()),
        sa.Column("endpoint", sa.Text()),
        sa.Column("upstream_id", sa.Text()),
        sa.Column("service_tier", sa.Text()),
        sa.Column("attempts", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("total_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("other_tokens", sa.Text()),
        sa.Column("tokens_estimated", sa.Boolean(), nullable=False),
        sa.Column("normalized_prompt_tokens", sa.BigInteger()),
        sa.Column("normalized_completion_tokens", sa.BigInteger()),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("cost_atto", sa.BigInteger(), nullable=False),
        sa.Column("cost_parts", sa.Text()),
        sa.Column("reported_nano", sa.BigInteger()),
        sa.Column("reported_atto", sa.BigInteger()),
        sa.Column("catalog_version", sa.Text()),
        sa.Column("latency_us", sa.BigInteger()),
        sa.Column("duration_us", sa.BigInteger(), nullable=False),
        sa.Column("key_hash", sa.Text()),
        sa.Column("app_url", sa.Text()),
        sa.Column("app_title", sa.Text()),
        sa.Column("app_categories", sa.Text()),
        sa.Column("user_agent", sa.Text()),
        sa.Column("external_user", sa.Text()),
        sa.Column("session_id", sa.Text()),
        sa.Column("trace", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("generations_created", "generations", ["created_us"])
    op.create_index("generations_key_created", "generations", ["key_hash", "created_us"])
    op.create_table(
        "daily_totals",
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("cost_atto", sa.BigInteger(), nullable=False),
        sa.Column("reported_nano", sa.BigInteger(), nullable=False),
        sa.Column("reported_atto", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "key_hash", "model", "provider", "endpoint"),
    )
