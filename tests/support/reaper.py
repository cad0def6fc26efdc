"""A host with caelum-reaper under its real supervisord, and controllers that leave their deployments behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.modules import login_of, run_module
from support.native_host import NativeHost, native_host
from support.postgres import Database

# isort: split
from ansible.module_utils.caelum.instance import procfs
from ansible.module_utils.caelum.instance.layout import Layout
from ansible.module_utils.caelum.instance.native import Native
from ansible.module_utils.caelum.instance.runtime import Process

REAPER, STABLE = "caelum-reaper@stable", "fincoll@stable"
ADDRESS = "127.0.0.1"


@dataclass
class Deployment:
    """What a controller opened: its rows, and the key to them and to the host."""

    host: ReaperHost
    service: str
    version: str
    ids: list[int]
    token: int

    def apply(self, *instances: dict[str, Any], **belongings: Any) -> dict[str, Any]:
        """Give the host the release with what belongs to it, as pending; the module's result."""
        recorded = {"version": self.version, **belongings}
        return self.host.native.attempt(
            *instances, services=[self.service], fencing_token=self.token, recorded=recorded
        )

    def commit(self) -> dict[str, Any]:
        """Say on the host that the release passed its gates."""
        return run_module(
            "caelum_revision",
            {
                "state": "committed",
                "prefix": str(self.host.native.prefix),
                "service": self.service,
                "fencing_token": self.token,
            },
        )

    def close(self, status: str = "success") -> dict[str, Any]:
        """Close the rows."""
        return run_module(
            "caelum_deployment",
            {
                "state": "closed",
                "database": self.host.login,
                "ids": self.ids,
                "fencing_token": self.token,
                "status": status,
            },
        )

    def complete(self, *instances: dict[str, Any], **belongings: Any) -> None:
        """A deployment from its beginning to its end."""
        for result in (self.apply(*instances, **belongings), self.commit(), self.close()):
            assert not result.get("failed"), result["msg"]

    def lease_ends(self) -> None:
        """As when the controller has been silent for the length of its lease."""
        with self.host.database.connect() as sql:
            sql.execute("UPDATE deployment_history SET lease_seconds = 0 WHERE id = ANY(%s)", (self.ids,))

    def row(self) -> tuple[str, str]:
        """Status and logs of the deployment, which has one row."""
        with self.host.database.connect() as sql:
            found = sql.execute(
                "SELECT status, logs FROM deployment_history WHERE service_name = %s AND version = %s AND id = ANY(%s)",
                (self.service, self.version, self.ids),
            ).fetchall()
        ((status, logs),) = found
        return str(status), str(logs)

    def outcome(self) -> tuple[str, str] | None:
        """The row once it is closed."""
        row = self.row()
        return None if row[0] == "in_progress" else row


@dataclass
class ReaperHost:
    """One prefix, its database, and what runs there."""

    native: NativeHost
    database: Database

    @property
    def login(self) -> dict[str, Any]:
        """The modules' option `database`."""
        return login_of(self.database)

    def reaper(self, release: str = "v1.0.0") -> dict[str, Any]:
        """The instance, as the role pim has it; it runs this environment's code."""
        settings = {
            "CAELUM_PREFIX": str(self.native.prefix),
            "CAELUM_RUNTIME": "native",
            "CAELUM_INVENTORY": "local",
            "CAELUM_ADDRESS": ADDRESS,
            "CAELUM_READY_TIMEOUT": "30",
        }
        return {
            "name": REAPER,
            "service": "pim",
            "release": release,
            "command": [sys.executable, "-m", "pim.reaper"],
            "environment": settings,
            "credentials": {"pim_database_credentials.json": json.dumps(self.database.credentials("pim_user"))},
            "priority": 600,
        }

    def start_reaper(self) -> None:
        """Run it without a record, as something that is there already."""
        self.native.apply(self.reaper(), services=["pim"])

    def open(self, version: str, service: str = "fincoll", component: str = "fincoll") -> Deployment:
        """A deployment whose lease is the usual one."""
        opened = run_module(
            "caelum_deployment",
            {
                "state": "opened",
                "database": self.login,
                "service": service,
                "version": version,
                "action": "deploy",
                "inventory": "local",
                "environment": "dev",
                "requested_by": "test",
                "components": [{"component": component, "host": ADDRESS}],
            },
        )
        assert not opened.get("failed"), opened["msg"]
        return Deployment(self, service, version, opened["ids"], opened["fencing_token"])

    def stable(self, version: str) -> dict[str, Any]:
        """FinColl's stable slot at a version."""
        return self.native.instance(STABLE, version)

    def process(self, name: str = REAPER) -> Process | None:
        """An instance's process as supervisord sees it; None while it does not run."""
        found = Native(Layout(self.native.prefix)).observe().processes.get(name)
        return found if found and found.running and found.release else None

    def rounds(self) -> list[int]:
        """Process ids of those that take back."""
        mine = f"{self.native.prefix}/etc/caelum/{REAPER}.env"
        return [
            pid
            for pid in procfs.pids()
            if "pim.reaper.round" in procfs.command_line(pid) and procfs.environ(pid).get("CAELUM_ENV_FILE") == mine
        ]


@contextmanager
def reaper_host(database: Database) -> Iterator[ReaperHost]:
    """A host with two releases of FinColl and of PIM."""
    with native_host() as native:
        for version in ("v1.0.0", "v1.1.0"):
            native.release(version)
            native.release(version, "pim")
        yield ReaperHost(native, database)
