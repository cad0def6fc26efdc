"""FinVec's reports in `<share>/finvec/status`: how far each host's job is, and how busy its GPUs are."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

# A job writes at least every few steps; one silent for so long has died without saying so.
SILENT = timedelta(minutes=10)
# A GPU's use is reported each minute.
USE_KNOWN_FOR = timedelta(minutes=5)
EVERY_S = 2.0
# What was read last stands in for a share that hangs, for so long.
KNOWN_FOR_S = 60.0
USE_SUFFIX = ".gpu"


@dataclass(frozen=True)
class Training:
    """One host's report: `progress` 0 to 1, `status` training, idle or stalled, `device` what it trains on."""

    host: str
    status: str
    current_job: str | None
    progress: float | None
    eta: str | None
    gpu_usage: str
    device: str | None = None


def read(folder: Path | None, now: datetime) -> list[Training]:
    """Every host's report, by host; a file that cannot be read is left out, since a new one soon takes its place."""
    if folder is None or not folder.is_dir():
        return []
    documents: dict[str, dict[str, Any]] = {}
    for file in folder.glob("*.json"):
        try:
            documents[file.stem] = dict(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
    hosts = sorted({name.removesuffix(USE_SUFFIX) for name in documents})
    return [
        report
        for host in hosts
        if (report := _merged(host, documents.get(host), documents.get(host + USE_SUFFIX), now)) is not None
    ]


def parse(host: str, report: Mapping[str, Any], now: datetime) -> Training:
    """A progress file's document, `stalled` when SILENT has passed. Raises KeyError, TypeError and ValueError."""
    status = str(report["status"])
    if status == "training" and now - datetime.fromisoformat(report["updated_at"]) > SILENT:
        status = "stalled"
    progress = report.get("progress")
    return Training(
        host=host,
        status=status,
        current_job=report.get("current_job"),
        progress=None if progress is None else min(max(float(progress), 0.0), 1.0),
        eta=report.get("eta"),
        gpu_usage=usage([report], now),
        device=report.get("device"),
    )


def usage(reports: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """A host's use of its GPUs by the newest of its reports; "unknown" when that is old. Raises as `parse`.

    A host without a GPU gets none by time passing.
    """
    told = [
        (datetime.fromisoformat(report["updated_at"]), str(report.get("gpu_usage") or "none")) for report in reports
    ]
    at, found = max(told)
    return found if found == "none" or now - at <= USE_KNOWN_FOR else "unknown"


def _merged(
    host: str, progress: Mapping[str, Any] | None, use: Mapping[str, Any] | None, now: datetime
) -> Training | None:
    """A host's two files as one report; None where neither can be understood."""
    both = [report for report in (progress, use) if report is not None]
    idle = {"status": "idle", "updated_at": now.isoformat()}
    for known in (both, both[:1], both[1:]):
        try:
            base = parse(host, progress if progress in known else idle, now)
            return Training(**{**vars(base), "gpu_usage": usage(known, now)})
        except (KeyError, TypeError, ValueError):
            continue
    return None


class TrainingReader:
    """Reads the reports all the time in one thread, so that nobody who asks for them waits for the share.

    A share that hangs holds that thread and nothing else: it costs no second one, and keeps no process from ending.
    """

    def __init__(self, folder: Path | None, every_s: float = EVERY_S) -> None:
        self._folder = folder
        self._every_s = every_s
        self._stopped = Event()
        self._looked = Event()
        self._known: tuple[list[Training], float] | None = None

    def start(self, patience_s: float = 1.0) -> None:
        """Begins to read; returns after the first look, or after `patience_s`."""
        # A daemon, unlike an executor's: a hanging share must not keep the process from stopping.
        Thread(target=self._work, name=f"finvec-status-{os.getpid()}", daemon=True).start()
        self._looked.wait(patience_s)

    def stop(self) -> None:
        """Ends the reading, now or when the share answers again."""
        self._stopped.set()

    def known(self) -> list[Training] | None:
        """The reports as last read; None when that was more than KNOWN_FOR_S ago."""
        if self._known is None or self.age_s() > KNOWN_FOR_S:
            return None
        return self._known[0]

    def age_s(self) -> float:
        """Seconds since the reports were read; infinite when they never were."""
        return float("inf") if self._known is None else time.monotonic() - self._known[1]

    def _work(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            with suppress(OSError):  # a share that fails at once: what was known grows old
                self._known = (read(self._folder, datetime.now(UTC)), began)
            self._looked.set()
            self._stopped.wait(self._every_s)
