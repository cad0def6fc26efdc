"""The application every service starts from: health, readiness, metrics, version."""

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.responses import Response

from caelum_common import errors, release
from caelum_common.errors import Problem
from caelum_common.metrics import MetricsMiddleware, RequestMetrics
from caelum_common.settings import ServiceSettings
from caelum_common.wire import JsonResponse

CHECK_TIMEOUT_S = 2.0

Check = Callable[[], Awaitable[str | None]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

log = structlog.get_logger()


def create_app(  # noqa: PLR0913 - keyword-only parts of one application
    *,
    title: str,
    settings: ServiceSettings,
    checks: Mapping[str, Check],
    lifespan: Lifespan | None = None,
    facts: Callable[[], dict[str, Any]] | None = None,
    remarks: Callable[[], dict[str, Any]] | None = None,
    schema_hash: str | None = None,
) -> FastAPI:
    """An application with `/health`, `/ready`, `/metrics`, `/version`, and problem documents for all errors.

    `title` is the service as people write it ("FinColl"). `checks` decide readiness: each returns None when all is
    well, else the reason. `facts` are further members of `/health`, `remarks` of `/ready` without a say in it; they
    must be at hand, since both are asked often.
    """
    app = FastAPI(
        title=title,
        version=release.current().version,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        default_response_class=JsonResponse,
    )
    app.state.settings = settings
    errors.install(app)
    metrics = RequestMetrics(settings.caelum_component, release.current().version)
    app.state.metrics = metrics
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    running = release.current()
    names = {"service": title.lower(), "component": settings.caelum_component, "version": running.version}
    _add_health(app, names, facts or dict)
    _add_ready(app, checks, remarks or dict)

    @app.get("/metrics")
    async def exposition() -> Response:
        return metrics.exposition()

    @app.get("/version")
    async def version() -> Response:
        python = platform.python_version()
        return JsonResponse({**names, "commit": running.commit, "schema_hash": schema_hash, "python": python})

    return app


def _add_health(app: FastAPI, names: dict[str, str], facts: Callable[[], dict[str, Any]]) -> None:
    started = time.monotonic()

    @app.get("/health")
    async def health() -> Response:
        uptime = round(time.monotonic() - started, 1)
        return JsonResponse({"status": "healthy", **names, "uptime_s": uptime, **facts()})


def _add_ready(app: FastAPI, checks: Mapping[str, Check], remarks: Callable[[], dict[str, Any]]) -> None:
    @app.get("/ready")
    async def ready() -> Response:
        results = await _ask(checks)
        if not all(result == "ok" for result in results.values()):
            reasons = "; ".join(f"{name}: {result}" for name, result in results.items() if result != "ok")
            more = {"ready": False, "checks": results, **remarks()}
            raise Problem(503, "Not ready", reasons, "see the reasons in `checks`", **more)
        return JsonResponse({"ready": True, "checks": results, **remarks()})


async def _ask(checks: Mapping[str, Check]) -> dict[str, str]:
    """Each check's name with `ok` or the reason, all asked at once."""

    async def one(name: str, check: Check) -> str:
        try:
            return await asyncio.wait_for(check(), CHECK_TIMEOUT_S) or "ok"
        except TimeoutError:
            return f"did not answer within {CHECK_TIMEOUT_S:g} s"
        except Exception as error:
            log.exception("readiness check failed", check=name)
            return f"the check itself failed with {type(error).__name__}"

    results = await asyncio.gather(*(one(name, check) for name, check in checks.items()))
    return dict(zip(checks, results, strict=True))
