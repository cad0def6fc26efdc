"""What pim-web's /health and /ready know about the database, and about PIM's processes that have no port."""

import asyncio
from typing import Any

from pim import schema, store
from pim.database import Database, DatabaseGone

EVERY_S = 2.0
# Heartbeats come every 10 s; two may be missed.
LATE_S = 30.0
PORTLESS = {"worker": "pim-worker", "reaper": "caelum-reaper"}


class Pulse:
    """The last signs of life, kept at hand, since /health is asked often and must not wait."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._facts: dict[str, Any] = {"database": "not asked yet", **{name: state(None) for name in PORTLESS}}

    def facts(self) -> dict[str, Any]:
        """`database`: ok or the reason; `worker`, `reaper`: status (alive, late, never, unknown), version, age_s."""
        return self._facts

    async def watch(self) -> None:
        """Keep the facts fresh until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Ask the database once for the last heartbeats (age in s); a database that is away is a fact too."""
        try:
            beats = {name: state(await store.last_beat(self._db, process)) for name, process in PORTLESS.items()}
            self._facts = {"database": "ok", **beats}
        except DatabaseGone as gone:
            unknown = {"status": "unknown", "version": None, "age_s": None}
            self._facts = {"database": str(gone), **dict.fromkeys(PORTLESS, unknown)}

    def trouble(self, name: str) -> str | None:
        """Why a process without a port (a key of PORTLESS) cannot be counted on; None while its heartbeats come."""
        seen, process = self._facts[name], PORTLESS[name]
        told = {
            "never": f"{process} has sent no heartbeat yet",
            "late": f"the last heartbeat of {process} is {seen['age_s']} s old",
            "unknown": f"no heartbeat of {process} can be read: {self._facts['database']}",
        }
        return told.get(seen["status"])

    async def unready(self) -> str | None:
        """Why the database cannot serve this release; None when it can."""
        try:
            return schema.complaint(await store.revision(self._db))
        except DatabaseGone as gone:
            return f"{gone}; start it"


def state(beat: store.Row | None) -> dict[str, Any]:
    """A process's state from its last heartbeat."""
    if beat is None:
        return {"status": "never", "version": None, "age_s": None}
    age = round(beat["age_s"], 1)
    return {"status": "late" if age > LATE_S else "alive", "version": beat["version"], "age_s": age}
