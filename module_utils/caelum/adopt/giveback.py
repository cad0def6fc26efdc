"""The way back: the old tables in their place as they were, with what was written since the adoption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Refused
from . import fittings
from .database import OWNER, USER, advance_back, known_tables, source_of
from .observe import Found
from .schema import Migration
from .tables import Reading, backward, forward

if TYPE_CHECKING:
    from psycopg2 import extensions

# What only a deployment, and nothing of theirs, writes to.
TELLTALES = ("deployment_events", "releases", "models", "model_aliases", "training_runs", "api_tokens", "audit_log")


def give_back(cursor: extensions.cursor, found: Found, migration: Migration) -> dict[str, Any]:
    """Drop ours and return the old tables to their place; the record of the adoption that is undone.

    Refused after the first deployment, whose records would be lost.
    """
    from psycopg2 import sql

    record = read_record(cursor, found.adopted)
    refuse_after_a_deployment(cursor, found, migration)
    cursor.execute("SET LOCAL search_path = public; SET LOCAL statement_timeout = 0")
    reading = Reading(**record["reading"])
    returned = {name: _write_back(cursor, name, found.adopted, record, reading) for name in known_tables(record)}
    fittings.drop_incoming(cursor, record)
    for statement in migration.downgrade:
        cursor.execute(statement)
    cursor.execute("DROP TABLE alembic_version")
    for name in known_tables(record):
        cursor.execute(sql.SQL("ALTER TABLE {} SET SCHEMA public").format(source_of(found.adopted, name)))
    fittings.put_on(cursor, [add for _, add in record["fittings"]["incoming"]])
    cursor.execute(sql.SQL("DROP TABLE {0}.adoption; DROP SCHEMA {0}").format(sql.Identifier(found.adopted)))
    _return_access(cursor, record["access"])
    return {"schema": found.adopted, "written_since": returned}


def read_record(cursor: extensions.cursor, aside: str) -> dict[str, Any]:
    """What the adoption wrote down."""
    from psycopg2 import sql

    cursor.execute(sql.SQL("SELECT record FROM {}.adoption").format(sql.Identifier(aside)))
    return dict((cursor.fetchone() or ({},))[0])


def refuse_after_a_deployment(cursor: extensions.cursor, found: Found, migration: Migration) -> None:
    """Refused when a deployment has worked with the database since the adoption."""
    why = "" if found.revision == migration.revision else f"its schema has gone on to revision {found.revision}"
    for table in TELLTALES if not why else ():
        cursor.execute(f"SELECT EXISTS (SELECT FROM public.{table})")  # noqa: S608 - our own names
        if (cursor.fetchone() or (False,))[0]:
            why = f"{table} has rows"
            break
    if why:
        raise Refused(
            f"a deployment has worked with the adopted database since ({why}), and its records would be lost; "
            f"the old tables are in schema {found.adopted}, and their dump is in the share's backups: "
            "restore that into a database of its own"
        )


def _write_back(cursor: extensions.cursor, table: str, aside: str, record: dict[str, Any], reading: Reading) -> int:
    """Give the old table what their software wrote into ours meanwhile; the number of rows."""
    from psycopg2 import sql

    source, types = source_of(aside, table), record["tables"][table]["types"]
    target = sql.SQL("public.{}").format(sql.Identifier(table))
    cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(target))
    back = backward(table, types, reading)
    then = forward(table, types, reading, source)
    extra = [name for name in types if name not in back]
    back |= {name: sql.SQL("n.{}").format(sql.Identifier(name)) for name in extra}
    then |= {name: sql.SQL("o.{}").format(sql.Identifier(name)) for name in extra}
    columns = sql.SQL(", ").join(map(sql.Identifier, back))
    values = sql.SQL(", ").join(back.values())
    now = sql.SQL(", ").join(sql.SQL("n.{}").format(sql.Identifier(name)) for name in then)
    cursor.execute(
        sql.SQL(
            "UPDATE {} AS o SET ({}) = (SELECT {}) FROM {} AS n WHERE n.id = o.id AND ROW({}) IS DISTINCT FROM ROW({})"
        ).format(source, columns, values, target, now, sql.SQL(", ").join(then.values()))
    )
    changed = cursor.rowcount
    cursor.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} AS n WHERE n.id > %s ORDER BY n.id").format(
            source, columns, values, target
        ),
        (record["tables"][table]["max_id"],),
    )
    added = cursor.rowcount
    if added:
        advance_back(cursor, table, aside)
    return int(changed + added)


def _return_access(cursor: extensions.cursor, access: dict[str, Any]) -> None:
    """The database's owner as before, and no role that the adoption made."""
    from psycopg2 import sql

    cursor.execute("SELECT current_database()")
    database = (cursor.fetchone() or ("",))[0]
    if not access["user_had_schema"]:
        cursor.execute(sql.SQL("REVOKE ALL ON SCHEMA public FROM {}").format(sql.Identifier(USER)))
    cursor.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
            sql.Identifier(database), sql.Identifier(access["database_owner"])
        )
    )
    for role in (OWNER, USER):
        if role in access["made"]:
            cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
