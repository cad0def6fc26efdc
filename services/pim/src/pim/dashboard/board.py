"""Everything the page shows, gathered once for all who look at it."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from caelum_common import release
from pim import store
from pim.database import Database, DatabaseGone
from pim.fincoll import FinCollUnavailable, Outlook, outlook
from pim.live import Fresh, Observed
from pim.pulse import Pulse
from pim.senvec import SenVecUnavailable, Vectors, vectors
from pim.settings import PimSettings

OUTLOOK_AGE_S = 5.0
VECTORS_AGE_S = 10.0
HISTORY_AGE_S = 2.0
DEPLOYMENTS_SHOWN = 12
LOG_SHOWN = 2000


@dataclass(frozen=True)
class History:
    """The newest deployments, and the version of the server that keeps them."""

    deployments: list[store.Row] = field(default_factory=list)
    server: str = ""


@dataclass(frozen=True)
class View:
    """One state of the page. Where a part could not be had, its place holds the reason.

    `prefix` is the folder of a deployment on this machine, where `make` can be told of it; else empty.
    """

    environment: str
    inventory: str
    version: str
    observed: Observed
    outlook: Outlook | FinCollUnavailable
    vectors: Vectors | SenVecUnavailable
    history: History | DatabaseGone
    pulse: dict[str, Any]
    at: datetime
    prefix: str = ""

    @property
    def deployments(self) -> list[store.Row]:
        """The newest deployments; none while the database is away."""
        return [] if isinstance(self.history, DatabaseGone) else self.history.deployments


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
        self._vectors = Fresh(self._ask_vectors, VECTORS_AGE_S)
        self._history = Fresh(self._ask_history, HISTORY_AGE_S)

    async def view(self) -> View:
        """The newest state: services and history at most 2 s old, predictions 5 s, the sentiment vectors 10 s."""
        observed, predicted, felt, history = await asyncio.gather(
            self._observed.get(), self._outlook.get(), self._vectors.get(), self._history.get()
        )
        return View(
            environment=self._settings.caelum_environment,
            inventory=self._settings.caelum_inventory,
            version=release.current().version,
            observed=observed,
            outlook=predicted,
            vectors=felt,
            history=history,
            pulse=self._pulse.facts(),
            at=datetime.now(UTC),
            prefix=prefix(self._settings.caelum_inventory, self._settings.caelum_state_dir),
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

    async def _ask_vectors(self) -> Vectors | SenVecUnavailable:
        settings = self._settings
        if not settings.watchlist:
            return Vectors((), (), ())
        try:
            return await vectors(self._http, settings.senvec_url, settings.watchlist, settings.senvec_timeout_s)
        except SenVecUnavailable as error:
            return error

    async def _ask_history(self) -> History | DatabaseGone:
        try:
            deployments = await store.recent(self._db, DEPLOYMENTS_SHOWN, LOG_SHOWN)
            return History(deployments, await store.server_version(self._db))
        except DatabaseGone as error:
            return error


def prefix(inventory: str, state_dir: Path | None) -> str:
    """The prefix that a deployment on this machine has, from its state folder `<prefix>/var/lib/caelum/pim`."""
    if inventory != "local" or state_dir is None or len(state_dir.parents) < 5:
        return ""
    return str(state_dir.parents[3])
