"""Files, links and directories that are either wholly there or not there, also after a power cut."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def fsync_dir(path: Path) -> None:
    """Make the names in directory `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Make everything written so far to the file system of `path` durable.

    One syncfs(2) costs less than an fsync(2) for each of a virtual environment's thousands of files.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def make_dirs(path: Path) -> None:
    """Make the directory `path` and those above it that are missing, 0755 whatever the umask: services must get in."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` by `data` with `mode`, whatever the umask: temporary file, fsync, rename, fsync of the folder.

    Readers see the old bytes or the new ones. The folder must exist; raises OSError as the file system does.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def switch_symlink(link: Path, target: str) -> None:
    """Make `link` point to `target` by rename(2): at no moment is it missing or half there."""
    temporary = link.parent / f".{link.name}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    try:
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(link.parent)


def publish_dir(partial: Path, final: Path) -> None:
    """Give the finished directory `partial` its name `final`; one that has that name is put aside and removed."""
    sync_filesystem(partial)
    aside = final.with_name(f"{final.name}.old")
    if aside.exists():
        remove_tree(aside)
    if final.exists():
        final.rename(aside)
    partial.rename(final)
    fsync_dir(final.parent)
    if aside.exists():
        remove_tree(aside)


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; `waiting` is called once if another process has it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_read_only(root: Path) -> None:
    """Take write permission from everything under `root`, and let everyone read it and enter its folders."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                path.chmod(0o555 if mode & 0o100 else 0o444)
        Path(folder).chmod(0o555)


def remove_tree(root: Path) -> None:
    """Remove the directory `root`, with folders in it that even their owner may not write or enter."""
    _open_up(root)
    for folder, names, _ in os.walk(root):  # from the top: a folder is opened before the walk enters it
        for name in names:
            _open_up(Path(folder, name))
    shutil.rmtree(root)


def _open_up(folder: Path) -> None:
    """Let the owner work in `folder`, and nobody else more than before: it may hold secrets until it is gone."""
    mode = folder.lstat().st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
        folder.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
