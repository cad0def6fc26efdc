"""Prints the memory of every deployed component as PSS, the share of pages each process holds: `make memory`."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def pss_mib(pid: int) -> float:
    """Proportional set size in MiB; 0 for a process that has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    return int(found.group(1)) / 1024 if found else 0.0


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    lists = (task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for found in lists for child in found]


def component(pid: int) -> str:
    """Name of the instance that a process belongs to, from the settings file it was started with."""
    for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        key, _, value = entry.partition(b"=")
        if key == b"CAELUM_ENV_FILE":
            return Path(value.decode()).name.removesuffix(".env")
    return "supervisord"


def total(pid: int) -> float:
    """PSS in MiB of a process and all below it."""
    return pss_mib(pid) + sum(total(child) for child in children(pid))


def main(prefix: Path) -> int:
    """Print a row for each component and the sum; 1 when nothing runs."""
    pidfile = prefix / "run/supervisord.pid"
    if not pidfile.exists():
        print(f"nothing runs under {prefix}; deploy with: make deploy VERSION=v1.1.0", file=sys.stderr)
        return 1
    supervisor = int(pidfile.read_text())
    rows = {"supervisord": pss_mib(supervisor)}
    for child in children(supervisor):
        name = component(child)
        rows[name] = rows.get(name, 0.0) + total(child)
    for name, mib in sorted(rows.items(), key=lambda row: -row[1]):
        print(f"{name:24} {mib:7.1f} MiB")
    print(f"{'all':24} {sum(rows.values()):7.1f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
