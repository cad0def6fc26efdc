"""The processes that this one forked: asked to stop, and made to.

They are found in /proc: Python knows of a child only some time after the fork, and a signal can come in between.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
DEAD = "ZX"
LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    group: int
    state: str


def stop(patience_s: float) -> bool:
    """Interrupt every child, and the process groups that they lead, as Ctrl-C does; kill what is left at the end.

    A child that leads a group takes with it what it started: workers of Ansible lead groups, daemons have their own.
    Waits up to `patience_s` seconds for them to end by themselves, so that they can tidy up. Whether all are gone.
    """
    me = os.getpid()
    groups: set[int] = set()
    until = time.monotonic() + patience_s
    sent: set[int] = set()
    while left := _left(me, groups):
        if time.monotonic() > until:
            break
        for process in left:
            if process.pid not in sent:
                sent.add(process.pid)
                _send(process.pid, signal.SIGINT)
        time.sleep(LOOK_EVERY_S)
    for process in left:
        _send(process.pid, signal.SIGKILL)
    until = time.monotonic() + patience_s
    while left and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
        left = _left(me, groups)
    return not left


def _left(me: int, groups: set[int]) -> list[_Process]:
    """The living children of `me` and members of the groups that they lead; such groups are added to `groups`."""
    living = [process for process in _processes() if process.state not in DEAD and process.pid != me]
    groups |= {process.group for process in living if process.parent == me and process.group == process.pid}
    return [process for process in living if process.parent == me or process.group in groups]


def _processes() -> Iterator[_Process]:
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            # The command's name, in brackets, may hold spaces and brackets itself.
            state, parent, group, *_ = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            yield _Process(int(entry.name), int(parent), int(group), state)


def _send(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)
