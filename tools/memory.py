"""Prints the memory of every deployed component as PSS, the share of pages each process holds: `make memory`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from caelum.instance import procfs

KIB = 1024


def component(pid: int) -> str:
    """Name of the instance that a process belongs to, from the settings file it was started with."""
    named = procfs.environ(pid).get("CAELUM_ENV_FILE", "")
    return Path(named).name.removesuffix(".env") or procfs.command_name(pid)


def by_component(prefix: Path) -> dict[str, float]:
    """PSS in MiB of each instance that runs under `prefix` and of supervisord, the largest first; empty when none."""
    try:
        supervisor = int((prefix / "run/supervisord.pid").read_text())
    except FileNotFoundError:
        return {}
    rows = {"supervisord": procfs.pss_kib(supervisor) / KIB}
    for child in procfs.descendants(supervisor):
        if procfs.parent(child) == supervisor:
            name = component(child)
            rows[name] = rows.get(name, 0.0) + procfs.family_pss_kib(child) / KIB
    return dict(sorted(rows.items(), key=lambda row: -row[1]))


def main(prefix: Path) -> int:
    """Print a row for each component and the sum; 1 when nothing runs."""
    rows = by_component(prefix)
    if not rows:
        print(f"nothing runs under {prefix}; deploy with: make deploy VERSION=v1.1.0", file=sys.stderr)
        return 1
    for name, mib in rows.items():
        print(f"{name:24} {mib:7.1f} MiB")
    print(f"{'all':24} {sum(rows.values()):7.1f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
