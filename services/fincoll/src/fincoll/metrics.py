"""What FinColl measures beyond its requests."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """Prediction seconds by job and model version, outcomes of asking SenVec, whether it is degraded or halted."""

    def __init__(self) -> None:
        self._seconds = Histogram(
            "fincoll_prediction_duration_seconds",
            "Time from a question to its quantiles, SenVec included",
            ("job", "model_version"),
            buckets=BUCKETS,
            registry=None,
        )
        self._senvec = Counter(
            "fincoll_senvec_windows", "Sentiment windows asked for, by outcome", ("outcome",), registry=None
        )
        self._degraded = Gauge(
            "fincoll_degraded", "1 while predictions go without sentiment, or with a part of it", registry=None
        )
        self._halted = Gauge(
            "fincoll_halted", "1 while the kill switch is on and every question refused", registry=None
        )

    def register(self, registry: CollectorRegistry, degraded: Callable[[], bool], halted: Callable[[], bool]) -> None:
        """Shows the metrics in `registry`; `degraded` and `halted` are asked at every scrape."""
        self._degraded.set_function(lambda: float(degraded()))
        self._halted.set_function(lambda: float(halted()))
        for collector in (self._seconds, self._senvec, self._degraded, self._halted):
            registry.register(collector)

    def predicted(self, job: str, model_version: str, seconds: float) -> None:
        """Counts one answered question."""
        self._seconds.labels(job, model_version).observe(seconds)

    def senvec(self, outcome: str) -> None:
        """Counts one window, by how SenVec was asked for it."""
        self._senvec.labels(outcome).inc()
