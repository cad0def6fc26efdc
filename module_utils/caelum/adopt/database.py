"""Takes the specification's tables over, in one transaction: the old ones are put aside whole, and copied into ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from . import fittings
from .observe import Found, Table, open_rows
from .schema import VERSION_TABLE, Migration
from .tables import SPECIFIED, Reading, forward

if TYPE_CHECKING:
    from psycopg2 import extensions, sql

OWNER, USER = "pim_owner", "pim_user"


def relations(migration: Migration) -> tuple[str, ...]:
    """Names of the tables and sequences that the migration makes."""
    made = re.findall(r"CREATE (?:TABLE|SEQUENCE) (\w+)", "\n".join(migration.upgrade))
    return (*dict.fromkeys(made), "alembic_version")


def adopt(cursor: extensions.cursor, found: Found, migration: Migration, reading: Reading) -> dict[str, Any]:
    """Put the old tables aside, make ours, copy every row and stamp the revision; the record that leads back.

    Refused, and with it everything undone, when a table has other rows afterwards than before.
    """
    from psycopg2 import sql

    aside = "adopted_" + re.sub(r"\D", "", reading.at)[:14]
    cursor.execute("SET LOCAL search_path = public; SET LOCAL statement_timeout = 0")
    for name in found.tables:  # nobody writes between the copy and the switch
        cursor.execute(sql.SQL("LOCK TABLE public.{} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(name)))
    record: dict[str, Any] = {
        **{"revision": migration.revision, "reading": asdict(reading), "aborted": open_rows(cursor, found, reading)},
        **{"tables": {name: {"types": dict(table.types)} for name, table in found.tables.items()}},
        "access": _make_roles(cursor),
        "fittings": fittings.take_off(cursor, found.tables.values()),
    }
    cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(aside)))
    for name in found.tables:
        cursor.execute(
            sql.SQL("ALTER TABLE public.{} SET SCHEMA {}").format(sql.Identifier(name), sql.Identifier(aside))
        )
    _make_schema(cursor, migration)
    for table in found.tables.values():
        fittings.add_columns(cursor, table, aside)
        record["tables"][table.name] |= _copy(cursor, table, aside, reading)
    fittings.put_on(cursor, record["fittings"]["carried"])
    cursor.execute(sql.SQL("CREATE TABLE {}.adoption (record jsonb NOT NULL)").format(sql.Identifier(aside)))
    cursor.execute(sql.SQL("INSERT INTO {}.adoption VALUES (%s)").format(sql.Identifier(aside)), (json.dumps(record),))
    return {"schema": aside, **record}


def source_of(aside: str, table: str) -> sql.Composed:
    """An old table where it has been put aside."""
    from psycopg2 import sql

    return sql.SQL("{}.{}").format(sql.Identifier(aside), sql.Identifier(table))


def _make_roles(cursor: extensions.cursor) -> dict[str, Any]:
    """Make the two roles where they are missing, and the owner the database's; what there was before.

    They can't log in until deploy.yml gives them their passwords.
    """
    from psycopg2 import sql

    cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", ([OWNER, USER],))
    there = {row[0] for row in cursor.fetchall()}
    made = [role for role in (OWNER, USER) if role not in there]
    for role in made:
        cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    cursor.execute(
        "SELECT current_database(), pg_get_userbyid(datdba) FROM pg_database WHERE datname=current_database()"
    )
    database, owner = cursor.fetchone() or ("", "")
    cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), sql.Identifier(OWNER)))
    cursor.execute(
        """SELECT EXISTS (SELECT FROM pg_namespace, aclexplode(nspacl) AS held
               WHERE nspname = 'public' AND held.grantee = (SELECT oid FROM pg_roles WHERE rolname = %s))""",
        (USER,),
    )
    return {"made": made, "database_owner": owner, "user_had_schema": (cursor.fetchone() or (False,))[0]}


def _make_schema(cursor: extensions.cursor, migration: Migration) -> None:
    """Run the migration and stamp it; all that it makes is the owner's, and all that was there is as it was."""
    from psycopg2 import sql

    relations_before, functions_before = _relations(cursor), _functions(cursor)
    theirs, granted_before = _relations(cursor, owned=True), _sequences_of_user(cursor)
    cursor.execute(VERSION_TABLE)
    for statement in migration.upgrade:
        cursor.execute(statement)
    cursor.execute("INSERT INTO alembic_version VALUES (%s)", (migration.revision,))
    for kind, name in sorted(_relations(cursor) - relations_before):
        # a serial's sequence goes with its table, and may not go alone
        cursor.execute(sql.SQL(f"ALTER {kind} {{}} OWNER TO {{}}").format(sql.Identifier(name), sql.Identifier(OWNER)))
    for name in sorted(_functions(cursor) - functions_before):
        cursor.execute(f'ALTER FUNCTION {name} OWNER TO "{OWNER}"')
    for name in sorted((_sequences_of_user(cursor) - granted_before) & {name for _, name in theirs}):
        cursor.execute(sql.SQL("REVOKE ALL ON SEQUENCE {} FROM {}").format(sql.Identifier(name), sql.Identifier(USER)))


