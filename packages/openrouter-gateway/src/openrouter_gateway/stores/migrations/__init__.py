"""The schema's history: one file per step, made by hand and never changed once released (Alembic)."""
