"""Measures deployments of the production fleet in a lab of its own: `make bench-fleet`. Prints a table and writes JSON.

Five hosts, then fifteen: a first deployment, some that change nothing; seconds, the controller's CPU seconds, and SSH
commands, in all and per host. Controller and hosts share this machine, so seconds are worse than in a real fleet.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from tools.lab import lab  # noqa: E402 - the folder is on no path

VERSION = "v1.1.0"
NO_OPS = 3
MORE = 10
AIM_S, LIMIT_S, AIM_RATIO = 8, 20, 1.1
COUNTED = '#!/bin/sh\necho >>"$CAELUM_BENCH_SSH"\nexec ssh "$@"\n'

Figures = dict[str, Any]


class Failed(Exception):
    """A run that failed; its last line."""


def main() -> int:
    """Measure and print."""
    figures: Figures = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cores": os.cpu_count(), "fleets": []}
    with tempfile.TemporaryDirectory() as folder:
        for more in (0, MORE):
            print(f"{5 + more} hosts …", file=sys.stderr, flush=True)
            figures["fleets"].append(fleet(Path(folder), more))
    (ROOT / ".cache/bench-fleet.json").write_text(json.dumps(figures, indent=1))
    print("\n".join(table(figures)))
    return 0


def fleet(folder: Path, more: int) -> Figures:
    """The figures of the production inventory with `more` hosts that test FinColl."""
    inventory = enlarged(folder / f"plus-{more}", more)
    with booted(inventory, f"bench-{os.getpid()}-{more}") as name:
        first = timed(folder, name, inventory)
        no_ops = [timed(folder, name, inventory) for _ in range(NO_OPS)]
    no_op = {key: statistics.median(run[key] for run in no_ops) for key in first}
    return {"hosts": 5 + more, "first": first, "no-op": no_op}


def enlarged(place: Path, more: int) -> Path:
    """A copy of the production inventory with more candidates."""
    shutil.copytree(ROOT / "inventory/production", place)
    file = place / "hosts.yml"
    hosts = yaml.safe_load(file.read_text())
    for number in range(more):
        name, address = f"more-{number}", f"10.32.3.{100 + number}"
        hosts["all"]["children"]["machines"]["hosts"][name] = {
            "ansible_host": address,
            "caelum_address": address,
            "fincoll_slots": ["candidate"],
        }
        hosts["all"]["children"]["fincoll"]["hosts"][name] = None
    file.write_text(yaml.safe_dump(hosts))
    return place


@contextmanager
def booted(inventory: Path, name: str) -> Iterator[str]:
    """A lab for the length of the block."""
    lab.up(str(inventory), name, say=lambda line: print(line, file=sys.stderr, flush=True))
    try:
        yield name
    finally:
        lab.down(name, say=lambda _: None)


def timed(folder: Path, name: str, inventory: Path) -> dict[str, float]:
    """One deployment: seconds, CPU seconds of the controller's processes, commands over SSH."""
    counter, ssh = folder / "ssh.count", folder / "ssh"
    ssh.write_text(COUNTED)
    ssh.chmod(0o755)
    counter.write_text("")
    environment = {**os.environ, "ANSIBLE_SSH_EXECUTABLE": str(ssh), "CAELUM_BENCH_SSH": str(counter)}
    command = [str(ROOT / ".venv/bin/python"), "-m", "tools.lab", "play", name, "--", "-i", str(inventory)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own words
        [*command, "deploy.yml", "-e", f"version={VERSION}"],
        cwd=ROOT,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise Failed((done.stdout.strip().splitlines() or ["no output"])[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(took, 1), "cpu": round(cpu, 1), "ssh": float(len(counter.read_text()))}


def table(figures: Figures) -> list[str]:
    """Lines for people, the aims beside the figures."""
    lines = [f"{figures['cores']} cores for controller and hosts", ""]
    lines += [f"{'':24} {'seconds':>8} {'s/host':>7} {'CPU s':>7} {'CPU/host':>9} {'ssh/host':>9}   aim"]
    for each in figures["fleets"]:
        for what in ("first", "no-op"):
            run, hosts = each[what], each["hosts"]
            aim = f"<= {AIM_S}, at most {LIMIT_S}" if (what, hosts) == ("no-op", 5) else ""
            per = [run[key] / hosts for key in ("seconds", "cpu", "ssh")]
            row = f"{what + f' of {hosts} hosts':24} {run['seconds']:8.1f} {per[0]:7.2f} {run['cpu']:7.1f}"
            lines.append(f"{row} {per[1]:9.2f} {per[2]:9.1f}   {aim}".rstrip())
    few, many = (each["no-op"]["seconds"] / each["hosts"] for each in figures["fleets"])
    return [*lines, "", f"seconds per host at 15 over those at 5: {many / few:.2f}   <= {AIM_RATIO}"]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(str(failure))
