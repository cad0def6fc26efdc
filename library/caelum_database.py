#!/usr/bin/python
"""Ansible module: roles, database and schema on a PostgreSQL server."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.database import migrations, provision, unfinished
from ansible.module_utils.caelum.database.connection import statements, transaction, wait_for
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_database
short_description: Make roles, a database and its schema on a PostgreSQL server
description:
  - Makes the roles with SCRAM-SHA-256 passwords, the database with its owner, and the right to connect, which everybody
    else loses. Compares stored passwords with the given ones, so that a second run changes nothing.
  - Migrates the schema with the release's own command where it isn't at the newest revision. A database that has tables
    is dumped first. A database that is newer than the release is left alone, since old code runs on a new schema.
author: Caelum
requirements:
  - psycopg2
  - a server of PostgreSQL 15 or newer with C(password_encryption = scram-sha-256)
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: full
    description: Shows roles, rights and revision before and after, never a password.
options:
  admin:
    description: A superuser's login on the server.
    type: dict
    required: true
    suboptions:
      host:
        description: Address of the server.
        type: str
        required: true
      port:
        description: Port of the server.
        type: int
        default: 15433
      dbname:
        description: Database to log in to.
        type: str
        default: postgres
      user:
        description: Name of the superuser.
        type: str
        default: postgres
      password:
        description: Its password.
        type: str
        required: true
  name:
    description: Name of the database.
    type: str
    default: pim_database
  owner:
    description: Role that owns the database and runs its migrations; one of I(roles).
    type: str
    default: pim_owner
  connect:
    description: Roles that may connect besides the owner.
    type: list
    elements: str
    default: []
  roles:
    description: Roles to make. Others are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Its password, printable ASCII.
        type: str
        required: true
      login:
        description: Whether it may log in.
        type: bool
        default: true
  migrate:
    description: How the schema reaches its newest revision; left out, the schema is left alone.
    type: dict
    suboptions:
      command:
        description: Command that takes C(upgrade) and C(head); it finds the owner's login in C(DATABASE_URL).
        type: list
        elements: str
        required: true
      migrations:
        description: Folder of the release's migration files. The newest revision is read from them.
        type: path
      head:
        description: The newest revision. Left out, it is read from I(migrations), or asked of I(command).
        type: str
        default: ""
  pg_dump:
    description: The program that dumps the database; not older than the server.
    type: path
    default: pg_dump
  backups:
    description: Folder for the dump before a migration.
    type: path
  wait:
    description: Seconds to wait for a server that does not answer yet. A refused login fails at once.
    type: float
    default: 0

  inventory:
    description: Inventory whose unfinished deployments are returned; left out, none are looked for.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Make the database and its schema
  caelum_database:
    admin: {host: 127.0.0.1, port: 15433, password: "{{ vault_postgresql_admin_password }}"}
    name: pim_database
    owner: pim_owner
    connect: [pim_user]
    roles:
      - {name: pim_owner, password: "{{ vault_pim_owner_password }}"}
      - {name: pim_user, password: "{{ vault_pim_user_password }}"}
    migrate:
      command: [/opt/caelum/pim/releases/v1.1.0/bin/python, -m, pim.migrate]
      migrations: /opt/caelum/pim/releases/v1.1.0/lib/python3.11/site-packages/pim/migrations/versions
    pg_dump: /usr/lib/postgresql/15/bin/pg_dump
    backups: /srv/caelum/backups
"""

RETURN = r"""
revision:
  description: Revision of the schema afterwards; empty when there is none.
  returned: always
  type: str
  sample: "0001"
dump:
  description: The dump that was made before the migration; empty when none was needed.
  returned: always
  type: str
  sample: /srv/caelum/backups/pim_database-0001-20250602T080000Z.dump
unfinished:
  description: Services whose newest deployment to I(inventory) is open, failed or aborted.
  returned: always
  type: list
  elements: str
  sample: [fincoll]
"""

SPEC: dict[str, Any] = {
    "admin": {
        "type": "dict",
        "required": True,
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 15433},
            "dbname": {"type": "str", "default": "postgres"},
            "user": {"type": "str", "default": "postgres"},
            "password": {"type": "str", "required": True, "no_log": True},
        },
    },
    "name": {"type": "str", "default": "pim_database"},
    "owner": {"type": "str", "default": "pim_owner"},
    "connect": {"type": "list", "elements": "str", "default": []},
    "roles": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "login": {"type": "bool", "default": True},
        },
    },
    "migrate": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "migrations": {"type": "path"},
            "head": {"type": "str", "default": ""},
        },
    },
    "pg_dump": {"type": "path", "default": "pg_dump"},
    "backups": {"type": "path"},
    "inventory": {"type": "str", "default": ""},
    "wait": {"type": "float", "default": 0},
}


