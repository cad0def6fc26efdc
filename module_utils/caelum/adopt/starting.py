"""Starts again what was taken over, from its note."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..errors import Refused
from ..instance import procfs
from . import secrets, tools
from .processes import start_ticks
from .records import Entry, Records
from .stopping import SYSTEM_UNITS, is_ours


def refuse_unfit(records: Records, service: str, entries: Sequence[Entry], remedy: str) -> None:
    """Refused, before anything is started, when a note can't be followed; `remedy` ends a deployment."""
    for entry in entries:
        for path in entry.get("files", []) if entry["kind"] == "systemd" else []:
            if is_ours(path):
                raise Refused(f"{path} is the deployment's own unit of {service} now; {remedy}, then return")
        if entry["kind"] == "hand" and any(secrets.HIDDEN in word for word in entry["arguments"]):
            raise Refused(
                f"`{entry['command']}` was started with a secret as an argument, which was not kept; start it by hand "
                f"in {entry['folder']}, and remove {records.folder / service}.json"
            )


def put_files_back(records: Records, service: str) -> None:
    """Return the unit files to their places; their folder goes."""
    store = records.folder / f"{service}.units"
    if not store.is_dir():
        return
    for path in (path for path in store.rglob("*") if path.is_file()):
        place = Path(SYSTEM_UNITS) / path.relative_to(store)
        place.parent.mkdir(exist_ok=True)
        shutil.copy2(path, place)
        os.chown(place, path.stat().st_uid, path.stat().st_gid)
    os.sync()
    shutil.rmtree(store)
    tools.call(["systemctl", "daemon-reload"])


def start(records: Records, service: str, entry: Entry) -> str:
    """Start it as it was; a line that tells what could not be as it was, empty when all is."""
    kind = entry["kind"]
    if kind == "systemd":
        if entry["enabled"].startswith("enabled"):
            tools.call(["systemctl", "enable", "--", entry["unit"]])
        if entry["active"]:
            tools.call(["systemctl", "start", "--", entry["unit"]])
        return ""
    if kind == "pm2":
        _in_pm2(entry)
        return ""
    if kind == "docker":
        tools.call(["docker", "update", f"--restart={entry['policy'] or 'no'}", entry["name"]])
        tools.call(["docker", "start", entry["name"]])
        return ""
    return _by_hand(records, service, entry)


def _in_pm2(entry: Entry) -> None:
    """Start a process of PM2, whose daemon knows it unless the host has started anew since."""
    where = entry["home"], entry["user"], entry["path"]
    try:
        tools.pm2(*where, "start", entry["name"])
    except Refused:
        tools.pm2(*where, "resurrect")
        tools.pm2(*where, "start", entry["name"])
    tools.pm2(*where, "save", "--force")


def _by_hand(records: Records, service: str, entry: Entry) -> str:
    """Start a command as its user in its folder, with the variables that were kept, in a session of its own."""
    if procfs.alive(entry["pid"]) and start_ticks(entry["pid"]) == entry["ticks"]:
        return ""
    user = pwd.getpwnam(entry["user"])
    other = user.pw_uid != os.geteuid()
    log = records.folder / f"{service}.log"
    try:
        with log.open("ab") as output:
            log.chmod(0o600)
            subprocess.Popen(  # noqa: S603 - what ran before
                entry["arguments"], cwd=entry["folder"], env=entry["environment"], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True, user=user.pw_uid if other else None,
                group=user.pw_gid if other else None,
                extra_groups=os.getgrouplist(user.pw_name, user.pw_gid) if other else None,
            )  # fmt: skip
    except OSError as error:
        raise Refused(
            f"`{entry['command']}` cannot be started again in {entry['folder']}: {error.strerror}; start it by hand"
        ) from None
    if not entry["left"]:
        return ""
    return (
        f"`{entry['command']}` was started again without {', '.join(entry['left'])}, whose values were not kept; "
        "start it by hand if it needs them"
    )
