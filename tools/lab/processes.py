"""Processes that outlive the command that starts them: each in a session of its own, known by number and start time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.lab.errors import LabError


@dataclass(frozen=True)
class Process:
    """A process as it was started; its number alone may be another's by now."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started

    def signal(self, number: int) -> bool:
        """Whether it was there to get the signal."""
        try:
            handle = os.pidfd_open(self.pid)
        except (ProcessLookupError, OSError):
            return False
        try:
            if not self.alive:  # the handle pins the number, so what is compared now is what gets the signal
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def end(self, timeout_s: float = 3) -> None:
        """Gone when this returns: asked first, then made to."""
        for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 10.0)):
            if not self.signal(number):
                return
            self.signal(signal.SIGCONT)
            if self._gone(patience_s):
                return
        raise LabError(f"process {self.pid} does not end, even killed; see `cat /proc/{self.pid}/stack`")

    def _gone(self, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while self.alive:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)  # where it is this process's own child
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which `pid` started; None where it is gone or waits for its parent only."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def start(command: Sequence[str], log: Path, cwd: Path = Path("/"), inherited: Sequence[int] = ()) -> Process:
    """Start `command` in a session of its own, both streams into `log`."""
    with log.open("ab") as out:
        child = subprocess.Popen(  # noqa: S603 - every caller passes a list of its own
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, start_new_session=True,
            pass_fds=list(inherited),
        )  # fmt: skip
    child.returncode = 0  # nobody waits for it; without this the garbage collector would warn
    started = start_time(child.pid)
    if started is None:
        raise LabError(f"`{' '.join(command)}` ended at once; see {log}")
    return Process(child.pid, started)
