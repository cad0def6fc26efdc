"""What module caelum_model does in each state: parameters in, result and warnings out.

C(champion) and C(served) do all in one process, where database, share and host are one machine's. In a fleet the action
plugin has C(named) and C(crowned) done on the controller, and C(found), C(trained) and C(copied) on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import Refused
from . import checkpoints, models
from .connection import transaction
from .model_files import copied, difference, first_on, found, sound, trained

Result = dict[str, Any]
Outcome = tuple[Result, list[str]]


def champion(params: Result, check: bool) -> Outcome:
    """See to a champion and its copies on this host; the result, and warnings."""
    job = params["job"]
    named = _named(params, missing_ok=check)
    chosen, was_trained = named.get("champion"), False
    before, after = [], []
    if chosen is None:
        chosen, was_trained = first_model(params, check)
        if chosen and not check:
            crown(params["database"], chosen)
        before.append(f"champion of {job}: none")
        after.append(f"champion of {job}: {chosen.version if chosen else 'trained now'}")
        if chosen:
            named = {**named, "champion": chosen}
    brought, warnings = copied({**params, "models": described(named)}, check)
    result = {
        **brought,
        "changed": bool(after) or brought["changed"],
        "version": chosen.version if chosen else "",
        "trained": was_trained,
        "diff": {side: difference(before, after)[side] + brought["diff"][side] for side in ("before", "after")},
    }
    return result, warnings


def served(params: Result, check: bool) -> Outcome:
    """Bring this host copies of the models that there are; none, or no database yet, is no error."""
    found_named, _ = named({**params, "missing_ok": True}, check)
    brought, warnings = copied({**params, "models": found_named["aliases"]}, check)
    version = found_named["aliases"].get("champion", {}).get("version", "")
    return {**brought, "version": version, "trained": False}, warnings


def named(params: Result, check: bool) -> Outcome:
    """The job's aliases and the models that they name."""
    del check
    return {"changed": False, "aliases": described(_named(params, missing_ok=params["missing_ok"]))}, []


def _named(params: Result, *, missing_ok: bool) -> dict[str, checkpoints.Checkpoint]:
    """The job's aliases; none with `missing_ok` while there is no database to ask, as a check before the first run."""
    try:
        with transaction(params["database"]) as cursor:
            return models.aliases(cursor, params["job"])
    except Refused:
        if not missing_ok:
            raise
    return {}


def crowned(params: Result, check: bool) -> Outcome:
    """Register a checkpoint that a host vouches for, and make it champion unless there is one."""
    job, given = params["job"], params["checkpoint"]
    checkpoint = checkpoints.Checkpoint(job, given["version"], given["manifest"])
    with transaction(params["database"]) as cursor:
        have = models.aliases(cursor, job).get("champion")
    if have is None and not check:
        crown(params["database"], checkpoint)
    version = have.version if have else checkpoint.version
    lines = ([f"champion of {job}: none"], [f"champion of {job}: {version}"]) if have is None else ([], [])
    return {"changed": have is None, "version": version, "diff": difference(*lines)}, []


def described(aliases: Mapping[str, checkpoints.Checkpoint]) -> Result:
    """Aliases as JSON has them, which hosts are given."""
    return {alias: {"version": one.version, "manifest": dict(one.manifest)} for alias, one in aliases.items()}


def first_model(params: Result, check: bool) -> tuple[checkpoints.Checkpoint | None, bool]:
    """The checkpoint to start with, and whether it was trained for that; None in check mode before the training."""
    job, share = params["job"], Path(params["checkpoints"])
    known = first_on(share, params)
    if known is not None:
        return known, False
    if check:
        return None, True
    command = [*params["train"]["command"], *(["--progress", params["progress"]] if params["progress"] else [])]
    environment = {key: str(value) for key, value in params["train"]["environment"].items()}
    manifest = models.train(command, environment, job)
    if manifest.parent.resolve() != share.resolve():
        raise Refused(f"the training wrote {manifest}, not to {share}; pass `--out {share}` in `train.command`")
    return sound(share, job, manifest.stem.removeprefix(f"{job}-")), True


def crown(database: Result, checkpoint: checkpoints.Checkpoint) -> None:
    """Register a checkpoint and make it champion, in one transaction."""
    with transaction(database) as cursor:
        if not models.is_registered(cursor, checkpoint):
            models.register(cursor, checkpoint)
        models.set_alias(cursor, checkpoint.job, "champion", checkpoint.version)


def registered(params: Result, check: bool) -> Outcome:
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
    return {"changed": new, "version": checkpoint.version, "diff": difference([], [line] if new else [])}, []


def aliased(params: Result, check: bool) -> Outcome:
    """Let an alias name a registered version, whose files are there where this machine sees the share."""
    job, alias, version = params["job"], params["alias"], params["version"]
    with transaction(params["database"]) as cursor:
        named = models.aliases(cursor, job)
        have = named[alias].version if alias in named else "none"
        if have != version:
            share = params["checkpoints"]
            if share and not models.is_registered(cursor, sound(Path(share), job, version)):
                raise Refused(f"{job} {version} is not registered; register it first (`state: registered`)")
            if not check:
                models.set_alias(cursor, job, alias, version)
    changed = have != version
    lines = ([f"{alias} of {job}: {have}"], [f"{alias} of {job}: {version}"]) if changed else ([], [])
    return {"changed": changed, "version": version, "diff": difference(*lines)}, []


def pruned(params: Result, check: bool) -> Outcome:
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
    return {"changed": bool(removed), "removed": removed, "diff": difference(removed, [])}, []


STATES: Mapping[str, Callable[[Result, bool], Outcome]] = {
    "champion": champion,
    "served": served,
    "registered": registered,
    "aliased": aliased,
    "pruned": pruned,
    "named": named,
    "crowned": crowned,
    "found": found,
    "trained": trained,
    "copied": copied,
}
