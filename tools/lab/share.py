"""The folder that all hosts share, seen through a bindfs process, which can be made to hang as an NFS server does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tools.lab.errors import LabError, run
from tools.lab.places import Places
from tools.lab.processes import Process, start

# Made up, in the specification's places: nothing in a lab reaches a provider.
CREDENTIALS = {
    ".alpha_vantage_credentials.json": '{"api_key": "lab-alpha-vantage"}\n',
    ".tradestation_token.json": '{"access_token": "lab-tradestation", "refresh_token": "lab-tradestation"}\n',
    ".sentimentrader_credentials.json": '{"api_key": "lab-sentimentrader"}\n',
}


def make(places: Places) -> Process:
    """Mount the share and return the process that serves it."""
    for folder in (places.share, places.shared):
        folder.mkdir(mode=0o755)
    for name, text in CREDENTIALS.items():
        path = places.share / name
        path.touch(mode=0o600)
        path.write_text(text)
    name = f"caelum-lab-{places.name}"
    command = ["bindfs", "-f", "-o", f"allow_other,default_permissions,fsname={name}"]
    process = start([*command, str(places.share), str(places.shared)], places.folder / "share.log")
    end = time.monotonic() + 5
    while not os.path.ismount(places.shared):
        if not process.alive or time.monotonic() > end:
            raise LabError(f"the lab's share did not come up; see {places.folder / 'share.log'}")
        time.sleep(0.02)
    return process


def hang(process: Process) -> None:
    """Every access to the share waits from now on."""
    _told(process, signal.SIGSTOP)


def resume(process: Process) -> None:
    """What waits for the share goes on."""
    _told(process, signal.SIGCONT)


def _told(process: Process, number: int) -> None:
    if not process.signal(number):
        raise LabError("the process that serves the lab's share has ended; end the lab and boot it again")


def remove(places: Places) -> None:
    """Unmount the share, also where its process died."""
    if places.shared.parent.is_dir() and _mounted(places.shared):
        run(["umount", "--lazy", str(places.shared)])


def _mounted(path: Path) -> bool:
    """Read from the kernel's list: to look at a share whose process died fails, and at a hanging one never ends."""
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())
