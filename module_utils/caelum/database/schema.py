"""The schema of the database on its way to a release's newest revision, dumped before it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import Refused
from . import migrations, rights
from .connection import Login, transaction
from .provision import Step

# What others keep in the same database stays out of the owner's dump: a migration, the owner's too, cannot change it.
OUT_OF_REACH = """
SELECT format('%%I.%%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p', 'S', 'v', 'm', 'f') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND NOT (has_schema_privilege(%(owner)s, pg_namespace.oid, 'USAGE')
           AND has_table_privilege(%(owner)s, pg_class.oid, 'SELECT'))
ORDER BY 1
"""


@dataclass(frozen=True)
class Schema:
    """The schema as it is, and the revision that it should be at (the same when nothing is to do).

    `excess` are the steps that take away rights which nobody should have.
    """

    revision: str
    wanted: str
    has_tables: bool
    excess: tuple[Step, ...] = ()

    @property
    def is_behind(self) -> bool:
        """Whether there is something to migrate."""
        return self.revision != self.wanted


def observe(params: Mapping[str, Any], *, exists: bool, owner_exists: bool = True) -> Schema:
    """Where the schema stands; `exists` says whether there is a database to ask.

    `params` are the options of the module `caelum_database`.
    """
    revision, has_tables = "", False
    excess: tuple[Step, ...] = ()
    if exists:
        with transaction({**params["admin"], "dbname": params["name"]}) as cursor:
            revision, has_tables = _look_at(cursor)
            if owner_exists:
                excess = tuple(rights.excess(cursor, params["owner"], params["connect"]))
    wanted = revision if params["migrate"] is None else _wanted_revision(params["migrate"], revision)
    return Schema(revision, wanted, has_tables, excess)


def migrate(params: Mapping[str, Any], schema: Schema) -> str:
    """Dump what there is, migrate, and make sure of the revision; returns the dump's path, empty without one."""
    target = _dump(params, schema) if schema.has_tables else ""
    said = migrations.run_migration(params["migrate"]["command"], _owner(params))
    with transaction({**params["admin"], "dbname": params["name"]}) as cursor:
        revision, _ = _look_at(cursor)
    if revision != schema.wanted:
        raise Refused(
            f"the migration ended at revision {revision or 'none'}, not at {schema.wanted} (it said: {said}); "
            "check that `migrate.command` and `migrate.migrations` are of one release"
        )
    return target


def _owner(params: Mapping[str, Any]) -> Login:
    """How the owner enters the database; where no roles are given, the admin is the owner."""
    passwords = {role["name"]: role["password"] for role in params["roles"]}
    login = {**params["admin"], "dbname": params["name"]}
    return {**login, "user": params["owner"], "password": passwords[params["owner"]]} if passwords else login


def _dump(params: Mapping[str, Any], schema: Schema) -> str:
    if not params["backups"]:
        raise Refused(f"database {params['name']} has tables, and no dump folder is given; pass `backups`")
    with transaction({**params["admin"], "dbname": params["name"]}) as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int / 10000")
        row = cursor.fetchone()
        cursor.execute(OUT_OF_REACH, {"owner": params["owner"]})
        others = [name for (name,) in cursor.fetchall()]
    program = migrations.dump_program(params["pg_dump"], row[0] if row else 0)
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target = f"{params['backups']}/{params['name']}-{schema.revision or 'unversioned'}-{now}.dump"
    migrations.dump(program, _owner(params), Path(target), others)
    return target


def _look_at(cursor: Any) -> tuple[str, bool]:
    """The database's revision, and whether it has tables at all."""
    cursor.execute(
        """SELECT to_regclass('public.alembic_version') IS NOT NULL, EXISTS (
               SELECT FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema'))"""
    )
    migrated, has_tables = cursor.fetchone() or (False, False)
    if not migrated:
        return "", has_tables
    cursor.execute("SELECT version_num FROM public.alembic_version")
    row = cursor.fetchone()
    return (row[0] if row else ""), has_tables


def _wanted_revision(migrate: Mapping[str, Any], revision: str) -> str:
    """The release's newest revision, or `revision` itself when the release is older than that."""
    if migrate["head"]:
        return str(migrate["head"])
    if not migrate["migrations"]:
        return str(migrations.ask_head(migrate["command"]))
    known = migrations.read_revisions(Path(migrate["migrations"]))
    return revision if revision and revision not in known.known else known.head
