#!/usr/bin/python
"""Ansible module: takes the specification's tables over, with their rows, and gives them back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.adopt import database, dump, giveback, observe
from ansible.module_utils.caelum.adopt.schema import Migration, first_migration
from ansible.module_utils.caelum.adopt.tables import Reading, with_words
from ansible.module_utils.caelum.database import migrations
from ansible.module_utils.caelum.database.connection import database_argument, transaction
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_adopt_database
short_description: Take over a database that holds the specification's three tables
description:
  - C(report) reads what there is, and what speaks against taking it over. It changes nothing.
  - C(dumped) dumps the database in PostgreSQL's custom format and reads the dump's contents back.
  - C(taken) puts the tables aside as they are, into a schema C(adopted_<time>), makes the schema of our first
    migration, copies every row into it, compares counts and checksums, and stamps the revision; all in one
    transaction. Times without a zone become moments of I(timezone).
  - C(returned) drops ours and puts the old tables back, with the rows that were written meanwhile. It is refused as
    soon as a deployment has worked with the database.
  - Tables and columns of others stay. Rows of the history that are under way are closed as C(aborted).
author: Caelum
extends_documentation_fragment: [caelum_database]
attributes:
  check_mode:
    support: full
    description: Says whether it would change something, and refuses what it would refuse.
  diff_mode:
    support: full
    description: The schema's revision and the tables before and after.
options:
  state:
    description: What is to be.
    choices: [report, dumped, taken, returned]
    default: report
  migrations:
    description: Folder of the migrations, of which the first is run.
    type: path
    required: true
  timezone:
    description: Zone of their times, as in C(America/New_York). C(taken) needs it; the report else shows the server's.
    type: str
    default: ""
  inventory:
    description: Inventory that rows of the history count for.
    type: str
    required: true
  words:
    description:
      - What words of theirs mean, for C(service_health.status), C(deployment_history.status) and
        C(deployment_history.action). The word C(null) stands for none.
    type: dict
    default: {}
  backups:
    description: Folder for the dump, which C(dumped) needs.
    type: path
  pg_dump:
    description: Programs that dump, of which the first is taken that is not older than the server; patterns are known.
    type: list
    elements: str
    default: ["/usr/lib/postgresql/*/bin/pg_dump", "/usr/bin/pg_dump"]
"""

EXAMPLES = r"""
- name: Look at the database
  caelum_adopt_database:
    database: "{{ admin }}"
    migrations: "{{ caelum_checkout }}/services/pim/src/pim/migrations/versions"
    inventory: production

- name: Take it over
  caelum_adopt_database:
    state: taken
    database: "{{ admin }}"
    migrations: "{{ caelum_checkout }}/services/pim/src/pim/migrations/versions"
    inventory: production
    timezone: America/New_York
    words:
      deployment_history.status: {live: success}
"""

RETURN = r"""
report:
  description: What the database holds, and in C(problems) what keeps it from being taken over.
  returned: with state C(report) and C(taken)
  type: dict
  sample: {server: "15.8", revision: null, problems: []}
dump:
  description: The dump's path, bytes and tables.
  returned: with state C(dumped)
  type: dict
  sample: {path: /srv/caelum/ss/backups/pim_database-adopt-20250602T080000Z.dump, bytes: 18211}
adoption:
  description: Schema that keeps the old tables, rows and checksums of each table, ids of rows closed as aborted.
  returned: with state C(taken) and C(returned), where something changed
  type: dict
  sample: {schema: adopted_20250602080000, aborted: [7]}
"""

PROGRAMS = ["/usr/lib/postgresql/*/bin/pg_dump", "/usr/bin/pg_dump"]
SPEC: dict[str, Any] = {
    "state": {"choices": ["report", "dumped", "taken", "returned"], "default": "report"},
    "database": database_argument(),
    "migrations": {"type": "path", "required": True},
    "timezone": {"type": "str", "default": ""},
    "inventory": {"type": "str", "required": True},
    "words": {"type": "dict", "default": {}},
    "backups": {"type": "path"},
    "pg_dump": {"type": "list", "elements": "str", "default": PROGRAMS},
}
UNCHANGED: dict[str, Any] = {"changed": False}


def reported(params: dict[str, Any], migration: Migration) -> dict[str, Any]:
    """The report; it needs a database that answers."""
    with transaction(params["database"]) as cursor:
        found = observe.look(cursor)
        if params["timezone"]:
            observe.check_zone(cursor, params["timezone"])
        return {"changed": False, "report": as_report(cursor, found, params, migration)}


