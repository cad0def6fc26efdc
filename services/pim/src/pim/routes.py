"""PIM's API: HTTP in, JSON or a problem document out."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request

from caelum_common.errors import Problem
from caelum_common.tokens import hash_token, requires_token
from pim import health, neighbours, store
from pim.database import Database
from pim.live import Fresh, Observed
from pim.pulse import PORTLESS, Pulse
from pim.settings import PimSettings

# These services' tokens read their own configuration; the operator's and PIM's read all.
OWN_CONFIG_ONLY = frozenset({"fincoll", "senvec", "finvec"})


def api(settings: PimSettings, db: Database, observed: Fresh[Observed]) -> APIRouter:
    """All routes under /api."""
    router = APIRouter(prefix="/api")
    _add_health(router, settings, db, observed)
    _add_records(router, db)
    _add_config(router, settings, db)

    @router.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def unknown(request: Request, rest: str) -> None:
        raise Problem(404, "Not Found", f"no route {request.url.path}", "the routes are listed in /openapi.json")

    return router


def portless(pulse: Pulse, *, fleet: bool = False) -> APIRouter:
    """Readiness of the processes that have no port of their own; those of a `fleet` log to the journal."""
    router = APIRouter()

    @router.get("/health/{name}")
    async def health(name: Literal["worker", "reaper"]) -> dict[str, Any]:
        """The process's last heartbeat; 503 when it does not come."""
        if trouble := pulse.trouble(name):
            log = f"journalctl -u {PORTLESS[name]}" if fleet else f"make logs COMPONENT={PORTLESS[name]}"
            remedy = f"read its log: {log}"
            raise Problem(503, f"{name.capitalize()} not well", trouble, remedy)
        return {"ready": True, **pulse.facts()[name]}

    return router


def _add_health(router: APIRouter, settings: PimSettings, db: Database, observed: Fresh[Observed]) -> None:
    open_to_hosts = [Depends(neighbours.or_token(settings.caelum_hosts, requires_token(_known(db))))]

    @router.get("/system/health", dependencies=open_to_hosts)
    async def system_health() -> dict[str, Any]:
        """The ecosystem's health from live probes; its status tells the state, the HTTP status is always 200."""
        return (await observed.get()).document()

    @router.get("/trading-bot/fincoll-status", dependencies=open_to_hosts)
    async def fincoll_status() -> dict[str, Any]:
        """Whether predictions are to be had, in a flat form."""
        look = await observed.get()
        seen = look.fincoll
        state = health.fincoll_status(seen)
        return {
            "available": state not in {"down", "halted"},
            "status": "unavailable" if state == "down" else state,
            "version": seen.version,
            "url": seen.url,
            "response_time_ms": seen.response_time_ms,
            "last_prediction": seen.facts.get("last_prediction"),
            "detail": seen.detail,
            "timestamp": health.timestamp(look.at),
        }


def _add_records(router: APIRouter, db: Database) -> None:
    @router.get("/deployment/history")
    async def history(
        service: Annotated[str | None, Query(max_length=50)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, Any]:
        """Deployments, the newest first."""
        return {"deployments": await store.history(db, service, limit)}

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """Registered model versions and their aliases."""
        return {"models": await store.models(db)}


def _add_config(router: APIRouter, settings: PimSettings, db: Database) -> None:
    async def accepts(request: Request, token: str) -> str | None:
        name = await _known(db)(request, token)
        elsewhere = name in OWN_CONFIG_ONLY and name != request.path_params["service"]
        return None if elsewhere else name

    @router.get("/config/{service}/{version}", dependencies=[Depends(requires_token(accepts))])
    async def config(
        service: str,
        version: str,
        environment: Annotated[str, Query(max_length=20)] = settings.caelum_environment,
        host: Annotated[str | None, Query(max_length=100)] = None,
    ) -> dict[str, Any]:
        """One version's settings as flat keys: the host's own, else those for any host."""
        rows = await store.configs(db, service, version, environment)
        if not rows:
            raise await _no_config(db, service, version, environment)
        row = _chosen(rows, host, f"{service} {version} in {environment}")
        port = {} if row["port"] is None else {"port": row["port"]}
        return {**port, **row["config_json"]}


def _known(db: Database) -> Callable[[Request, str], Awaitable[str | None]]:
    """Accepts every token that the database knows."""

    async def accepts(_request: Request, token: str) -> str | None:
        return await store.token_name(db, hash_token(token))

    return accepts


def _chosen(rows: list[store.Row], host: str | None, what: str) -> store.Row:
    by_host = {row["host"]: row for row in rows}
    row = by_host.get(host) or by_host.get(None)
    if row is None and host is None and len(rows) == 1:
        row = rows[0]
    if row is None:
        known = sorted(by_host)
        detail = f"{what} is configured per host" + (f", not for {host}" if host else "")
        remedy = f"add ?host= with one of: {', '.join(known)}"
        raise Problem(404 if host else 409, "No single configuration", detail, remedy, hosts=known)
    return row


async def _no_config(db: Database, service: str, version: str, environment: str) -> Problem:
    if known := await store.config_versions(db, service, environment):
        detail = f"{service} has no configuration {version} in {environment}; known: {', '.join(known)}"
        return Problem(404, "Unknown version", detail, "ask for a known version, or deploy this one", known=known)
    services = await store.config_services(db, environment)
    listed = ", ".join(services) or "none yet"
    detail = f"no service {service} is configured in {environment}; known: {listed}"
    return Problem(404, "Unknown service", detail, "ask for a known service, or deploy this one", known=services)
