"""Where the source of a release comes from: a git tag, or the working tree as it is."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..commands import clean_env, reason, run
from ..errors import Refused
from ..versions import newest_first
from .manifest import sha256

WORKTREE = "worktree"
_NEVER = ("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".git")


@dataclass(frozen=True)
class Snapshot:
    """Source files of one release: path within the repository → bytes; `source` is the tag or "worktree"."""

    source: str
    commit: str | None
    files: Mapping[str, bytes]

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Path → sha256."""
        return {path: sha256(data) for path, data in sorted(self.files.items())}


class Checkout:
    """The repository that releases are built from; one without git is read by walking it."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.has_git = (self.root / ".git").exists() and _git_runs()
        self._archives: dict[tuple[str, tuple[str, ...]], dict[str, bytes]] = {}

    def tags(self, names: Sequence[str]) -> dict[str, str]:
        """Those of `names` that are tags → the commit that they name; one call of git for all."""
        if not (self.has_git and names):
            return {}
        form = "%(refname:strip=2) %(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
        lines = self._git("for-each-ref", f"--format={form}", *(f"refs/tags/{name}" for name in names))
        found = dict(line.split(" ", 1) for line in lines.decode().splitlines())
        return {name: found[name] for name in names if name in found}

    def tagged_versions(self, names: Sequence[str]) -> list[str]:
        """Versions that have a tag, of the ecosystem or of one of `names`, the newest first."""
        if not self.has_git:
            return []
        tags = self._git("for-each-ref", "--format=%(refname:strip=2)", "refs/tags").decode().splitlines()
        pairs = (tag.rpartition("/") for tag in tags)
        return newest_first(list({version for name, _, version in pairs if name in {"", *names}}))

    def verify_tag(self, tag: str, allowed_signers: Path | None) -> None:
        """Refused unless `tag` is signed by one of the allowed signers (an SSH allowed_signers file) or git's own."""
        options = ["-c", f"gpg.ssh.allowedSignersFile={allowed_signers}"] if allowed_signers else []
        answer = run(self._argv(*options, "verify-tag", "--", tag), env=_git_env())
        if answer.returncode != 0:
            raise Refused(
                f"tag {tag} of {self.root} is not signed by an allowed signer ({reason(answer.stderr)}); "
                f"sign it with `git tag -s` by a key in {allowed_signers or 'the allowed signers'}"
            )

    def head(self) -> str | None:
        """The commit that is checked out; None without git or before the first commit."""
        if not self.has_git:
            return None
        answer = run(self._argv("rev-parse", "--verify", "-q", "HEAD"), env=_git_env())
        return answer.stdout.decode().strip() or None

    def is_dirty(self, paths: Sequence[str]) -> bool:
        """Whether the files under `paths` differ from the commit; true without git, where nothing can tell."""
        return not self.has_git or bool(self._git("status", "--porcelain", "--", *paths))

    def worktree(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Files under `paths` as they are: tracked, or untracked and not ignored."""
        names = self._listed(paths) if self.has_git else self._walked(paths)
        kept = sorted(name for name in names if _belongs(name) and (self.root / name).is_file())
        return {name: (self.root / name).read_bytes() for name in kept}

    def tagged(self, tag: str, paths: Sequence[str]) -> dict[str, bytes]:
        """Files under `paths` as the tag has them; Refused when it has none of that name."""
        key = (tag, tuple(sorted(paths)))
        if key not in self._archives:
            answer = run(self._argv("archive", "--format=tar", tag, "--", *key[1]), env=_git_env())
            if answer.returncode != 0:
                raise Refused(
                    f"tag {tag} of {self.root} cannot be read: {reason(answer.stderr)}; move the tag to a commit "
                    "that holds these paths, or build another version"
                )
            self._archives[key] = _untar(answer.stdout)
        return self._archives[key]

    def _listed(self, paths: Sequence[str]) -> set[str]:
        output = self._git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
        return {name for name in output.decode().split("\0") if name}

    def _walked(self, paths: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for path in paths:
            start = self.root / path
            if start.is_file():
                found.add(path)
            for folder, folders, names in os.walk(start):
                folders[:] = [name for name in folders if name not in _NEVER]
                found |= {str(Path(folder, name).relative_to(self.root)) for name in names}
        return found

    def _argv(self, *arguments: str) -> list[str]:
        # `sudo make deploy` in a user's clone must work; who runs this runs the clone's playbooks anyway
        return ["git", "-c", f"safe.directory={self.root}", "-C", str(self.root), *arguments]

    def _git(self, *arguments: str) -> bytes:
        answer = run(self._argv(*arguments), env=_git_env())
        if answer.returncode != 0:
            raise Refused(f"git {arguments[0]} failed in {self.root}: {reason(answer.stderr)}; repair the checkout")
        return answer.stdout


def _git_env() -> dict[str, str]:
    """Without the variables of a hook or an outer git, which would point at another repository."""
    return clean_env("GIT_", GIT_OPTIONAL_LOCKS="0", LC_ALL="C")


def _git_runs() -> bool:
    try:
        return run(["git", "--version"]).returncode == 0
    except Refused:
        return False


def _belongs(name: str) -> bool:
    parts = name.split("/")
    return not name.endswith((".pyc", ".pyo")) and not any(
        part in _NEVER or part.endswith(".egg-info") for part in parts
    )


def _untar(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and _belongs(member.name):
                files[member.name] = content.read()
    return dict(sorted(files.items()))
