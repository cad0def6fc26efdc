"""What is noted on a host of each service that was taken over: enough to start it again, and no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..atomic import make_dirs, write_atomic
from ..errors import Refused

Entry = dict[str, Any]


class Records:
    """The folder `var/lib/caelum/adopted`, a file for each service: readable by root, or the caller, alone."""

    def __init__(self, prefix: Path) -> None:
        self.folder = prefix / "var/lib/caelum/adopted"

    def services(self) -> list[str]:
        """Services that have been taken over."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def read(self, service: str) -> list[Entry]:
        """What was noted of a service, in the order in which it was stopped."""
        path = self.folder / f"{service}.json"
        try:
            entries: list[Entry] = json.loads(path.read_text())["entries"]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError):
            raise Refused(f"{path} cannot be read; restore it, or start {service} by hand and remove it") from None
        return entries

    def add(self, service: str, entry: Entry) -> None:
        """Note a process before it is stopped; one that is noted already replaces its older note."""
        entries = [known for known in self.read(service) if key(known) != key(entry)]
        self._write(service, [*entries, entry])

    def remove(self, service: str) -> None:
        """Forget a service that has been given back."""
        (self.folder / f"{service}.json").unlink(missing_ok=True)

    def store(self, service: str) -> Path:
        """The folder for unit files that are put aside."""
        folder = self.folder / f"{service}.units"
        make_dirs(self.folder)
        self.folder.chmod(0o700)
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _write(self, service: str, entries: Sequence[Entry]) -> None:
        make_dirs(self.folder)
        self.folder.chmod(0o700)
        note = "Written by adopt.yml. Values of variables and arguments that could be secrets are not in here."
        text = json.dumps({"note": note, "entries": list(entries)}, indent=1)
        write_atomic(self.folder / f"{service}.json", f"{text}\n".encode(), 0o600)


def key(entry: Mapping[str, Any]) -> tuple[str, str]:
    """What makes two notes notes of the same."""
    names = {"systemd": "unit", "pm2": "name", "docker": "name", "hand": "command"}
    return str(entry["kind"]), str(entry[names[entry["kind"]]])


def words(entry: Mapping[str, Any]) -> str:
    """What taking it over does, in words."""
    kind = entry["kind"]
    if kind == "systemd":
        moved = f", put {', '.join(entry['files'])} aside" if entry["files"] else ""
        return f"disable and stop unit {entry['unit']}{moved}"
    if kind == "pm2":
        return f"`pm2 stop {entry['name']}` and `pm2 save` as {entry['user']} (PM2_HOME {entry['home']})"
    if kind == "docker":
        return f"stop container {entry['name']} ({entry['image']}), its restart policy {entry['policy'] or 'no'} to no"
    return f"end pid {entry['pid']} ({entry['command']})"
