"""What a host must offer before anything is built or changed: folders, space, ports. Reads only."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..instance import leftovers, procfs
from ..instance.envfile import service_of
from ..instance.instances import Instance, refuse_twins
from ..instance.layout import Layout
from ..instance.ports import Owner, holders

PORT = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "address": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "required": True},
    "variable": {"type": "str"},
}
SPEC = {
    "prefix": {"type": "path", "required": True},
    "share": {"type": "path"},
    "free_mib": {"type": "int", "default": 2048},
    "ports": {"type": "list", "elements": "dict", "options": PORT, "default": []},
}
_LARGEST_PORT = 65535


def look(params: Mapping[str, Any]) -> dict[str, Any]:
    """What `caelum_preflight` returns for parameters that fit `SPEC`; Refused when the host cannot take it."""
    places = [Place(Path(params["prefix"]).absolute(), "caelum_prefix")]
    if params["share"]:
        places.append(Place(Path(params["share"]).absolute(), "caelum_share"))
    wanted = instances(params["ports"])
    try:
        for place in places:
            refuse_unfit(place)
        free = {str(place.path): refuse_full(place, params["free_mib"]) for place in places}
        held = refuse_taken(wanted, Layout(places[0].path), {instance.service for instance in wanted})
    except OSError as error:
        what = error.filename or "the host"
        raise Refused(f"{what} cannot be looked at: {error.strerror}; give the caller the right to read it") from error
    return {"free_mib": free, "held": held}


@dataclass(frozen=True)
class Place:
    """A folder that the deployment writes below, and the variable that chooses it."""

    path: Path
    variable: str

    @property
    def ground(self) -> Path:
        """The lowest part of the path that exists."""
        return next(folder for folder in (self.path, *self.path.parents) if _exists(folder))


def instances(rows: Iterable[Mapping[str, Any]]) -> tuple[Instance, ...]:
    """The instances that want a port; Refused when one is no port, or two want the same."""
    found = tuple(
        Instance(
            name=str(row["name"]),
            service=str(row["service"]),
            release="",
            address=str(row["address"]),
            port=int(row["port"]),
            port_variable=row["variable"],
        )
        for row in rows
    )
    for instance in found:
        if not 1 <= (instance.port or 0) <= _LARGEST_PORT:
            raise Refused(
                f"{instance.name} cannot listen on port {instance.port}: ports go from 1 to {_LARGEST_PORT}; "
                f"change {_variable(instance)}, to which caelum_port_base is added"
            )
    refuse_twins(found)
    return found


def refuse_unfit(place: Place) -> None:
    """Refused when nothing could be written, or run, below a folder."""
    ground = place.ground
    if not ground.is_dir():
        raise Refused(f"{ground} is no folder, and {place.path} needs one there; set {place.variable} to another place")
    if not os.access(ground, os.W_OK | os.X_OK):
        user = pwd.getpwuid(os.geteuid()).pw_name
        raise Refused(
            f"user {user} cannot write to {ground}, where {place.path} is to be; give that folder to {user}, or set "
            f"{place.variable} to another place"
        )
    if place.variable == "caelum_prefix" and os.statvfs(ground).f_flag & os.ST_NOEXEC:
        raise Refused(
            f"no program can be run from {place.path}: its file system is mounted noexec; "
            f"set {place.variable} to another place"
        )


def free_mib(place: Place) -> int:
    """Free space below a folder, in MiB."""
    system = os.statvfs(place.ground)
    return (system.f_bavail * system.f_frsize) >> 20


def refuse_full(place: Place, needed: int) -> int:
    """The free space below a folder; Refused when it is less than `needed`, both in MiB."""
    free = free_mib(place)
    if free < needed:
        raise Refused(
            f"no space under {place.path}: {free} MiB are free, a deployment needs {needed}; "
            f"free some, set {place.variable} to another place, or caelum_free_mib to less"
        )
    return free


def refuse_taken(wanted: Sequence[Instance], layout: Layout, services: Iterable[str]) -> dict[str, int]:
    """Instances whose port is held by this deployment already, and by which process.

    Refused when a process holds one that is no instance of `services` under this prefix: to those the plan sees.
    """
    held = holders((instance.address, instance.port or 0) for instance in wanted)
    ours = {}
    for instance in wanted:
        owner = held.get((instance.address, instance.port or 0))
        if owner is not None:
            ours[instance.name] = _refuse_foreign(instance, owner, layout, set(services))
    return ours


def _refuse_foreign(instance: Instance, owner: Owner, layout: Layout, services: set[str]) -> int:
    """The holder's process id; Refused when it is none of ours."""
    line = f"{instance.name} cannot listen on port {instance.port} of {instance.address}: {owner} has it"
    pid = owner.pid
    # PostgreSQL's children write over the environment that would tell whose they are: their parent knows.
    family = procfs.lineage(pid) if pid else []
    name = next((name for one in family if (name := leftovers.owner_instance(one, layout))), "")
    if pid is None or not name:
        raise Refused(f"{line}; end that process, or set {_variable(instance)} to a free port")
    if name != instance.name and _service(layout, name) not in services:
        raise Refused(f"{line}, which runs as instance {name}; set {_variable(instance)} to a free port")
    return pid


def _service(layout: Layout, name: str) -> str | None:
    path = layout.env_file(name)
    return service_of(path) if path.is_file() else None


def _variable(instance: Instance) -> str:
    return instance.port_variable or "its port"


def _exists(folder: Path) -> bool:
    with suppress(PermissionError):
        return folder.exists()
    return False
