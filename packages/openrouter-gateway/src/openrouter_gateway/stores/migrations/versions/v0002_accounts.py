"""Keys and credits, and the version that says when they changed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "keys",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("management", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("limit_nano", sa.BigInteger()),
        sa.Column("limit_atto", sa.BigInteger()),
        sa.Column("limit_reset", sa.Text()),
        sa.Column("include_byok_in_limit", sa.Boolean(), nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger()),
        sa.Column("tokens_per_minute", sa.BigInteger()),
        sa.Column("concurrent_requests", sa.BigInteger()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger()),
        sa.Column("expires_us", sa.BigInteger()),
        sa.Column("deleted_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("keys_version", "keys", ["version"])
    op.create_table(
        "credits",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("nano", sa.BigInteger(), nullable=False),
        sa.Column("atto", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    version = op.create_table(
        "account_version",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(version, [{"id": 1, "version": 0}])
