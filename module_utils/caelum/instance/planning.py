"""From what a role asks for and what the host has to the steps between them. Pure: nothing is read or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..slots import Slots, Switch, plan_switch
from .envfile import render
from .instances import Instance
from .layout import Layout
from .runtime import Leftover, Process, Runtime, RuntimeState, fingerprint
from .tree import Directory, File, FileChange, Found, plan_directories, plan_files


@dataclass(frozen=True)
class Present:
    """An instance that the host has: its service, and every path that would go with it, files before folders."""

    service: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Host:
    """What was observed."""

    runtime: RuntimeState
    found: Mapping[Path, Found] = field(default_factory=dict)
    slots: Mapping[str, Slots] = field(default_factory=dict)
    present: Mapping[str, Present] = field(default_factory=dict)
    programs: Mapping[str, bool] = field(default_factory=dict)
    shared: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Steps in the order of the fields; empty when the host is as asked for.

    `trees` are those of `remove` that go with all they hold.
    """

    directories: tuple[Directory, ...] = ()
    end: tuple[Leftover, ...] = ()
    stop_daemon: str = ""
    retire: tuple[str, ...] = ()
    remove: tuple[Path, ...] = ()
    trees: frozenset[Path] = frozenset()
    write: tuple[FileChange, ...] = ()
    switch: tuple[tuple[Switch, str], ...] = ()
    start_daemon: str = ""
    replace: tuple[str, ...] = ()
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything will change."""
        return bool(self.steps())

    def steps(self) -> list[str]:
        """The steps as short texts, which never hold content."""
        why = {name: f" ({', '.join(changes)})" if changes else "" for name, changes in self.changes.items()}
        return [
            *(f"make directory {directory.path} {directory.mode:04o}" for directory in self.directories),
            *(f"end {leftover.name}, pid {leftover.pid}, which nothing supervises" for leftover in self.end),
            *([self.stop_daemon] if self.stop_daemon else []),
            *(f"stop and forget {name}" for name in self.retire),
            *(f"remove {path}{' with all it holds' if path in self.trees else ''}" for path in self.remove),
            *(f"write {change.file.path}" for change in self.write),
            *(
                f"switch {switch.path.name} from {before or 'nothing'} to {switch.version}"
                for switch, before in self.switch
            ),
            *([self.start_daemon] if self.start_daemon else []),
            *(f"apply {name}{why.get(name, '')}" for name in self.replace),
        ]

    def diff(self) -> list[dict[str, str]]:
        """Files before and after, content of credentials left out."""
        switches = [
            {
                "before_header": str(switch.path),
                "after_header": str(switch.path),
                "before": f"{before}\n" if before else "",
                "after": f"{switch.version}\n",
            }
            for switch, before in self.switch
        ]
        removals = [
            {"before_header": str(path), "after_header": str(path), "before": "(present)\n", "after": ""}
            for path in self.remove
        ]
        return [*(change.diff() for change in self.write), *switches, *removals]


@dataclass(frozen=True)
class Wanted:
    """An instance with its files; `programs` are those that define it in the runtime, none for a job without one."""

    instance: Instance
    env: File
    credentials: tuple[File, ...]
    directory: Directory | None
    programs: tuple[File, ...]
    fingerprint: str

    @property
    def program(self) -> File | None:
        """The first of `programs`."""
        return self.programs[0] if self.programs else None

    @property
    def files(self) -> tuple[File, ...]:
        """All files, what a process reads before what starts it."""
        return (self.env, *self.credentials, *self.programs)


@dataclass(frozen=True)
class Asked:
    """All that a call asks for; `services` is the scope in which other instances go."""

    items: tuple[Wanted, ...] = ()
    directories: tuple[Directory, ...] = ()
    shared: tuple[File, ...] = ()
    services: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[Directory, ...]:
        """All directories, those of credentials included."""
        return (*self.directories, *(item.directory for item in self.items if item.directory))


def wanted(instance: Instance, layout: Layout, runtime: Runtime, build: str) -> Wanted:
    """The files of an instance, whose release's manifest is `build`.

    Its user may read its settings, and owns its credentials where no daemon hands them over.
    """
    text = render(instance.service, instance.environment)
    mark = fingerprint(instance, text, build)
    uid, gid = (instance.user.uid, instance.user.gid) if instance.user else (None, None)
    owner = (0, 0) if runtime.root_credentials else (uid, gid)
    folder = layout.credentials_of(instance.name)
    return Wanted(
        instance,
        env=File(layout.env_file(instance.name), text, 0o640, gid=gid),
        credentials=tuple(
            File(folder / name, content, 0o600, *owner, secret=True)
            for name, content in sorted(instance.credentials.items())
        ),
        directory=Directory(folder, 0o700, *owner) if instance.credentials else None,
        programs=runtime.definition(instance, mark),
        fingerprint=mark,
    )


@dataclass(frozen=True)
class _Decision:
    """What is to be done about one instance that is asked for."""

    name: str
    priority: int
    writes: tuple[FileChange, ...]
    stale: tuple[Path, ...]
    switch: tuple[Switch, str] | None
    changes: tuple[str, ...]
    replace: bool
    retire: bool


def _decide(item: Wanted, host: Host) -> _Decision:
    instance = item.instance
    slot = host.slots[instance.name]
    process = host.runtime.processes.get(instance.name)
    writes = plan_files(item.files, host.found)
    stale = _stale(item, host)
    switch = (Switch(slot.path, instance.release), slot.target) if plan_switch(slot, instance.release) else None
    reasons = _file_reasons(item, writes, stale)
    if switch:
        reasons.append(f"release {slot.target or 'none'} -> {instance.release}")
    verb = _verb(item, process, restart=bool(reasons))
    return _Decision(
        instance.name,
        instance.priority,
        writes,
        stale,
        switch,
        changes=(*reasons, *([verb] if verb else [])) or _quiet_reasons(writes),
        replace=bool(verb) or (process is not None and _program_changes(item, writes)),
        retire=process is not None and item.program is None,
    )


def plan_present(asked: Asked, host: Host, daemon: str) -> Plan:
    """Steps that make the host run `asked.items` and no other instance of those observed in `host.present`."""
    decisions = [_decide(item, host) for item in asked.items]
    changes = {decision.name: decision.changes for decision in decisions}
    gone = {name: have for name, have in host.present.items() if name not in changes}
    changes |= dict.fromkeys(gone, ("removed",))
    replace = [decision.name for decision in sorted(decisions, key=lambda it: it.priority) if decision.replace]
    start = not host.runtime.alive and bool(replace)
    return Plan(
        directories=plan_directories(asked.folders, host.found),
        # Without a start they go on serving: they are ended only where this call is about them.
        end=tuple(leftover for leftover in host.runtime.leftovers if start or leftover.name in changes),
        retire=(
            *(decision.name for decision in decisions if decision.retire),
            *(name for name in gone if name in host.runtime.processes),
        ),
        remove=(
            *(path for decision in decisions for path in decision.stale),
            *(path for have in gone.values() for path in have.paths),
            *(path for path in host.shared if path not in {file.path for file in asked.shared}),
        ),
        write=(
            *plan_files(asked.shared, host.found),
            *(write for decision in decisions for write in decision.writes),
        ),
        switch=tuple(decision.switch for decision in decisions if decision.switch),
        start_daemon=_start_text(daemon, asked, gone, host) if start else "",
        replace=() if start else tuple(replace),
        changes=changes,
    )


def plan_stopped(host: Host, daemon: str, more: Sequence[Path] = ()) -> Plan:
    """Steps that stop everything of the prefix; the paths of `host.present`, then `more`, are removed too."""
    running = [name for name, process in host.runtime.processes.items() if process.running]
    names = dict.fromkeys([*host.present, *running])
    stopping = [*([daemon] if daemon and host.runtime.alive else []), *([", ".join(running)] if running else [])]
    return Plan(
        end=host.runtime.leftovers,
        stop_daemon=f"stop {' and '.join(stopping)}" if stopping else "",
        remove=tuple(dict.fromkeys([*(path for have in host.present.values() for path in have.paths), *more])),
        changes={
            name: (*(["stop"] if name in running else []), *(["removed"] if name in host.present else []))
            for name in names
        },
    )


def _stale(item: Wanted, host: Host) -> tuple[Path, ...]:
    """What the instance has and should not: credentials no longer listed, the program of what is now a job."""
    have = host.present.get(item.instance.name)
    keep = {file.path for file in item.files} | {host.slots[item.instance.name].path}
    keep |= {item.directory.path} if item.directory else set()
    return tuple(path for path in have.paths if path not in keep) if have else ()


def _file_reasons(item: Wanted, writes: Sequence[FileChange], stale: Sequence[Path]) -> list[str]:
    """What changed in an instance's files, in words that hold no content."""
    reasons = []
    written = {change.file: change for change in writes if change.content_changes}
    if item.env in written:
        reasons.append("environment")
    reasons += [f"credential {file.path.name}" for file in item.credentials if file in written]
    reasons += [f"{path.name} removed" for path in stale]
    if any(_shows(file, written[file].before) for file in item.programs if file in written):
        reasons.append("program")
    return reasons


