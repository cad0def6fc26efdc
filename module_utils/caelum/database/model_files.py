"""Checkpoints on a host: which one the share has, a first training, and copies to serve from. It asks no database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..release.guard import Beat, guarded, unwatched
from . import checkpoints, first_training
from .checkpoints import Checkpoint, Serving
from .models import SERVED

Result = dict[str, Any]


def difference(before: list[str], after: list[str]) -> dict[str, str]:
    """Lines before and after, as `--diff` shows them."""
    return {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}


def sound(share: Path, job: str, version: str, beat: Beat = unwatched) -> Checkpoint:
    """The checkpoint on the share, its files verified: nothing else is registered."""
    checkpoint = checkpoints.read(share, job, version)
    checkpoints.verify(share, checkpoint, beat)
    return checkpoint


def first_on(share: Path, params: Mapping[str, Any], beat: Beat = unwatched) -> Checkpoint | None:
    """The newest checkpoint on the share; None when one is to be trained. Refused when that was not asked for."""
    job = params["job"]
    known = checkpoints.known_versions(share, job)
    beat()
    if known:
        return sound(share, job, known[0], beat)
    if params["train"] is None:
        raise Refused(
            f"no champion for job {job}, and no checkpoint in {share}; bring one there, train one with "
            f"`python -m finvec.train --job {job} --out {share}`, or deploy with `-e finvec_bootstrap=sample`"
        )
    return None


def found(params: Result, check: bool) -> tuple[Result, list[str]]:
    """The newest sound checkpoint on the share, if there is any."""
    del check
    share = Path(params["checkpoints"])

    def work(beat: Beat) -> Result | None:
        checkpoint = first_on(share, params, beat)
        return {"version": checkpoint.version, "manifest": dict(checkpoint.manifest)} if checkpoint else None

    return {"changed": False, "checkpoint": guarded(work, params["timeout"], share)}, []


def trained(params: Result, check: bool) -> tuple[Result, list[str]]:
    """Start the first training under its unit, or look how far the one that runs is."""
    train, job = params["train"], params["job"]
    if check:
        return {"changed": True, "running": False, "lines": [], "invocation": ""}, []
    invocation = params["invocation"]
    if not invocation:
        invocation = first_training.start(train["unit"], train["command"], train["environment"])
    running, lines = first_training.look(train["unit"], invocation, job)
    new = lines[params["seen"] :]
    return {"changed": True, "running": running, "lines": new, "seen": len(lines), "invocation": invocation}, []


def copied(params: Result, check: bool) -> tuple[Result, list[str]]:
    """Bring verified copies of the served `models` to this host; FinColl's registry of them."""
    result: Result = {"changed": False, "registry": {}, "copied": [], "diff": difference([], [])}
    if not params["serving_dir"]:
        return result, []
    folder, share, job = Path(params["serving_dir"]), Path(params["checkpoints"]), params["job"]
    if folder.is_symlink():
        raise Refused(f"{folder} is a link, which copies would follow out of it; remove it")
    wanted = {
        alias: Checkpoint(job, str(params["models"][alias]["version"]), params["models"][alias]["manifest"])
        for alias in SERVED
        if alias in params["models"]
    }
    serving = Serving(folder)
    missing: dict[str, str] = {}
    for alias, model in wanted.items():
        missing |= {name: alias for name in serving.missing(model) if name not in missing}
    refused: dict[str, str] = {}
    if missing and not check:
        refused = guarded(lambda beat: _copy(folder, wanted, missing, share, beat), params["timeout"], share)
    elif not check:
        serving.remember()
    if "champion" in refused:
        raise Refused(refused["champion"])
    names = [name for name, alias in missing.items() if alias not in refused]
    registry = {alias: str(folder / model.onnx) for alias, model in wanted.items() if alias not in refused}
    result |= {
        "changed": bool(names),
        "registry": {job: registry},
        "copied": names,
        "diff": difference([f"{n}: missing or altered" for n in names], [f"{n}: verified copy" for n in names]),
    }
    # FinColl answers without the others; only the way back to them is closed.
    return result, [f"the {alias} model of {job} is not on this host: {why}" for alias, why in refused.items()]


def _copy(
    folder: Path, wanted: Mapping[str, Checkpoint], missing: Mapping[str, str], share: Path, beat: Beat
) -> dict[str, str]:
    """Copy the `missing` files (name → alias); why it could not be done, by alias."""
    serving, refused = Serving(folder, beat), {}
    for model in wanted.values():
        serving.missing(model)  # what is whole stays in the folder's record
    for name, alias in missing.items():
        if alias not in refused:
            try:
                serving.copy(wanted[alias], name, share)
            except Refused as refusal:
                refused[alias] = str(refusal)
                if alias == "champion":  # then all stays as it is
                    return refused
    serving.remember()
    return refused
