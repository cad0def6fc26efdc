"""What a database with the specification's tables holds, and what speaks against taking it over. Reads only."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from .tables import LIMITS, NEEDED, OURS, SPECIFIED, TIMES, Reading, moment

if TYPE_CHECKING:
    from psycopg2 import extensions

SHOWN = 5


@dataclass(frozen=True)
class Table:
    """One of the three tables: its columns' types in order, its rows, and the columns that are theirs alone."""

    name: str
    types: Mapping[str, str]
    rows: int
    extra: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Found:
    """What there is before an adoption; `adopted` is the schema that keeps the old tables of an earlier one."""

    server: str
    zone: str
    revision: str | None
    adopted: str
    tables: Mapping[str, Table]
    users: tuple[str, ...]


def look(cursor: extensions.cursor) -> Found:
    """The database as it is."""
    cursor.execute("SELECT current_setting('server_version'), current_setting('TimeZone')")
    server, zone = cursor.fetchone() or ("", "")
    cursor.execute(
        """SELECT nspname FROM pg_namespace WHERE nspname LIKE 'adopted\\_%'
           AND to_regclass(quote_ident(nspname) || '.adoption') IS NOT NULL ORDER BY nspname DESC LIMIT 1"""
    )
    adopted = (cursor.fetchone() or ("",))[0]
    cursor.execute(
        """SELECT DISTINCT usename || coalesce(' from ' || host(client_addr), '') FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IS NOT NULL ORDER BY 1"""
    )
    users = tuple(row[0] for row in cursor.fetchall())
    tables = {name: table for name in SPECIFIED if (table := _table(cursor, name)) is not None}
    return Found(server, zone, _revision(cursor), adopted, tables, users)


def check_zone(cursor: extensions.cursor, zone: str) -> None:
    """Refused when the server knows no such zone; the line names those with a near name."""
    cursor.execute("SELECT name FROM pg_timezone_names WHERE name NOT LIKE 'posix%'")
    names = [row[0] for row in cursor.fetchall()]
    if zone in names:
        return
    tails = {name.rpartition("/")[2].lower(): name for name in names}
    near = difflib.get_close_matches(zone, names, 3, 0.6)
    near += [tails[tail] for tail in difflib.get_close_matches(zone.rpartition("/")[2].lower(), tails, 2, 0.75)]
    hint = f"; near names: {', '.join(dict.fromkeys(near))}" if near else "; name it as in America/New_York or UTC"
    raise Refused(f"adopt_timezone {zone!r} is no time zone that the server knows{hint}")


def problems(cursor: extensions.cursor, found: Found, reading: Reading, taken: tuple[str, ...]) -> list[str]:
    """What keeps the tables from being taken over, a line each; `taken` are the names of tables that ours need."""
    lines = [line for table in found.tables.values() for line in _table_problems(cursor, table, reading)]
    lines += _in_the_way(cursor, taken)
    return lines + _dependants(cursor)


def rights(cursor: extensions.cursor, login: Mapping[str, Any]) -> list[str]:
    """Why this login may not take tables of others over, as at most one line."""
    cursor.execute("SELECT current_setting('is_superuser')")
    if (cursor.fetchone() or ("",))[0] == "on":
        return []
    return [f"{login['user']} is no superuser, which may alone give tables another owner: set postgresql_admin_user"]


def times(cursor: extensions.cursor, found: Found, zone: str) -> list[dict[str, Any]]:
    """For each column of times its type, first and last value, the moments that they become, and doubtful ones.

    `twice` counts times that the zone has twice (clocks set back: the later is taken), `never` those that it skips.
    """
    from psycopg2 import sql

    rows = []
    for table, column in ((one, name) for one in found.tables.values() for name in TIMES[one.name]):
        kind = table.types.get(column)
        if kind is None or not kind.startswith("timestamp"):
            continue
        name, at = sql.Identifier(column), moment(column, kind, zone)
        back = sql.SQL("{} AT TIME ZONE {}").format(at, sql.Literal(zone))
        bare = kind == "timestamp without time zone"
        cursor.execute(
            sql.SQL(
                """SELECT min(o.{0})::text, max(o.{0})::text, (min({1}) AT TIME ZONE 'UTC')::text || 'Z',
                          (max({1}) AT TIME ZONE 'UTC')::text || 'Z',
                          count(*) FILTER (WHERE ({1} - interval '1 hour') AT TIME ZONE {3} = o.{0}::timestamp),
                          count(*) FILTER (WHERE {2} <> o.{0}::timestamp)
                   FROM public.{4} AS o"""
            ).format(name, at, back, sql.Literal(zone), sql.Identifier(table.name))
        )
        first, last, first_after, last_after, twice, never = cursor.fetchone() or (None,) * 6
        rows.append(
            {
                **{"table": table.name, "column": column, "type": kind, "first": first, "last": last},
                **{"first_after": first_after, "last_after": last_after},
                **{"twice": twice if bare else 0, "never": never if bare else 0},
            }
        )
    return rows


def open_rows(cursor: extensions.cursor, found: Found, reading: Reading) -> list[int]:
    """Ids of history rows that are under way by their status, and will be closed as aborted."""
    if "status" not in getattr(found.tables.get("deployment_history"), "types", {}):
        return []
    words = [word for word, target in reading.words["deployment_history.status"].items() if target == "in_progress"]
    cursor.execute("SELECT id FROM public.deployment_history WHERE lower(trim(status)) = ANY(%s) ORDER BY id", (words,))
    return [int(row[0]) for row in cursor.fetchall()]


