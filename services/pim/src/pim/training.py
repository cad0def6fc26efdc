"""FinVec's progress files: one per host in `<share>/finvec/status`."""

import asyncio
import json
import os
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

# A job writes at least every few steps; one silent for so long has died without saying so.
SILENT = timedelta(minutes=10)
SHARE_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Training:
    """One host's report: `progress` 0 to 1, `status` training, idle or stalled."""

    host: str
    status: str
    current_job: str | None
    progress: float | None
    eta: str | None
    gpu_usage: str


def read(folder: Path | None, now: datetime) -> list[Training]:
    """Every host's report, by host; a file that cannot be read is left out, since a new one soon takes its place."""
    if folder is None or not folder.is_dir():
        return []
    reports = []
    for file in sorted(folder.glob("*.json")):
        try:
            reports.append(parse(file.stem, json.loads(file.read_bytes()), now))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return reports


def parse(host: str, report: dict[str, Any], now: datetime) -> Training:
    """A progress file's document, `stalled` when SILENT has passed. Raises KeyError, TypeError and ValueError."""
    status = str(report["status"])
    updated = datetime.fromisoformat(report["updated_at"])
    if status == "training" and now - updated > SILENT:
        status = "stalled"
    progress = report.get("progress")
    return Training(
        host=host,
        status=status,
        current_job=report.get("current_job"),
        progress=None if progress is None else min(max(float(progress), 0.0), 1.0),
        eta=report.get("eta"),
        gpu_usage=str(report.get("gpu_usage") or "none"),
    )


class TrainingReader:
    """Reads the reports without waiting for a share that hangs.

    A read that hangs keeps its thread; no second one starts before it ends, so a dead share costs one thread.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._reading: Future[list[Training]] | None = None

    async def read(self) -> list[Training] | None:
        """The reports; None while the share does not answer."""
        if self._reading is None:
            self._reading = _in_thread(self._folder)
        try:
            async with asyncio.timeout(SHARE_TIMEOUT_S):
                reports = await asyncio.shield(asyncio.wrap_future(self._reading))
        except TimeoutError:
            return None
        self._reading = None
        return reports


def _in_thread(folder: Path | None) -> Future[list[Training]]:
    future: Future[list[Training]] = Future()

    def work() -> None:
        try:
            future.set_result(read(folder, datetime.now(UTC)))
        except OSError:
            future.set_result([])

    # A daemon, unlike an executor's: a hanging share must not keep the process from stopping.
    Thread(target=work, name=f"finvec-status-{os.getpid()}", daemon=True).start()
    return future
