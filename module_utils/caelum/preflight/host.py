"""What a host must offer before anything is built or changed: folders, space, ports. Reads only."""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..adopt import looks
from ..errors import Refused
from ..host import transaction
from ..instance import leftovers, procfs
from ..instance.envfile import service_of
from ..instance.instances import Instance, refuse_twins
from ..instance.layout import Layout
from ..instance.ports import Owner, holders
from . import fleet

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
    "fleet": {"type": "dict", "options": fleet.SPEC},
    "host": {"type": "dict"},
}
_LARGEST_PORT = 65535
UNITS = Path("/etc/systemd/system")


def look(params: Mapping[str, Any]) -> dict[str, Any]:
    """What `caelum_preflight` returns for parameters that fit `SPEC`; Refused when the host cannot take it."""
    prefix = Path(params["prefix"]).absolute()
    places = [Place(prefix, "caelum_prefix")]
    wanted = instances(params["ports"])
    if params["fleet"]:
        # first of all: a share that hangs would hold every look at it
        fleet.refuse_unfit(params["fleet"], params["share"])
        # of a whole system these may be file systems of their own
        places = [Place(prefix / folder, "caelum_prefix") for folder in ("opt/caelum", "var/lib/caelum")]
    if params["share"]:
        places.append(Place(Path(params["share"]).absolute(), "caelum_share"))
    try:
        for place in places:
            refuse_unfit(place)
        free = {str(place.path): refuse_full(place, params["free_mib"]) for place in places}
        if params["fleet"] and params["free_mib"]:
            for place in places[:2]:
                fleet.refuse_few_inodes(place.ground, place.variable)
        held = refuse_taken(wanted, Layout(prefix), {instance.service for instance in wanted})
    except OSError as error:
        what = error.filename or "the host"
        raise Refused(f"{what} cannot be looked at: {error.strerror}; give the caller the right to read it") from error
    made = _made(params["host"]) if params["host"] else None
    return {"free_mib": free, "held": held, "clock": time.time(), "made": made}


def _made(wanted: Mapping[str, Any]) -> bool:
    """Whether `caelum_host` would find nothing to do; Refused where it would refuse."""
    given = ArgumentSpecValidator(transaction.SPEC).validate(dict(wanted))
    if given.error_messages:
        raise Refused(f"host: {'; '.join(given.error_messages)}")
    return not transaction.transact(given.validated_parameters, check=True).fixes


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
    name = next((name for one in family if (name := _instance_of(one, layout))), "") or _socket(instance, pid, layout)
    if pid is None or not name:
        todo = (looks.remedy(pid) if pid else "") or "end that process"
        raise Refused(f"{line}; {todo}, or set {_variable(instance)} to a free port")
    if name != instance.name and _service(layout, name) not in services:
        raise Refused(f"{line}, which runs as instance {name}; set {_variable(instance)} to a free port")
    return pid


def _instance_of(pid: int, layout: Layout) -> str:
    """The instance that a process is of, under supervisord or in a unit of systemd."""
    return leftovers.owner_instance(pid, layout) or _in_unit(procfs.environ(pid).get("CAELUM_ENV_FILE", ""), layout)


def _in_unit(env_file: str, layout: Layout) -> str:
    path = Path(env_file)
    return path.stem if layout.prefix == Path("/") and path.parent == layout.config and path.suffix == ".env" else ""


def _socket(instance: Instance, pid: int | None, layout: Layout) -> str:
    """The instance for which systemd itself keeps a port: a socket unit names the port, its service the instance."""
    if pid != 1 or layout.prefix != Path("/"):
        return ""
    for unit in sorted(UNITS.glob("*.socket")):
        listens = re.findall(r"^ListenStream=(\S+)$", unit.read_text(), re.MULTILINE)
        service = unit.with_suffix(".service")
        if any(place.rpartition(":")[2] == str(instance.port) for place in listens) and service.is_file():
            named = re.search(r"CAELUM_ENV_FILE=([^\s\"]+)", service.read_text())
            return _in_unit(named[1], layout) if named else ""
    return ""


def _service(layout: Layout, name: str) -> str | None:
    path = layout.env_file(name)
    return service_of(path) if path.is_file() else None


def _variable(instance: Instance) -> str:
    return instance.port_variable or "its port"


def _exists(folder: Path) -> bool:
    with suppress(PermissionError):
        return folder.exists()
    return False
