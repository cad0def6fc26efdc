"""What the module needs of a runtime, that is of whatever supervises the processes of a host's instances."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .instances import Instance
from .tree import Directory, File

RUNNING = frozenset({"running", "starting"})


@dataclass(frozen=True)
class Process:
    """An instance's process as its runtime sees it.

    `fingerprint` and `release` are what the process was started with, None when that cannot be told.
    """

    state: str
    pid: int | None = None
    exit_status: int | None = None
    fingerprint: str | None = None
    release: str | None = None

    @property
    def running(self) -> bool:
        """Whether it runs or is about to."""
        return self.state in RUNNING


@dataclass(frozen=True)
class Leftover:
    """A process of this prefix that nothing supervises any more, and how to end it."""

    pid: int
    name: str
    signal: str = "TERM"
    wait: int = 5


@dataclass(frozen=True)
class RuntimeState:
    """What a runtime does at the moment; `leftovers` are looked for only when it is not alive."""

    alive: bool = False
    pid: int | None = None
    processes: dict[str, Process] = field(default_factory=dict)
    leftovers: tuple[Leftover, ...] = ()


class Runtime(Protocol):
    """A way to run instances. Its files are written by the plan; the verbs below act on processes."""

    daemon: str
    """Name of the supervising daemon, for texts."""

    def refuse_impossible(self) -> None:
        """Raise Refused when this runtime cannot work under this prefix."""

    def directories(self) -> tuple[Directory, ...]:
        """Folders that it needs."""

    def shared_files(self) -> tuple[File, ...]:
        """Files that are no instance's own."""

    def program(self, instance: Instance, mark: str) -> File:
        """The file that defines an instance's program; the process will carry `mark`, its fingerprint."""

    def program_path(self, name: str) -> Path:
        """Where that file is."""

    def programs(self) -> dict[str, bool]:
        """Programs defined on this host, and whether they start with the daemon."""

    def own_files(self) -> tuple[Path, ...]:
        """Files that it has under the prefix, those of programs included."""

    def observe(self, *, insist: bool = True) -> RuntimeState:
        """What runs now. A daemon that hangs raises Refused; without `insist` it counts as a leftover."""

    def end(self, leftovers: Sequence[Leftover]) -> None:
        """End processes that nothing supervises."""

    def start(self) -> None:
        """Start the daemon, which starts its programs."""

    def replace(self, names: Sequence[str]) -> None:
        """Stop these programs where they run, read their files again and start them in this order."""

    def retire(self, names: Sequence[str]) -> None:
        """Stop these programs and forget them."""

    def stop(self) -> None:
        """Stop all programs, the highest priority number first, then the daemon."""


def fingerprint(instance: Instance, env_text: str, build: str) -> str:
    """Short hash of what an instance's process reads at its start, so that a stale process is known as such.

    A run that ended between writing a file and restarting the process is made good by the next, and a version
    that was built again counts as new.
    """
    parts = [env_text, sorted(instance.credentials.items()), build]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
