"""The controller of a deployment: what its opening event says of it, and whether it still lives.

A process is known by host, boot and PID namespace besides its number and start, since numbers come again after a
reboot, in another container and in time. What cannot be told from here counts as alive.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Refused

PROC = Path("/proc")
MACHINE_ID = Path("/etc/machine-id")
DEAD = "ZX"  # states of a process that has ended and is still listed, proc_pid_stat(5)


def identity(pid: int) -> dict[str, Any]:
    """What `gone` later recognises process `pid` by, fit for JSON. Raises Refused when there is no such process."""
    started = _started(pid) if pid > 0 else None
    if started is None:
        raise Refused(
            f"controller_pid {pid} is no process of {socket.gethostname()}; pass the number of ansible-playbook's own"
        )
    return {**_here(), "boot_id": _boot_id(), "pid_namespace": _pid_namespace(), "pid": pid, "started": started}


def gone(told: Mapping[str, Any]) -> bool:
    """Whether the controller that an opening event tells of ran on this host and has ended since."""
    pid = told.get("pid")
    if not isinstance(pid, int) or pid <= 0 or any(told.get(key) != value for key, value in _here().items()):
        return False
    if told.get("boot_id") != _boot_id():
        return bool(told.get("boot_id"))
    if told.get("pid_namespace") != _pid_namespace():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # Another user's: it may be hidden in /proc (hidepid), though never from a signal.
        return _started(pid) not in {None, told.get("started")}
    return _started(pid) != told.get("started")


def _here() -> dict[str, str]:
    """This host, by name and, since images are named alike, by systemd's machine-id where there is one."""
    try:
        machine = MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        machine = ""
    return {"controller": socket.gethostname(), "machine_id": machine}


def _boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _pid_namespace() -> str:
    return str((PROC / "self/ns/pid").readlink())


def _started(pid: int) -> int | None:
    """Clock ticks from boot to the start of `pid`; None when it has ended or is hidden."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command's name, in brackets, may hold spaces and brackets itself.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in DEAD else int(fields[18])
