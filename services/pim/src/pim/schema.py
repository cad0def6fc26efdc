"""The schema's revision, compared without Alembic, which no serving process needs to load.

Revisions are the four digits that a migration's file name begins with, so their order is that of text.
"""

import re
from importlib.resources import files

_FILE = re.compile(r"(\d{4})_\w+\.py")


def head() -> str:
    """The newest revision that this release knows."""
    names = (entry.name for entry in (files("pim") / "migrations" / "versions").iterdir())
    return max(match[1] for name in names if (match := _FILE.fullmatch(name)))


def complaint(revision: str | None) -> str | None:
    """Why a database at this revision cannot serve this release; None when it can.

    A newer schema is fine: old code runs on it, so that a release can be rolled back without its migration.
    """
    if revision is None:
        return f"the database holds no schema, and this release needs {head()}; run `python -m pim.migrate upgrade`"
    if revision < head():
        return f"the database is at {revision}, and this release needs {head()}; run `python -m pim.migrate upgrade`"
    return None