@dataclass(frozen=True)
class Schema:
    """The schema as it is, and the revision that it should be at (the same when nothing is to do)."""

    revision: str
    wanted: str
    has_tables: bool


def observe_schema(params: dict[str, Any], exists: bool) -> Schema:
    """Where the schema stands; `exists` says whether there is a database to ask."""
    revision, has_tables = look_at(params) if exists else ("", False)
    if params["migrate"] is None:
        return Schema(revision, revision, has_tables)
    return Schema(revision, wanted_revision(params["migrate"], revision), has_tables)


def look_at(params: dict[str, Any]) -> tuple[str, bool]:
    """The database's revision, and whether it has tables at all."""
    with transaction({**params["admin"], "dbname": params["name"]}) as cursor:
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


def wanted_revision(migrate: dict[str, Any], revision: str) -> str:
    """The release's newest revision, or `revision` itself when the release is older than that."""
    if migrate["head"]:
        return str(migrate["head"])
    if not migrate["migrations"]:
        return str(migrations.ask_head(migrate["command"]))
    known = migrations.read_revisions(Path(migrate["migrations"]))
    return revision if revision and revision not in known.known else known.head


def migrate_schema(params: dict[str, Any], schema: Schema) -> str:
    """Dump what there is, migrate, and make sure of the revision; returns the dump's path, empty without one."""
    admin, target = params["admin"], ""
    if schema.has_tables:
        if not params["backups"]:
            raise Refused(f"database {params['name']} has tables, and no dump folder is given; pass `backups`")
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        target = f"{params['backups']}/{params['name']}-{schema.revision or 'unversioned'}-{now}.dump"
        login = {"PGHOST": admin["host"], "PGPORT": str(admin["port"]), "PGUSER": admin["user"]}
        secret = {"PGPASSWORD": admin["password"], "PGDATABASE": params["name"]}
        migrations.dump(Path(params["pg_dump"]), login | secret, Path(target))
    password = next(role["password"] for role in params["roles"] if role["name"] == params["owner"])
    address = f"{admin['host']}:{admin['port']}/{quote(params['name'], safe='')}"
    url = f"postgresql://{quote(params['owner'], safe='')}:{quote(password, safe='')}@{address}"
    said = migrations.run_migration(params["migrate"]["command"], {"DATABASE_URL": url})
    revision, _ = look_at(params)
    if revision != schema.wanted:
        raise Refused(
            f"the migration ended at revision {revision or 'none'}, not at {schema.wanted} (it said: {said}); "
            "check that `migrate.command` and `migrate.migrations` are of one release"
        )
    return target


def converge(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Observe, plan and, outside check mode, apply."""
    roles = tuple(provision.Role(**role) for role in params["roles"])
    if params["migrate"] and params["owner"] not in {role.name for role in roles}:
        raise Refused(f"the owner {params['owner']} is none of the roles given; add it to `roles` with its password")
    wanted = provision.Wanted(params["name"], params["owner"], tuple(params["connect"]), roles)
    if params["wait"]:
        wait_for(params["admin"], params["wait"])
    with statements(params["admin"]) as cursor:
        provision.check_server(cursor)
        have = provision.observe(cursor, wanted)
        steps = provision.plan(wanted, have)
        schema = observe_schema(params, exists=have.database is not None)
        if not check:
            provision.apply(cursor, steps)
    behind = schema.revision != schema.wanted
    dump = migrate_schema(params, schema) if behind and not check else ""
    before, after = [step.before for step in steps], [step.after for step in steps]
    if behind:
        before.append(f"schema: {schema.revision or 'none'}")
        after.append(f"schema: {schema.wanted}")
    login = {**params["admin"], "dbname": params["name"]}
    asked = bool(params["inventory"]) and (have.database is not None or not check)
    with transaction(login) if asked else nullcontext() as cursor:
        open_or_failed = unfinished.services(cursor, params["inventory"]) if cursor else []
    return {
        "unfinished": open_or_failed,
        "changed": bool(after),
        "revision": schema.wanted,
        "dump": dump,
        "diff": {key: "".join(f"{line}\n" for line in lines) for key, lines in (("before", before), ("after", after))},
    }


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        result = converge(module.params, module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
