"""Writes that could not reach the database, kept on the host until the next run replays them in order.

One file per write, `<number>-<write id>.json`, written atomically. A file goes only after the database has it, and
the database knows each write by its id, so a crash between the two replays nothing twice.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..atomic import fsync_dir, write_atomic
from ..errors import Refused


@dataclass(frozen=True)
class Write:
    """One change to open deployments, as it is sent to the database or kept for later.

    `event` is `closed` or the name of a step; `at` is when it happened (ISO 8601, UTC), which a replay keeps.
    """

    write_id: str
    at: str
    ids: tuple[int, ...]
    fencing_token: int
    event: str
    host: str | None
    detail: dict[str, Any]
    status: str | None = None
    logs: str | None = None
    evidence: dict[str, Any] | None = None


class Journal:
    """The folder `path` of kept writes; it is made by the first one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> list[Path]:
        """Files of the kept writes, the oldest first."""
        return sorted(self._path.glob("[0-9]*-*.json")) if self._path.is_dir() else []

    def keep(self, write: Write) -> Path:
        """Put `write` behind the others; on disk when this returns."""
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                last = max((int(entry.name.partition("-")[0]) for entry in self.entries()), default=0)
                entry = self._path / f"{last + 1:08d}-{write.write_id}.json"
                write_atomic(entry, json.dumps(asdict(write), sort_keys=True).encode(), mode=0o600)
        except OSError as error:
            raise Refused(
                f"the journal {self._path} cannot be written ({error.strerror}), and the database is away: "
                f"{write.event} of deployment {', '.join(map(str, write.ids))} is not recorded; make room or correct "
                "the folder's owner, then record it with the same module call"
            ) from None
        return entry

    @contextmanager
    def replaying(self) -> Iterator[list[tuple[Path, Write]]]:
        """The kept writes, oldest first, while no other run adds to them or replays them."""
        if not self.entries():
            yield []
            return
        with self._locked():
            yield [(entry, self._read(entry)) for entry in self.entries()]

    def forget(self, entry: Path) -> None:
        """Drop a write that the database has."""
        entry.unlink()
        fsync_dir(self._path)

    def reject(self, entry: Path) -> Path:
        """Put aside a write that the database will never take, so that it holds up no other."""
        aside = self._path / "rejected"
        aside.mkdir(mode=0o700, exist_ok=True)
        kept = entry.rename(aside / entry.name)
        fsync_dir(aside)
        fsync_dir(self._path)
        return kept

    def _read(self, entry: Path) -> Write:
        try:
            fields = json.loads(entry.read_bytes())
            return Write(**{**fields, "ids": tuple(fields["ids"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise Refused(
                f"{entry} is not a journal entry ({type(error).__name__}); read it, then move it out of the folder"
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