def _relations(cursor: extensions.cursor, owned: bool = False) -> set[tuple[str, str]]:
    """Tables and sequences of the schema public; with `owned` also the sequences that belong to a column."""
    cursor.execute(
        """SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S') AND (%s OR NOT EXISTS (
               SELECT FROM pg_depend WHERE objid = pg_class.oid AND relkind = 'S' AND deptype IN ('a', 'i')))""",
        (owned,),
    )
    return {(kind, name) for kind, name in cursor.fetchall()}


def _functions(cursor: extensions.cursor) -> set[str]:
    cursor.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    return {row[0] for row in cursor.fetchall()}


def _sequences_of_user(cursor: extensions.cursor) -> set[str]:
    """Sequences that the role pim_user is named for."""
    cursor.execute(
        """SELECT relname FROM pg_class, aclexplode(relacl) AS held WHERE relkind = 'S'
           AND relnamespace = 'public'::regnamespace AND pg_get_userbyid(held.grantee) = %s""",
        (USER,),
    )
    return {row[0] for row in cursor.fetchall()}


def _copy(cursor: extensions.cursor, table: Table, aside: str, reading: Reading) -> dict[str, Any]:
    """Copy every row of an old table into ours; rows, greatest id and checksum, the same on both sides."""
    from psycopg2 import sql

    source, target = source_of(aside, table.name), sql.SQL("public.{}").format(sql.Identifier(table.name))
    values = forward(table.name, table.types, reading, source)
    values |= {name: sql.SQL("o.{}").format(sql.Identifier(name)) for name in fittings.carried_columns(table)}
    columns = sql.SQL(", ").join(map(sql.Identifier, values))
    cursor.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} AS o ORDER BY o.id").format(
            target, columns, sql.SQL(", ").join(values.values()), source
        )
    )
    before = checksum(cursor, source, "o", values)
    after = checksum(cursor, target, "o", {name: sql.SQL("o.{}").format(sql.Identifier(name)) for name in values})
    if before != after or before[0] != table.rows:
        raise Refused(
            f"{table.name} had {table.rows} rows and would have {after[0]}, or others than before; nothing was "
            "changed: see which trigger or rule alters rows, and run it again without"
        )
    cursor.execute(sql.SQL("SELECT max(id) FROM {}").format(source))
    greatest = (cursor.fetchone() or (None,))[0] or 0
    _advance(cursor, str(table.name), "public", greatest, from_schema=aside)
    return {"rows": after[0], "max_id": greatest, "md5": after[1]}


def checksum(
    cursor: extensions.cursor, source: sql.Composable, alias: str, values: Mapping[str, sql.Composable]
) -> tuple[int, str]:
    """Number of rows, and md5 over all of them in the order of their ids."""
    from psycopg2 import sql

    row = sql.SQL("ROW({})::text").format(sql.SQL(", ").join(values.values()))
    cursor.execute(
        sql.SQL("SELECT count(*), md5(coalesce(string_agg(md5({}), '' ORDER BY {}.id), '')) FROM {} AS {}").format(
            row, sql.Identifier(alias), source, sql.Identifier(alias)
        )
    )
    rows, digest = cursor.fetchone() or (0, "")
    return int(rows), str(digest)


def _advance(cursor: extensions.cursor, table: str, schema: str, greatest: int, from_schema: str) -> None:
    """Let the ids of a table go on above `greatest` and above those that its counterpart has given away."""
    cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", (f"{from_schema}.{table}",))
    given = 0
    if (old := (cursor.fetchone() or (None,))[0]) is not None:
        cursor.execute(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {old}")  # noqa: S608 - the server's
        given = (cursor.fetchone() or (0,))[0]
    if highest := max(int(given), int(greatest)):
        cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", (f"{schema}.{table}", highest))


def advance_back(cursor: extensions.cursor, table: str, aside: str) -> None:
    """The same for an old table that gets rows back; one that numbers its rows by itself is left alone."""
    cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", (f"{aside}.{table}",))
    if (cursor.fetchone() or (None,))[0] is not None:
        _advance(cursor, table, aside, 0, from_schema="public")


def known_tables(record: Mapping[str, Any]) -> list[str]:
    """Tables of an adoption's record, in the specification's order."""
    return [name for name in SPECIFIED if name in record["tables"]]
