"""Everything the page shows, gathered once for all who look at it."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from caelum_common import release
from pim import store
from pim.database import Database, DatabaseGone
from pim.fincoll import FinCollUnavailable, Outlook, outlook
from pim.live import Fresh, Observed
from pim.pulse import Pulse
from pim.settings import PimSettings

OUTLOOK_AGE_S = 5.0
HISTORY_AGE_S = 2.0
DEPLOYMENTS_SHOWN = 12


@dataclass(frozen=True)
class View:
    """One state of the page. Where a part could not be had, its place holds the reason."""

    environment: str
    inventory: str
    version: str
    observed: Observed
    outlook: Outlook | FinCollUnavailable
    deployments: list[store.Row] | DatabaseGone
    pulse: dict[str, Any]
    at: datetime


class Board:
    """Gathers views; however many watch, each source is asked once per few seconds."""

    def __init__(
        self, settings: PimSettings, db: Database, http: httpx.AsyncClient, observed: Fresh[Observed], pulse: Pulse
    ) -> None:
        self._settings = settings
        self._db = db
        self._http = http
        self._observed = observed
        self._pulse = pulse
        self._outlook = Fresh(self._ask_outlook, OUTLOOK_AGE_S)
        self._deployments = Fresh(self._ask_deployments, HISTORY_AGE_S)

    async def view(self) -> View:
        """The newest state: services and history at most 2 s old, predictions at most 5 s."""
        observed, predicted, deployments = await asyncio.gather(
            self._observed.get(), self._outlook.get(), self._deployments.get()
        )
        return View(
            environment=self._settings.caelum_environment,
            inventory=self._settings.caelum_inventory,
            version=release.current().version,
            observed=observed,
            outlook=predicted,
            deployments=deployments,
            pulse=self._pulse.facts(),
            at=datetime.now(UTC),
        )

    async def _ask_outlook(self) -> Outlook | FinCollUnavailable:
        settings = self._settings
        try:
            return await outlook(
                self._http,
                settings.fincoll_urls["stable"],
                settings.watchlist_job,
                settings.watchlist,
                settings.fincoll_timeout_s,
            )
        except FinCollUnavailable as error:
            return error

    async def _ask_deployments(self) -> list[store.Row] | DatabaseGone:
        try:
            return await store.history(self._db, None, DEPLOYMENTS_SHOWN)
        except DatabaseGone as error:
            return error
