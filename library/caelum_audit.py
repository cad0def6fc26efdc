#!/usr/bin/python
"""Ansible module: a line of the audit log."""

from __future__ import annotations

import uuid
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.database import writes
from ansible.module_utils.caelum.database.connection import database_argument
from ansible.module_utils.caelum.database.entries import Audit
from ansible.module_utils.caelum.database.events import stamp
from ansible.module_utils.caelum.database.states import journal_of
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_audit
short_description: Append to the audit log
description:
  - Says in C(audit_log) who did what to what. The log can be added to and read, and nothing in it can be changed.
  - With I(journal), a line that finds the database away is kept there, and the next call of M(caelum_audit) or
    M(caelum_deployment) that reaches the database brings it in, in order and once.
author: Caelum
extends_documentation_fragment: caelum_database
attributes:
  check_mode:
    support: full
    description: Says that it would add the line, and adds none.
options:
  actor:
    description: Who did it, at most 100 characters.
    type: str
    required: true
  action:
    description: What was done, at most 50 characters, such as C(halt).
    type: str
    required: true
  target:
    description: What it was done to, at most 200 characters.
    type: str
    required: true
  detail:
    description: What else is known about it; no secrets.
    type: dict
    default: {}
  journal:
    description: Folder on this host for lines that could not reach the database. Left out, such a line fails the task.
    type: path
"""

EXAMPLES = r"""
- name: Record the halt
  caelum_audit:
    database: "{{ caelum_database_login }}"
    journal: /var/lib/caelum/journal
    actor: jane
    action: halt
    target: fincoll
    detail: {reason: wrong prices since 10:00}
"""

RETURN = r"""
journaled:
  description: Whether the line waits in the journal, since the database was away.
  returned: always
  type: bool
  sample: false
"""

SPEC: dict[str, Any] = {
    "database": database_argument(),
    "actor": {"type": "str", "required": True},
    "action": {"type": "str", "required": True},
    "target": {"type": "str", "required": True},
    "detail": {"type": "dict", "default": {}},
    "journal": {"type": "path"},
}
LONGEST = {"actor": 100, "action": 50, "target": 200}


def append(params: dict[str, Any]) -> writes.Written:
    """Add the line, or keep it until the database is back."""
    for option, longest in LONGEST.items():
        # Seen now: a journal would take what the database then refuses.
        if not 1 <= len(params[option]) <= longest:
            raise Refused(
                f"{option} has {len(params[option])} characters, and must have 1 to {longest}; put the rest in `detail`"
            )
    told = {name: params[name] for name in ("actor", "action", "target", "detail")}
    entry = Audit(write_id=str(uuid.uuid4()), at=stamp(), **told)
    return writes.send(params["database"], journal_of(params), entry, after_change=True)


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=True, journaled=False)
    try:
        outcome = append(module.params)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(changed=outcome.changed, journaled=outcome.journaled)


if __name__ == "__main__":
    main()
