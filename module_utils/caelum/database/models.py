"""Rows of `models` and `model_aliases`: which versions of a job's model there are, and which one serves."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from .checkpoints import Checkpoint

if TYPE_CHECKING:
    from psycopg2 import extensions

SERVED = ("champion", "previous")  # the aliases whose files a serving host keeps


def aliases(cursor: extensions.cursor, job: str) -> dict[str, Checkpoint]:
    """The job's aliases, and the model version that each one names."""
    cursor.execute(
        """SELECT alias, version, manifest FROM model_aliases JOIN models ON models.id = model_id
           WHERE model_aliases.job = %s""",
        (job,),
    )
    return {alias: Checkpoint(job, version, manifest) for alias, version, manifest in cursor.fetchall()}


def is_registered(cursor: extensions.cursor, checkpoint: Checkpoint) -> bool:
    """Whether the version is known; Refused when it is known with other content."""
    cursor.execute(
        "SELECT sha256_onnx, sha256_pt FROM models WHERE job = %s AND version = %s",
        (checkpoint.job, checkpoint.version),
    )
    row = cursor.fetchone()
    if row is None:
        return False
    if row != (checkpoint.sha256("onnx"), checkpoint.sha256("pt")):
        raise Refused(
            f"{checkpoint.job} {checkpoint.version} is registered with other files; a version never changes: "
            "train a new one, or put the registered files back"
        )
    return True


def register(cursor: extensions.cursor, checkpoint: Checkpoint) -> None:
    """Add the version; whether it is a bootstrap and trusted, its manifest says."""
    manifest = checkpoint.manifest
    try:
        document = json.dumps(manifest, sort_keys=True, allow_nan=False)
    except ValueError:
        raise Refused(f"the manifest {checkpoint.json} holds a figure that is no number; train it again") from None
    cursor.execute(
        """INSERT INTO models (job, version, kind, checkpoint, sha256_onnx, sha256_pt, schema_hash, manifest,
               bootstrap, trusted)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (job, version) DO NOTHING""",
        (
            *(checkpoint.job, checkpoint.version, manifest["kind"], checkpoint.pt),
            *(checkpoint.sha256("onnx"), checkpoint.sha256("pt"), manifest["schema_hash"], document),
            *(manifest["bootstrap"], manifest["trusted"]),
        ),
    )


def set_alias(cursor: extensions.cursor, job: str, alias: str, version: str) -> None:
    """Let `alias` name `version`; a champion that gives way becomes `previous`. Refused when it isn't registered."""
    cursor.execute("SELECT id FROM models WHERE job = %s AND version = %s", (job, version))
    row = cursor.fetchone()
    if row is None:
        raise Refused(f"{job} {version} is not registered; register it first (`state: registered`)")
    if alias == "champion":
        cursor.execute(
            """INSERT INTO model_aliases (job, alias, model_id)
               SELECT job, 'previous', model_id FROM model_aliases
               WHERE job = %s AND alias = 'champion' AND model_id <> %s
               ON CONFLICT (job, alias) DO UPDATE SET model_id = excluded.model_id, updated_at = now()""",
            (job, row[0]),
        )
    cursor.execute(
        """INSERT INTO model_aliases (job, alias, model_id) VALUES (%s, %s, %s)
           ON CONFLICT (job, alias) DO UPDATE SET model_id = excluded.model_id, updated_at = now()""",
        (job, alias, row[0]),
    )


def prunable(newest_first: Sequence[str], kept: int, named: Sequence[str]) -> list[str]:
    """Versions to remove: all but the newest `kept` and those that an alias names."""
    return [version for version in newest_first[kept:] if version not in named]


def train(command: Sequence[str], environment: Mapping[str, str], job: str) -> Path:
    """Run a training to its end; the manifest that it wrote, by the JSON object on its last line of output."""
    try:
        done = subprocess.run(  # noqa: S603 - the command is the inventory's own
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise Refused(
            f"the training of {job} needs {command[0]} ({error.strerror}); install finvec's release"
        ) from None
    if done.returncode:
        # A progress bar overwrites its line with carriage returns.
        said = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
        why = said[-1].strip() if said else f"exit code {done.returncode}"
        raise Refused(f"the training of {job} failed: {why}; put that right and deploy again")
    try:
        result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return Path(result["manifest"])
    except (ValueError, KeyError, TypeError, IndexError):
        raise Refused(
            f"the training of {job} did not end with a JSON object that names its manifest; check `train.command`"
        ) from None
