"""Alembic's migrations of pim_database; they ship inside the wheel, so a release always holds its own schema."""
