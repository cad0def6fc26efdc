#!/usr/bin/python
"""Ansible module: the gate that a change must pass, `/ready` several times in a row."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum import probes
from ansible.module_utils.caelum.database.connection import database_argument, transaction
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_health
short_description: Wait until instances can do their job
description:
  - Asks every instance at once, and passes when each was ready I(passes) times in a row within I(timeout) seconds.
  - Fails with one line that holds the reason from the instance's own problem document. An instance that gave up, with
    C(cannot start) as the last line of its log, or in the journal of its failed unit, fails at once with that line.
  - Changes nothing.
author: Caelum
extends_documentation_fragment: caelum_database.optional
attributes:
  check_mode:
    support: full
    description: Probes as always, and records nothing.
options:
  instances:
    description: Instances to ask.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the instance.
        type: str
        required: true
      url:
        description: Address without a path.
        type: str
        required: true
      path:
        description: Route to ask; ready means a status below 400.
        type: str
        default: /ready
      log:
        description: File that it writes its log to.
        type: path
      unit:
        description: Unit of systemd in whose journal its log is; then O(instances[].log) is not read.
        type: str
      expect_version:
        description: Version that must answer at C(/version); left out, any will do.
        type: str
      service:
        description: Name under which it is recorded; left out, the part of I(name) before the C(@).
        type: str
  passes:
    description: How often in a row an instance must be ready.
    type: int
    default: 3
  interval:
    description: Seconds between two questions.
    type: float
    default: 0.5
  timeout:
    description: Seconds in all. 0, with I(passes=1), asks once.
    type: float
    default: 30
  host:
    description: Name of this host in the failure line; left out, its own.
    type: str
  record:
    description: Whether what was seen is written to C(service_health); needs I(database).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Wait until FinColl can do its job
  caelum_health:
    instances:
      - name: fincoll@stable
        url: http://127.0.0.1:8001
        log: /var/log/caelum/fincoll@stable.log
        expect_version: v1.1.0

- name: Look once
  caelum_health:
    instances: [{name: fincoll@stable, url: "http://127.0.0.1:8001"}]
    passes: 1
    timeout: 0
"""

RETURN = r"""
instances:
  description: What each instance answered last.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Name of the instance., type: str, sample: fincoll@stable}
    version: {description: Version that answered., type: str, sample: v1.1.0}
    status: {description: C(healthy)\, C(degraded) when it answers that it isn't ready\, or C(down)., type: str}
    response_time_ms: {description: Milliseconds until the answer., type: int, sample: 4}
    detail: {description: Why it isn't ready\, and the remedy., type: str, sample: ""}
"""

SPEC: dict[str, Any] = {
    "database": database_argument(required=False),
    "instances": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "url": {"type": "str", "required": True},
            "path": {"type": "str", "default": "/ready"},
            "log": {"type": "path"},
            "unit": {"type": "str"},
            "expect_version": {"type": "str"},
            "service": {"type": "str"},
        },
    },
    "passes": {"type": "int", "default": 3},
    "interval": {"type": "float", "default": 0.5},
    "timeout": {"type": "float", "default": 30},
    "host": {"type": "str"},
    "record": {"type": "bool", "default": False},
}


def told(outcome: probes.Outcome) -> dict[str, Any]:
    """An outcome as the module returns it."""
    seen = asdict(outcome.seen)
    del seen["refused"]
    return seen


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, required_if=[("record", True, ["database"])], supports_check_mode=True)
    params = module.params
    host = params["host"] or platform.node()
    instances = [probes.Instance(**item, host=host) for item in params["instances"]]
    try:
        gate = probes.Gate(params["passes"], params["interval"], params["timeout"])
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    outcomes = probes.watch_all(instances, gate, host)
    if params["record"] and not module.check_mode:
        try:
            with transaction(params["database"]) as cursor:
                probes.record(cursor, instances, outcomes, host)
        except Refused as refusal:
            # What was seen counts; that it isn't written down is no reason to call a healthy service down.
            module.warn(f"not recorded in service_health: {refusal}")
    seen = [told(outcome) for outcome in outcomes]
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    if failures:
        module.fail_json(msg=" | ".join(failures), instances=seen)
    module.exit_json(changed=False, instances=seen)


if __name__ == "__main__":
    main()
