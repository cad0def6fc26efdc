"""Our own wheels, built so that the same source gives the same bytes."""

from __future__ import annotations

import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..commands import clean_env, reason, run
from ..errors import Refused
from .locks import normalise
from .manifest import sha256

_EPOCH = "315619200"  # 1980-01-02: a wheel is a zip file, whose clock starts in 1980


@dataclass(frozen=True)
class Wheel:
    """A built wheel: the distribution's normalised name, its version, the file's name and bytes."""

    name: str
    version: str
    file: str
    data: bytes

    @property
    def line(self) -> str:
        """The line for pip's hash mode."""
        return f"{self.name}=={self.version} --hash=sha256:{sha256(self.data)}"


def build_wheel(package: str, files: Mapping[str, bytes]) -> Wheel:
    """Build the package whose folder in the repository is `package` out of `files` (path → bytes).

    It sees these bytes and nothing else of the working tree. Refused with the builder's last line when it fails.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / ".git").mkdir()  # hatchling looks upwards for ignore files; it stops here
        for path, data in files.items():
            if path.startswith(f"{package}/"):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(data)
        project = root / package / "pyproject.toml"
        if not project.is_file():
            raise Refused(f"package {package} cannot be built: it has no pyproject.toml; check `packages`")
        declared = tomllib.loads(project.read_text()).get("project", {})
        env = clean_env("HATCH_", SOURCE_DATE_EPOCH=_EPOCH, PYTHONHASHSEED="0")
        argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(root / "out")]
        answer = run(argv, cwd=root / package, env=env)
        built = sorted((root / "out").glob("*.whl"))
        if answer.returncode != 0 or len(built) != 1:
            raise Refused(f"package {package} cannot be built: {reason(answer.stderr)}; repair its pyproject.toml")
        return Wheel(normalise(declared["name"]), built[0].name.split("-")[1], built[0].name, built[0].read_bytes())
