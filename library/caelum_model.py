#!/usr/bin/python
"""Ansible module: model versions, their aliases, and the copies that a host serves from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.database import checkpoints, models
from ansible.module_utils.caelum.database.connection import database_argument, transaction
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_model
short_description: Register, alias, serve and prune model versions
description:
  - C(champion) sees to it that the job has a champion. Without one it registers the newest checkpoint on the share, or
    runs I(train) when there is none. With I(serving_dir) it then brings verified copies of the champion and of
    C(previous) to this host.
  - C(registered) adds a checkpoint to the models; C(aliased) lets an alias name a registered version, and a champion
    that gives way becomes C(previous); C(pruned) removes old checkpoint files, never those that an alias names.
author: Caelum
extends_documentation_fragment: caelum_database
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
    choices: [champion, registered, aliased, pruned]
    default: champion
  job:
    description: Long name of the job.
    type: str
    required: true
  checkpoints:
    description: Folder of the checkpoints on the share.
    type: path
    required: true
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
    serving_dir: /var/lib/caelum/fincoll/models
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
  description: Version that C(champion), C(registered) or C(aliased) came to; empty if it would be trained first.
  returned: except for C(pruned)
  type: str
  sample: v1.0.0
registry:
  description: Paths of this host's copies by job and alias, FinColl's MODEL_REGISTRY; empty without I(serving_dir).
  returned: for C(champion)
  type: dict
  sample: {llm1-tech: {champion: /var/lib/caelum/fincoll/models/llm1-tech-v1.0.0.onnx}}
trained:
  description: Whether a model was trained.
  returned: for C(champion)
  type: bool
copied:
  description: Names of the files that were copied to this host.
  returned: for C(champion)
  type: list
  elements: str
removed:
  description: Checkpoints that were removed, as paths without a suffix.
  returned: for C(pruned)
  type: list
  elements: str
"""

SPEC: dict[str, Any] = {
    "database": database_argument(),
    "state": {"choices": ["champion", "registered", "aliased", "pruned"], "default": "champion"},
    "job": {"type": "str", "required": True},
    "checkpoints": {"type": "path", "required": True},
    "serving_dir": {"type": "path"},
    "version": {"type": "str"},
    "alias": {"choices": ["champion", "challenger", "previous"]},
    "keep": {"type": "int", "default": 5},
    "train": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "environment": {"type": "dict", "default": {}},
        },
    },
    "progress": {"type": "path"},
}

NEEDED = [("state", "aliased", ["alias", "version"])]
Result = dict[str, Any]


def difference(before: list[str], after: list[str]) -> dict[str, str]:
    """Lines before and after, as `--diff` shows them."""
    return {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}


def champion(params: Result, check: bool) -> tuple[Result, list[str]]:
    """See to a champion and its copies on this host; the result, and warnings."""
    job, share = params["job"], Path(params["checkpoints"])
    with transaction(params["database"]) as cursor:
        named = models.aliases(cursor, job)
    chosen, trained = named.get("champion"), False
    before, after = [], []
    if chosen is None:
        chosen, trained = first_model(params, check)
        if chosen and not check:
            crown(params["database"], chosen)
        before.append(f"champion of {job}: none")
        after.append(f"champion of {job}: {chosen.version if chosen else 'trained now'}")
        if chosen:
            named = {**named, "champion": chosen}
    registry, copied, warnings = served(params, named, share, check)
    before += [f"{name}: missing or altered" for name in copied]
    after += [f"{name}: verified copy" for name in copied]
    result = {
        "changed": bool(after),
        "version": chosen.version if chosen else "",
        "registry": registry,
        "trained": trained,
        "copied": copied,
        "diff": difference(before, after),
    }
    return result, warnings


def first_model(params: Result, check: bool) -> tuple[checkpoints.Checkpoint | None, bool]:
    """The checkpoint to start with, and whether it was trained for that; None in check mode before the training."""
    job, share = params["job"], Path(params["checkpoints"])
    known = checkpoints.known_versions(share, job)
    if known:
        return sound(share, job, known[0]), False
    if params["train"] is None:
        raise Refused(
            f"no champion for job {job}, and no checkpoint in {share}; train one with "
            f"`python -m finvec.train --job {job} --out {share}`, or deploy with `-e finvec_bootstrap=sample`"
        )
    if check:
        return None, True
    command = [*params["train"]["command"], *(["--progress", params["progress"]] if params["progress"] else [])]
    environment = {key: str(value) for key, value in params["train"]["environment"].items()}
    manifest = models.train(command, environment, job)
    if manifest.parent.resolve() != share.resolve():
        raise Refused(f"the training wrote {manifest}, not to {share}; pass `--out {share}` in `train.command`")
    return sound(share, job, manifest.stem.removeprefix(f"{job}-")), True