def as_report(cursor: Any, found: observe.Found, params: dict[str, Any], migration: Migration) -> dict[str, Any]:
    """What was found, as values for the report's lines."""
    reading = reading_of(params, params["timezone"] or found.zone)
    theirs = found.revision is None
    return {
        **{"server": found.server, "server_zone": found.zone, "zone": reading.zone, "stated": bool(params["timezone"])},
        **{"revision": found.revision, "adopted": found.adopted, "users": found.users},
        "tables": [
            {"name": table.name, "rows": table.rows, "types": dict(table.types), "extra": table.extra}
            for table in found.tables.values()
        ],
        "times": observe.times(cursor, found, reading.zone) if theirs else [],
        "open": observe.open_rows(cursor, found, reading) if theirs else [],
        "problems": observe.problems(cursor, found, reading, database.relations(migration)) if theirs else [],
    }


def reading_of(params: dict[str, Any], zone: str) -> Reading:
    """How their values are read."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Reading(zone, with_words(params["words"]), params["inventory"], now)


def dumped(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Dump, unless this is a check or nothing is left to take over."""
    if not params["backups"]:
        raise Refused("no folder for the dump is given; pass `backups`")
    with transaction(params["database"]) as cursor:
        found = observe.look(cursor)
    if found.revision is not None or not found.tables:
        return UNCHANGED
    program = migrations.dump_program(params["pg_dump"], int(found.server.partition(".")[0]))
    if check:
        return {"changed": True}
    name = f"{params['database']['dbname']}-adopt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump"
    return {"changed": True, "dump": dump.make_dump(program, params["database"], Path(params["backups"], name))}


def taken(params: dict[str, Any], migration: Migration, check: bool) -> dict[str, Any]:
    """Take the tables over; nothing is done where it has been done, or where there are none."""
    zone = params["timezone"]
    with transaction(params["database"]) as cursor:
        found = observe.look(cursor)
        if zone:
            observe.check_zone(cursor, zone)
        if found.revision is not None:
            refuse_foreign(found.revision)
            return UNCHANGED
        if not found.tables:
            return UNCHANGED
        if not zone:
            raise Refused(
                f"no zone is stated for times without one, which may be {found.zone}, the server's; "
                f"state it with `-e adopt_timezone={found.zone}` once you know"
            )
        reading = reading_of(params, zone)
        problems = [
            *observe.rights(cursor, params["database"]),
            *observe.problems(cursor, found, reading, database.relations(migration)),
        ]
        if problems:
            raise Refused(f"the database cannot be taken over as it is: {'; '.join(problems)}")
        report = as_report(cursor, found, params, migration)
        adoption = {} if check else database.adopt(cursor, found, migration, reading)
    return {"changed": True, "report": report, "adoption": adoption, "diff": diff_of(found, migration.revision)}


def refuse_foreign(revision: str) -> None:
    """Refused when Alembic's table is there, and no migration of ours."""
    if not revision:
        raise Refused("the database has a table alembic_version without a row, which is not ours; rename it")


def returned(params: dict[str, Any], migration: Migration, check: bool) -> dict[str, Any]:
    """Give the tables back; nothing is done where nothing was taken over."""
    with transaction(params["database"]) as cursor:
        found = observe.look(cursor)
        if not found.adopted:
            return UNCHANGED
        if check:
            giveback.refuse_after_a_deployment(cursor, found, migration)
            return {"changed": True}
        return {"changed": True, "adoption": giveback.give_back(cursor, found, migration)}


def diff_of(found: observe.Found, revision: str) -> dict[str, str]:
    """Revision and tables before and after."""
    lines = [f"{table.name}: {table.rows} rows" for table in found.tables.values()]
    return {
        "before": "".join(f"{line}\n" for line in ("revision: none", *lines)),
        "after": "".join(f"{line}\n" for line in (f"revision: {revision}", *lines, "times: with their zone")),
    }


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params, check = module.params, module.check_mode
    try:
        migration = first_migration(Path(params["migrations"]))
        result = {
            "report": lambda: reported(params, migration),
            "dumped": lambda: dumped(params, check),
            "taken": lambda: taken(params, migration, check),
            "returned": lambda: returned(params, migration, check),
        }[params["state"]]()
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
