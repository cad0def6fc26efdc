"""A checkout of its own whose releases a test may break: a clone of this repository, built from tags."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.ecosystem import ROOT

IDENTITY = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass(frozen=True)
class Scratch:
    """The clone at `path`."""

    path: Path

    def release(self, version: str, file: str, before: str, after: str) -> None:
        """Tag a commit as `version` in which `before` in `file` is `after`; the next one starts from HEAD again."""
        changed = self.path / file
        text = changed.read_text()
        assert before in text, f"{file} no longer holds {before!r}"
        changed.write_text(text.replace(before, after))
        self._git("commit", "-qam", f"Release {version}")
        self._git("tag", version)
        self._git("reset", "-q", "--hard", "HEAD~1")

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", str(self.path), *arguments], check=True, env={**os.environ, **IDENTITY})


def cloned(path: Path) -> Scratch:
    """Clone the repository's HEAD to `path`; wheels that were downloaded before are shared."""
    safe = ["-c", f"safe.directory={ROOT}", "-c", f"safe.directory={ROOT}/.git"]
    subprocess.run(["git", *safe, "clone", "-q", "--no-hardlinks", f"file://{ROOT}", str(path)], check=True)
    (ROOT / ".cache").mkdir(exist_ok=True)
    (path / ".cache").symlink_to(ROOT / ".cache")
    return Scratch(path)
