"""The watcher: a sign of life, a question each second, and a process for what is found."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from caelum.database import lease
from caelum.errors import Refused
from caelum.instance import detached
from caelum.instance.layout import Layout
from caelum_common import memory, release
from pim import heartbeat
from pim.reaper.link import Link
from pim.reaper.log import Log
from pim.reaper.settings import ReaperSettings

if TYPE_CHECKING:
    from psycopg2 import extensions

EVERY_S = 1.0
HEARTBEAT_S = 10.0
# After a process that failed, so that what it stumbles over is not asked for each second.
RETRY_S = 5.0
COMMAND = (sys.executable, "-m", "pim.reaper.round")


def round_command(settings: ReaperSettings, environ: Mapping[str, str] = os.environ) -> Sequence[str]:
    """What begins a round: under systemd in a unit of its own, since a restart of PIM ends all of the watcher's."""
    if settings.runtime != "systemd":
        return COMMAND
    layout = Layout(settings.prefix)
    # The watcher's own copy of the credentials goes with its unit.
    passed = {
        "CAELUM_ENV_FILE": environ.get("CAELUM_ENV_FILE", str(layout.env_file(settings.instance))),
        "CREDENTIALS_DIRECTORY": str(layout.credentials_of(settings.instance)),
    }
    root = settings.prefix
    writable = (layout.config, root / "etc/systemd/system", layout.services, root / "var/lib/caelum", layout.logs)
    return detached.command(f"{settings.component}-round", COMMAND, passed, [str(path) for path in writable])


class Watcher:
    """Looks for leases that are over; `run` goes on until a signal ends the process."""

    def __init__(self, settings: ReaperSettings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._link = Link(settings.login)
        self._run = datetime.now(UTC).isoformat()
        self._beaten = -HEARTBEAT_S
        self._round: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0
        self._trouble = ""

    def run(self) -> NoReturn:
        """Look each second; whatever goes wrong with one look, the next is made."""
        self._log.info("watching", inventory=self._settings.inventory, host=self._settings.address)
        memory.release()
        while True:
            try:
                self.look()
                self._is_in_trouble("")
            except Refused as refused:
                self._is_in_trouble(str(refused))
            except Exception as error:  # nobody else takes a host back
                self._is_in_trouble(f"{type(error).__name__}: {error}")
            time.sleep(EVERY_S)

    def look(self) -> None:
        """Give a sign of life where it is due, and begin a round for deployments whose lease is over."""
        self._see_to_round()
        now = time.monotonic()
        beats = now - self._beaten >= HEARTBEAT_S
        with self._link.transaction() as cursor:
            if beats:
                self._beat(cursor)
            lost = lease.expired(cursor, self._settings.inventory, None)
        self._beaten = now if beats else self._beaten
        if lost and self._round is None and now >= self._not_before:
            names = [f"{group.service} {group.version}" for group in lost]
            self._log.info("leases are over; taking the host back", deployments=names)
            # In a session of its own: supervisord ends the watcher's whole group when it restarts it.
            command = round_command(self._settings)
            self._round = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603

    def _beat(self, cursor: "extensions.cursor") -> None:
        """One sign of life, which pim-web shows the age of."""
        values = {"service": self._settings.component, "version": release.current().version, "run": self._run}
        cursor.execute(heartbeat.MOVE, values)
        if cursor.rowcount == 0:
            cursor.execute(heartbeat.BEGIN, values)

    def _see_to_round(self) -> None:
        """Notice the end of the round."""
        code = None if self._round is None else self._round.poll()
        if code is None:
            return
        self._round = None
        if code:
            self._not_before = time.monotonic() + RETRY_S
            self._log.error("taking back ended early; what it had begun follows when its lease is over", code=code)

    def _is_in_trouble(self, reason: str) -> None:
        """Say once that something is wrong, and once that it is over."""
        if reason and reason != self._trouble:
            self._log.error("no lease is watched until this is over", reason=reason)
        elif self._trouble and not reason:
            self._log.info("leases are watched again")
        self._trouble = reason
