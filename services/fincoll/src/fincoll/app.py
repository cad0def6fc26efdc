"""Builds FinColl's application from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from caelum_common import vector
from caelum_common.app import create_app
from caelum_common.checkpoint import BadCheckpoint
from caelum_common.jobs import UnknownJob
from caelum_common.market import market
from caelum_common.start import CannotStart
from caelum_common.tokens import from_settings
from fincoll.bars import Bars
from fincoll.forecaster import Forecaster
from fincoll.halt import HaltFlag, HaltMiddleware
from fincoll.limits import BodyLimit
from fincoll.metrics import Metrics
from fincoll.registry import CHAMPION, Listing, ModelMissing, ModelRegistry
from fincoll.routes import Parts, router
from fincoll.senvec import SenVec
from fincoll.settings import Settings


def build(settings: Settings) -> FastAPI:
    """The application. Raises CannotStart without a champion or a source of market data."""
    registry = _registry(settings)
    bars = Bars(market(settings.caelum_data))
    metrics = Metrics()
    senvec = SenVec(
        settings.senvec_api_url,
        timeout_s=settings.senvec_timeout_ms / 1000,
        stale_s=settings.senvec_stale_s,
        last_session=bars.last_session,
        probe=bars.symbols[0],
        count=metrics.senvec,
    )
    forecaster = Forecaster(bars, senvec)
    flag = HaltFlag(settings.caelum_state_dir)

    async def model() -> str | None:
        champions = [entry.model for entry in registry.entries() if entry.alias == CHAMPION]
        return "; ".join(fault for each in champions if (fault := forecaster.fault(each))) or None

    async def data() -> str | None:
        return bars.lost()

    def facts() -> dict[str, Any]:
        models: dict[str, dict[str, str]] = {}
        for entry in registry.entries():
            models.setdefault(entry.job, {})[entry.alias] = entry.model.manifest.version
        return {
            "last_prediction": forecaster.last_prediction,
            "degraded": senvec.degraded,
            "models": models,
            **halted(),
        }

    def halted() -> dict[str, Any]:
        halt = flag.read()
        return {"halted": halt.told() if halt else None}

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with senvec.watching():
            yield

    app = create_app(
        title="FinColl",
        settings=settings,
        checks={"model": model, "data": data},
        lifespan=lifespan,
        facts=facts,
        remarks=halted,
        schema_hash=vector.schema().hash,
    )
    metrics.register(app.state.metrics.registry, lambda: senvec.degraded, lambda: flag.read() is not None)
    # The innermost, so that refusals are counted like all answers.
    app.user_middleware += [Middleware(HaltMiddleware, flag=flag), Middleware(BodyLimit)]
    app.include_router(router(Parts(registry, bars, forecaster, metrics, from_settings(settings), _listing)))
    return app


def _listing() -> Listing:
    """MODEL_REGISTRY as it is now: a deploy rewrites the environment file under a running process."""
    return Settings().model_registry


def _registry(settings: Settings) -> ModelRegistry:
    try:
        return ModelRegistry(settings.model_registry)
    except (BadCheckpoint, ModelMissing, UnknownJob) as error:
        raise CannotStart(str(error.args[0])) from None
