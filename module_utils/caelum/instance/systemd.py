"""The runtime `systemd`: a unit per instance, its socket held open while it restarts; see `runtime.Runtime`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from ..errors import Refused
from ..slots import slot_path
from . import procfs, systemctl, systemd_units
from .instances import Instance
from .launch import FINGERPRINT, RELEASE
from .layout import Layout
from .runtime import Leftover, Process, RuntimeState
from .systemd_units import Facts
from .tree import Directory, File, link

UNIT_FOLDER = "etc/systemd/system"
KINDS = (".service", ".socket", ".timer", ".target", ".slice")
_AT_REST = frozenset({"inactive", "failed"})
EXITED = "1"  # CLD_EXITED
_STATES = {
    "active": "running",
    "reloading": "running",
    "activating": "starting",
    "deactivating": "stopping",
    "inactive": "stopped",
    "failed": "fatal",
}


class Systemd:
    """Units of the system's systemd. It starts them at boot, so there is no daemon to start or stop."""

    daemon = ""
    root_credentials = True

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._units = layout.prefix / UNIT_FOLDER

    def refuse_impossible(self) -> None:
        """Refused when systemd does not run this host, when it looks for units elsewhere, or for want of rights."""
        if not systemctl.here():
            raise Refused("systemd does not run this host; set caelum_runtime to native, or boot it with systemd")
        if self._layout.prefix != Path("/"):
            raise Refused(f"runtime systemd has its units in /{UNIT_FOLDER}; set caelum_prefix to / or runtime native")
        if os.geteuid() != 0:
            raise Refused("runtime systemd needs root on this host; set ansible_become: true for it")

    def directories(self) -> tuple[Directory, ...]:
        """The folder of units."""
        return (Directory(self._units, 0o755),)

    def definition(self, instance: Instance, mark: str) -> tuple[File, ...]:
        """Its service, its socket or timer, and the links by which they start at boot."""
        slot = slot_path(self._layout.prefix, instance.service, instance.component, instance.slot)
        text = systemd_units.service(instance, self._layout, slot, mark)
        service = f"{instance.unit}.service"
        files = [File(self._units / service, text, 0o644, volatile=systemd_units.FINGERPRINT_LINE)]
        links = [(systemd_units.wanted_by(instance), service)] if instance.supervised else []
        if instance.options.socket:
            files.append(File(self._units / f"{instance.unit}.socket", systemd_units.socket(instance), 0o644))
            links.append(("sockets.target", f"{instance.unit}.socket"))
        if instance.options.timer:
            files.append(File(self._units / f"{instance.unit}.timer", systemd_units.timer(instance), 0o644))
            links.append(("timers.target", f"{instance.unit}.timer"))
        started = links if instance.wanted_running else []
        return (*files, *(self._link(target, unit) for target, unit in started))

    def shared_files(self, instances: Sequence[Instance]) -> tuple[File, ...]:
        """Targets, which operators start and stop, and slices."""
        groups = _by(instances, lambda one: one.options.group if one.supervised else None)
        slices = _by(instances, lambda one: one.options.slice)
        texts = {name: systemd_units.group(name, members) for name, members in groups.items()}
        texts |= {name: systemd_units.slice_(name, members) for name, members in slices.items()}
        files = [File(self._units / name, text, 0o644) for name, text in sorted(texts.items())]
        return (*files, *(self._link(systemd_units.BOOT, name) for name in sorted(groups)))

    def shared_paths(self, services: Collection[str]) -> tuple[Path, ...]:
        """Targets and slices of `services`, and their links."""
        ours = [name for name, known in self._ours().items() if not known.instance and known.service in services]
        return tuple(path for name in ours for path in (self._units / name, *self._links(name)))

    def program_paths(self, name: str) -> tuple[Path, ...]:
        """Its unit files and their links."""
        ours = [unit for unit, known in self._ours().items() if known.instance == name]
        return tuple(path for unit in ours for path in (self._units / unit, *self._links(unit)))

    def programs(self) -> dict[str, bool]:
        """Instances that have a unit, and whether it starts at boot."""
        return {known.instance: known.starts for known in self._ours().values() if known.instance}

    def own_files(self) -> tuple[Path, ...]:
        """All unit files and links of this deployment."""
        return tuple(path for name in self._ours() for path in (self._units / name, *self._links(name)))

    def refuse_invalid(self, files: Sequence[File]) -> None:
        """Refused when systemd finds fault with the units among `files` that are not on the host as they should be."""
        units = {file.path.name: file.content for file in files if not file.link}
        if any(_content(self._units / name) != text for name, text in units.items()):
            systemctl.refuse_invalid(units)

    def observe(self, *, insist: bool = True) -> RuntimeState:
        """Ask systemd once for all units."""
        ours = self._ours()
        shown = systemctl.show(ours) if systemctl.here() else {}
        services = {known.instance: name for name, known in ours.items() if known.instance and _is_service(name)}
        processes = {name: _process(unit, ours, shown) for name, unit in services.items()}
        return RuntimeState(alive=True, pid=1, processes=processes)

    def owner(self, pid: int, port: int) -> str | None:
        """The instance whose socket unit systemd listens with, or in whose unit the process is."""
        ours = self._ours()
        if pid == 1:
            names = (known.instance for known in ours.values() if known.listens == port)
        else:
            unit = procfs.unit(pid)
            names = (known.instance for name, known in ours.items() if name == unit)
        return next(names, None) or None

    def log(self, name: str) -> dict[str, str]:
        """The unit by which the journal knows its lines."""
        services = (unit for unit, known in self._ours().items() if known.instance == name and _is_service(unit))
        return {"unit": next(services, f"{name}.service")}

    def reread(self, paths: Sequence[Path]) -> None:
        """Have systemd read its units again when any is among `paths`; those that are gone are stopped first.

        So are sockets that changed, and their services: systemd keeps an open one as it is.
        """
        if not any(path.is_relative_to(self._units) for path in paths):
            return
        ours = self._ours()
        named = {path.name for path in paths if path.parent == self._units and path.suffix in KINDS}
        gone = named - set(ours)
        changed = {name for name, values in systemctl.show(ours).items() if values.get("NeedDaemonReload") == "yes"}
        sockets = {name for name in changed | named if name in ours and name.endswith(".socket")}
        stop = gone | sockets | {f"{name.removesuffix('.socket')}.service" for name in sockets}
        active = [name for name, values in systemctl.show(stop).items() if values["ActiveState"] not in _AT_REST]
        systemctl.act("stop", [name for name in sorted(active) if not name.endswith(".slice")])
        systemctl.reload()
        systemctl.forget_failures(sorted(gone))

    def end(self, leftovers: Sequence[Leftover]) -> None:
        """Nothing to do: systemd loses no process."""

    def start(self) -> None:
        """Nothing to do: systemd runs."""

    def replace(self, names: Sequence[str]) -> None:
        """Restart in this order, those of one priority together. Sockets stay open, so that callers queue."""
        ours = self._ours()
        if any(values.get("NeedDaemonReload") == "yes" for values in systemctl.show(ours).values()):
            self.reread([self._units / name for name in ours])
        wanted = {unit: known for unit, known in ours.items() if known.instance in names}
        idle = [unit for unit, known in wanted.items() if not (known.starts or (known.job and _is_service(unit)))]
        systemctl.act("stop", sorted(idle, key=_sockets_first))
        for _, tier in groupby(names, key=lambda name: _priority(wanted, name)):
            units = _to_restart(wanted, set(tier))
            systemctl.forget_failures(units)
            systemctl.act("restart", units)
        self._start_groups({known.service for known in wanted.values() if known.starts}, ours)

    def retire(self, names: Sequence[str]) -> None:
        """Stop the units, one tier of priority after the other. What systemd knows of them goes with their files."""
        self._stop({unit: known for unit, known in self._ours().items() if known.instance in names})

    def stop(self) -> None:
        """Stop everything of this deployment. Files stay, and the next boot starts it again."""
        self._stop(self._ours())

    def _stop(self, units: dict[str, Facts]) -> None:
        known = {name: one for name, one in units.items() if one.instance}
        for priority in sorted({one.priority for one in known.values()}, reverse=True):
            tier = [name for name, one in known.items() if one.priority == priority]
            systemctl.act("stop", sorted(tier, key=_sockets_first))
        shared = [name for name, one in units.items() if not one.instance and not name.endswith(".slice")]
        systemctl.act("stop", sorted(shared))

    def _start_groups(self, services: Collection[str], ours: dict[str, Facts]) -> None:
        """Mark the groups as started, without what they would start: each instance has its own turn."""
        shared = [name for name, known in ours.items() if not known.instance and known.service in services]
        groups = sorted(name for name in shared if not name.endswith(".slice"))
        systemctl.act("start", groups, "--job-mode=ignore-dependencies", "--no-block")

    def _link(self, target: str, unit: str) -> File:
        return link(self._units / f"{target}.wants" / unit, Path("/", UNIT_FOLDER, unit))

    def _links(self, unit: str) -> tuple[Path, ...]:
        return tuple(sorted(self._units.glob(f"*.wants/{unit}")))

    def _ours(self) -> dict[str, Facts]:
        """What the unit files of this deployment say of themselves, by unit."""
        return dict(_read(self._units))