def sound(share: Path, job: str, version: str) -> checkpoints.Checkpoint:
    """The checkpoint on the share, its files verified: nothing else is registered."""
    checkpoint = checkpoints.read(share, job, version)
    checkpoints.verify(share, checkpoint)
    return checkpoint


def crown(database: Result, checkpoint: checkpoints.Checkpoint) -> None:
    """Register a checkpoint and make it champion, in one transaction."""
    with transaction(database) as cursor:
        if not models.is_registered(cursor, checkpoint):
            models.register(cursor, checkpoint)
        models.set_alias(cursor, checkpoint.job, "champion", checkpoint.version)


def served(
    params: Result, named: dict[str, checkpoints.Checkpoint], share: Path, check: bool
) -> tuple[dict[str, dict[str, str]], list[str], list[str]]:
    """FinColl's registry, the names of the files copied for it, and warnings."""
    if not params["serving_dir"]:
        return {}, [], []
    serving = checkpoints.Serving(Path(params["serving_dir"]))
    registry: dict[str, str] = {}
    copied: list[str] = []
    warnings: list[str] = []
    for alias in (alias for alias in models.SERVED if alias in named):
        model = named[alias]
        missing = [name for name in serving.missing(model) if name not in copied]
        try:
            for name in missing:
                if not check:
                    serving.copy(model, name, share)
                copied.append(name)
        except Refused as refusal:
            if alias == "champion":
                raise
            # FinColl answers without it; only the way back to it is closed.
            warnings.append(f"the {alias} model of {params['job']} is not on this host: {refusal}")
            continue
        registry[alias] = str(serving.folder / model.onnx)
    if not check:
        serving.remember()
    return {params["job"]: registry}, copied, warnings


def registered(params: Result, check: bool) -> Result:
    """Add a checkpoint of the share to the models."""
    share, job = Path(params["checkpoints"]), params["job"]
    known = [params["version"]] if params["version"] else checkpoints.known_versions(share, job)
    if not known:
        raise Refused(f"no checkpoint of {job} in {share}; train one with `python -m finvec.train --job {job}`")
    checkpoint = sound(share, job, known[0])
    with transaction(params["database"]) as cursor:
        new = not models.is_registered(cursor, checkpoint)
        if new and not check:
            models.register(cursor, checkpoint)
    line = f"{job} {checkpoint.version}: registered"
    return {"changed": new, "version": checkpoint.version, "diff": difference([], [line] if new else [])}


def aliased(params: Result, check: bool) -> Result:
    """Let an alias name a registered version whose files are there."""
    job, alias, version = params["job"], params["alias"], params["version"]
    with transaction(params["database"]) as cursor:
        named = models.aliases(cursor, job)
        have = named[alias].version if alias in named else "none"
        if have != version:
            checkpoint = sound(Path(params["checkpoints"]), job, version)
            if not models.is_registered(cursor, checkpoint):
                raise Refused(f"{job} {version} is not registered; register it first (`state: registered`)")
            if not check:
                models.set_alias(cursor, job, alias, version)
    changed = have != version
    lines = ([f"{alias} of {job}: {have}"], [f"{alias} of {job}: {version}"]) if changed else ([], [])
    return {"changed": changed, "version": version, "diff": difference(*lines)}


def pruned(params: Result, check: bool) -> Result:
    """Remove old checkpoints from the share and, where it is given, from this host's folder."""
    job = params["job"]
    with transaction(params["database"]) as cursor:
        named = [checkpoint.version for checkpoint in models.aliases(cursor, job).values()]
    removed: list[str] = []
    for folder in (Path(params[key]) for key in ("checkpoints", "serving_dir") if params[key]):
        for version in models.prunable(checkpoints.known_versions(folder, job), params["keep"], named):
            if not check:
                checkpoints.remove(folder, job, version)
            removed.append(f"{folder}/{job}-{version}")
    return {"changed": bool(removed), "removed": removed, "diff": difference(removed, [])}


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, required_if=NEEDED, supports_check_mode=True)
    warnings: list[str] = []
    try:
        if module.params["state"] == "champion":
            result, warnings = champion(module.params, module.check_mode)
        else:
            states = {"registered": registered, "aliased": aliased, "pruned": pruned}
            result = states[module.params["state"]](module.params, module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
