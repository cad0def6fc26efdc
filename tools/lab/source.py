"""A clone of the checkout that releases of a lab are built from; its tags are signed by a throw-away key."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tools.lab.errors import LabError, run
from tools.lab.places import ROOT, Places

IDENTITY = {f"GIT_{who}_{what}": "lab@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
# The clone's own settings only: a caller's hooks and signing keys are no part of it.
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def make(places: Places, origin: Path = ROOT) -> None:
    """Clone HEAD of `origin`, without its tags; LabError where it has no commit."""
    clone = ["git", *_trusting(origin), "clone", "-q", "--no-tags", f"file://{origin}", str(places.source)]
    run(clone, env=_environment())


def offer(places: Places, version: str, origin: Path = ROOT) -> None:
    """Let `version` name its tag's commit in `origin`, else HEAD there, or with LAB_WORKTREE=1 the files as they lie.

    A version that was offered once stays what it is.
    """
    if given(places, version):
        return
    tagged = run(["git", *_trusting(origin), "-C", str(origin), "tag", "--list", version], env=_environment()).strip()
    wanted = f"refs/tags/{version}" if tagged else "HEAD"
    fetch = [
        "git",
        *_trusting(origin),
        "-C",
        str(places.source),
        "fetch",
        "-q",
        "--no-tags",
        f"file://{origin}",
        wanted,
    ]
    run(fetch, env=_environment())
    _git(places, "reset", "-q", "--hard", "FETCH_HEAD^{commit}")
    if not tagged and os.environ.get("LAB_WORKTREE") == "1":
        snapshot(places, origin)
    tag(places, version)


def given(places: Places, version: str) -> bool:
    """Whether the clone has `version`; all its tags are the lab's own."""
    return bool(_git(places, "tag", "--list", version).strip())


def snapshot(places: Places, origin: Path = ROOT) -> None:
    """Make the clone hold the files of `origin` as they lie there, committed or not."""
    listed = ["git", *_trusting(origin), "-C", str(origin), "ls-files", "-z", "-co", "--exclude-standard"]
    wanted = [name for name in run(listed, env=_environment()).split("\0") if name and (origin / name).is_file()]
    _git(places, "rm", "-rfq", "--ignore-unmatch", ".")
    for name in wanted:
        copy = places.source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(origin / name, copy, follow_symlinks=False)
    _git(places, "add", "-Af")
    if _git(places, "status", "--porcelain"):
        _git(places, "commit", "-qm", "The working tree")


def tag(places: Places, version: str) -> None:
    """Let `version` name the clone's HEAD, signed; it stays where it names something already."""
    if not given(places, version):
        signing = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={places.keys / 'signer'}"]
        _git(places, *signing, "tag", "--sign", "-m", version, version)


def _trusting(origin: Path) -> list[str]:
    """Words by which git reads a checkout that belongs to another user."""
    return ["-c", f"safe.directory={origin}", "-c", f"safe.directory={origin}/.git"]


def _git(places: Places, *words: str) -> str:
    return run(["git", "-C", str(places.source), *words], env=_environment())


def _environment() -> dict[str, str]:
    return {**os.environ, **IDENTITY, **ALONE}


def verified(places: Places, version: str) -> bool:
    """Whether the tag passes `git verify-tag` against the lab's allowed signers."""
    allowed = f"gpg.ssh.allowedSignersFile={places.keys / 'allowed_signers'}"
    command = ["git", "-C", str(places.source), "-c", allowed, "verify-tag", version]
    try:
        done = subprocess.run(command, check=False, capture_output=True, env=_environment())  # noqa: S603 - our words
    except FileNotFoundError:
        raise LabError("there is no git on this machine: apt-get install git") from None
    return done.returncode == 0
