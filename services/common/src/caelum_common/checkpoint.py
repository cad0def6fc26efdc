"""A model's files and the manifest that vouches for them: `<job>-<version>.pt`, `.onnx` and `.json`, side by side."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from caelum_common import vector
from caelum_common.windows import BAR_CHANNELS, CHANNELS

INPUT: Final = "tokens"  # float32 (N, TOKENS, CHANNELS)
OUTPUT: Final = "log_returns"  # float32 (N, horizons, quantiles), quantiles ascending
VERSION: Final = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


class BadCheckpoint(Exception):
    """A checkpoint that must not be loaded; one line that says what is wrong with which file."""


class File(BaseModel):
    """One of a checkpoint's files: its name beside the manifest and the sha256 of its bytes."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Files(BaseModel):
    """The two files that a manifest vouches for."""

    model_config = ConfigDict(frozen=True)

    pt: File
    onnx: File


class DataRange(BaseModel):
    """What the model was trained on: source, sha256 of the arrays, first and last session (ISO dates)."""

    model_config = ConfigDict(frozen=True)

    source: str
    hash: str
    first: str
    last: str
    sentiment: str = "none"


class Manifest(BaseModel):
    """The whole truth about one model version, as its .json file holds it.

    `bootstrap` marks a first model that passed no gate, `trusted` one that did. `metrics` and `baselines` map a
    figure's name to its value or, where it has one, to {"value", "low", "high"}.
    """

    model_config = ConfigDict(frozen=True)

    job: str
    version: str
    kind: Literal["ridge", "transformer"]
    schema_hash: str
    data: DataRange
    git_commit: str | None
    metrics: dict[str, Any]
    seeds: tuple[int, ...]
    baselines: dict[str, Any]
    trials: int
    bootstrap: bool
    trusted: bool
    horizons: tuple[int, ...]
    quantiles: tuple[float, ...]
    channels: int
    bar_channels: tuple[str, ...]
    files: Files


@dataclass(frozen=True)
class Paths:
    """Where the files of one model version lie."""

    pt: Path
    onnx: Path
    manifest: Path


def paths(folder: Path, job: str, version: str) -> Paths:
    """The three files of `job` at `version` in `folder`; none need exist."""
    stem = f"{job}-{version}"
    return Paths(*(folder / f"{stem}.{suffix}" for suffix in ("pt", "onnx", "json")))


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load(path: Path) -> Manifest:
    """The manifest of the checkpoint file `path` (.onnx or .pt), once both have been checked against each other.

    Raises BadCheckpoint when a file is missing, the bytes differ from the manifest's sha256, or the model was
    trained for another sentiment schema or other bar channels than this code produces.
    """
    manifest = _read(path.with_suffix(".json"))
    listed = manifest.files.pt if path.suffix == ".pt" else manifest.files.onnx
    try:
        found = sha256_of(path)
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read ({error.strerror}); copy it again or train a new version") from None
    if found != listed.sha256:
        raise BadCheckpoint(
            f"{path} is not what its manifest describes: sha256 {found[:12]}…, expected {listed.sha256[:12]}…; "
            "copy it again"
        )
    _check_shape(path, manifest)
    return manifest


def _read(path: Path) -> Manifest:
    """The manifest in `path`, or BadCheckpoint."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read ({error.strerror}); a checkpoint needs its manifest") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadCheckpoint(f"{path} is not a manifest: {where}: {first['msg']}; copy it again") from None


def _check_shape(path: Path, manifest: Manifest) -> None:
    """Refuses a model whose input this code does not produce."""
    ours = vector.schema().hash
    if manifest.schema_hash != ours:
        raise BadCheckpoint(
            f"{path} was trained for sentiment schema {manifest.schema_hash[:12]}…, this release speaks {ours[:12]}…; "
            "train a new version with it"
        )
    if manifest.channels != CHANNELS or manifest.bar_channels != BAR_CHANNELS:
        raise BadCheckpoint(
            f"{path} reads {manifest.channels} channels ({', '.join(manifest.bar_channels)}), this release produces "
            f"{CHANNELS} ({', '.join(BAR_CHANNELS)}); train a new version with it"
        )
