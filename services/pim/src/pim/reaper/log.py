"""Logs as the services write them, JSON lines on standard output, without the libraries that theirs need."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from caelum_common import release
from pim.reaper.settings import ReaperSettings

_QUIET = {"WARNING", "ERROR"}


@dataclass(frozen=True)
class Log:
    """Writes events with this process's labels; `quiet` leaves out what is no error."""

    instance: str
    version: str
    quiet: bool = False

    @classmethod
    def of(cls, settings: ReaperSettings) -> "Log":
        """The log of this process."""
        return cls(settings.instance, release.current().version, settings.log_level in _QUIET)

    def info(self, event: str, **facts: object) -> None:
        """Something that happened."""
        if not self.quiet:
            self._write("info", event, facts)

    def error(self, event: str, **facts: object) -> None:
        """Something that should not have happened."""
        self._write("error", event, facts)

    def _write(self, level: str, event: str, facts: dict[str, object]) -> None:
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = {
            "instance": self.instance,
            "version": self.version,
            **facts,
            "event": event,
            "level": level,
            "timestamp": at,
        }
        # Whoever reads may be gone: taking PIM back ends the watcher, through which this process writes.
        with suppress(OSError):
            os.write(1, json.dumps(line, default=str).encode() + b"\n")
