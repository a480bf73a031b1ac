"""Which generation an answer from the response cache is from."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("generations", sa.Column("cache_source_id", sa.Text()))
