"""What pim-web's /health and /ready know about the database and the worker."""

import asyncio
from typing import Any

from pim import schema, store
from pim.database import Database, DatabaseGone

EVERY_S = 2.0
# Worker's heartbeats come every 10 s; two may be missed.
LATE_S = 30.0


class Pulse:
    """The worker's last sign of life, kept at hand, since /health is asked often and must not wait."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._facts: dict[str, Any] = {"database": "not asked yet", "worker": worker(None)}

    def facts(self) -> dict[str, Any]:
        """`database`: ok or the reason; `worker`: status (alive, late, never, unknown), version, age_s."""
        return self._facts

    async def watch(self) -> None:
        """Keep the facts fresh until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Ask the database once for the worker's last heartbeat (age in s); a database that is away is a fact too."""
        try:
            self._facts = {"database": "ok", "worker": worker(await store.last_beat(self._db, "pim-worker"))}
        except DatabaseGone as gone:
            unknown = {"status": "unknown", "version": None, "age_s": None}
            self._facts = {"database": str(gone), "worker": unknown}

    def worker_trouble(self) -> str | None:
        """Why the worker cannot be counted on; None while its heartbeats come."""
        state = self._facts["worker"]
        told = {
            "never": "pim-worker has sent no heartbeat yet",
            "late": f"the last heartbeat of pim-worker is {state['age_s']} s old",
            "unknown": f"no heartbeat of pim-worker can be read: {self._facts['database']}",
        }
        return told.get(state["status"])

    async def unready(self) -> str | None:
        """Why the database cannot serve this release; None when it can."""
        try:
            return schema.complaint(await store.revision(self._db))
        except DatabaseGone as gone:
            return f"{gone}; start it"


def worker(beat: store.Row | None) -> dict[str, Any]:
    """The worker's state from its last heartbeat."""
    if beat is None:
        return {"status": "never", "version": None, "age_s": None}
    age = round(beat["age_s"], 1)
    return {"status": "late" if age > LATE_S else "alive", "version": beat["version"], "age_s": age}
