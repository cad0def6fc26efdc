#!/usr/bin/python
"""Ansible module: roles, database and schema on a PostgreSQL server."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.database import provision, schema, unfinished
from ansible.module_utils.caelum.database.connection import enters, statements, tls_arguments, transaction, wait_for
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_database
short_description: Make roles, a database and its schema on a PostgreSQL server
description:
  - Makes the roles with SCRAM-SHA-256 passwords and no power over the server, the database with its owner, and the
    right to connect, which everybody else loses, as they do each right on tables that no service needs. Compares stored
    passwords with the given ones, so that a second run changes nothing.
  - Migrates the schema with the release's own command where it isn't at the newest revision. A database that has tables
    is dumped first. A database that is newer than the release is left alone, since old code runs on a new schema.
author: Caelum
requirements:
  - psycopg2
  - a server of PostgreSQL 15 or newer with C(password_encryption = scram-sha-256) that asks for passwords so
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: full
    description: Shows roles, rights and revision before and after, never a password.
options:
  admin:
    description:
      - The login that makes what is missing; a superuser's, or one with C(CREATEROLE) and C(CREATEDB), as managed
        servers give it. The latter can't see stored passwords, so it tries the roles' logins from where this runs.
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
        description: Its name.
        type: str
        default: postgres
      password:
        description: Its password.
        type: str
        required: true
      sslmode:
        description: How the connection is protected, as libpq names it.
        type: str
        choices: [disable, prefer, require, verify-ca, verify-full]
        default: prefer
      ca:
        description: Certificates, as PEM, of which one must have signed the server's, for the two that verify it.
        type: str
        default: ""
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
    description:
      - Roles to make. Others are left alone. Left out, roles, rights and database are as they are, I(admin) is the
        owner's login, and only the schema is brought forward.
    type: list
    elements: dict
    default: []
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
        description:
          - Command that takes C(upgrade) and C(head); it finds the owner's login as PIM's processes find theirs, in
            C(pim_database_credentials.json) in the folder C(CREDENTIALS_DIRECTORY). Left out, the schema stays as it is
            and I(behind) of the result says whether it is behind.
        type: list
        elements: str
        default: []
      migrations:
        description:
          - Folder of the release's migration files, or a pattern for the wheel that holds them. The newest revision
            is read from them.
        type: path
      head:
        description: The newest revision. Left out, it is read from I(migrations), or asked of I(command).
        type: str
        default: ""
  pg_dump:
    description:
      - Programs that may dump the database, also as patterns; the first that is there and not older than the server
        does it.
    type: list
    elements: str
    default: [/usr/lib/postgresql/*/bin/pg_dump]
  alone:
    description: The server serves this database only, so that its C(postgres) and C(template1) are closed to everybody.
    type: bool
    default: false
  backups:
    description: Folder for the dump before a migration.
    type: path
  fresh:
    description: The server is only to be made, so that it is taken for one that holds nothing; for check mode alone.
    type: bool
    default: false
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
behind:
  description: Whether a migration is left to a call with I(migrate.command).
  returned: always
  type: bool
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
            **tls_arguments(),
        },
    },
    "name": {"type": "str", "default": "pim_database"},
    "owner": {"type": "str", "default": "pim_owner"},
    "connect": {"type": "list", "elements": "str", "default": []},
    "roles": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "login": {"type": "bool", "default": True},
        },
    },
    "migrate": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "default": []},
            "migrations": {"type": "path"},
            "head": {"type": "str", "default": ""},
        },
    },
    "alone": {"type": "bool", "default": False},
    "pg_dump": {"type": "list", "elements": "str", "default": ["/usr/lib/postgresql/*/bin/pg_dump"]},
    "backups": {"type": "path"},
    "inventory": {"type": "str", "default": ""},
    "fresh": {"type": "bool", "default": False},
    "wait": {"type": "float", "default": 0},
}


def converge(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Observe, plan and, outside check mode, apply."""
    if not params["roles"]:
        return forward(params, check)
    roles = tuple(provision.Role(**role) for role in params["roles"])
    if params["migrate"] and params["owner"] not in {role.name for role in roles}:
        raise Refused(f"the owner {params['owner']} is none of the roles given; add it to `roles` with its password")
    wanted = provision.Wanted(params["name"], params["owner"], tuple(params["connect"]), roles, params["alone"])
    if params["fresh"]:
        if not check:
            raise Refused("a server that is not there can only be spoken of; `fresh` is for check mode")
        return foretold(params, wanted)
    if params["wait"]:
        wait_for(params["admin"], params["wait"])
    with statements(params["admin"]) as cursor:
        admin = provision.check_server(cursor)
        have = provision.observe(cursor, wanted, admin, lambda role: enters(params["admin"], role.name, role.password))
        exists = have.database is not None
        found = schema.observe(params, exists=exists, owner_exists=wanted.owner in have.roles)
        steps = provision.plan(wanted, have, admin)
        if not check:
            provision.apply(cursor, steps)
    login = {**params["admin"], "dbname": params["name"]}
    if found.excess and not check:
        with transaction(login) as cursor:
            provision.apply(cursor, found.excess)
    dump = schema.migrate(params, found) if found.is_behind and not check and migrates_here(params) else ""
    asked = bool(params["inventory"]) and (exists or not check)
    with transaction(login) if asked else nullcontext() as cursor:
        open_or_failed = unfinished.services(cursor, params["inventory"]) if cursor else []
    told = changes([*steps, *found.excess], found, told=check or migrates_here(params))
    behind = found.is_behind and not migrates_here(params)
    return result(told, found, unfinished=open_or_failed, behind=behind, dump=dump)


def forward(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Bring the schema forward by the owner's login alone."""
    user = params["admin"]["user"]
    if user != params["owner"]:
        raise Refused(f"the login {user} is not the owner's; give that of {params['owner']}, or the `roles` to make")
    found = schema.observe(params, exists=True, owner_exists=False)
    moves = found.is_behind and migrates_here(params)
    dump = schema.migrate(params, found) if moves and not check else ""
    return result(changes([], found, told=moves), found, behind=found.is_behind and not moves, dump=dump)


def foretold(params: dict[str, Any], wanted: provision.Wanted) -> dict[str, Any]:
    """What will be changed on a server that holds nothing."""
    admin = provision.Admin(params["admin"]["user"], is_superuser=True, server_version=0)
    common = provision.COMMON if wanted.alone else ()
    steps = provision.plan(wanted, provision.Have({}, None, open_to_all=common), admin)
    found = schema.observe(params, exists=False)
    return result(changes(steps, found, told=True), found)


def result(told: tuple[list[str], list[str]], found: schema.Schema, **more: Any) -> dict[str, Any]:
    """What the module returns."""
    before, after = told
    return {
        "unfinished": [],
        "changed": bool(after),
        "revision": found.wanted,
        "behind": False,
        "dump": "",
        "diff": {key: "".join(f"{line}\n" for line in lines) for key, lines in (("before", before), ("after", after))},
        **more,
    }


def migrates_here(params: dict[str, Any]) -> bool:
    """Whether this call brings the schema forward, or only says that it is behind."""
    return bool(params["migrate"] and params["migrate"]["command"])


def changes(steps: list[provision.Step], found: schema.Schema, *, told: bool) -> tuple[list[str], list[str]]:
    """Lines for the diff, before and after; the schema's where it is `told`."""
    before, after = [step.before for step in steps], [step.after for step in steps]
    if found.is_behind and told:
        before.append(f"schema: {found.revision or 'none'}")
        after.append(f"schema: {found.wanted}")
    return before, after


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
