"""Which versions of a model are there, and which comes next."""

from pathlib import Path

from pydantic import ValidationError

from caelum_common import checkpoint
from caelum_common.checkpoint import Manifest, Paths
from finvec.errors import VersionTaken


def next_version(folder: Path, job: str) -> str:
    """vX.(Y+1).0 above the newest version of `job` in `folder`; v1.0.0 when there is none.

    Weights without a manifest count too: they are what a training left that was cut off while it wrote.
    """
    found = [path.stem.removeprefix(f"{job}-") for path in folder.glob(f"{job}-v*.*")]
    numbers = [tuple(map(int, match.groups())) for match in map(checkpoint.VERSION.fullmatch, found) if match]
    if not numbers:
        return "v1.0.0"
    major, minor, _ = max(numbers)
    return f"v{major}.{minor + 1}.0"


def check_free(paths: Paths) -> None:
    """Raises VersionTaken if any of the files is there."""
    for path in (paths.manifest, paths.onnx, paths.pt):
        if path.exists():
            raise VersionTaken(f"{path} is there already and a version never changes; ask for another with --version")


def newest_manifest(folder: Path, job: str) -> Manifest | None:
    """The manifest of the newest version of `job` that is more than a first model; None when there is none."""
    found = []
    for path in folder.glob(f"{job}-v*.json"):
        try:
            found.append(Manifest.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            continue
    trained = [
        manifest for manifest in found if not manifest.bootstrap and checkpoint.VERSION.fullmatch(manifest.version)
    ]
    return max(trained, key=lambda each: tuple(map(int, each.version[1:].split("."))), default=None)


def staging(job: str, version: str = "") -> str:
    """What the names begin with of the folders in which a checkpoint is made."""
    return f".export-{job}-{version}"
