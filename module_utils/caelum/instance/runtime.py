"""What the module needs of a runtime, that is of whatever supervises the processes of a host's instances."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
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
    """Name of the supervising daemon, for texts; "" when it is the system's own and not this deployment's."""

    root_credentials: bool
    """Whether credentials belong to root, since the daemon hands them to the process, or to the process's user."""

    def refuse_impossible(self) -> None:
        """Raise Refused when this runtime cannot work under this prefix."""

    def directories(self) -> tuple[Directory, ...]:
        """Folders that it needs."""

    def shared_files(self, instances: Sequence[Instance]) -> tuple[File, ...]:
        """Files that are no instance's own, when a host is to have these."""

    def shared_paths(self, services: Collection[str]) -> tuple[Path, ...]:
        """Such files that the host has for these services, and that go when nothing asks for them."""

    def definition(self, instance: Instance, mark: str) -> tuple[File, ...]:
        """The files that define an instance's program, its own first, none where it has no program.

        The process will carry `mark`, its fingerprint. Refused when the runtime cannot keep such an instance.
        """

    def program_paths(self, name: str) -> tuple[Path, ...]:
        """Where the files are that define it on this host, links among them."""

    def refuse_invalid(self, files: Sequence[File]) -> None:
        """Refused when the daemon would not take these files, which are about to be written."""

    def programs(self) -> dict[str, bool]:
        """Programs defined on this host, and whether they start with the daemon."""

    def own_files(self) -> tuple[Path, ...]:
        """Files that it has under the prefix, those of programs included."""

    def observe(self, *, insist: bool = True) -> RuntimeState:
        """What runs now. A daemon that hangs raises Refused; without `insist` it counts as a leftover."""

    def owner(self, pid: int, port: int) -> str | None:
        """The instance as which `pid`, which listens on `port`, was started; None when it is nobody's here."""

    def log(self, name: str) -> dict[str, str]:
        """Where an instance's log is, as `caelum_instance` returns it."""

    def reread(self, paths: Sequence[Path]) -> None:
        """Take note of these files, which were written or removed."""

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
