#!/usr/bin/python
"""Ansible module: model versions, their aliases, and the copies that a host serves from."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.database.connection import database_argument
from ansible.module_utils.caelum.database.model_states import STATES
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_model
short_description: Register, alias, serve and prune model versions
description:
  - C(champion) sees to it that the job has a champion. Without one it registers the newest checkpoint on the share, or
    runs I(train) when there is none. With I(serving_dir) it then brings verified copies of the champion and of
    C(previous) to this host.
  - C(served) brings copies of the models that there are, before a deployment is planned; no champion yet, or no
    database yet, is no error.
  - C(registered) adds a checkpoint to the models; C(aliased) lets an alias name a registered version, and a champion
    that gives way becomes C(previous); C(pruned) removes old checkpoint files, never those that an alias names.
  - Where database, share and host are one machine's, the module does all of that in one call. In a fleet the action
    plugin of C(champion) and C(served) has the controller ask the database (C(named), C(crowned)) and the host look at
    files (C(found), C(trained), C(copied)), so that a host needs neither psycopg2 nor a way to the database.
author: Caelum
extends_documentation_fragment: caelum_database.optional
attributes:
  check_mode:
    support: full
    description: Says what would change; a version that would be trained first is empty.
  diff_mode:
    support: full
    description: Shows aliases and files before and after.
options:
  state:
    description: What to bring about.
    choices: [champion, served, registered, aliased, pruned, named, crowned, found, trained, copied]
    default: champion
  job:
    description: Long name of the job.
    type: str
    required: true
  checkpoints:
    description:
      - Folder of the checkpoints on the share. Needed unless C(named) or C(crowned) ask the database alone.
      - C(aliased) on a machine that does not see the share goes without, and by what was registered.
    type: path
  serving_dir:
    description: Folder of this host's own copies.
    type: path
  version:
    description: Model version. Needed by C(aliased); for C(registered), left out, the newest.
    type: str
  alias:
    description: Alias to set. Needed by C(aliased).
    choices: [champion, challenger, previous]
  keep:
    description: How many of the newest versions C(pruned) leaves.
    type: int
    default: 5
  train:
    description: How to train a first model. Left out, a job without champion and checkpoint fails.
    type: dict
    suboptions:
      command:
        description: Command whose last line of output is a JSON object with C(manifest), a path in I(checkpoints).
        type: list
        elements: str
        required: true
      environment:
        description: Variables for it.
        type: dict
        default: {}
      unit:
        description:
          - The systemd unit to run it in, without its suffix. Needed by C(trained).
          - Left out, it runs as a process of the module.
        type: str
  missing_ok:
    description: With C(named), a database that cannot be asked has no models.
    type: bool
    default: false
  models:
    description: For C(copied), the aliases as C(named) returns them.
    type: dict
    default: {}
  checkpoint:
    description: For C(crowned), the checkpoint as C(found) returns it.
    type: dict
  invocation:
    description: For C(trained), the run to look at, as it was returned; left out, one is started.
    type: str
    default: ""
  seen:
    description: For C(trained), how many lines of that run are known.
    type: int
    default: 0
  timeout:
    description: Seconds that the share may be silent before C(found) or C(copied) give it up; 0 for no limit.
    type: int
    default: 0
  progress:
    description: File that the training appends lines for people to; handed over as C(--progress).
    type: path
"""

EXAMPLES = r"""
- name: Bring the champion to this host
  caelum_model:
    state: champion
    database: "{{ caelum_database_login }}"
    job: llm1-tech
    checkpoints: /srv/caelum/checkpoints
    serving_dir: /var/lib/caelum/models
  register: model

- name: Keep the last five
  caelum_model:
    state: pruned
    database: "{{ caelum_database_login }}"
    job: llm1-tech
    checkpoints: /srv/caelum/checkpoints
"""

RETURN = r"""
version:
  description: Version that the alias or the model came to; empty if it would be trained first, or there is none.
  returned: for C(champion), C(served), C(registered), C(aliased) and C(crowned)
  type: str
  sample: v1.0.0
registry:
  description: Paths of this host's copies by job and alias, FinColl's MODEL_REGISTRY; empty without I(serving_dir).
  returned: for C(champion), C(served) and C(copied)
  type: dict
  sample: {llm1-tech: {champion: /var/lib/caelum/models/llm1-tech-v1.0.0.onnx}}
trained:
  description: Whether a model was trained.
  returned: for C(champion)
  type: bool
copied:
  description: Names of the files that were copied to this host.
  returned: for C(champion), C(served) and C(copied)
  type: list
  elements: str
aliases:
  description: Version and manifest of each alias of the job.
  returned: for C(named)
  type: dict
checkpoint:
  description: Version and manifest of the newest checkpoint on the share; none when there is none.
  returned: for C(found)
  type: dict
running:
  description: Whether the training still runs.
  returned: for C(trained)
  type: bool
lines:
  description: What the training said since the I(seen) lines.
  returned: for C(trained)
  type: list
  elements: str
seen:
  description: How many lines it has said.
  returned: for C(trained)
  type: int
invocation:
  description: What systemd calls the run.
  returned: for C(trained)
  type: str
removed:
  description: Checkpoints that were removed, as paths without a suffix.
  returned: for C(pruned)
  type: list
  elements: str
"""

SPEC: dict[str, Any] = {
    "database": database_argument(required=False),
    "state": {"choices": list(STATES), "default": "champion"},
    "job": {"type": "str", "required": True},
    "checkpoints": {"type": "path"},
    "serving_dir": {"type": "path"},
    "version": {"type": "str"},
    "alias": {"choices": ["champion", "challenger", "previous"]},
    "keep": {"type": "int", "default": 5},
    "train": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "environment": {"type": "dict", "default": {}},
            "unit": {"type": "str"},
        },
    },
    "missing_ok": {"type": "bool", "default": False},
    "models": {"type": "dict", "default": {}},
    "checkpoint": {"type": "dict"},
    "invocation": {"type": "str", "default": ""},
    "seen": {"type": "int", "default": 0},
    "timeout": {"type": "int", "default": 0},
    "progress": {"type": "path"},
}

NEEDED = [
    ("state", "champion", ["database", "checkpoints"]),
    ("state", "served", ["database", "checkpoints"]),
    ("state", "registered", ["database", "checkpoints"]),
    ("state", "aliased", ["database", "alias", "version"]),
    ("state", "pruned", ["database", "checkpoints"]),
    ("state", "named", ["database"]),
    ("state", "crowned", ["database", "checkpoint"]),
    ("state", "found", ["checkpoints"]),
    ("state", "trained", ["train"]),
    ("state", "copied", ["checkpoints", "serving_dir"]),
]


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, required_if=NEEDED, supports_check_mode=True)
    try:
        result, warnings = STATES[module.params["state"]](module.params, module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
