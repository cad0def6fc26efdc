"""Takes the services of one host over, and gives them back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Refused
from . import processes, starting, stopping, tools
from .processes import Process
from .records import Entry, Records, key, words

# PIM first: it watches the others, and would call them down or start them again.
ORDER = ("pim", "fincoll", "senvec", "finvec")
AGAIN_S, AGAIN_POLL_S = 2.0, 0.25


@dataclass(frozen=True)
class Plan:
    """What there is, and for each service the notes of what would be stopped; `obstacles` keep it from being done."""

    found: tuple[Process, ...]
    entries: Mapping[str, list[Entry]]
    obstacles: tuple[str, ...]

    @property
    def steps(self) -> list[str]:
        """What taking over does, in its order."""
        return [f"{name}: {words(entry)}" for name in ORDER for entry in self.entries.get(name, [])]


def plan(ports: Mapping[int, str], services: Sequence[str]) -> Plan:
    """Look at the host, and plan the take-over of `services`."""
    found = processes.find(ports)
    entries: dict[str, list[Entry]] = {}
    obstacles = []
    for process in found:
        # a training that runs ends by itself, and to stop it would lose its work
        if process.ours or process.service not in services or not process.ports:
            continue
        try:
            _add(entries, process.service, stopping.note(process))
        except Refused as refused:
            obstacles.append(str(refused))
    names = tools.unit_names()
    for service in services:
        for entry in stopping.units(service, names):
            _add(entries, service, entry)
    return Plan(tuple(found), entries, tuple(obstacles))


def take(plan: Plan, records: Records) -> list[str]:
    """Stop all that the plan names, each after it was noted; the steps. Refused when a port is taken anew."""
    if plan.obstacles:
        raise Refused("; ".join(plan.obstacles))
    for service in ORDER:
        for entry in plan.entries.get(service, []):
            records.add(service, entry)
        for entry in plan.entries.get(service, []):
            stopping.stop(entry)
        stopping.put_files_aside(records, service, plan.entries.get(service, []))
    _refuse_revenants(plan)
    return plan.steps


def give_back(
    records: Records, services: Sequence[str], ports: Mapping[int, str], remedy: str
) -> tuple[list[str], list[str]]:
    """Start all that was noted, in the reverse order; what was started, and what is to be told.

    Refused, before anything is started, while a deployment's own process has a port of theirs; `remedy` ends it.
    """
    wanted = [service for service in reversed(ORDER) if service in services and records.read(service)]
    for process in processes.find(ports) if wanted else ():
        if process.ours and process.service in wanted:
            raise Refused(
                f"the deployment's own {process.service} runs on port {', '.join(map(str, process.ports))} (pid "
                f"{process.pid}); {remedy}, then return"
            )
    for service in wanted:
        starting.refuse_unfit(records, service, records.read(service), remedy)
    done, told = [], []
    for service in wanted:
        starting.put_files_back(records, service)
        for entry in records.read(service):
            line = starting.start(records, service, entry)
            told += [line] if line else []
            done.append(f"{service}: started {key(entry)[1]} again")
        records.remove(service)
    return done, told


def files(share: Path) -> list[dict[str, Any]]:
    """Checkpoints and credential files on the share, with their modes; `open` are credentials that others can read."""
    found = []
    for path in [*sorted(share.glob(".*credentials.json")), *sorted(share.glob(".*token.json"))]:
        mode = path.stat().st_mode & 0o777
        found.append({"path": str(path), "kind": "credentials", "mode": f"{mode:04o}", "open": bool(mode & 0o077)})
    for folder in (share / "finvec/checkpoints", share / "checkpoints"):
        for path in sorted(folder.glob("*.pt")):
            mode = path.stat().st_mode & 0o777
            found.append({"path": str(path), "kind": "checkpoint", "mode": f"{mode:04o}", "open": False})
    return found


def _add(entries: dict[str, list[Entry]], service: str, entry: Entry) -> None:
    known = entries.setdefault(service, [])
    if key(entry) not in {key(one) for one in known}:
        known.append(entry)


def _refuse_revenants(plan: Plan) -> None:
    """Refused when something that the plan did not see starts a process anew."""
    stopped = [process for process in plan.found if not process.ours and process.service in plan.entries]
    ports = [port for process in stopped for port in process.ports]
    until = time.monotonic() + AGAIN_S
    while ports and time.monotonic() < until:
        for port, pids in processes.listeners(ports).items():
            pid = min(pids)
            raise Refused(
                f"port {port} is held again, by pid {pid}, after its process was stopped; something starts it anew: "
                f"see `ps -o pid,ppid,args {pid}`, end that, and run it again"
            )
        time.sleep(AGAIN_POLL_S)
