"""Texts of the units of an instance: service, socket and timer, what groups them, and the slice that limits them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused
from .instances import Instance
from .launch import EXIT_CANNOT_START, FINGERPRINT, launcher
from .layout import Layout
from .systemd_sandbox import sandbox

FINGERPRINT_LINE = f"Environment={FINGERPRINT}="
HEADER = "# Written by caelum_instance; changes are overwritten."
BOOT = "multi-user.target"
# EX_TEMPFAIL: a job steps aside, and another host or the next time does it.
EXIT_NOT_NOW = 75
_FACT = re.compile(r"^(Instance|Service|Priority|Starts|Job|Listens)=(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Facts:
    """What a unit file of ours says of itself; `instance` is "" for one that several share."""

    service: str
    instance: str = ""
    priority: int = 500
    starts: bool = False
    job: bool = False
    listens: int | None = None


def facts(text: str) -> Facts | None:
    """The facts in a unit file; None when this is none of ours."""
    if not text.startswith(HEADER):
        return None
    found = dict(_FACT.findall(text.rpartition("\n[X-Caelum]\n")[2]))
    return Facts(
        service=found.get("Service", ""),
        instance=found.get("Instance", ""),
        priority=int(found.get("Priority", 500)),
        starts=found.get("Starts") == "yes",
        job=found.get("Job") == "yes",
        listens=int(found["Listens"]) if "Listens" in found else None,
    )


def service(instance: Instance, layout: Layout, slot: Path, mark: str) -> str:
    """Text of the service unit."""
    if instance.user is None and not instance.options.privileged:
        raise Refused(f"instance {instance.name} has no user; give the system user of {instance.service} as user")
    return _text(
        ("Unit", _relations(instance)),
        ("Service", (*_process(instance, layout, slot, mark), *_limits(instance), *sandbox(instance, layout))),
        ("Install", [f"WantedBy={wanted_by(instance)}"] if instance.supervised else []),
        ("X-Caelum", _facts(instance)),
    )


def socket(instance: Instance) -> str:
    """Text of the socket unit. It listens before the network is up, and keeps the port while the service restarts."""
    where = f"[{instance.address}]" if ":" in instance.address else instance.address
    return _text(
        ("Unit", [f"Description=Caelum {instance.name}, port {instance.port}"]),
        ("Socket", [f"ListenStream={where}:{instance.port}", "FreeBind=yes", "NoDelay=yes", "Backlog=1024"]),
        ("Install", ["WantedBy=sockets.target"]),
        ("X-Caelum", [*_facts(instance), f"Listens={instance.port}"]),
    )


def timer(instance: Instance) -> str:
    """Text of the timer unit; Refused when the instance has none."""
    when = instance.options.timer
    if when is None:
        raise Refused(f"instance {instance.name} has no timer")
    return _text(
        ("Unit", [f"Description=Caelum {instance.name}, by the calendar"]),
        (
            "Timer",
            [
                f"OnCalendar={when.calendar}",
                f"Persistent={_yes(when.persistent)}",
                "AccuracySec=1s",
                *([f"RandomizedDelaySec={when.randomized_delay}"] if when.randomized_delay else []),
            ],
        ),
        ("Install", ["WantedBy=timers.target"]),
        ("X-Caelum", _facts(instance)),
    )


def group(name: str, members: Iterable[Instance]) -> str:
    """Text of the unit with which operators start and stop `members` together.

    A service here has no process: systemd refuses a plain alias of an instance of a template. It requires its members
    and is not bound to them: PartOf= would turn the stop that BindsTo= makes of a crash into one that ends the restart.
    """
    known = sorted(members, key=lambda one: one.unit)
    units = " ".join(f"{one.unit}.service" for one in known if one.supervised and one.state == "started")
    unit = [f"Description=Caelum {known[0].service}"]
    service_lines: list[str] = []
    if name.endswith(".service"):
        unit += [f"Requires={units}", f"After={units}"] if units else []
        service_lines = ["Type=oneshot", "RemainAfterExit=yes", "ExecStart=/bin/true"]
    return _text(
        ("Unit", unit),
        ("Service", service_lines),
        ("Install", [f"WantedBy={BOOT}"]),
        ("X-Caelum", [f"Service={known[0].service}"]),
    )


def slice_(name: str, members: Iterable[Instance]) -> str:
    """Text of the slice that limits `members` together; Refused when they do not agree on how."""
    known = sorted(members, key=lambda one: one.name)
    limits = {one.options.memory_max for one in known if one.options.memory_max}
    if len(limits) > 1:
        raise Refused(
            f"{name} is to have memory_max {' and '.join(sorted(limits))}, of {', '.join(one.name for one in known)}; "
            "give one"
        )
    return _text(
        ("Unit", [f"Description=Caelum {known[0].service}, all its processes"]),
        ("Slice", [f"MemoryMax={limit}" for limit in limits]),
        ("X-Caelum", [f"Service={known[0].service}"]),
    )


def wanted_by(instance: Instance) -> str:
    """The unit whose start starts the instance's service."""
    named = instance.options.group
    return named if named and named.endswith(".target") else BOOT


