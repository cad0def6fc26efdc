"""Builds the application of one component from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from caelum_common.app import create_app
from caelum_common.market import SampleMarket, market
from caelum_common.vector import schema
from caelum_common.wire import JsonResponse
from senvec.answers import GroupAnswers
from senvec.clock import Clock
from senvec.features import NoData
from senvec.routes import feature_routes
from senvec.settings import SenvecSettings


def create(settings: SenvecSettings) -> FastAPI:
    """The application that `SENVEC_COMPONENT` names. Raises CannotStart where the market data is missing."""
    known = market(settings.caelum_data)
    if settings.senvec_component == "aggregator":
        return _aggregator(settings, known)
    if settings.senvec_component == "sentimentrader":
        return _gauges(settings, known)
    return _texts(settings, known)


def _aggregator(settings: SenvecSettings, known: SampleMarket) -> FastAPI:
    import httpx

    from senvec.aggregator import Aggregator
    from senvec.upstream import Upstream

    # Each call's own deadline holds; certificates are loaded only where an address needs them.
    secure = any(url.startswith("https:") for url in settings.senvec_upstreams.values())
    # A proxy is for the way out, not for a neighbour.
    client = httpx.AsyncClient(timeout=None, verify=secure, trust_env=False)  # noqa: S113
    upstreams = [Upstream(name, settings.senvec_upstreams[name], client) for name in schema().groups]
    answers = Aggregator(upstreams, known.source, settings.senvec_timeout_ms / 1000)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield
            for upstream in upstreams:
                await upstream.close()

    app = create_app(
        title="SenVec",
        settings=settings,
        checks={},
        lifespan=lifespan,
        facts=answers.facts,
        schema_hash=schema().hash,
    )
    app.include_router(feature_routes(answers, Clock(known)))

    @app.get("/services/status")
    async def status() -> JsonResponse:
        return JsonResponse(await answers.status())

    return app


def _gauges(settings: SenvecSettings, known: SampleMarket) -> FastAPI:
    from senvec.gauges import gauges

    bars = {"symbols": known.symbols, "until": known.last_session}
    app = create_app(
        title="SenVec",
        settings=settings,
        checks={},
        facts=lambda: {"providers": {f"{known.source} bars": bars}},
        schema_hash=schema().hash,
    )
    app.include_router(feature_routes(GroupAnswers(gauges(settings.caelum_data), known.source), Clock(known)))
    return app


def _texts(settings: SenvecSettings, known: SampleMarket) -> FastAPI:
    from senvec.providers import configured

    providers = configured(settings, known.symbols)
    if not providers:
        app = create_app(
            title="SenVec", settings=settings, checks={}, facts=lambda: {"providers": {}}, schema_hash=schema().hash
        )
        nothing = NoData(settings.senvec_component)
        app.include_router(feature_routes(GroupAnswers(nothing, known.source), Clock(known)))
        return app

    from senvec.collector import Collector
    from senvec.news import News
    from senvec.observations import Store
    from senvec.scorers import scorer_for

    store = Store()
    scorer = scorer_for(settings.senvec_component)
    collector = Collector(providers, scorer, store, settings.senvec_news_interval_s)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with collector.collecting():
            yield

    app = create_app(
        title="SenVec",
        settings=settings,
        checks={"providers": collector.ready},
        lifespan=lifespan,
        facts=collector.facts,
        schema_hash=schema().hash,
    )
    app.include_router(feature_routes(GroupAnswers(News(store), known.source), Clock(known)))
    return app
