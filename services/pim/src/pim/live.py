"""The ecosystem as it is now: probed when somebody asks, and shared by all who ask within two seconds."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import httpx

from pim import health, probes
from pim.probes import Probe
from pim.settings import PimSettings
from pim.training import Training, TrainingReader

MAX_AGE_S = 2.0

T = TypeVar("T")


class Fresh(Generic[T]):
    """A value that is asked for again when older than `max_age_s`; many callers share one question."""

    def __init__(self, ask: Callable[[], Awaitable[T]], max_age_s: float) -> None:
        self._ask = ask
        self._max_age_s = max_age_s
        self._turn = asyncio.Lock()
        self._value: T | None = None
        self._until = 0.0

    async def get(self) -> T:
        """The value, at most `max_age_s` old; raises what asking for it raises."""
        async with self._turn:
            if self._value is None or time.monotonic() >= self._until:
                self._value = await self._ask()
                self._until = time.monotonic() + self._max_age_s
            return self._value


@dataclass(frozen=True)
class Observed:
    """One look at the services; `training` is None when the share has not answered for a while.

    `fincoll` is the stable slot; `beside` holds FinColl's other slots by name. `training_age_s` is how long ago the
    share was read.
    """

    fincoll: Probe
    senvec: Mapping[str, Probe]
    training: list[Training] | None
    at: datetime
    beside: Mapping[str, Probe] = field(default_factory=dict)
    training_age_s: float = 0.0

    def document(self) -> dict[str, Any]:
        """The specification's system health."""
        return health.system_health(self.fincoll, self.senvec, self.training, self.at)


def observer(settings: PimSettings, http: httpx.AsyncClient, reports: TrainingReader) -> Fresh[Observed]:
    """Looks at FinColl's slots and SenVec's five, all at once, and takes what is known of FinVec."""

    async def look() -> Observed:
        senvec, slots = await asyncio.gather(
            _all(http, settings.senvec, settings.senvec_timeout_s),
            _all(http, settings.fincoll_urls, settings.fincoll_timeout_s),
        )
        stable = slots.pop("stable")
        return Observed(stable, senvec, reports.known(), datetime.now(UTC), slots, reports.age_s())

    return Fresh(look, MAX_AGE_S)


async def _all(http: httpx.AsyncClient, urls: Mapping[str, str], timeout_s: float) -> dict[str, Probe]:
    """A probe of each address, under its name."""
    seen = await asyncio.gather(*(probes.probe(http, url, timeout_s) for url in urls.values()))
    return dict(zip(urls, seen, strict=True))
