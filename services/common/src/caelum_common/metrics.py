"""Prometheus metrics of HTTP requests."""

import time

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class RequestMetrics:
    """Durations in seconds per route and status, as one histogram.

    A registry of its own, since the process collectors of the default one read /proc at every scrape, and a second
    application in one process must not clash with the first.
    """

    def __init__(self, component: str, version: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._seconds = Histogram(
            "caelum_request_duration_seconds",
            "Time from a request's arrival to the end of its answer",
            ("component", "version", "method", "route", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._labels = (component, version)

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one answered request under its route's pattern (`none` where no route matched)."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if route != "none" else "any"
        self._seconds.labels(*self._labels, method, route, str(status)).observe(seconds)

    def exposition(self) -> Response:
        """Everything in Prometheus's text format."""
        return Response(generate_latest(self.registry), media_type="text/plain; version=0.0.4; charset=utf-8")


class MetricsMiddleware:
    """Times each HTTP request; an answer that never starts counts as status 500."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            self.metrics.observe(scope, status, time.perf_counter() - begin)
