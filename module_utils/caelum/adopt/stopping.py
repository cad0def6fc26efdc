"""Notes how a process is run, and stops what runs it, for each kind of supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..instance import procfs
from . import secrets, tools
from .processes import Process, start_ticks
from .records import Entry, Records

END_S = 15
POLL_S = 0.1
SYSTEM_UNITS = "/etc/systemd/system/"
OUR_MARK = "\n[X-Caelum]\n"

PATTERNS = {
    "pim": ("pim.service", "pim-*.service", "pim@*.service"),
    "fincoll": ("fincoll.service", "fincoll-*.service", "fincoll@*.service"),
    "senvec": ("senvec.service", "senvec-*.service", "senvec@*.service"),
    "finvec": ("finvec-*.timer", "finvec-train@*.timer", "finvec-train@*.service"),
}
"""Units of the services as the specification and common sense name them."""


def note(process: Process) -> Entry:
    """How a process is run; Refused for one that cannot be started again from a note."""
    kind, name = process.supervisor.kind, process.supervisor.name
    if kind == "systemd":
        return note_unit(name)
    if kind == "docker":
        return {"kind": "docker", **tools.container(name)}
    common = {"user": process.user, "folder": process.folder, "command": process.command}
    if kind == "pm2":
        path = process.environment.get("PATH", "")
        return {"kind": "pm2", "name": name, "home": process.pm2_home, "path": path, **common}
    if kind == "systemd-user":
        raise Refused(
            f"unit {name} belongs to the own systemd of {process.user}, which restarts it: as that user, "
            f"`systemctl --user disable --now {name}`"
        )
    environment, left = secrets.kept(process.environment)
    return {
        **{"kind": "hand", "pid": process.pid, "ticks": process.ticks, **common},
        **{"arguments": secrets.shown(process.arguments), "environment": environment, "left": left},
        "ports": list(process.ports),
    }


def note_unit(unit: str) -> Entry:
    """How a unit of systemd is run: its files, and whether it is enabled and active."""
    have = tools.unit_properties(unit)
    if have.get("FragmentPath", "").startswith("/run/"):
        raise Refused(f"unit {unit} was made by systemd-run and has no file to start it from again; stop it by hand")
    files = [have.get("FragmentPath", ""), *have.get("DropInPaths", "").split()]
    return {
        **{"kind": "systemd", "unit": unit, "enabled": have.get("UnitFileState", "")},
        **{"active": have.get("ActiveState") in {"active", "activating", "reloading"}},
        "files": [path for path in files if path.startswith(SYSTEM_UNITS)],
    }


def units(service: str, names: Sequence[str]) -> list[Entry]:
    """Of the units `names` those of a service, whether they run or not, without ours."""
    mine = [name for name in names if any(fnmatchcase(name, pattern) for pattern in PATTERNS.get(service, ()))]
    return [
        entry
        for entry in map(note_unit, mine)
        if entry["files"] and not any(is_ours(path) for path in entry["files"]) and is_used(entry)
    ]


def is_used(entry: Entry) -> bool:
    """Whether a unit runs, or will at the next boot."""
    return bool(entry["active"]) or str(entry["enabled"]).startswith("enabled")


def is_ours(path: str) -> bool:
    """Whether a deployment wrote this unit file."""
    try:
        return OUR_MARK in Path(path).read_text(errors="replace")
    except OSError:
        return False


def stop(entry: Entry) -> None:
    """Stop what the note is about, so that nothing starts it again."""
    kind = entry["kind"]
    if kind == "systemd":
        tools.call(["systemctl", "disable", "--now", "--", entry["unit"]])
    elif kind == "pm2":
        tools.pm2(entry["home"], entry["user"], entry["path"], "stop", entry["name"])
        tools.pm2(entry["home"], entry["user"], entry["path"], "save", "--force")
    elif kind == "docker":
        tools.call(["docker", "update", "--restart=no", entry["name"]])
        tools.call(["docker", "stop", entry["name"]])
    else:
        end(entry["pid"], entry["ticks"], entry["command"])


def end(pid: int, ticks: int, command: str) -> None:
    """Ask the very process to end and wait for it; one that has ended meanwhile, or is another now, is left alone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_ticks(pid) != ticks:  # asked after the handle was taken, so it is true of what gets the signal
            return
        signal.pidfd_send_signal(handle, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Refused(f"pid {pid} ({command}) is another user's; run adopt.yml as root") from None
    finally:
        os.close(handle)
    until = time.monotonic() + END_S
    while procfs.alive(pid) and start_ticks(pid) == ticks:
        if time.monotonic() > until:
            raise Refused(f"pid {pid} ({command}) was asked to end and runs on after {END_S} s; `kill -9 {pid}`")
        time.sleep(POLL_S)


def put_files_aside(records: Records, service: str, entries: Iterable[Entry]) -> None:
    """Move unit files into the record, once none of their units runs: a deployment writes files of these names."""
    paths = dict.fromkeys(path for entry in entries if entry["kind"] == "systemd" for path in entry["files"])
    for path in (path for path in map(Path, paths) if path.exists()):
        target = records.store(service) / str(path.relative_to(SYSTEM_UNITS))
        target.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy2(path, target)
        os.chown(target, path.stat().st_uid, path.stat().st_gid)
        os.sync()  # the only copy, once the other is gone
        path.unlink()
        if path.parent != Path(SYSTEM_UNITS) and not any(path.parent.iterdir()):
            path.parent.rmdir()
    if paths:
        tools.call(["systemctl", "daemon-reload"])


def as_row(entry: Entry) -> dict[str, Any]:
    """What may be shown of a note: neither environment nor arguments."""
    return {name: value for name, value in entry.items() if name not in {"environment", "arguments", "path"}}
