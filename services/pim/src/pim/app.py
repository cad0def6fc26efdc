"""pim-web's application, put together from its parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from caelum_common.app import create_app
from caelum_common.errors import Problem
from caelum_common.wire import JsonResponse
from pim import dashboard, live, probes, routes
from pim.dashboard.board import Board
from pim.database import Database, DatabaseGone
from pim.pulse import Pulse
from pim.settings import PimSettings
from pim.training import TrainingReader


def build(settings: PimSettings, db: Database) -> FastAPI:
    """API, dashboard, and the routes that every service has."""
    http = probes.client()
    pulse = Pulse(db)
    reports = TrainingReader(settings.status_dir)
    observed = live.observer(settings, http, reports)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(reports.start)
        duties = {asyncio.create_task(duty) for duty in (pulse.watch(), dashboard.close_when_stopping())}
        try:
            yield
        finally:
            reports.stop()
            for duty in duties:
                duty.cancel()
            await asyncio.wait(duties)
            await http.aclose()
            await db.close()

    app = create_app(
        title="PIM", settings=settings, checks={"database": pulse.unready}, lifespan=lifespan, facts=pulse.facts
    )

    @app.exception_handler(DatabaseGone)
    async def gone(request: Request, error: DatabaseGone) -> JsonResponse:
        problem = Problem(503, "Database unavailable", str(error), "ask again when the database is back")
        return problem.response(request.url.path)

    app.include_router(routes.portless(pulse, fleet=bool(settings.caelum_hosts)))
    app.include_router(routes.api(settings, db, observed))
    # Last, since the dashboard takes every path that is left.
    dashboard.mount(app, Board(settings, db, http, observed, pulse))
    return app
