"""Users of the services: of the system, without a login and without a home."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import Refused
from .fix import Fix, command

HOME = "/nonexistent"
SHELL = "/usr/sbin/nologin"
NO_LOGIN = frozenset({SHELL, "/sbin/nologin", "/bin/false", "/usr/bin/false"})


def plan(wanted: Iterable[Mapping[str, Any]]) -> list[Fix]:
    """Fixes that make these users be; Refused when a number that one must have is somebody else's.

    The share knows users by number, so `uid` is the same on every host; None lets the host choose.
    """
    return [fix for user in wanted for fix in _user(str(user["name"]), user["uid"])]


def _user(name: str, uid: int | None) -> list[Fix]:
    try:
        have = pwd.getpwnam(name)
    except KeyError:
        _refuse_taken(name, uid)
        return [Fix(f"user {name}", "missing", _shown(uid), lambda: _make(name, uid))]
    if uid is not None and (have.pw_uid, have.pw_gid) != (uid, uid):
        raise Refused(
            f"user {name} has the numbers {have.pw_uid}:{have.pw_gid} on this host and must have {uid}:{uid}, under "
            "which the share knows it on every host; remove it with its files, or set caelum_uid_base to what the "
            "hosts have, or to 0 where no other host shares them"
        )
    if have.pw_shell in NO_LOGIN and have.pw_dir == HOME:
        return []
    before = f"shell {have.pw_shell}, home {have.pw_dir}"
    argv = ["usermod", "--shell", SHELL, "--home", HOME, name]
    return [Fix(f"user {name}", before, f"shell {SHELL}, home {HOME}", lambda: _run(argv, name))]


def _shown(uid: int | None) -> str:
    return "of the system, no login, no home" + (f", number {uid}" if uid is not None else "")


def _refuse_taken(name: str, uid: int | None) -> None:
    if uid is None:
        return
    owners = [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid == uid]
    owners += [f"group {entry.gr_name}" for entry in grp.getgrall() if entry.gr_gid == uid and entry.gr_name != name]
    if owners:
        raise Refused(
            f"user {name} is to have number {uid}, which {' and '.join(owners)} has on this host; set caelum_uid_base "
            "to a number below four that are free on every host"
        )


def _make(name: str, uid: int | None) -> None:
    number = [] if uid is None else ["--gid", str(uid)]
    try:
        grp.getgrnam(name)
    except KeyError:
        _run(["groupadd", "--system", *number, name], name)
    number = [] if uid is None else ["--uid", str(uid)]
    plain = ["--system", "--no-create-home", "--home-dir", HOME, "--shell", SHELL]
    _run(["useradd", *plain, *number, "--gid", name, name], name)


def _run(argv: list[str], name: str) -> None:
    command(argv, f"user {name} cannot be made or changed")
