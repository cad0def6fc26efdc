"""HTTP in, domain out."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.background import BackgroundTask

from caelum_common import memory
from caelum_common.errors import Problem
from caelum_common.vector import schema
from caelum_common.wire import JsonResponse
from senvec.answers import Answers
from senvec.clock import Clock

SYMBOL = r"^[A-Z][A-Z0-9.\-]{0,9}$"
BATCH_LIMIT = 5000
LARGE = 500


class Batch(BaseModel):
    """A request for many vectors: every symbol at the close of every date (the last session where none is given)."""

    model_config = ConfigDict(extra="forbid")

    symbols: list[Annotated[str, StringConstraints(pattern=SYMBOL)]] = Field(min_length=1, max_length=BATCH_LIMIT)
    dates: list[str] | None = Field(default=None, min_length=1, max_length=BATCH_LIMIT)

    def on(self, clock: Clock) -> tuple[list[str], list[datetime]]:
        """The dates asked for with their closes; raises Problem 422 for too many vectors or a bad date."""
        dates = self.dates or [clock.today.isoformat()]
        size = len(self.symbols) * len(dates)
        if size > BATCH_LIMIT:
            detail = f"{len(self.symbols)} symbols at {len(dates)} dates are {size} vectors; the limit is {BATCH_LIMIT}"
            raise Problem(422, "Batch too large", detail, "ask in several requests")
        return dates, [clock.close(day) for day in dates]


def feature_routes(answers: Answers, clock: Clock) -> APIRouter:
    """The routes that the aggregator and all microservices have."""
    router = APIRouter()

    @router.get("/features/{symbol}")
    async def one(
        symbol: Annotated[str, Path(pattern=SYMBOL)],
        as_of: Annotated[str | None, Query(description="ISO datetime, or a session's date for its close")] = None,
    ) -> JsonResponse:
        return JsonResponse(await answers.one(symbol, clock.moment(as_of)))

    @router.post("/features")
    async def many(batch: Batch) -> JsonResponse:
        dates, closes = batch.on(clock)
        document = await answers.many(batch.symbols, dates, closes)
        large = len(batch.symbols) * len(dates) >= LARGE
        return JsonResponse(document, background=BackgroundTask(memory.release) if large else None)

    @router.get("/schema")
    async def dimensions() -> JsonResponse:
        return JsonResponse(schema().document())

    return router
