"""A control group per host in every hierarchy, so that each host's systemd has a tree of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from pathlib import Path

from tools.lab.errors import LabError
from tools.lab.places import Places
from tools.lab.processes import Process, start_time

MOUNT = Path("/sys/fs/cgroup")


def hierarchies(mount: Path = MOUNT) -> list[Path]:
    """Roots of all hierarchies: one on a pure version 2 machine, else one for each controller and `unified`."""
    if (mount / "cgroup.controllers").is_file():
        return [mount]
    return sorted(path for path in mount.iterdir() if path.is_dir() and not path.is_symlink())


def make(places: Places, host: str) -> None:
    """Make the host's groups."""
    for root in hierarchies():
        group = root / places.cgroup(host)
        group.mkdir(parents=True, exist_ok=True)
        above = (group.parent.parent, group.parent)
        if root == MOUNT:
            _delegate(root, above)
        for folder in (*above, group):
            for name in ("cpuset.cpus", "cpuset.mems"):  # version 1 starts them empty, and an empty one takes nobody
                if (folder / name).exists() and (root / name).exists():
                    (folder / name).write_text((root / name).read_text())


def _delegate(root: Path, above: tuple[Path, ...]) -> None:
    for folder in (root, *above):
        for name in (root / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):  # one that the root keeps for itself is for nobody below it either
                (folder / "cgroup.subtree_control").write_text(f"+{name}")


def entering(places: Places, host: str) -> str:
    """Shell lines by which a process moves itself into the host's groups."""
    groups = [root / places.cgroup(host) / "cgroup.procs" for root in hierarchies()]
    return "\n".join(f"echo $$ >{shlex.quote(str(group))}" for group in groups)


def members(places: Places, host: str) -> set[int]:
    """Every process of the host."""
    found: set[int] = set()
    for root in hierarchies():
        for folder in _folders(root / places.cgroup(host)):
            with contextlib.suppress(OSError):
                found.update(map(int, (folder / "cgroup.procs").read_text().split()))
    return found - {0}


def kill(places: Places, host: str, timeout_s: float = 20) -> None:
    """Kill every process of the host, and return when none is left.

    At one stroke where the kernel can: a process that sees another die could still tidy up, as no power cut lets it.
    """
    end = time.monotonic() + timeout_s
    for root in hierarchies():
        with contextlib.suppress(OSError):
            (root / places.cgroup(host) / "cgroup.kill").write_text("1")
    while left := members(places, host):
        for pid in left:
            started = start_time(pid)
            if started is not None and pid in members(places, host):
                Process(pid, started).signal(signal.SIGKILL)
        if time.monotonic() > end:
            raise LabError(f"processes {sorted(left)} of host {host} do not end, even killed; is its share hanging?")
        time.sleep(0.05)


def _folders(group: Path) -> list[Path]:
    """The group and all below it, the innermost first; those that go away meanwhile are no error."""
    return [Path(folder) for folder, _, _ in os.walk(group, topdown=False)]


def hosts(places: Places) -> set[str]:
    """Hosts that still have a group."""
    above = places.cgroup("")
    return {path.name for root in hierarchies() for path in (root / above).glob("*/") if path.is_dir()}


def remove(places: Places, host: str) -> None:
    """Remove the host's groups, which must be empty, and those above with the last of them."""
    for root in hierarchies():
        group = root / places.cgroup(host)
        for folder in _folders(group):
            _rmdir(folder)
        for folder in (group.parent, group.parent.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _rmdir(folder: Path, timeout_s: float = 5) -> None:
    end = time.monotonic() + timeout_s
    while True:  # a group stays busy for a moment after its last process
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > end:
                raise LabError(f"could not remove {folder}: {error.strerror}") from None
            time.sleep(0.02)
        else:
            return
