"""What this machine lacks for a lab, as one line."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tools.lab.errors import LabError

# program: the Debian package that has it
PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "nsenter": "util-linux",
    "bindfs": "bindfs",
    "openssl": "openssl",
    "git": "git",
}
SYS_ADMIN = 21


def missing(*, platform: str | None = None, user: int | None = None, status: str | None = None) -> str:
    """What is missing, with the remedy, or nothing; the arguments stand for this machine's own facts."""
    if not (platform or sys.platform).startswith("linux"):
        return "the lab needs Linux: its hosts are systemd machines on this kernel"
    if (os.geteuid() if user is None else user) != 0:
        return "the lab needs root: namespaces, mounts and cgroups are its own; run it as root"
    if not _capable(Path("/proc/self/status").read_text() if status is None else status, SYS_ADMIN):
        return "the lab needs CAP_SYS_ADMIN, which this container withholds; run it on a machine or with --privileged"
    absent = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if absent:
        return f"the lab needs the Debian package {absent[0]}: apt-get install {' '.join(absent)}"
    return _kernel()


def _kernel() -> str:
    known = Path("/proc/filesystems").read_text().split()
    for kind in ("overlay", "fuse"):
        if kind not in known:
            return f"the lab needs the file system {kind}, which this kernel lacks or has not loaded: modprobe {kind}"
    return "" if Path("/dev/fuse").exists() else "the lab needs /dev/fuse for its share: modprobe fuse"


def require() -> None:
    """LabError that names what is missing."""
    line = missing()
    if line:
        raise LabError(line)


def _capable(status: str, capability: int) -> bool:
    (effective,) = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    return bool(int(effective, 16) >> capability & 1)
