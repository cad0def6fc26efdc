#!/usr/bin/python
"""Ansible module: the rows of `deployment_history`."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.database import controllers, deployments
from ansible.module_utils.caelum.database.connection import database_argument, transaction
from ansible.module_utils.caelum.database.journal import Journal, Write
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_deployment
short_description: Open, step and close a recorded deployment
description:
  - A row of C(deployment_history) per component says who changes what, and an open row is the lock.
  - Opening takes all rows of a service in one transaction, or none, and a fencing token with them. Only who holds
    the token can write to the rows, and only while they are open.
  - With I(after_change=true), a write that finds the database away is kept in I(journal) on this host. The next call
    that reaches the database replays the kept writes first, in order and each once.
author: Caelum
extends_documentation_fragment: caelum_database
attributes:
  check_mode:
    support: full
    description: Says what would be written, and refuses what would be refused.
options:
  state:
    description:
      - C(opened) opens a row per component; C(step) adds an event; C(closed) ends the rows with I(status).
      - C(aborted) closes whatever is open of the service, whoever holds it; it needs no token.
      - C(last) changes nothing and returns the last successful version of each component.
    choices: [opened, step, closed, aborted, last]
    required: true
  service:
    description: Service that is deployed. Needed by C(opened), C(aborted) and C(last).
    type: str
  inventory:
    description: Inventory that it is deployed to.
    type: str
    default: local
  version:
    description: Version that is deployed. Needed by C(opened).
    type: str
  components:
    description: Components that change. Needed by C(opened); for C(aborted), none means all.
    type: list
    elements: dict
    default: []
    suboptions:
      component:
        description: Name of the component.
        type: str
        required: true
      host:
        description: Host that it changes on.
        type: str
  action:
    description: Kind of change.
    choices: [deploy, rollback, test, promote, canary, abort]
    default: deploy
  environment:
    description: The inventory's environment, such as C(dev), C(test) or C(prod).
    type: str
    default: dev
  requested_by:
    description: Who asked for it; a second deployment is told this name.
    type: str
    default: unknown
  controller_pid:
    description:
      - Process number of C(ansible-playbook) on this host, for C(opened). Rows that an earlier run on this host left
        open are then closed as aborted first, if its process is gone. Left out, nothing is taken over.
    type: int
  git_commit:
    description: Commit that the version was built from.
    type: str
  ids:
    description: Rows to write to, as C(opened) returned them. Needed by C(step) and C(closed).
    type: list
    elements: int
    default: []
  fencing_token:
    description: Token that C(opened) returned. Needed by C(step) and C(closed).
    type: int
  event:
    description: Name of the step, at most 40 characters. Needed by C(step).
    type: str
  host:
    description: Host that the step happened on.
    type: str
  detail:
    description: What else is known about the step; no secrets.
    type: dict
    default: {}
  status:
    description: How the deployment ended. Needed by C(closed).
    choices: [success, failed, aborted, rolled_back, inconclusive]
  logs:
    description: Text that explains the outcome.
    type: str
  evidence:
    description: Figures that the outcome rests on.
    type: dict
  journal:
    description: Folder on this host for writes that could not reach the database.
    type: path
  after_change:
    description: Something has been changed already, so the write must not be lost; needs I(journal).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Open the deployment, which is the lock
  caelum_deployment:
    state: opened
    database: "{{ caelum_database_login }}"
    journal: /var/lib/caelum/journal
    service: fincoll
    version: v1.1.0
    requested_by: jane
    components:
      - {component: fincoll, host: 10.32.3.44}
  register: deployment

- name: Close it
  caelum_deployment:
    state: closed
    database: "{{ caelum_database_login }}"
    journal: /var/lib/caelum/journal
    ids: "{{ deployment.ids }}"
    fencing_token: "{{ deployment.fencing_token }}"
    status: success
    after_change: true
"""

RETURN = r"""
ids:
  description: Rows that were opened, written to or aborted.
  returned: always, except for C(last)
  type: list
  elements: int
  sample: [12, 13]
fencing_token:
  description: Key to the rows.
  returned: for C(opened), outside check mode
  type: int
  sample: 7
taken_over:
  description: Rows of a controller that is gone, closed as aborted before the opening.
  returned: for C(opened)
  type: list
  elements: int
  sample: [11]
journaled:
  description: Whether the write waits in the journal, since the database was away.
  returned: for C(step) and C(closed)
  type: bool
versions:
  description: Last successful version per component.
  returned: for C(last)
  type: dict
  sample:
    fincoll: {id: 9, version: v1.0.0, host: 10.32.3.44, git_commit: 1f3c, completed_at: "2025-06-02T08:00:00+00:00"}
"""

