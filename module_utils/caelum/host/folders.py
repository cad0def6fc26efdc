"""Folders of a host, with the users to whom they belong."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..atomic import make_dirs
from ..errors import Refused
from .fix import Fix


def plan(wanted: Iterable[Mapping[str, Any]], prefix: Path) -> list[Fix]:
    """Fixes that make these folders be, parents included; owners may be users that are still to be made."""
    fixes = (_folder(prefix / str(item["path"]), int(str(item["mode"]), 8), item["owner"]) for item in wanted)
    return [fix for fix in fixes if fix is not None]


def _folder(path: Path, mode: int, owner: str | None) -> Fix | None:
    try:
        have = path.lstat()
    except FileNotFoundError:
        return Fix(str(path), "missing", _shown(mode, owner), lambda: _make(path, mode, owner))
    except NotADirectoryError as error:
        raise Refused(f"{path} cannot be made: a part of the way to it is no folder; remove what is there") from error
    if not stat.S_ISDIR(have.st_mode):
        raise Refused(f"{path} is no folder; remove what is there, a deployment needs a folder of that name")
    if stat.S_IMODE(have.st_mode) == mode and (owner is None or have.st_uid == _uid(owner)):
        return None
    before = _shown(stat.S_IMODE(have.st_mode), _name(have.st_uid) if owner else None)
    return Fix(str(path), before, _shown(mode, owner), lambda: _correct(path, mode, owner))


def _shown(mode: int, owner: str | None) -> str:
    return f"folder {mode:04o}" + (f" of {owner}" if owner else "")


def _uid(owner: str) -> int | None:
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _make(path: Path, mode: int, owner: str | None) -> None:
    make_dirs(path.parent)
    with suppress(FileExistsError):  # another host of the share was faster
        path.mkdir(mode=0o700)
    _correct(path, mode, owner)


def _correct(path: Path, mode: int, owner: str | None) -> None:
    """Give the folder itself its owner and mode: one in a folder of somebody else's may be a link by now."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if owner is not None:
            _give(descriptor, path, owner)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _give(descriptor: int, path: Path, owner: str) -> None:
    entry = pwd.getpwnam(owner)
    try:
        os.fchown(descriptor, entry.pw_uid, entry.pw_gid)
    except PermissionError as error:
        raise Refused(
            f"{path} cannot be given to {owner}: its file server does not let root do so; export the share with "
            f"no_root_squash, or give the folder to number {entry.pw_uid} on the server"
        ) from error
