"""Fetches what the pool lacks with pip, in its hash mode; pip's chatter stays out of the user's sight."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ..commands import clean_env
from ..errors import Refused
from ..progress import Progress
from .locks import Requirement
from .pool import Pool

_REPORT_EVERY_S = 3.0
_OFFLINE = (
    "NewConnectionError",
    "NameResolutionError",
    "Temporary failure",
    "ConnectTimeout",
    "Network is unreachable",
)
_BENEFIT_PER_PIP = 8  # a second pip costs half a second to start; it pays from this many wheels on


@dataclass
class _Count:
    """Wheels that pip has come to, over all its processes; says so now and then."""

    total: int
    progress: Progress
    done: int = 0
    said_at: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self) -> None:
        with self.lock:
            self.done = min(self.done + 1, self.total)
            if time.monotonic() - self.said_at >= _REPORT_EVERY_S:
                self.said_at = time.monotonic()
                self.progress.say(f"  {self.done} of {self.total} wheels")


def fetch(pool: Pool, wanted: Sequence[Requirement], jobs: int, progress: Progress) -> None:
    """Download wheels for all of `wanted` into the pool, with up to `jobs` pips side by side.

    Refused, with what and the remedy on one line, when one cannot be had. What was finished stays in the pool.
    """
    pool.path.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    count = _Count(len(wanted), progress)
    groups = _groups(wanted, jobs)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=pool.path) as folder:
        try:
            with ThreadPoolExecutor(max_workers=jobs) as workers:
                list(workers.map(lambda numbered: _pip(numbered[1], Path(folder, str(numbered[0])), count), groups))
        finally:
            for file in Path(folder).glob("*/*.whl"):
                pool.add(file)
    progress.say(f"  downloaded in {time.monotonic() - began:.1f} s")


def _groups(wanted: Sequence[Requirement], jobs: int) -> list[tuple[int, list[Requirement]]]:
    """`wanted` dealt out to pips; two versions of one distribution never meet in the same one."""
    size = max(1, min(jobs, len(wanted) // _BENEFIT_PER_PIP))
    dealt: list[dict[str, Requirement]] = [{} for _ in range(size)]
    for index, requirement in enumerate(sorted(wanted, key=lambda one: one.pin)):
        free = [group for group in dealt[index % size :] + dealt[: index % size] if requirement.name not in group]
        if not free:
            dealt.append({})
            free = dealt[-1:]
        free[0][requirement.name] = requirement
    return [(number, list(group.values())) for number, group in enumerate(dealt)]


def _pip(wanted: list[Requirement], folder: Path, count: _Count) -> None:
    folder.mkdir()
    lines = folder / "requirements.txt"
    lines.write_text("".join(f"{requirement.line()}\n" for requirement in wanted))
    options = "--no-deps --require-hashes --only-binary :all: --progress-bar off --no-input --disable-pip-version-check"
    argv = [sys.executable, "-m", "pip", "download", *options.split(), "-r", str(lines), "-d", str(folder)]
    with (folder / "errors").open("w+") as errors:
        process = subprocess.Popen(  # noqa: S603 - argv is ours, no shell
            argv, stdout=subprocess.PIPE, stderr=errors, text=True, env=clean_env("PIP_REQUIRE_VIRTUALENV")
        )
        for line in process.stdout or ():
            if line.startswith(("Collecting ", "Processing ")):
                count.add()
        status = process.wait()
        errors.seek(0)
        if status != 0:
            raise Refused(_explain(wanted, errors.read()))


def _explain(wanted: list[Requirement], errors: str) -> str:
    """pip's failure as one line: what, why, and the remedy."""
    said = [line.removeprefix("ERROR: ").strip() for line in errors.splitlines() if line.startswith("ERROR: ")]
    reason = said[-1] if said else (errors.strip().splitlines() or ["pip said nothing"])[-1]
    named = next((one.pin for one in wanted if one.pin in errors), f"{len(wanted)} wheels")
    if "No module named pip" in errors:
        return f"cannot download wheels: {sys.executable} has no pip; run `{sys.executable} -m ensurepip`"
    if "DO NOT MATCH THE HASHES" in errors:
        return f"cannot download {named}: the index serves a file that the lock's sha256 does not fit; run `make locks`"
    if any(word in errors for word in _OFFLINE):
        return (
            "cannot download wheels: the package index cannot be reached; check the network, or set PIP_INDEX_URL or "
            f"PIP_FIND_LINKS to a mirror ({reason})"
        )
    return (
        f"cannot download {named}: {reason}; if it lies elsewhere, name the place in PIP_EXTRA_INDEX_URL or "
        "PIP_FIND_LINKS"
    )
