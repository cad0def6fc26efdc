#!/usr/bin/python
"""Ansible module: takes over the processes of the services that a host already runs, and gives them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.adopt import stopping, takeover
from ansible.module_utils.caelum.adopt.records import Records
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_adopt
short_description: Take over the services that a host runs by hand, in systemd, PM2 or Docker
description:
  - C(report) tells which processes listen on the ports of the services, who keeps them running, and what taking them
    over would do. It changes nothing.
  - C(taken) notes in C(var/lib/caelum/adopted) under I(prefix) how each is run, then stops it together with what
    would start it again. Unit files are put aside there, since a deployment writes files of the same names.
  - C(returned) starts all that was noted again, and forgets it.
  - Values of variables and arguments that could be secrets are neither noted nor returned. Processes of a deployment
    are left alone, and so are trainings.
  - Needs nothing but Python's standard library on the host.
author: Caelum
attributes:
  check_mode:
    support: full
    description: Tells the steps and takes none.
  diff_mode:
    support: none
options:
  state:
    description: What is to be.
    choices: [report, taken, returned]
    default: report
  ports:
    description: The services' ports, each with the name of its service.
    type: dict
    required: true
  prefix:
    description: Folder that the deployment lives under.
    type: path
    required: true
  share:
    description: Folder that all hosts share, for the report.
    type: path
  inventory:
    description: The fleet's inventory, whose deployment must be removed before services return; left out for another.
    type: str
    default: ""
  services:
    description: Services to take over or give back.
    type: list
    elements: str
    choices: [pim, fincoll, senvec, finvec]
    default: [pim, fincoll, senvec, finvec]
"""

EXAMPLES = r"""
- name: Look at what runs
  caelum_adopt:
    ports: {"5000": pim, "8001": fincoll}
    prefix: /
    share: /home/rford/caelum/ss

- name: Take it over
  caelum_adopt:
    state: taken
    ports: {"5000": pim, "8001": fincoll}
    prefix: /
"""

RETURN = r"""
processes:
  description: Processes on the ports, and trainings, with user, command line and supervisor.
  returned: with states C(report) and C(taken)
  type: list
  elements: dict
  sample:
    - {service: fincoll, ports: [8001], pid: 812, user: rford, command: python -m fincoll.server, kind: systemd,
       supervisor: systemd fincoll.service, since: "2025-06-02T08:00:00Z", version: v1.0.0, ours: false}
steps:
  description: What was done, or in a report and a check would be.
  returned: always
  type: list
  elements: str
  sample: ["fincoll: disable and stop unit fincoll.service, put /etc/systemd/system/fincoll.service aside"]
obstacles:
  description: What keeps the services from being taken over, a line each.
  returned: with state C(report)
  type: list
  elements: str
  sample: []
files:
  description: Credential files and checkpoints on the share with their modes.
  returned: with state C(report)
  type: list
  elements: dict
  sample: [{path: /home/rford/caelum/ss/.tradestation_token.json, kind: credentials, mode: "0600", open: false}]
adopted:
  description: Services that were taken over before.
  returned: always
  type: list
  elements: str
  sample: [fincoll]
"""

SPEC: dict[str, Any] = {
    "state": {"choices": ["report", "taken", "returned"], "default": "report"},
    "ports": {"type": "dict", "required": True},
    "prefix": {"type": "path", "required": True},
    "share": {"type": "path"},
    "inventory": {"type": "str", "default": ""},
    "services": {"type": "list", "elements": "str", "choices": list(takeover.ORDER), "default": list(takeover.ORDER)},
}


def report(params: dict[str, Any], plan: takeover.Plan) -> dict[str, Any]:
    """What there is and what would be done."""
    return {
        "changed": False,
        "processes": [process.as_row() for process in plan.found],
        "entries": {name: [stopping.as_row(entry) for entry in entries] for name, entries in plan.entries.items()},
        "steps": plan.steps,
        "obstacles": list(plan.obstacles),
        "files": takeover.files(Path(params["share"])) if params["share"] else [],
    }


def remedy(params: dict[str, Any], records: Records) -> str:
    """How a deployment is ended so that its forerunners can return, whose notes must outlive it."""
    if not params["inventory"]:
        return "stop the deployment with `make down`"
    return f"remove the deployment with `make clean INVENTORY={params['inventory']}`, which keeps {records.folder}"


def run(params: dict[str, Any], check: bool) -> tuple[dict[str, Any], list[str]]:
    """The module's result, and lines to warn with."""
    records = Records(Path(params["prefix"]))
    services = params["services"]
    ports = {int(port): str(service) for port, service in params["ports"].items()}
    if params["state"] == "returned":
        noted = [service for service in records.services() if service in services]
        steps, told = [f"{service}: start again" for service in noted], []
        if not check:
            steps, told = takeover.give_back(records, services, ports, remedy(params, records))
        return {"changed": bool(noted), "steps": steps, "adopted": records.services()}, told
    plan = takeover.plan(ports, services)
    result = report(params, plan)
    if params["state"] == "taken":
        steps = plan.steps if check else takeover.take(plan, records)
        result = {"changed": bool(steps), "processes": result["processes"], "steps": steps}
    return {**result, "adopted": records.services()}, []


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        result, told = run(module.params, module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    for line in told:
        module.warn(line)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
