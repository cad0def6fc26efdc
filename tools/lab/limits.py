"""What the kernel grants root in all, which the systemd of many hosts would exhaust."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tools.lab.places import LABS

INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
KEPT = LABS / "inotify-instances"
ENOUGH = 4096


def widen() -> None:
    """Allow root as many inotify instances as some dozens of hosts need; what was allowed before is noted."""
    before = int(INSTANCES.read_text())
    if before < ENOUGH:
        KEPT.write_text(str(before))
        INSTANCES.write_text(str(ENOUGH))


def restore() -> None:
    """Allow what was allowed before, once no lab is left."""
    if [path for path in LABS.iterdir() if path.is_dir()] or not KEPT.is_file():
        return
    with contextlib.suppress(OSError):
        INSTANCES.write_text(KEPT.read_text())
    KEPT.unlink()
