#!/usr/bin/python
"""Ansible module: the kill switch of FinColl on one host."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum import halt
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.halt import Answer, Halt

DOCUMENTATION = r"""
module: caelum_halt
short_description: Stop every FinColl of a host from predicting, and let it predict again
description:
  - Puts the file C(var/lib/caelum/fincoll/halted.json) under I(prefix), or takes it away. While it is there FinColl
    answers every route but C(/health), C(/ready), C(/version) and C(/metrics) with status 503, also after a restart.
  - Then asks every FinColl that is deployed on this host, whatever its slot, until it answers as it should. They are
    found by their settings in C(etc/caelum).
  - Needs neither PIM nor database. Who halted first, and why, stays until it is resumed.
  - An instance that does not answer is warned about and is no failure, since it looks for the file before its next
    answer.
author: Caelum
attributes:
  check_mode:
    support: full
    description: Says whether the file would come or go; no instance is asked.
  diff_mode:
    support: full
    description: The file before and after.
options:
  state:
    description: Whether FinColl is to be C(halted) or C(resumed).
    choices: [halted, resumed]
    required: true
  prefix:
    description: Folder that the deployment lives under.
    type: path
    required: true
  by:
    description: Who halts; every refused question is told this name. Needed by C(halted).
    type: str
  reason:
    description: Why, in one line; every refused question is told it. Needed by C(halted).
    type: str
  host:
    description: Name of this host in what the module says.
    type: str
    default: this host
  timeout:
    description: Seconds from the start of the module that instances have to answer as they should.
    type: float
    default: 2
"""

EXAMPLES = r"""
- name: Halt FinColl
  caelum_halt:
    state: halted
    prefix: /
    by: jane
    reason: predictions are off since the split of AAPL
    host: "{{ inventory_hostname }}"

- name: Let it predict again
  caelum_halt:
    state: resumed
    prefix: /
"""

RETURN = r"""
halted:
  description: The halt in force afterwards; null when there is none.
  returned: always, save where the file could not be reached
  type: dict
  sample: {by: jane, at: "2025-06-02T08:00:00Z", reason: predictions are off since the split of AAPL}
before:
  description: The halt that was in force before.
  returned: always, save where the file could not be reached
  type: dict
  sample: null
instances:
  description:
    - What each instance last answered. I(state) is C(halted), C(serving), C(silent) when nothing came in time, or
      C(down) when nobody listens.
  returned: always, save where they could not be asked
  type: list
  elements: dict
  sample: [{name: fincoll@stable, state: halted, detail: "http://127.0.0.1:8001/models answers 503"}]
caelum_report:
  description: The outcome in a line, for the end of the run's output.
  returned: on success
  type: list
  elements: str
  sample: ["fin-44: FinColl is halted since 2025-06-02T08:00:00Z by jane: predictions are off since the split of AAPL"]
"""

SPEC: dict[str, Any] = {
    "state": {"choices": ["halted", "resumed"], "required": True},
    "prefix": {"type": "path", "required": True},
    "by": {"type": "str"},
    "reason": {"type": "str"},
    "host": {"type": "str", "default": "this host"},
    "timeout": {"type": "float", "default": 2},
}

# What an instance is to say, and what is said of one that says something else.
WANTED = {
    "halted": ("halted", "predicts on after {timeout:g} s: {detail}; a release older than halt.yml knows no halt: stop "
               "it with `{stop}`"),
    "resumed": ("serving", "is still halted after {timeout:g} s: {detail}; read its log: {log}"),
}  # fmt: skip


def one_line(text: str | None, option: str) -> str:
    """`text` without line ends; Refused when nothing is left."""
    line = " ".join((text or "").split())
    if not line:
        raise Refused(f"`{option}` is empty; FinColl tells it to everybody whom it refuses, so say it in a line")
    return line


def wanted(params: dict[str, Any], before: Halt | None) -> Halt | None:
    """The halt that is to be in force; the first one stays."""
    if params["state"] == "resumed":
        return None
    return before or Halt(one_line(params["by"], "by"), halt.now(), one_line(params["reason"], "reason"))


def said(host: str, before: Halt | None, after: Halt | None, check: bool) -> str:
    """The outcome in a line."""
    if before == after:
        return f"{host}: FinColl was halted already, {after.line}" if after else f"{host}: FinColl was not halted"
    verb = "would be" if check else "is"
    return f"{host}: FinColl {verb} halted {after.line}" if after else f"{host}: FinColl {verb} resumed"


def diff(path: Path, before: Halt | None, after: Halt | None) -> dict[str, str]:
    """The file before and after."""
    return {
        "before_header": str(path),
        "after_header": str(path),
        "before": f"{before.line}\n" if before else "",
        "after": f"{after.line}\n" if after else "",
    }


def complaints(answers: list[Answer], params: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What is wrong, and what is only worth knowing: instances that say the contrary, and those that say nothing."""
    state, words = WANTED[params["state"]]
    wrong, silent = [], []
    for answer in answers:
        whom = f"{answer.name} on {params['host']}"
        if answer.state in {"silent", "down"}:
            then = "is halted when it starts" if answer.state == "down" else "is halted when it answers again"
            silent.append(f"{whom} does not answer: {answer.detail}" + (f"; it {then}" if state == "halted" else ""))
        elif answer.state != state:
            remedies = _remedies(answer.name, params)
            wrong.append(f"{whom} {words.format(timeout=params['timeout'], detail=answer.detail, **remedies)}")
    return wrong, silent


def _remedies(name: str, params: dict[str, Any]) -> dict[str, str]:
    """What to type about an instance, on its host where systemd runs it: there the whole system is the prefix."""
    if Path(params["prefix"]) == Path("/"):
        return {"log": f"journalctl -u {name}", "stop": f"systemctl stop {name}"}
    return {"log": "make logs COMPONENT=fincoll", "stop": "make down"}


def main() -> None:
    """Runs the module."""
    began = time.monotonic()
    module = AnsibleModule(
        argument_spec=SPEC, required_if=[("state", "halted", ["by", "reason"])], supports_check_mode=True
    )
    params, check = module.params, module.check_mode
    result: dict[str, Any] = {"changed": False}
    try:
        path = halt.flag(Path(params["prefix"]))
        before = halt.read(path)
        after = wanted(params, before)
        if after != before and not check:
            halt.write(path, after) if after else halt.remove(path)
        result = {
            "changed": after != before,
            "before": asdict(before) if before else None,
            "halted": asdict(after) if after else None,
            "diff": diff(path, before, after),
        }
        listed = [] if check else halt.instances(Path(params["prefix"]))
        answers = halt.watch(listed, WANTED[params["state"]][0], began + params["timeout"])
    except Refused as refusal:
        module.fail_json(msg=str(refusal), **result)
    result["instances"] = [asdict(answer) for answer in answers]
    wrong, silent = complaints(answers, params)
    for line in silent:
        module.warn(line)
    if wrong:
        module.fail_json(msg="; ".join([*wrong, *silent]), **result)
    module.exit_json(**result, caelum_report=[said(params["host"], before, after, check)])


if __name__ == "__main__":
    main()
