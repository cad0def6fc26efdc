"""Processes that outlived their supervisord (a kill -9, the out-of-memory killer), and their end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import Refused
from . import procfs
from .layout import Layout
from .runtime import Leftover

POLL_S = 0.05


def owner_instance(pid: int, layout: Layout) -> str | None:
    """The instance of this prefix as which supervisord started the process or an ancestor that it inherited from."""
    environment = procfs.environ(pid)
    if not environment.get("CAELUM_ENV_FILE", "").startswith(f"{layout.config}/"):
        return None
    # Without supervisord's own mark it was started by hand, which is nobody's business here.
    return environment.get("SUPERVISOR_PROCESS_NAME")


def daemons(config: Path) -> list[int]:
    """Ids of the supervisords that run with this configuration file, answering or not."""
    return [
        pid
        for pid in procfs.pids()
        if str(config) in (arguments := procfs.command_line(pid)) and "supervisor.supervisord" in arguments
    ]


def instances(layout: Layout, how: Callable[[str], tuple[str, int]]) -> list[Leftover]:
    """Processes of instances of this prefix, the uppermost of each family; `how` gives signal and wait by name.

    Called when no supervisord runs. This process's own ancestors are left out: a deploy may have been
    started by an instance.
    """
    spared = set(procfs.lineage(os.getpid()))
    names = {pid: owner_instance(pid, layout) for pid in procfs.pids() if pid not in spared}
    marked = {pid: name for pid, name in names.items() if name}
    return [
        Leftover(pid, name, *how(name))
        for pid, name in sorted(marked.items())
        if procfs.alive(pid) and procfs.parent(pid) not in marked
    ]


def end(leftovers: Sequence[Leftover], *, families: bool = True) -> None:
    """Ask the processes to end, wait, and kill those that did not; Refused when one survives even that.

    With `families` their descendants are waited for and killed as well.
    """
    everyone = {leftover.pid for leftover in leftovers}
    if families:
        everyone |= {child for pid in everyone for child in descendants(pid)}
    for leftover in leftovers:
        _signal(leftover.pid, getattr(signal, f"SIG{leftover.signal}"))
    if wait_for_end(everyone, max((leftover.wait for leftover in leftovers), default=0)):
        return
    for pid in everyone:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not wait_for_end(everyone, 5):
        stuck = ", ".join(str(pid) for pid in sorted(everyone) if procfs.alive(pid))
        raise Refused(f"processes {stuck} did not end though killed; the kernel holds them, look at `ps -o stat,wchan`")


def wait_for_end(pids: Iterable[int], seconds: float) -> bool:
    """Whether all of `pids` end within `seconds`."""
    deadline = time.monotonic() + seconds
    left = set(pids)
    while left := {pid for pid in left if procfs.alive(pid)}:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def descendants(pid: int) -> set[int]:
    """Children of `pid`, theirs, and so on."""
    parents = {child: procfs.parent(child) for child in procfs.pids()}
    found: set[int] = set()
    level = {pid}
    while level := {child for child, above in parents.items() if above in level} - found:
        found |= level
    return found


def _signal(pid: int, number: int) -> None:
    """Signal the process's whole group when it leads one, as supervisord does."""
    with suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
