"""Directories and files of a host as values: what they should be, what they are, and how one becomes the other."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..atomic import fsync_dir, make_dirs, switch_symlink, write_atomic

HIDDEN = "(not shown)\n"


@dataclass(frozen=True)
class Directory:
    """A directory and who may do what in it; `uid` and `gid` None leave the owner as it is."""

    path: Path
    mode: int
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True)
class File:
    """A file and its content. `secret` content never leaves this value; `volatile` lines are kept out of the diff.

    With `link` it is a symbolic link, and the content what it points to.
    """

    path: Path
    content: str = field(repr=False)
    mode: int
    uid: int | None = None
    gid: int | None = None
    secret: bool = False
    volatile: str | None = None
    link: bool = False

    def shown(self, text: str) -> str:
        """`text`, the file's content now or before, as a diff may show it."""
        if self.secret:
            return HIDDEN
        if self.volatile is None:
            return text
        return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(self.volatile))


@dataclass(frozen=True)
class Found:
    """What is at a path: permissions, owner and, for a file that was read, its content."""

    mode: int
    uid: int
    gid: int
    content: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FileChange:
    """A file that must be written; `before` is its content now, None when it is missing."""

    file: File
    before: str | None = field(repr=False)

    @property
    def content_changes(self) -> bool:
        """Whether a reader of the file would notice."""
        return self.before != self.file.content

    def diff(self) -> dict[str, str]:
        """The change as `--diff` shows it."""
        name = str(self.file.path)
        before = "" if self.before is None else self.file.shown(self.before)
        after = self.file.shown(self.file.content)
        if self.file.secret and self.before is not None and self.content_changes:
            after = "(not shown, changed)\n"
        return {"before_header": name, "after_header": name, "before": before, "after": after}


def link(path: Path, target: Path) -> File:
    """A symbolic link at `path`."""
    return File(path, str(target), 0o777, link=True)


def look(path: Path, *, read: bool = False, link: bool = False) -> Found | None:
    """What is at `path`, None when nothing is; with `read` a file's content too, with `link` that of a link."""
    try:
        if link:
            status = path.lstat()
            content = str(path.readlink()) if path.is_symlink() else None
            return Found(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, content)
        status = path.stat()
        content = path.read_text(encoding="utf-8", errors="surrogateescape") if read else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Found(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, content)


def observe(directories: Iterable[Directory], files: Iterable[File]) -> dict[Path, Found]:
    """What exists of these directories and files."""
    looked = {directory.path: look(directory.path) for directory in directories}
    looked |= {file.path: look(file.path, read=True, link=file.link) for file in files}
    return {path: found for path, found in looked.items() if found is not None}


def differs(want: Directory | File, found: Found | None) -> bool:
    """Whether permissions or owner are not as wanted, or nothing is there."""
    return (
        found is None
        or found.mode != want.mode
        or (want.uid is not None and found.uid != want.uid)
        or (want.gid is not None and found.gid != want.gid)
    )


def plan_directories(want: Iterable[Directory], found: Mapping[Path, Found]) -> tuple[Directory, ...]:
    """Directories to make or correct, in the order given, a later mention of one path winning."""
    last = {directory.path: directory for directory in want}
    return tuple(directory for directory in last.values() if differs(directory, found.get(directory.path)))


def plan_files(want: Iterable[File], found: Mapping[Path, Found]) -> tuple[FileChange, ...]:
    """Files to write, in the order given."""
    changes = []
    for file in want:
        have = found.get(file.path)
        if differs(file, have) or have is None or have.content != file.content:
            changes.append(FileChange(file, have.content if have else None))
    return tuple(changes)


def emptied(folders: Iterable[Path], going: Iterable[Path]) -> list[Path]:
    """Those of `folders`, given deepest first, that hold nothing but what is `going`, and so can go as well."""
    gone = set(going)
    found = []
    for folder in folders:
        if folder.is_dir() and gone.issuperset(folder.iterdir()):
            gone.add(folder)
            found.append(folder)
    return found


def make_directory(directory: Directory) -> None:
    """Make the directory, its parents too, or correct its permissions and owner."""
    for parent in reversed(directory.path.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)
    directory.path.mkdir(exist_ok=True, mode=0o700)
    if directory.uid is not None and directory.gid is not None:
        os.chown(directory.path, directory.uid, directory.gid)
    directory.path.chmod(directory.mode)


def write_file(file: File) -> None:
    """Replace the file, then give it to its owner."""
    if file.link:
        make_dirs(file.path.parent)
        switch_symlink(file.path, file.content)
        return
    write_atomic(file.path, file.content.encode("utf-8", errors="surrogateescape"), file.mode)
    if file.uid is not None or file.gid is not None:
        os.chown(file.path, _or_keep(file.uid), _or_keep(file.gid), follow_symlinks=False)


def remove(path: Path) -> None:
    """Remove a file or link, or a directory that is empty by then; what is missing or not empty stays so."""
    if path.is_dir() and not path.is_symlink():
        if any(path.iterdir()):
            return
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    if path.parent.is_dir():
        fsync_dir(path.parent)


def _or_keep(number: int | None) -> int:
    return -1 if number is None else number
