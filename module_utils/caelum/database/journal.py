"""Writes that could not reach the database, kept on the host until the next run replays them in order.

One file per entry, `<number>-<write id>.json`, written atomically. A file goes only after the database has it, and
the database knows each entry by its id, so a crash between the two replays nothing twice.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..atomic import fsync_dir, write_atomic
from ..errors import Refused
from .entries import Entry, pack, unpack


class Journal:
    """The folder `path` of kept entries; it is made by the first one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> list[Path]:
        """Files of the kept entries, the oldest first."""
        return sorted(self._path.glob("[0-9]*-*.json")) if self._path.is_dir() else []

    def keep(self, entry: Entry) -> Path:
        """Put `entry` behind the others; on disk when this returns."""
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                last = max((int(file.name.partition("-")[0]) for file in self.entries()), default=0)
                kept = self._path / f"{last + 1:08d}-{entry.write_id}.json"
                write_atomic(kept, json.dumps(pack(entry), sort_keys=True).encode(), mode=0o600)
        except OSError as error:
            raise Refused(
                f"the journal {self._path} cannot be written ({error.strerror}), and the database is away: "
                f"{entry} is not recorded; make room or correct the folder's owner, then record it with the same "
                "module call"
            ) from None
        return kept

    @contextmanager
    def replaying(self) -> Iterator[list[tuple[Path, Entry]]]:
        """The kept entries, oldest first, while no other run adds to them or replays them."""
        if not self.entries():
            yield []
            return
        with self._locked():
            yield [(file, self._read(file)) for file in self.entries()]

    def forget(self, file: Path) -> None:
        """Drop an entry that the database has."""
        file.unlink()
        fsync_dir(self._path)

    def reject(self, file: Path) -> Path:
        """Put aside an entry that the database will never take, so that it holds up no other."""
        aside = self._path / "rejected"
        aside.mkdir(mode=0o700, exist_ok=True)
        kept = file.rename(aside / file.name)
        fsync_dir(aside)
        fsync_dir(self._path)
        return kept

    def _read(self, file: Path) -> Entry:
        try:
            return unpack(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Refused(
                f"{file} is not a journal entry ({type(error).__name__}); read it, then move it out of the folder"
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
