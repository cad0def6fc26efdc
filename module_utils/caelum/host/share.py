"""The folder that all hosts share: whether it is mounted and answers, and the units that mount it."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..commands import run
from ..errors import Refused
from .fix import Fix, command, written

UNITS = Path("/etc/systemd/system")
ANSWER_S = 5.0
_NO_MOUNT = frozenset({"autofs"})
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.")


def escaped(path: Path) -> str:
    """A path as the name of a unit, as `systemd-escape --path` gives it."""
    text = "-".join("".join(_escape(part)) for part in str(path).strip("/").split("/"))
    return f"\\x2e{text[1:]}" if text.startswith(".") else text or "-"


def _escape(part: str) -> list[str]:
    return [chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(part)]


def units(share: Mapping[str, Any]) -> dict[str, str]:
    """Unit files that mount the share, by name.

    The automount mounts it when it is first asked for and after a server was away, so that a host boots without the
    server and finds it later; 30 s is what one attempt may take, since every caller waits for it.
    """
    path = Path(share["path"])
    name = escaped(path)
    head = f"[Unit]\nDescription=Share of Caelum at {path}\n"
    network = "Wants=network-online.target\nAfter=network-online.target\n"
    options = ",".join(filter(None, (str(share["options"]), "_netdev" if share["type"] == "nfs" else "")))
    return {
        f"{name}.mount": (
            f"{head}{network}\n[Mount]\nWhat={share['source']}\nWhere={path}\nType={share['type']}\n"
            f"{f'Options={options}{chr(10)}' if options else ''}TimeoutSec=30\n\n[Install]\nWantedBy=remote-fs.target\n"
        ),
        f"{name}.automount": (
            f"{head}\n[Automount]\nWhere={path}\nDirectoryMode=0755\n\n[Install]\nWantedBy=multi-user.target\n"
        ),
    }


def verify(files: Mapping[str, str]) -> None:
    """Refused when systemd itself would not take these unit files."""
    with tempfile.TemporaryDirectory(prefix="caelum-units.") as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text)
        paths = [str(Path(folder, name)) for name in files]
        done = run(["systemd-analyze", "verify", "--man=no", *paths])
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if any(name in line for name in files)]
    if done.returncode != 0 or said:
        what = (said or [done.stderr.decode(errors="replace").strip()])[0]
        raise Refused(f"systemd does not take the units of the share: {what}; correct caelum_share_source or _options")


def mounted(path: Path, table: Path = Path("/proc/self/mountinfo")) -> str:
    """What is mounted at `path`, "" for nothing. Read from the kernel's table: a look at the path itself may hang."""
    source = ""
    for line in table.read_text(errors="surrogateescape").splitlines():
        fields, _, more = line.partition(" - ")
        kind, where = more.split()[0], re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields.split()[4])
        if where == str(path) and kind not in _NO_MOUNT:
            source = more.split()[1]
    return source


def is_there(path: Path) -> bool:
    """Whether there is such a folder. Refused when it does not answer in time."""
    told = _told(path, ANSWER_S)
    if told in {"No such file or directory", "Not a directory"}:
        return False
    _refuse(path, told)
    return path.is_dir()


def refuse_silent(path: Path, seconds: float = ANSWER_S) -> None:
    """Refused when the folder does not answer in time."""
    _refuse(path, _told(path, seconds))


def _told(path: Path, seconds: float) -> str:
    """What keeps the folder from answering, nothing where it does; Refused when it is silent.

    Asked by a child that is left behind if need be: the kernel may not let go of it before the server is back.
    """
    child = subprocess.Popen(  # noqa: S603 - our own words
        ["stat", "-f", "--", str(path)],  # noqa: S607 - from the system
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    try:
        _, said = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        raise Refused(
            f"the share {path} does not answer within {seconds:g} s; look at its server and at `findmnt {path}`"
        ) from None
    if child.returncode == 0:
        return ""
    return said.decode(errors="replace").strip().rpartition(": ")[2] or "it cannot be looked at"


def _refuse(path: Path, told: str) -> None:
    if told:
        raise Refused(f"the share {path} does not answer: {told}; look at its server and at `findmnt {path}`")


def plan(share: Mapping[str, Any]) -> list[Fix]:
    """Fixes that mount the share; none where it is mounted by these units, or something else provides the folder."""
    path = Path(share["path"])
    have = mounted(path)
    if not share["source"]:
        if not is_there(path):
            raise Refused(
                f"the share {path} is not there; mount it, make it with `mkdir -p {path}` where this host is alone, or "
                "set caelum_share_source to the export that holds it"
            )
        return []
    if have and have != share["source"]:
        raise Refused(
            f"{path} is mounted from {have}, and caelum_share_source is {share['source']}; unmount it when "
            "nothing uses it, or correct the variable"
        )
    files = units(share)
    fixes = [fix for name, text in files.items() for fix in written(UNITS / name, text, lambda: None)]
    if fixes:
        verify(files)
        fixes.append(Fix("systemd", "knows other units of the share", "knows these", _reload))
    if have:
        refuse_silent(path)
    if have and fixes:
        fixes.append(Fix(f"share {path}", "mounted with other options", "mounted with these", lambda: _remount(path)))
    if not have or not _enabled(starter(path)):
        fixes.append(Fix(f"share {path}", f"mounted from {have or 'nowhere'}", f"mounted from {share['source']}",
                         lambda: _start(path)))  # fmt: skip
    return fixes


def starter(path: Path) -> str:
    """The unit to enable: the automount, or the mount itself where the kernel or a container has no automounts."""
    return f"{escaped(path)}.{'automount' if Path('/dev/autofs').exists() else 'mount'}"


def _enabled(unit: str) -> bool:
    return run(["systemctl", "is-enabled", "--quiet", "--", unit]).returncode == 0


def _reload() -> None:
    command(["systemctl", "daemon-reload"], "the units of the share cannot be loaded")


def _remount(path: Path) -> None:
    command(["systemctl", "reload", "--", f"{escaped(path)}.mount"], "the share does not take its new options")


def _start(path: Path) -> None:
    what = f"the share cannot be mounted at {path}; look at its server and at `journalctl -u '{escaped(path)}.mount'`"
    command(["systemctl", "enable", "--now", "--", starter(path)], what)
    refuse_silent(path, 35.0)
    deadline = time.monotonic() + ANSWER_S
    while not mounted(path):
        if time.monotonic() > deadline:
            raise Refused(what)
        with suppress(OSError):
            os.listdir(path)  # noqa: PTH208 - names alone: what makes an automount mount
        time.sleep(0.2)
