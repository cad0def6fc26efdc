"""Ask one instance how it is."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import httpx

Status = Literal["healthy", "degraded", "down"]


@dataclass(frozen=True)
class Probe:
    """What one instance answered. `detail` says in one line why it is not healthy; `facts` is its /health."""

    url: str
    status: Status
    version: str | None = None
    response_time_ms: int | None = None
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def client() -> httpx.AsyncClient:
    """An HTTP client for services of the ecosystem: no proxy between, no redirect followed."""
    return httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=20, keepalive_expiry=20))


async def probe(http: httpx.AsyncClient, url: str, timeout_s: float) -> Probe:
    """The instance at `url`, asked for /health and /ready at once; answers within `timeout_s`.

    down: /health did not answer, or not with JSON and status 200. degraded: it is alive, but /ready refuses, or it is
    halted or calls itself degraded. The response time is that of /health.
    """
    try:
        async with asyncio.timeout(timeout_s):
            (health, elapsed_ms), unready = await asyncio.gather(_health(http, url), _unready(http, url))
    except TimeoutError:
        return Probe(url, "down", detail=f"no answer from {url} within {timeout_s:g} s")
    except (httpx.HTTPError, ValueError) as error:
        return Probe(url, "down", detail=f"{said(error)} at {url}")
    detail = "; ".join(filter(None, (halted(health), unready)))
    if not detail and calls_itself_degraded(health):
        detail = "calls itself degraded"
    version = health.get("version")
    return Probe(
        url=url,
        status="degraded" if detail else "healthy",
        version=None if version is None else str(version),
        response_time_ms=elapsed_ms,
        detail=detail,
        facts=health,
    )


def calls_itself_degraded(health: Mapping[str, Any]) -> bool:
    return health.get("degraded") is True or health.get("status", "healthy") != "healthy"


def halted(health: Mapping[str, Any]) -> str:
    """Who switched an instance off by halt.yml, when and why, in one line; empty when nobody has."""
    halt = health.get("halted")
    if not isinstance(halt, Mapping):
        return ""
    if trouble := halt.get("trouble"):
        return f"halted: {trouble}"
    return f"halted by {halt.get('by', 'somebody')} at {halt.get('at', 'an unknown time')}: {halt.get('reason', '')}"


def said(error: Exception) -> str:
    """An HTTP error in a few plain words."""
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError):
        return "no connection"
    if isinstance(error, httpx.RemoteProtocolError):
        return "connection closed without an answer"
    return " ".join(str(error).split()) or type(error).__name__


async def _health(http: httpx.AsyncClient, url: str) -> tuple[dict[str, Any], int]:
    begin = time.perf_counter()
    response = await http.get(f"{url}/health")
    elapsed_ms = round((time.perf_counter() - begin) * 1000)
    if response.status_code != 200:
        raise ValueError(f"/health answered {response.status_code}")
    try:
        body = response.json()
    except ValueError:
        raise ValueError("/health answered no JSON") from None
    if not isinstance(body, dict):
        raise ValueError("/health answered no JSON object")  # noqa: TRY004 (told apart by nobody)
    return body, elapsed_ms


async def _unready(http: httpx.AsyncClient, url: str) -> str:
    """Why the instance is not ready; empty when it is."""
    response = await http.get(f"{url}/ready")
    if response.status_code == 200:
        return ""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"/ready answered {response.status_code}"
    return f"not ready: {detail}"
