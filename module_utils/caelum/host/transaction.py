"""All of a host's fixes as one transaction: observed, planned, applied."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Refused
from . import clock, folders, share, users
from .fix import Fix, command, written

FOLDER = {
    "path": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "owner": {"type": "str"},
}
USER = {"name": {"type": "str", "required": True}, "uid": {"type": "int"}}
SHARE = {
    "path": {"type": "path", "required": True},
    "source": {"type": "str", "default": ""},
    "type": {"type": "str", "default": "nfs"},
    "options": {"type": "str", "default": ""},
    "directories": {"type": "list", "elements": "dict", "options": FOLDER, "default": []},
}
SPEC = {
    "prefix": {"type": "path", "default": "/"},
    "users": {"type": "list", "elements": "dict", "options": USER, "default": []},
    "directories": {"type": "list", "elements": "dict", "options": FOLDER, "default": []},
    "share": {"type": "dict", "options": SHARE},
    "journal_max": {"type": "str", "default": ""},
    "time_service": {"type": "bool", "default": True},
}
JOURNAL = Path("/etc/systemd/journald.conf.d/50-caelum.conf")


@dataclass(frozen=True)
class Outcome:
    """What was changed, or in check mode would be, and what is known of the clock."""

    fixes: tuple[Fix, ...]
    clock: Mapping[str, object] = field(default_factory=dict)

    def result(self) -> dict[str, Any]:
        """As the module returns it."""
        return {
            "changed": bool(self.fixes),
            "steps": [fix.line for fix in self.fixes],
            "diff": [fix.diff() for fix in self.fixes],
            "clock": dict(self.clock),
        }


def transact(params: Mapping[str, Any], *, check: bool) -> Outcome:
    """Make the host what `params`, which fit `SPEC`, want of it; Refused when it cannot be.

    The folders of the share are looked at when it is mounted: before that nobody knows them.
    """
    if os.geteuid() != 0:
        raise Refused("only root can make a host ready; set ansible_become for it, or enter it as root")
    timed, known = clock.plan() if params["time_service"] else ([], {})
    mount = share.plan(params["share"]) if params["share"] else []
    fixes = [
        *users.plan(params["users"]),
        *folders.plan(params["directories"], Path(params["prefix"])),
        *mount,
        *_journal(params["journal_max"]),
        *timed,
    ]
    if not check:
        _apply(fixes)
    if params["share"]:
        inside = _inside(params["share"], unmounted=check and bool(mount))
        if not check:
            _apply(inside)
        fixes += inside
    return Outcome(tuple(fixes), known)


def _inside(wanted: Mapping[str, Any], *, unmounted: bool) -> list[Fix]:
    """Fixes for the share's own folders."""
    if not unmounted:
        return folders.plan(wanted["directories"], Path(wanted["path"]))
    what = f"folders of the share {wanted['path']}"
    return [Fix(what, "unknown until it is mounted", "made where they are missing", lambda: None)]


def _apply(fixes: Iterable[Fix]) -> None:
    for fix in fixes:
        fix.apply()


def _journal(most: str) -> list[Fix]:
    """The limit of the journal, which takes a tenth of the disk otherwise."""
    if not re.fullmatch(r"(\d+[KMGT]?)?", most, re.ASCII):
        raise Refused(f"caelum_journal_max is {most!r}; write a size such as 1G, or leave it empty")
    if most:
        return written(
            JOURNAL, f"# Written by the deploy of Caelum.\n[Journal]\nSystemMaxUse={most}\n", _restart_journal
        )
    if not JOURNAL.exists():
        return []

    def remove() -> None:
        JOURNAL.unlink()
        _restart_journal()

    return [Fix(str(JOURNAL), JOURNAL.read_text(), "", remove)]


def _restart_journal() -> None:
    # it keeps its streams through a restart, so no service loses a line
    command(["systemctl", "restart", "systemd-journald"], "the journal does not take its new limit")
