#!/usr/bin/python
"""Ansible module: the rows of `deployment_history`."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.database.connection import database_argument
from ansible.module_utils.caelum.database.lease import DEFAULT_S
from ansible.module_utils.caelum.database.states import STATES
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_deployment
short_description: Open, step and close a recorded deployment, and read the history
description:
  - A row of C(deployment_history) per component says who changes what, and an open row is the lock.
  - Opening takes all rows of a service in one transaction, or none, and a fencing token with them. Only who holds
    the token can write to the rows, and only while they are open.
  - With I(after_change=true), a write that finds the database away is kept in I(journal) on this host. The next call
    that reaches the database replays the kept writes first, in order and each once.
  - Open rows live by a lease. The callback C(caelum_lease) prolongs it while C(ansible-playbook) runs; once it is
    over, C(caelum-reaper) returns the hosts to the last good release and closes the rows.
author: Caelum
extends_documentation_fragment: caelum_database
attributes:
  check_mode:
    support: full
    description: Says what would be written, and refuses what would be refused.
options:
  state:
    description:
      - C(opened) opens a row per component; C(step) adds an event; C(closed) ends the rows with I(status). Where
        C(caelum-reaper) is at work on a row that stands in the way, C(opened) waits up to a minute for it.
      - C(recorded) writes down a deployment that is over, a complete row per component. When the database is away
        it goes to I(journal).
      - C(aborted) closes whatever is open of the service, or of all without I(service), whoever holds it; it needs
        no token, and returns a fresh one with which hosts can be taken back.
      - C(last) changes nothing and returns the last successful version of each component.
      - C(history) changes nothing and returns the last I(limit) rows, of all services or of I(service).
      - C(idle) replays I(journal), then refuses when somebody deploys any of I(services), naming who. Where the
        database cannot be asked it says so and refuses nothing.
    choices: [opened, step, closed, recorded, aborted, last, history, idle]
    required: true
  service:
    description: Service that is deployed. Needed by C(opened), C(recorded) and C(last).
    type: str
  services:
    description: Services that C(idle) looks at.
    type: list
    elements: str
    default: []
  inventory:
    description: Inventory that it is deployed to.
    type: str
    default: local
  version:
    description: Version that is deployed. Needed by C(opened) and C(recorded).
    type: str
  components:
    description: Components that change. Needed by C(opened) and C(recorded); for C(aborted), none means all.
    type: list
    elements: dict
    default: []
    suboptions:
      component:
        description: Name of the component.
        type: str
        required: true
      host:
        description: Host that it changes on, or their list.
        type: str
      version:
        description: Version of the component, where it is not I(version).
        type: str
      git_commit:
        description: Commit that this version was built from.
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
  lease:
    description: Seconds that the rows of C(opened) stay this run's after each heartbeat; at least 1.
    type: int
    default: 30
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
  hosts:
    description:
      - All hosts that the rows of C(opened) concern, name to address. A component has one row, however many they are,
        and who finds it left open tells from this which hosts may stand half way.
    type: dict
    default: {}
  events:
    description: What happened on single hosts, written as events of the rows together with C(closed).
    type: list
    elements: dict
    default: []
    suboptions:
      event:
        description: Name of it, at most 40 characters.
        type: str
        required: true
      host:
        description: Host that it happened on.
        type: str
        required: true
      detail:
        description: What else is known about it; no secrets.
        type: dict
        default: {}
  verified:
    description:
      - Fencing tokens of deployments that all their hosts have committed, for C(aborted). Such a row is closed as a
        success, which it is, in place of C(aborted).
    type: list
    elements: int
    default: []
  brought:
    description:
      - Hosts that have the release which a deployment brought, by the fencing token that this was opened with, for
        C(aborted). Rows of it that were closed as C(aborted) are made a success where all its hosts have it.
    type: dict
    default: {}
  detail:
    description: What else is known about the step; no secrets.
    type: dict
    default: {}
  status:
    description: How the deployment ended. Needed by C(closed) and C(recorded).
    choices: [success, failed, aborted, rolled_back, inconclusive]
  started_at:
    description: When it began, for C(recorded), in ISO 8601; UTC without a zone. By default I(completed_at).
    type: str
  completed_at:
    description: When it ended, for C(recorded). By default now.
    type: str
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
  limit:
    description: How many rows C(history) returns at most.
    type: int
    default: 20
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

- name: Write down what was done while the database was away
  caelum_deployment:
    state: recorded
    database: "{{ caelum_database_login }}"
    journal: /var/lib/caelum/journal
    service: fincoll
    version: v1.0.0
    action: rollback
    status: success
    started_at: "{{ rollback_began }}"
    components:
      - {component: fincoll, host: 10.32.3.44}

- name: Read the last deployments
  caelum_deployment:
    state: history
    database: "{{ caelum_database_login }}"
    limit: 10
  register: last_deployments
"""

