"""Which versions of a model are there, and which comes next."""

from pathlib import Path

from caelum_common import checkpoint
from caelum_common.checkpoint import Paths
from finvec.errors import VersionTaken


def next_version(folder: Path, job: str) -> str:
    """vX.(Y+1).0 above the newest version of `job` in `folder`; v1.0.0 when there is none."""
    found = [path.stem.removeprefix(f"{job}-") for path in folder.glob(f"{job}-v*.json")]
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
