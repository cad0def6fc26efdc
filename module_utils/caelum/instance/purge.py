"""What a purge removes: all files of a deployment, data and releases included, and nothing beside them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..adopt.records import Records
from ..errors import Refused
from . import tree
from .accounts import owner_name
from .layout import Layout
from .runtime import Runtime

# The folders that mark a prefix go last: an interrupted purge is known as such and finished by the next.
FOLDERS = ("var/log/caelum", "var/cache/caelum", "var/lib/caelum", "etc/supervisor", "opt/caelum", "etc/caelum")
MARKS = ("opt/caelum", "etc/caelum")


@dataclass(frozen=True)
class Purge:
    """`trees` go with all they hold, then `files`, then `folders`, which are empty by then, the deepest first."""

    trees: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()


def plan_purge(layout: Layout, runtime: Runtime, also: Sequence[str]) -> Purge:
    """What to remove under the prefix; of the paths `also`, absolute or relative to it, those that lie below it.

    Empty when the prefix is gone. Refused when it is no deployment's, or the caller cannot remove all of it.
    """
    prefix = layout.prefix
    if not os.path.lexists(prefix):
        return Purge()
    _refuse_foreign(prefix)
    _refuse_adopted(Records(prefix))
    candidates = (*_below(prefix, also), *(prefix / name for name in FOLDERS))
    trees = _outermost(path for path in candidates if os.path.lexists(path))
    for path in trees:
        _refuse_out_of_reach(path, prefix)
    files = tuple(path for path in runtime.own_files() if not _within(path, trees))
    ours = (*candidates, *files, *(directory.path for directory in runtime.directories()))
    folders = {folder for path in ours for folder in (path, *path.parents) if _within(folder, [prefix])}
    deepest_first = sorted(folders, key=lambda path: len(path.parts), reverse=True)
    removable = (path for path in deepest_first if not _within(path, trees) and _may_be_removed(path))
    return Purge(trees, files, tuple(tree.emptied(removable, {*trees, *files})))


def _below(prefix: Path, also: Iterable[str]) -> list[Path]:
    root = prefix.resolve()
    paths = [(prefix / name).resolve() for name in also]
    return [prefix / path.relative_to(root) for path in paths if root in path.parents]


def _within(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _may_be_removed(folder: Path) -> bool:
    """Whether the name can go: a mount point's cannot, nor one in a folder that the caller may not write."""
    return not os.path.ismount(folder) and os.access(folder.parent, os.W_OK)


def _refuse_foreign(prefix: Path) -> None:
    where = prefix.resolve()
    homes = {Path(entry.pw_dir).resolve() for entry in pwd.getpwall()} | {Path.home().resolve()}
    remedy = "give the folder of a deployment with -e caelum_prefix="
    if where == Path("/"):
        raise Refused(f"{prefix} is the whole system and is not purged; {remedy}, or leave out purge")
    if where in homes:
        raise Refused(f"{prefix} is a home directory and is not purged; {remedy}, or leave out purge")
    if not any((prefix / mark).is_dir() for mark in MARKS):
        marks = " nor ".join(MARKS)
        raise Refused(f"{prefix} holds no deployment, neither {marks} is in it, and is not purged; {remedy}")


def _refuse_adopted(records: Records) -> None:
    if names := records.services():
        raise Refused(
            f"{records.folder} notes how to start {', '.join(names)} again, as before the deployment; `make down` and "
            "give them back with `ansible-playbook adopt.yml -e adopt_step=return`, or remove that folder"
        )


def _refuse_out_of_reach(path: Path, prefix: Path) -> None:
    if path.resolve() != prefix.resolve() / path.relative_to(prefix):
        raise Refused(f"{path} is a link, or lies behind one, to {path.resolve()}; remove both by hand and purge again")
    if os.geteuid() not in {0, path.stat().st_uid}:
        raise Refused(f"{path} belongs to {owner_name(path)}; run as that user, or as root")


def _outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """`paths` without those inside others."""
    known = tuple(dict.fromkeys(paths))
    return tuple(path for path in known if not _within(path, (other for other in known if other != path)))
