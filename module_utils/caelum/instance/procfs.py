"""What /proc tells about processes. A process that ends while it is looked at counts as absent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def pids() -> Iterator[int]:
    """Ids of all processes that can be seen."""
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            yield int(entry.name)


def environ(pid: int) -> Mapping[str, str]:
    """The environment that the process was started with; empty when it may not be read."""
    try:
        raw = Path(PROC, str(pid), "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {os.fsdecode(key): os.fsdecode(value) for key, _, value in pairs}


def command_line(pid: int) -> list[str]:
    """Arguments of the process, its program first; empty when it has ended."""
    try:
        raw = Path(PROC, str(pid), "cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(part) for part in raw.split(b"\0")[:-1]]


def command_name(pid: int) -> str:
    """The kernel's short name of the process, "" when it has ended."""
    try:
        return Path(PROC, str(pid), "comm").read_text().strip()
    except OSError:
        return ""


def _status(pid: int) -> tuple[str, int]:
    """State letter and parent's id; ("", 0) when the process has ended."""
    try:
        # The command's name in parentheses may hold anything, so the fields are counted from the last one.
        fields = Path(PROC, str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])


def unit(pid: int) -> str:
    """Name of the systemd unit in whose control group the process is, "" outside of any."""
    try:
        lines = Path(PROC, str(pid), "cgroup").read_text().splitlines()
    except OSError:
        return ""
    # One hierarchy holds systemd's groups: the only one, or on a mixed system the one of that name.
    paths = [path for _, names, path in (line.split(":", 2) for line in lines) if names in ("name=systemd", "")]
    parts = [part for path in paths for part in path.split("/") if part.endswith((".service", ".scope"))]
    return parts[-1] if parts else ""


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent to notice does not."""
    return _status(pid)[0] not in ("", "Z", "X")


def parent(pid: int) -> int:
    """The parent's id, 0 when there is none."""
    return _status(pid)[1]


def lineage(pid: int) -> list[int]:
    """The process and its ancestors, itself first."""
    line: list[int] = []
    while pid > 0:
        line.append(pid)
        pid = parent(pid)
    return line


def descendants(pid: int) -> list[int]:
    """Children, theirs, and so on."""
    found = _children(pid)
    for child in found:
        found += _children(child)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for entry in Path(PROC, str(pid), "task").glob("*/children"):
        with suppress(OSError):
            found += map(int, entry.read_text().split())
    return found


def pss_kib(pid: int) -> int:
    """Proportional set size in KiB: shared pages count by the share of one process. 0 when the process has ended."""
    try:
        text = Path(PROC, str(pid), "smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def family_pss_kib(pid: int) -> int:
    """The same of a process and all below it."""
    return sum(map(pss_kib, [pid, *descendants(pid)]))