RETURN = r"""
reachable:
  description: Whether the database could be asked.
  returned: for C(idle), and for C(opened) in check mode
  type: bool
  sample: true
ids:
  description: Rows that were opened, written to or aborted; none for C(recorded) when it was journalled.
  returned: always, except for C(last) and C(history)
  type: list
  elements: int
  sample: [12, 13]
fencing_token:
  description: Key to the rows; for C(aborted) a fresh one, also when nothing was open.
  returned: for C(opened) and C(aborted), outside check mode
  type: int
  sample: 7
lease:
  description: Seconds that the rows are held after each heartbeat.
  returned: for C(opened), outside check mode
  type: int
  sample: 30
undone:
  description: Tokens of what stays aborted; hosts that have what it brought are to return.
  returned: for C(aborted)
  type: list
  elements: int
  sample: [7]
rows:
  description: The rows that were aborted, and those that turned out to be a success.
  returned: for C(aborted)
  type: list
  elements: dict
  sample:
    - {id: 12, service: fincoll, component: fincoll, host: 10.32.3.44, version: v1.1.0, status: aborted}
taken_over:
  description: Rows of a controller that is gone, closed as aborted before the opening.
  returned: for C(opened)
  type: list
  elements: int
  sample: [11]
journaled:
  description: Whether the write waits in the journal, since the database was away.
  returned: for C(step), C(closed) and C(recorded)
  type: bool
versions:
  description: Last successful version per component.
  returned: for C(last)
  type: dict
  sample:
    fincoll: {id: 9, version: v1.0.0, host: 10.32.3.44, git_commit: 1f3c, completed_at: "2025-06-02T08:00:00+00:00"}
history:
  description: The last rows, the newest first; I(completed_at) and I(took_s) (seconds) are null while one is open.
  returned: for C(history)
  type: list
  elements: dict
  sample:
    - {id: 12, service: fincoll, component: fincoll, host: 10.32.3.44, version: v1.1.0, action: deploy,
       status: success, started_at: "2025-06-02T08:00:00+00:00", completed_at: "2025-06-02T08:00:09+00:00",
       took_s: 9.0, requested_by: jane, git_commit: 1f3c, logs: nothing to change}
"""

EVENT = {
    "event": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "detail": {"type": "dict", "default": {}},
}
SPEC: dict[str, Any] = {
    "database": database_argument(),
    "state": {
        "choices": ["opened", "step", "closed", "recorded", "aborted", "last", "history", "idle"],
        "required": True,
    },
    "service": {"type": "str"},
    "services": {"type": "list", "elements": "str", "default": []},
    "inventory": {"type": "str", "default": "local"},
    "version": {"type": "str"},
    "components": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "component": {"type": "str", "required": True},
            "host": {"type": "str"},
            "version": {"type": "str"},
            "git_commit": {"type": "str"},
        },
    },
    "action": {"choices": ["deploy", "rollback", "test", "promote", "canary", "abort"], "default": "deploy"},
    "environment": {"type": "str", "default": "dev"},
    "requested_by": {"type": "str", "default": "unknown"},
    "controller_pid": {"type": "int"},
    "lease": {"type": "int", "default": DEFAULT_S},
    "git_commit": {"type": "str"},
    "ids": {"type": "list", "elements": "int", "default": []},
    "fencing_token": {"type": "int", "no_log": False},
    "event": {"type": "str"},
    "host": {"type": "str"},
    "hosts": {"type": "dict", "default": {}},
    "events": {"type": "list", "elements": "dict", "default": [], "options": EVENT},
    "verified": {"type": "list", "elements": "int", "default": [], "no_log": False},
    "brought": {"type": "dict", "default": {}},
    "detail": {"type": "dict", "default": {}},
    "status": {"choices": ["success", "failed", "aborted", "rolled_back", "inconclusive"]},
    "started_at": {"type": "str"},
    "completed_at": {"type": "str"},
    "logs": {"type": "str"},
    "evidence": {"type": "dict"},
    "journal": {"type": "path"},
    "after_change": {"type": "bool", "default": False},
    "limit": {"type": "int", "default": 20},
}

NEEDED = [
    ("state", "opened", ["service", "version", "components"]),
    ("state", "step", ["ids", "fencing_token", "event"]),
    ("state", "closed", ["ids", "fencing_token", "status"]),
    ("state", "recorded", ["service", "version", "components", "status"]),
    ("state", "last", ["service"]),
    ("after_change", True, ["journal"]),
]


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, required_if=NEEDED, supports_check_mode=True)
    try:
        result = STATES[module.params["state"]](module.params, module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
