"""Fetches from providers in the background, so that no request waits for one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from senvec.observations import Article, Observation, Store
from senvec.providers import Provider, ProviderError
from senvec.scorers import Scorer

if TYPE_CHECKING:
    import httpx

FIRST_RETRY_S = 0.5
TIMEOUT_S = 10.0
SCORED_AT_ONCE = 50

log = structlog.get_logger()


@dataclass(slots=True)
class Standing:
    """How a provider did: its last success, and the error since, if any."""

    succeeded_at: datetime | None = None
    error: str | None = None
    failures: int = 0


class Collector:
    """Keeps a store filled from providers, each asked every `interval_s`, sooner after a failure, then ever later."""

    def __init__(self, providers: Sequence[Provider], scorer: Scorer, store: Store, interval_s: float) -> None:
        self._providers = providers
        self._scorer = scorer
        self._store = store
        self._interval_s = interval_s
        self._standing = {provider.name: Standing() for provider in providers}

    @asynccontextmanager
    async def collecting(self) -> AsyncIterator[None]:
        """Fetch for the length of the block."""
        if not self._providers:
            yield
            return
        import httpx

        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=True, max_redirects=3) as client:
            tasks = [asyncio.create_task(self._keep(provider, client)) for provider in self._providers]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def ready(self) -> str | None:
        """A readiness check: the first errors while no provider ever succeeded."""
        standings = self._standing.values()
        if not standings or any(standing.succeeded_at for standing in standings):
            return None
        return next((each.error for each in standings if each.error), "the first fetch is not done yet")

    def facts(self) -> dict[str, Any]:
        """What /health says of the providers."""
        return {
            "scorer": self._scorer.name,
            "observations": len(self._store),
            "providers": {
                name: {"succeeded_at": standing.succeeded_at, "error": standing.error}
                for name, standing in self._standing.items()
            },
        }

    async def _keep(self, provider: Provider, client: "httpx.AsyncClient") -> None:
        standing = self._standing[provider.name]
        while True:
            try:
                await self._take(await provider.fetch(client))
                standing.succeeded_at, standing.error, standing.failures = datetime.now(UTC), None, 0
                wait = self._interval_s
            except ProviderError as error:
                self._failed(standing, provider, str(error))
                wait = min(self._interval_s, FIRST_RETRY_S * 2 ** (standing.failures - 1))
            except Exception as error:
                log.exception("provider failed unexpectedly", provider=provider.name)
                self._failed(standing, provider, f"{provider.name} failed with {type(error).__name__}")
                wait = self._interval_s
            await asyncio.sleep(wait)

    def _failed(self, standing: Standing, provider: Provider, reason: str) -> None:
        if standing.error is None:
            log.warning("provider fails", provider=provider.name, reason=reason)
        standing.error = reason
        standing.failures = min(standing.failures + 1, 16)

    async def _take(self, observations: Sequence[Observation]) -> None:
        new = [each for each in observations if not self._store.knows(each)]
        for start in range(0, len(new), SCORED_AT_ONCE):
            self._store.add([(each, self._article(each)) for each in new[start : start + SCORED_AT_ONCE]])
            await asyncio.sleep(0)  # requests go between

    def _article(self, observation: Observation) -> Article:
        score = observation.score
        return Article(observation, self._scorer.score(observation.text) if score is None else score)
