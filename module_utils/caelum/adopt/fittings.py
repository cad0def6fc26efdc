"""What hangs on the specification's tables beside their columns: columns, keys and indexes of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .tables import SPECIFIED

if TYPE_CHECKING:
    from psycopg2 import extensions

    from .observe import Table

_EXTRA = "attrelid = %s::regclass AND attname = ANY(%s)"


def carried_columns(table: Table) -> tuple[str, ...]:
    """Columns of theirs that go along with their values."""
    return table.extra


def take_off(cursor: extensions.cursor, tables: Iterable[Table]) -> dict[str, Any]:
    """Read what hangs on the tables, and drop the foreign keys from tables of theirs.

    `carried` are statements that hang the same on ours, `incoming` those for the way back, and `left` what stays with
    the old table and is told: triggers.
    """
    carried: list[str] = []
    left: list[str] = []
    for table in tables:
        carried += _of_extra_columns(cursor, table)
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY 1",
            (f"public.{table.name}",),
        )
        left += [f"trigger {name} of {table.name}" for (name,) in cursor.fetchall()]
    incoming = _incoming(cursor)
    return {"carried": carried + [add for _, add in incoming], "incoming": incoming, "left": left}


def put_on(cursor: extensions.cursor, statements: Iterable[str]) -> None:
    """Hang on what `take_off` read."""
    for statement in statements:
        cursor.execute(statement)


def drop_incoming(cursor: extensions.cursor, record: Mapping[str, Any]) -> None:
    """Drop the foreign keys from tables of theirs, before ours go."""
    for drop, _ in record["fittings"]["incoming"]:
        cursor.execute(drop)


def add_columns(cursor: extensions.cursor, table: Table, aside: str) -> None:
    """Give ours the columns that only theirs has, with type, default and NOT NULL."""
    cursor.execute(
        f"""SELECT quote_ident(attname), format_type(atttypid, atttypmod), attnotnull,
                   pg_get_expr(adbin, adrelid) FROM pg_attribute
            LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE {_EXTRA} ORDER BY attnum""",  # noqa: S608
        (f"{aside}.{table.name}", list(table.extra)),
    )
    for name, kind, needed, default in cursor.fetchall():
        rest = (f" DEFAULT {default}" if default else "") + (" NOT NULL" if needed else "")
        cursor.execute(f"ALTER TABLE public.{table.name} ADD COLUMN {name} {kind}{rest}")


def _incoming(cursor: extensions.cursor) -> list[tuple[str, str]]:
    """Foreign keys from other tables to the three, dropped: the statements that drop and that make them."""
    cursor.execute(
        """SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
           WHERE contype = 'f' AND conparentid = 0
             AND confrelid = ANY(SELECT to_regclass('public.' || name) FROM unnest(%s) AS name)
             AND conrelid <> ALL(SELECT to_regclass('public.' || name) FROM unnest(%s) AS name
                                 WHERE to_regclass('public.' || name) IS NOT NULL) ORDER BY 1, 2""",
        (list(SPECIFIED), list(SPECIFIED)),
    )
    found = [
        (f"ALTER TABLE {table} DROP CONSTRAINT {name}", f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        for table, name, definition in cursor.fetchall()
    ]
    for drop, _ in found:
        cursor.execute(drop)
    return found


def _of_extra_columns(cursor: extensions.cursor, table: Table) -> list[str]:
    """Statements for the constraints and indexes that touch a column of theirs."""
    where = (f"public.{table.name}", list(table.extra))
    cursor.execute(
        f"""SELECT quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid = %s::regclass AND contype IN ('f', 'c', 'u')
              AND conkey && ARRAY(SELECT attnum FROM pg_attribute WHERE {_EXTRA}) ORDER BY 1""",  # noqa: S608
        (where[0], *where),
    )
    found = [f"ALTER TABLE public.{table.name} ADD CONSTRAINT {name} {text}" for name, text in cursor.fetchall()]
    cursor.execute(
        f"""SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
            AND indkey::smallint[] && ARRAY(SELECT attnum FROM pg_attribute WHERE {_EXTRA}) ORDER BY 1""",  # noqa: S608
        (where[0], *where),
    )
    return found + [str(row[0]) for row in cursor.fetchall()]
