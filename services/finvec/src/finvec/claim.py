"""One host trains a job: a claim on the share, which every host that may train the job looks for.

A claim appears whole and only once (link(2) fails where its name is taken, on NFS too), its holder touches it while it
trains, and what was not touched for STALE_S is taken over. Ages are told by the share's own clock.
"""

import _thread
import json
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

BEAT_S = 30.0
# Longer than a share may hang: a holder that cannot reach it is no dead one.
STALE_S = 900.0
RELEASE_S = 2.0


@dataclass(frozen=True)
class Holder:
    """Who claims a job: the host as it calls itself, and since when (ISO 8601)."""

    host: str
    since: str
    token: str


class Claim:
    """This host's claim to `job`; the files lie in `folder`."""

    def __init__(self, folder: Path, job: str, host: str) -> None:
        self._path = folder / f"{job}.json"
        self._me = Holder(host, datetime.now(UTC).isoformat(timespec="seconds"), token_hex(8))
        self._stop = threading.Event()
        self.lost: Holder | None = None

    def take(self) -> Holder | None:
        """None once this host holds the claim; else who does.

        A claim of this very host is one that it left behind: the caller makes sure that it runs the job but once.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._draft() as draft:
            holder = self._link(draft)
            if holder is None:
                return None
            silent = draft.stat().st_mtime - self._touched()
            if holder.host != self._me.host and silent <= STALE_S:
                return holder
            return self._take_over(draft, holder)

    def keep(self) -> None:
        """Touches the claim until it is released; one that another host took over ends this process as SIGTERM does."""
        threading.Thread(target=self._beat, name="claim", daemon=True).start()

    def release(self) -> None:
        """Gives the claim up, unless the share hangs: then it grows stale."""
        self._stop.set()
        within(RELEASE_S, self._remove)

    def holder(self) -> Holder | None:
        """Who holds the claim now."""
        try:
            fields = json.loads(self._path.read_bytes())
            return Holder(str(fields["host"]), str(fields["since"]), str(fields["token"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return Holder("a host that cannot be told", "an unknown time", "unreadable")

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """This host's claim under a name of its own, on disk."""
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(handle, "w") as stream:
                json.dump(vars(self._me), stream)
                os.fchmod(stream.fileno(), 0o644)
                stream.flush()
                os.fsync(stream.fileno())
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def _link(self, draft: Path) -> Holder | None:
        """None when the draft has become the claim; else who was first."""
        while True:
            try:
                os.link(draft, self._path)
            except FileExistsError:
                if holder := self.holder():
                    # An answer that NFS lost and asked for again tells that the name is taken: by us.
                    return None if holder == self._me else holder
            else:
                return None

    def _touched(self) -> float:
        try:
            return self._path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _take_over(self, draft: Path, stale: Holder) -> Holder | None:
        """Replaces a stale claim; of several hosts that try, one wins, since only one can link its name."""
        right = self._path.with_suffix(f".{stale.token}.taken")
        try:
            os.link(draft, right)
        except FileExistsError:
            with suppress(FileNotFoundError):  # left by one that died in this very place
                if draft.stat().st_mtime - right.stat().st_mtime > STALE_S:
                    right.unlink()
            return stale
        try:
            current = self.holder()
            if current is not None and current.token != stale.token:
                return current
            draft.replace(self._path)
        finally:
            right.unlink(missing_ok=True)
        return None

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(OSError):  # the share is away: nobody else can take over either
                holder = self.holder()
                if holder != self._me:
                    self.lost = holder or Holder("nobody", "now", "")
                    _thread.interrupt_main(signal.SIGTERM)
                    return
                os.utime(self._path)

    def _remove(self) -> None:
        if self.holder() == self._me:
            self._path.unlink(missing_ok=True)


def within(seconds: float, work: Callable[[], None]) -> bool:
    """Whether `work` was done in time; if not it goes on in its thread, which keeps no process from ending."""
    done = threading.Event()

    def run() -> None:
        with suppress(OSError):
            work()
        done.set()

    threading.Thread(target=run, daemon=True).start()
    return done.wait(seconds)
