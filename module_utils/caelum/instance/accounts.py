"""System users as values, and which folders they can enter."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused


@dataclass(frozen=True)
class Account:
    """A user of this system: a process runs as it, or a file belongs to it."""

    name: str
    uid: int
    gid: int
    home: str
    groups: frozenset[int] = frozenset()


UNKNOWN_ID = -1
"""Stands for the id of a user who is still to be made: nothing belongs to that one yet."""


def account(name: str, whom: str, *, follows: bool = False) -> Account:
    """The user `name`; Refused when there is none, or when only root could act as it. `whom` begins the line.

    With `follows` a user who does not exist yet is one still to be made.
    """
    if os.geteuid() != 0:
        raise Refused(f"{whom}: only root can use user {name!r}; leave it out, or run as root")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        if follows:
            return Account(name, UNKNOWN_ID, UNKNOWN_ID, "/nonexistent")
        raise Refused(
            f"{whom}: user {name!r} does not exist on this host; make it with `useradd --system {name}`"
        ) from None
    groups = frozenset(os.getgrouplist(name, entry.pw_gid))
    return Account(name, entry.pw_uid, entry.pw_gid, entry.pw_dir, groups)


def barred_folder(path: Path, user: Account) -> Path | None:
    """The first existing folder on the way to `path`, itself included when it is one, that `user` cannot enter."""
    for folder in reversed((path, *path.parents)):
        if not folder.is_dir():
            return None
        status = folder.stat()
        if status.st_uid == user.uid:
            may = status.st_mode & 0o100
        elif status.st_gid in user.groups:
            may = status.st_mode & 0o010
        else:
            may = status.st_mode & 0o001
        if not may:
            return folder
    return None


def owner_name(path: Path) -> str:
    """Name of the user to whom `path` belongs, or the number when it has none."""
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
