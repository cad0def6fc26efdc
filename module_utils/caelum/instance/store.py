"""A service's revisions as files: `<n>.json`, `current`, `pending.json`, `fence` and `.lock` in one closed folder.

A deployment is: `begin`, which writes `pending.json`; the host's change; `commit`, which writes `<n>.json`, points
`current` to it and removes `pending.json`, or `discard`. Killed anywhere between, this holds: `current` is the last
release that was verified, and the host may be half way exactly while `pending` gives something. What makes a commit
true is one rename(2): that of `current`, or of the file of the revision that is current already. Each change has a
name (`change`), so that a `pending.json` that outlived its commit is known as such.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..atomic import fsync_dir, make_dirs, switch_symlink, write_atomic
from ..errors import Refused
from .accounts import owner_name
from .hostlock import held
from .layout import Layout
from .revision import Pending, Recorded, Revision

SERVICE = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
KEEP = 20
LOCK_WAIT_S = 120.0


class Fenced(Refused):
    """Somebody with a higher fencing token was on this host: this deployment is over."""


class Revisions:
    """The revisions of one service under a prefix. What writes takes the lock, what reads needs none."""

    def __init__(self, prefix: Path, service: str, *, lock_wait: float = LOCK_WAIT_S) -> None:
        """Nothing is read yet; Refused when `service` is no service's name."""
        if not SERVICE.fullmatch(service):
            raise Refused(f"{service!r} is no service's name; use lower case, as in fincoll")
        self.service = service
        self._folder = Layout(prefix).revisions / service
        self._pending = self._folder / "pending.json"
        self._current = self._folder / "current"
        self._fence = self._folder / "fence"
        self._lock_wait = lock_wait
        self._locks = 0

    def current(self) -> Revision | None:
        """The last release that was verified on this host, None before the first; Refused when its file is broken."""
        number = self._current_number()
        return None if number is None else self.read(number)

    def previous(self) -> Revision | None:
        """What the host had before `current`, None when there is no such revision any more."""
        chain = self.chain(2)
        return chain[1] if len(chain) > 1 else None

    def chain(self, depth: int) -> list[Revision]:
        """At most `depth` revisions: `current`, the one that it followed, and so on, while their files are there."""
        found: list[Revision] = []
        revision = self.current()
        while revision is not None and len(found) < depth:
            found.append(revision)
            revision = None if revision.previous is None else self._readable(revision.previous)
        return found

    def numbers(self) -> list[int]:
        """Numbers of all revisions that have a file, the highest last."""
        self._refuse_foreign()
        return sorted(int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdecimal())

    def kept(self) -> list[Revision]:
        """All revisions that can be read, the highest number first."""
        found = (self._readable(number) for number in reversed(self.numbers()))
        return [revision for revision in found if revision is not None]

    def read(self, number: int) -> Revision:
        """Revision `number`; Refused when there is none, or its file is broken."""
        self._refuse_foreign()
        path = self._path(number)
        try:
            return Revision.decode(path.read_bytes())
        except (OSError, ValueError) as error:
            what = os.strerror(error.errno or 0) if isinstance(error, OSError) else error
            raise Refused(
                f"revision {number} of {self.service} on this host cannot be read from {path}: {what}; "
                f"deploy the service again with `ansible-playbook deploy.yml -e service={self.service}`"
            ) from None

    def pending(self) -> Pending | None:
        """What the host is getting, so that it may be half way; None when it has what `current` says.

        A file that cannot be read counts, with no version and a token of 0: something was begun.
        """
        self._refuse_foreign()
        try:
            pending = Pending.decode(self._pending.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return Pending(version="(unreadable)", service=self.service, at="", fencing_token=0, change="")
        current = self._readable_current()
        return None if current and current.change == pending.change else pending

    def wanted(self, which: str) -> Revision:
        """The revision "current", "previous", or "rollback": current while the host may be half way, else previous.

        Refused when there is none.
        """
        if which == "current":
            revision = self.current()
            remedy = f"deploy it first with `ansible-playbook deploy.yml -e service={self.service}`"
        else:
            half_way = which == "rollback" and self.pending() is not None
            revision = self.current() if half_way else self.previous()
            remedy = (
                f"deploy the version that you want with "
                f"`ansible-playbook deploy.yml -e service={self.service} -e version=`"
            )
        if revision is None:
            earlier = (
                "recorded release on this host" if which == "current" else "earlier release on this host to return to"
            )
            raise Refused(f"{self.service} has no {earlier}; {remedy}")
        return revision

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who changes this service on this host; may be nested. Refused when another stays too long."""
        if self._locks == 0:
            self._make_folder()
        self._locks += 1
        try:
            if self._locks > 1:
                yield
            else:
                with held(self._folder / ".lock", self._lock_wait):
                    yield
        finally:
            self._locks -= 1

    def highest_token(self) -> int:
        """The highest fencing token that this host has seen for the service, 0 before the first."""
        self._refuse_foreign()
        try:
            return int(self._fence.read_text())
        except FileNotFoundError:
            return 0
        except ValueError:
            raise Refused(
                f"{self._fence} holds no number, so it cannot be told who may change {self.service} on this host; "
                "write the highest fencing_token of deployment_history into it"
            ) from None

    def refuse_fenced(self, token: int) -> None:
        """Fenced when a higher token was here."""
        highest = self.highest_token()
        if token < highest:
            raise Fenced(
                f"{self.service} on this host was taken over: fencing token {highest} was here since, this deployment "
                f"has {token}; look at the history for who took over, and run the command again if it is still wanted"
            )

    def fence(self, token: int) -> None:
        """Keep everyone with a lower token than `token` from changing this service; Fenced when a higher was here."""
        with self.locked():
            self.refuse_fenced(token)
            if token != self.highest_token():
                write_atomic(self._fence, f"{token}\n".encode(), 0o600)

    def begin(self, token: int, what: Recorded) -> Pending:
        """Say that the host is getting `what`: a revision to be activated, or what will be the next one."""
        with self.locked():
            self.fence(token)
            pending = self._pending_of(token, what)
            self._sweep()
            self._forget_unfinished()
            write_atomic(self._pending, pending.encode(), 0o600)
            return pending

    def commit(self, token: int) -> Revision:
        """Make what this token began the current revision; what it already committed is returned as it is.

        What equals the current revision makes no new one, but bears this token from now on: it was verified again. A
        deployment that was taken back leaves the revision that it returned to as it is. Refused when nothing of
        this token is pending.
        """
        with self.locked():
            self.fence(token)
            pending = self.pending()
            if pending is None:
                revision = self._committed(token)
            elif pending.fencing_token != token:
                raise Refused(
                    f"what {self.service} is getting on this host was begun with fencing token "
                    f"{pending.fencing_token}, not {token}; end it with "
                    f"`ansible-playbook abort.yml -e service={self.service}`"
                )
            else:
                revision = self._next_revision(pending)
                write_atomic(self._path(revision.number), revision.encode(), 0o600)
                if self._current_number() != revision.number:
                    switch_symlink(self._current, self._path(revision.number).name)
            self._remove(self._pending)
            self._prune()
            return revision

    def discard(self, token: int) -> bool:
        """Forget what is pending, whoever began it: the host has the current revision again. False when nothing was."""
        with self.locked():
            self.fence(token)
            was_pending = self.pending() is not None
            self._forget_unfinished()
            self._remove(self._pending)
            return was_pending

    def _pending_of(self, token: int, what: Recorded) -> Pending:
        about: dict[str, Any] = {
            "service": self.service,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "fencing_token": token,
            "change": secrets.token_hex(8),
        }
        if not isinstance(what, Revision):
            return Pending(**{entry.name: getattr(what, entry.name) for entry in fields(Recorded)}, **about)
        before = self.pending()
        began = before is not None and before.fencing_token == token
        takes_back = began and what.number == self._current_number()
        return Pending(version=what.version, action="rollback", activate=what.number, takes_back=takes_back, **about)

    def _committed(self, token: int) -> Revision:
        current = self.current()
        if current is None or current.fencing_token != token:
            raise Refused(
                f"nothing that fencing token {token} began is pending for {self.service} on this host; "
                "apply it first with caelum_instance"
            )
        return current

    def _next_revision(self, pending: Pending) -> Revision:
        """What is to be current once `pending` is committed, under the number that it has or gets."""
        if pending.activate is not None:
            if pending.takes_back:
                return self.read(pending.activate)
            return replace(self.read(pending.activate), fencing_token=pending.fencing_token, change=pending.change)
        current = self._readable_current()
        if current is not None and current.content() == pending.content():
            return replace(current, fencing_token=pending.fencing_token, change=pending.change)
        self._forget_unfinished()  # the file of a commit that was killed before the switch
        return Revision(
            **{entry.name: getattr(pending, entry.name) for entry in fields(Recorded)},
            number=max(self.numbers(), default=0) + 1,
            service=self.service,
            at=pending.at,
            previous=self._current_number(),
            fencing_token=pending.fencing_token,
            change=pending.change,
            made=pending.fencing_token,
        )

    def _forget_unfinished(self) -> None:
        """Remove the file of a revision whose commit was killed before it became current."""
        pending = self.pending()
        highest = max(self.numbers(), default=None)
        if pending is None or pending.activate is not None or highest in {None, self._current_number()}:
            return
        revision = self._readable(highest or 0)
        if revision is not None and revision.change == pending.change:
            self._remove(self._path(revision.number))

    def _prune(self) -> None:
        """Remove revisions that are neither of the last `KEEP` nor can be returned to within `KEEP` steps."""
        numbers = self.numbers()
        if len(numbers) <= KEEP:
            return
        reachable: set[int] = set()
        number = self._current_number()
        while number is not None and len(reachable) < KEEP:
            reachable.add(number)
            revision = self._readable(number)
            number = revision.previous if revision else None
        for number in numbers[:-KEEP]:
            if number not in reachable:
                self._remove(self._path(number))

    def _current_number(self) -> int | None:
        self._refuse_foreign()
        try:
            name = self._current.readlink().stem
        except FileNotFoundError:
            return None
        except OSError:
            name = "?"
        if not name.isdecimal():
            raise Refused(
                f"{self._current} is no link to a revision; point it to the right one with `ln -sfn <n>.json`"
            )
        return int(name)

    def _readable_current(self) -> Revision | None:
        number = self._current_number()
        return None if number is None else self._readable(number)

    def _readable(self, number: int) -> Revision | None:
        """Revision `number`, None where its file is missing or broken: a deployment makes good for it."""
        try:
            return self.read(number)
        except Refused:
            return None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.json"

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        fsync_dir(self._folder)

    def _sweep(self) -> None:
        """Remove temporary files that a killed write left: they may hold credentials."""
        for path in self._folder.glob(".*"):
            if path.name != ".lock":
                self._remove(path)

    def _make_folder(self) -> None:
        """Make the folder, closed to others: who can write here chooses what the caller will run."""
        self._refuse_foreign()
        make_dirs(self._folder.parent.parent)
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        fsync_dir(self._folder.parent)

    def _refuse_foreign(self) -> None:
        """Refused when somebody else could have written what is in the folder."""
        for folder in (self._folder.parent, self._folder):
            try:
                status = folder.lstat()
            except FileNotFoundError:
                return
            if not stat.S_ISDIR(status.st_mode):
                raise Refused(f"{folder} is a link; the records must lie under the prefix itself, move them there")
            if status.st_uid != os.geteuid():
                raise Refused(
                    f"{folder} belongs to {owner_name(folder)}, who could choose what this call runs; "
                    "run as that user, or as root look into it and give it to root with `chown -R -h root`"
                )
            if status.st_mode & 0o022:
                raise Refused(
                    f"{folder} can be written by others; look into it and close it with `chmod -R go= {folder}`"
                )
