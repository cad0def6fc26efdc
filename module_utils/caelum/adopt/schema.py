"""What our first migration does, as the statements themselves: an adoption runs them inside its own transaction.

The migration is run against a recorder in Alembic's place, so that what an adoption makes is what the migration says,
whatever it will say, and the controller needs no Alembic.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import Refused

# Alembic's own table, as Alembic makes it before the first migration.
VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


@dataclass(frozen=True)
class Migration:
    """The first migration: its revision, the statements that make the schema, and those that remove it."""

    revision: str
    upgrade: tuple[str, ...]
    downgrade: tuple[str, ...]


class _Recorder:
    """Stands for `alembic.op` and the connection that it hands out; keeps each statement."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, statement: str) -> None:
        """As `op.execute`."""
        self.statements.append(statement)

    def get_bind(self) -> _Recorder:
        """As `op.get_bind`."""
        return self

    def exec_driver_sql(self, statement: str, **_options: Any) -> None:
        """As `Connection.exec_driver_sql`."""
        self.statements.append(statement)

    def taken(self) -> tuple[str, ...]:
        """The statements since the last time."""
        statements, self.statements = tuple(self.statements), []
        return statements


def first_migration(folder: Path) -> Migration:
    """The migration in `folder` that has none before it; Refused when there is not one."""
    found = []
    for file in sorted(folder.glob("[0-9]*.py")):
        recorder = _Recorder()
        with _recording(recorder):
            names: dict[str, Any] = {"__name__": file.stem}
            exec(compile(file.read_text(encoding="utf-8"), file, "exec"), names)  # noqa: S102 - the checkout's own file
            if names.get("down_revision") is None:
                names["upgrade"]()
                up = recorder.taken()
                names["downgrade"]()
                found.append(Migration(str(names["revision"]), up, recorder.taken()))
    if len(found) != 1:
        raise Refused(f"{folder} holds {len(found)} first migrations, and one is needed; restore the checkout")
    return found[0]


@contextmanager
def _recording(recorder: _Recorder) -> Iterator[None]:
    """`from alembic import op` gives the recorder meanwhile."""
    before = sys.modules.get("alembic")
    stand_in = ModuleType("alembic")
    stand_in.op = recorder  # type: ignore[attr-defined]
    sys.modules["alembic"] = stand_in
    try:
        yield
    finally:
        del sys.modules["alembic"]
        if before is not None:
            sys.modules["alembic"] = before