def _revision(cursor: extensions.cursor) -> str | None:
    """Alembic's revision; empty for its table without a row, None without its table."""
    cursor.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL")
    if not (cursor.fetchone() or (False,))[0]:
        return None
    cursor.execute("SELECT version_num FROM public.alembic_version")
    return str((cursor.fetchone() or ("",))[0])


def _table(cursor: extensions.cursor, name: str) -> Table | None:
    from psycopg2 import sql

    cursor.execute(
        """SELECT attname, format_type(atttypid, NULL), attgenerated <> '' FROM pg_attribute
           WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
        (f"public.{name}",),
    )
    columns = cursor.fetchall()
    if not columns:
        return None
    cursor.execute(sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(name)))
    rows = (cursor.fetchone() or (0,))[0]
    extra = tuple(column for column, _, _ in columns if column not in SPECIFIED[name])
    return Table(name, {column: kind for column, kind, _ in columns}, rows, extra)


def _table_problems(cursor: extensions.cursor, table: Table, reading: Reading) -> list[str]:
    name = table.name
    missing = [column for column in NEEDED[name] if column not in table.types]
    if missing:
        return [f"{name} has no column {', '.join(missing)}; add it, or rename what holds it"]
    lines = [
        f"{name}.{column} is {table.types[column]}, and no time: make it a timestamp"
        for column in TIMES[name]
        if column in table.types and not table.types[column].startswith("timestamp")
    ]
    if name == "deployment_history":
        lines += [
            f"{name}.{column} is a column of theirs, and ours has one of that name: rename theirs"
            for column in (*OURS, "fencing_token")
            if column in table.types
        ]
    return lines + [line for check in _checks(table, reading) if (line := _refused_rows(cursor, *check))]


def _checks(table: Table, reading: Reading) -> list[tuple[str, str, str, tuple[Any, ...]]]:
    """Conditions that no row may meet: table, condition, what it means, values."""
    name = table.name
    found: list[tuple[str, str, str, tuple[Any, ...]]] = []
    for column in ("id", "service_name", "version", "environment", "config_json"):
        if column in NEEDED[name]:
            found.append((name, f"{column} IS NULL", f"no {column}: fill it", ()))
    for column, limit in LIMITS.items():
        if column in SPECIFIED[name] and column in table.types:
            found.append((name, f"length({column}) > {limit}", f"a {column} of more than {limit} letters", ()))
    for column in ("status", "action"):
        words = reading.words.get(f"{name}.{column}")
        article = "an" if column == "action" else "a"
        if words and column in table.types:
            hint = f"{article} {column} that is no word of ours: tell what it means with adopt_words"
            values = ([word for word in words if word != "null"],)
            found.append((name, f"trim({column}) <> '' AND NOT lower(trim({column})) = ANY(%s)", hint, values))
    if name == "service_configs":
        found.append((name, "jsonb_typeof(config_json::jsonb) <> 'object'", "a config_json that is no object", ()))
        twins = "service_name, version, environment" + (", host" if "host" in table.types else "")
        twins_of = f"(SELECT {twins} FROM public.{name} GROUP BY {twins} HAVING count(*) > 1)"  # noqa: S608 - ours
        same = " AND ".join(f"twin.{one} IS NOT DISTINCT FROM o.{one}" for one in twins.split(", "))
        twin = f"EXISTS (SELECT FROM {twins_of} AS twin WHERE {same})"
        found.append((name, twin, f"the same {twins} as another: keep one of each", ()))
        if "port" in table.types:
            found.append((name, "port NOT BETWEEN 1 AND 65535", "a port that is none", ()))
    if "response_time_ms" in table.types and name == "service_health":
        found.append((name, "response_time_ms < 0", "a negative response_time_ms", ()))
    return found


def _refused_rows(cursor: extensions.cursor, table: str, condition: str, meaning: str, values: tuple[Any, ...]) -> str:
    cursor.execute(f"SELECT o.id FROM public.{table} AS o WHERE {condition} ORDER BY o.id", values)  # noqa: S608 - ours
    ids = [str(row[0]) for row in cursor.fetchall()]
    if not ids:
        return ""
    shown = ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
    return f"{table} has {len(ids)} row{'s' if len(ids) > 1 else ''} (id {shown}) with {meaning}"


def _in_the_way(cursor: extensions.cursor, taken: tuple[str, ...]) -> list[str]:
    cursor.execute(
        """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%s)
           AND relname <> ALL(%s) ORDER BY 1""",
        (list(taken), list(SPECIFIED)),
    )
    return [f"a table {name} is there, and ours needs that name: rename theirs" for (name,) in cursor.fetchall()]


def _dependants(cursor: extensions.cursor) -> list[str]:
    cursor.execute(
        """SELECT DISTINCT ev_class::regclass::text, refobjid::regclass::text FROM pg_depend
           JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND classid = 'pg_rewrite'::regclass
           WHERE refobjid = ANY(SELECT to_regclass('public.' || name) FROM unnest(%s) AS name)
             AND ev_class <> refobjid ORDER BY 1""",
        (list(SPECIFIED),),
    )
    return [
        f"view {view} reads {table}, and would go on reading the old one: drop it, and make it again afterwards"
        for view, table in cursor.fetchall()
    ]