def _shows(file: File, before: str | None) -> bool:
    """Whether a file that changes changes in more than its volatile lines."""
    return before is None or file.shown(before) != file.shown(file.content)


def _quiet_reasons(writes: Sequence[FileChange]) -> tuple[str, ...]:
    """Name of a change that touches no process: permissions, or a stopped program's mark."""
    if not writes:
        return ()
    return ("program",) if any(change.content_changes for change in writes) else ("permissions",)


def _verb(item: Wanted, process: Process | None, *, restart: bool) -> str:
    """What is to be done to the process: "start", "restart", "stop", with the reason where no file gives it."""
    runs = process is not None and process.running
    if not (item.program and item.instance.wanted_running):
        return "stop" if runs and item.program else ""
    if process is None or process.state in ("stopped", "stopping"):
        return "start"
    if not runs:
        return f"start, it was {process.state}"
    return "restart" if restart else _stale_process(item, process)


def _stale_process(item: Wanted, process: Process) -> str:
    """The restart of a process that is not what the files say, though they are as they should be."""
    if process.release not in (None, item.instance.release):
        return f"restart, it runs release {process.release}"
    if process.fingerprint not in (None, item.fingerprint):
        return "restart, it runs with older settings or an older build"
    return ""


def _program_changes(item: Wanted, writes: Sequence[FileChange]) -> bool:
    """Whether the daemon must read the program again, so that it knows it as it is now, even if stopped."""
    return any(change.file in item.programs and change.content_changes for change in writes)


def _start_text(daemon: str, asked: Asked, gone: Mapping[str, Present], host: Host) -> str:
    """The start of the daemon, with everything that it will start."""
    programs = {name: itself for name, itself in host.programs.items() if name not in gone}
    programs |= {item.instance.name: item.instance.wanted_running for item in asked.items if item.program}
    return f"start {daemon} with {', '.join(sorted(name for name, itself in programs.items() if itself))}"
