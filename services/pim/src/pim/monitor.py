"""The health monitor: asks FinColl and SenVec on their own rhythms and keeps what they said."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog

from caelum_common import release
from pim import health, probes, store
from pim.database import Database, DatabaseGone
from pim.probes import Probe
from pim.settings import PimSettings

MONTHS_AHEAD = 2
BETWEEN_TRIES_S = 0.5

log = structlog.get_logger()


class Monitor:
    """Everything pim-worker does; `run` goes on until it is cancelled."""

    def __init__(self, settings: PimSettings, db: Database, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._db = db
        self._http = http
        self._run = datetime.now(UTC).isoformat()
        self._database_away = False

    async def run(self) -> None:
        """Do every duty at its own interval (settings, in s) until cancelled."""
        settings = self._settings
        async with asyncio.TaskGroup() as duties:
            duties.create_task(self._regularly(settings.heartbeat_interval_s, self.beat))
            duties.create_task(self._regularly(settings.fincoll_interval_s, self.check_fincoll))
            duties.create_task(self._regularly(settings.senvec_interval_s, self.check_senvec))
            duties.create_task(self._regularly(settings.upkeep_interval_s, self.upkeep))

    async def beat(self) -> None:
        """One sign of life, which pim-web shows the age of."""
        await store.beat(self._db, self._settings.caelum_component, release.current().version, self._run)

    async def check_fincoll(self) -> None:
        """One row per slot of FinColl."""
        settings = self._settings
        for slot, url in settings.fincoll_urls.items():
            seen = await self._asked(url, settings.fincoll_timeout_s, settings.fincoll_tries)
            await self._record("fincoll", seen, seen.status, {"slot": slot})

    async def check_senvec(self) -> None:
        """One row for SenVec, with its five inside."""
        settings = self._settings
        names = list(settings.senvec)
        answers = await asyncio.gather(
            *(self._asked(settings.senvec[name], settings.senvec_timeout_s, settings.senvec_tries) for name in names)
        )
        seen = dict(zip(names, answers, strict=True))
        microservices = {
            name: {"status": seen[name].status, "version": seen[name].version, "detail": seen[name].detail}
            for name in health.ordered(seen)
        }
        await self._record("senvec", seen["aggregator"], health.senvec_status(seen), {"microservices": microservices})

    async def upkeep(self) -> None:
        """Forget old health records, and make the partitions that coming predictions need."""
        pruned = await store.prune_health(self._db, timedelta(days=self._settings.health_kept_days))
        made = await store.make_partitions(self._db, MONTHS_AHEAD)
        log.info("upkeep", health_records_pruned=pruned, prediction_partitions_made=made)

    async def _asked(self, url: str, timeout_s: float, tries: int) -> Probe:
        """The answer of the first try that got one, else the last failure."""
        for left in reversed(range(tries)):
            seen = await probes.probe(self._http, url, timeout_s)
            if seen.status != "down" or left == 0:
                break
            await asyncio.sleep(BETWEEN_TRIES_S)
        return seen

    async def _record(self, service: str, seen: Probe, status: str, more: dict[str, Any]) -> None:
        metadata = {"url": seen.url, "detail": seen.detail, **more}
        await store.record_health(self._db, service, seen, status, metadata)

    async def _regularly(self, every_s: float, duty: Callable[[], Awaitable[None]]) -> None:
        """Do it now and then on a steady beat; a round that fails is said and not made up for."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await duty()
                self._database_is(away=None)
            except DatabaseGone as gone:
                self._database_is(away=str(gone))
            except Exception:
                log.exception("a duty failed; its next round is tried", duty=duty.__name__)
            due = max(due + every_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def _database_is(self, away: str | None) -> None:
        """Say once that the database went, and once that it is back."""
        if away and not self._database_away:
            log.error("health is not recorded until the database is back", reason=away)
        elif not away and self._database_away:
            log.info("the database is back")
        self._database_away = away is not None