def _relations(instance: Instance) -> Iterator[str]:
    yield f"Description=Caelum {instance.name}"
    yield "Wants=network-online.target"
    yield "After=network-online.target remote-fs.target"
    if instance.options.socket:
        yield f"Requires={instance.unit}.socket"
        yield f"After={instance.unit}.socket"
    if instance.options.group and instance.supervised:
        yield f"PartOf={instance.options.group}"
    if instance.supervised:
        yield "StartLimitIntervalSec=60"
        yield "StartLimitBurst=10"


def _process(instance: Instance, layout: Layout, slot: Path, mark: str) -> Iterator[str]:
    options = instance.options
    yield "Type=exec"
    if instance.user:
        yield f"User={instance.user.name}"
    yield f"ExecStart=/bin/sh -c {_quoted(launcher(slot, instance.command))}"
    if options.socket:
        yield "# Restarts leave the socket open. After a stop, or a start that failed for good, a connection would"
        yield "# start the service again: then the socket is closed as well."
        yield f"ExecStopPost=+/bin/sh -c {_quoted(_close_socket(instance))}"
    if instance.supervised:
        yield "Restart=on-failure"
        yield "RestartSec=1"
        yield f"RestartPreventExitStatus={EXIT_CANNOT_START}"
    else:
        yield f"SuccessExitStatus={EXIT_NOT_NOW}"
        if options.timer and options.timer.runtime_max:
            yield f"RuntimeMaxSec={options.timer.runtime_max}"
    yield f"SyslogIdentifier={instance.unit}"
    yield f"KillSignal=SIG{instance.stop_signal}"
    yield f"TimeoutStopSec={instance.stop_wait}"
    yield f"Environment=CAELUM_ENV_FILE={_escaped(str(layout.env_file(instance.name)))}"
    yield "Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1"
    yield f"{FINGERPRINT_LINE}{mark}"
    folder = layout.credentials_of(instance.name)
    yield from (f"LoadCredential={name}:{_escaped(str(folder / name))}" for name in sorted(instance.credentials))


def _close_socket(instance: Instance) -> str:
    unit, named = instance.unit, instance.options.group or ""
    alias = f" {named}" if named.endswith(".service") else ""
    return (
        f'case "$EXIT_STATUS $(systemctl list-jobs --no-legend {unit}.service)" in '
        f'"{EXIT_CANNOT_START} "*|*" stop "*) systemctl --no-block stop {unit}.socket{alias};; esac'
    )


def _limits(instance: Instance) -> Iterator[str]:
    options = instance.options
    if options.slice:
        yield f"Slice={options.slice}"
    elif options.memory_max:
        yield f"MemoryMax={options.memory_max}"
    if options.cpu_quota:
        yield f"CPUQuota={options.cpu_quota}"
    if options.tasks_max is not None:
        yield f"TasksMax={options.tasks_max}"
    if options.nice is not None:
        yield f"Nice={options.nice}"


def _facts(instance: Instance) -> list[str]:
    return [
        f"Instance={instance.name}",
        f"Service={instance.service}",
        f"Priority={instance.priority}",
        f"Starts={_yes(instance.wanted_running)}",
        f"Job={_yes(not instance.supervised)}",
    ]


def _text(*sections: tuple[str, Iterable[str]]) -> str:
    """The file: a section that has no lines is left out."""
    parts = [HEADER]
    for name, lines in sections:
        if known := list(lines):
            parts += ["", f"[{name}]", *known]
    return "\n".join(parts).replace(f"{HEADER}\n\n", f"{HEADER}\n", 1) + "\n"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """One argument of a command line, in which systemd expands % and $ and reads quotation marks and backslashes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
