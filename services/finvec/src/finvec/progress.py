"""How far a training is: a bar on a terminal, plain lines elsewhere, a file for who follows it, a status for PIM."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from finvec import gpu
from finvec.files import write_atomic

EVERY = 2.0  # seconds between plain lines, and between statuses


class Reporter:
    """Tells how far one job's training is; a context manager, so that the status is "idle" however it ends.

    All lines go to standard error: standard output holds the result alone.
    """

    def __init__(self, job: str, log: Path | None = None, status: Path | None = None) -> None:
        self.job = job
        self.device = ""
        self.seconds: dict[str, float] = {}
        self._log = log
        self._status = status
        self._began = self._phase_began = time.monotonic()
        self._said = -EVERY
        self._phase, self._from, self._upto, self._at = "start", 0.0, 0.0, 0.0
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = self._bar.add_task(job, total=1.0) if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        self._write_status("training")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_phase()
        if self._bar:
            self._bar.stop()
        self._write_status("idle")

    def phase(self, name: str, upto: float) -> None:
        """Begins a phase that ends when the share `upto` of the whole training is done."""
        self._close_phase()
        self._phase, self._from, self._upto = name, self._upto, upto
        self.tell(name, 0.0, now=True)

    def tell(self, line: str, share: float = 1.0, *, now: bool = False) -> None:
        """Says `line` when the share `share` of the phase is done; too frequent lines are left out unless `now`."""
        self._at = self._from + (self._upto - self._from) * min(1.0, share)
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._at, description=line)
        clock = time.monotonic()
        if clock - self._said < EVERY and not now:
            return
        self._said = clock
        self.say(f"{line} ({self._at:.0%})")
        self._write_status("training")

    def say(self, line: str) -> None:
        """Says a line that must not be left out."""
        if self._bar:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            print(f"finvec {self.job}: {line}", file=sys.stderr, flush=True)
        if self._log:
            with self._log.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")

    def finish(self) -> dict[str, float]:
        """Ends the last phase; seconds spent in each."""
        self._close_phase()
        return self.seconds

    def _close_phase(self) -> None:
        now = time.monotonic()
        self.seconds[self._phase] = round(self.seconds.get(self._phase, 0.0) + now - self._phase_began, 2)
        self._phase_began = now

    def _write_status(self, status: str) -> None:
        if not self._status:
            return
        now = datetime.now(UTC)
        training = status == "training"
        spent = time.monotonic() - self._began
        left = spent * (1 - self._at) / self._at if self._at else None
        document = {
            "status": status,
            "current_job": self.job if training else None,
            "progress": round(self._at, 3),
            "eta": (now + timedelta(seconds=left)).isoformat() if training and left is not None else None,
            "device": self.device or None,
            "gpu_usage": gpu.usage(),
            "updated_at": now.isoformat(),
        }
        write_atomic(self._status, json.dumps(document).encode() + b"\n")


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