def _read(folder: Path) -> Iterator[tuple[str, Facts]]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix in KINDS and path.is_file() and not path.is_symlink():
            found = systemd_units.facts(path.read_text(encoding="utf-8", errors="replace"))
            if found:
                yield path.name, found


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else None


def _is_service(unit: str) -> bool:
    return unit.endswith(".service")


def _sockets_first(unit: str) -> tuple[bool, str]:
    """Order for stopping: what would start a service before the service."""
    return _is_service(unit), unit


def _priority(units: dict[str, Facts], name: str) -> int:
    return next((known.priority for known in units.values() if known.instance == name), 500)


def _to_restart(units: dict[str, Facts], names: set[str]) -> list[str]:
    """Services, and timers of jobs: a job that runs is left alone. A socket starts with its service."""
    mine = {unit for unit, known in units.items() if known.instance in names and known.starts}
    timed = {unit.removesuffix(".timer") for unit in mine if unit.endswith(".timer")}
    return sorted(
        unit
        for unit in mine
        if unit.endswith(".timer") or (_is_service(unit) and unit.removesuffix(".service") not in timed)
    )


def _by(instances: Iterable[Instance], key: Callable[[Instance], str | None]) -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = {}
    for instance in instances:
        if name := key(instance):
            found.setdefault(name, []).append(instance)
    return found


def _process(unit: str, ours: dict[str, Facts], shown: dict[str, systemctl.Properties]) -> Process:
    """The process of a service; of a job that has a timer, whether the timer waits."""
    name = unit.removesuffix(".service")
    own = shown.get(unit, {})
    pid = int(own.get("MainPID") or 0) or None
    if f"{name}.timer" in ours:
        timer = shown.get(f"{name}.timer", {})
        return Process("running" if timer.get("ActiveState") == "active" else "stopped", pid)
    if ours[unit].job:
        return Process("stopped", pid)
    state = "backoff" if own.get("SubState") == "auto-restart" else _STATES.get(own.get("ActiveState", ""), "stopped")
    status = None
    if state == "fatal" and own.get("ExecMainCode") == EXITED:
        state, status = "exited", int(own.get("ExecMainStatus") or 0)
    environment = procfs.environ(pid) if pid else {}
    stale = own.get("NeedDaemonReload") == "yes" and FINGERPRINT in environment
    return Process(
        state=state,
        pid=pid,
        exit_status=status,
        fingerprint="(unread)" if stale else environment.get(FINGERPRINT),
        release=Path(environment[RELEASE]).name if RELEASE in environment else None,
    )