SPEC: dict[str, Any] = {
    "database": database_argument(),
    "state": {"choices": ["opened", "step", "closed", "aborted", "last"], "required": True},
    "service": {"type": "str"},
    "inventory": {"type": "str", "default": "local"},
    "version": {"type": "str"},
    "components": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"component": {"type": "str", "required": True}, "host": {"type": "str"}},
    },
    "action": {"choices": ["deploy", "rollback", "test", "promote", "canary", "abort"], "default": "deploy"},
    "environment": {"type": "str", "default": "dev"},
    "requested_by": {"type": "str", "default": "unknown"},
    "controller_pid": {"type": "int"},
    "git_commit": {"type": "str"},
    "ids": {"type": "list", "elements": "int", "default": []},
    "fencing_token": {"type": "int", "no_log": False},
    "event": {"type": "str"},
    "host": {"type": "str"},
    "detail": {"type": "dict", "default": {}},
    "status": {"choices": ["success", "failed", "aborted", "rolled_back", "inconclusive"]},
    "logs": {"type": "str"},
    "evidence": {"type": "dict"},
    "journal": {"type": "path"},
    "after_change": {"type": "bool", "default": False},
}

NEEDED = [
    ("state", "opened", ["service", "version", "components"]),
    ("state", "step", ["ids", "fencing_token", "event"]),
    ("state", "closed", ["ids", "fencing_token", "status"]),
    ("state", "aborted", ["service"]),
    ("state", "last", ["service"]),
    ("after_change", True, ["journal"]),
]


def opened(params: dict[str, Any], journal: Journal | None, check: bool) -> dict[str, Any]:
    """Open the rows; in check mode only see whether nobody holds them."""
    if not params["components"]:
        raise Refused(f"no component of {params['service']} is named; pass those that change as `components`")
    controller = None if params["controller_pid"] is None else controllers.identity(params["controller_pid"])
    if check:
        return {"changed": True, "ids": [], "taken_over": rehearsed(params, takes_over=controller is not None)}
    warnings = deployments.replay(params["database"], journal)
    request = deployments.Request(
        service=params["service"],
        version=params["version"],
        action=params["action"],
        inventory=params["inventory"],
        environment=params["environment"],
        requested_by=params["requested_by"],
        git_commit=params["git_commit"],
        components=tuple((item["component"], item["host"]) for item in params["components"]),
        controller=controller,
    )
    with transaction(params["database"]) as cursor:
        taken = {}
        if controller:
            taken = deployments.take_over(cursor, request.service, request.inventory, request.requested_by)
        ids, token = deployments.open_rows(cursor, request)
    return {
        "changed": True,
        "ids": ids,
        "fencing_token": token,
        "taken_over": list(taken),
        "warnings": [*warnings, *taken.values()],
    }


def rehearsed(params: dict[str, Any], *, takes_over: bool) -> list[int]:
    """The ids of the rows that opening would take over; Refused where a living run holds one."""
    service, inventory, by = params["service"], params["inventory"], params["requested_by"]
    with transaction(params["database"]) as cursor:
        taken = deployments.take_over(cursor, service, inventory, by) if takes_over else {}
        holder = deployments.holder_of(cursor, service, inventory, named(params))
        cursor.connection.rollback()
    if holder:
        raise deployments.refusal(service, inventory, holder)
    return list(taken)


def named(params: dict[str, Any]) -> list[str]:
    """The components' names."""
    return [item["component"] for item in params["components"]]


def written(params: dict[str, Any], journal: Journal | None, check: bool) -> dict[str, Any]:
    """Add a step or close the rows."""
    if check:
        return {"changed": True, "ids": params["ids"], "journaled": False}
    closing = params["state"] == "closed"
    write = Write(
        write_id=str(uuid.uuid4()),
        at=deployments.stamp(),
        ids=tuple(sorted(params["ids"])),
        fencing_token=params["fencing_token"],
        event="closed" if closing else params["event"],
        host=params["host"],
        detail={"status": params["status"]} if closing else params["detail"],
        status=params["status"] if closing else None,
        logs=params["logs"],
        evidence=params["evidence"],
    )
    outcome = deployments.send(params["database"], journal, write, after_change=params["after_change"])
    return {
        "changed": outcome.changed,
        "journaled": outcome.journaled,
        "ids": params["ids"],
        "warnings": list(outcome.warnings),
    }


def aborted(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Close whatever is open of the service."""
    service, inventory, by = params["service"], params["inventory"], params["requested_by"]
    with transaction(params["database"]) as cursor:
        ids = deployments.abort_rows(cursor, service, inventory, named(params), by)
        if check:
            cursor.connection.rollback()
    return {"changed": bool(ids), "ids": ids}


def last(params: dict[str, Any]) -> dict[str, Any]:
    """The last successful versions."""
    with transaction(params["database"]) as cursor:
        versions = deployments.last_versions(cursor, params["service"], params["inventory"])
    return {"changed": False, "versions": versions}


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, required_if=NEEDED, supports_check_mode=True)
    params = module.params
    journal = Journal(Path(params["journal"])) if params["journal"] else None
    try:
        if params["state"] == "opened":
            result = opened(params, journal, module.check_mode)
        elif params["state"] == "aborted":
            result = aborted(params, module.check_mode)
        elif params["state"] == "last":
            result = last(params)
        else:
            result = written(params, journal, module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
