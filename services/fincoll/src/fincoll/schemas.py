"""Requests that FinColl reads and answers that it gives, as pydantic models; answers are documented, not validated."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from caelum_common import jobs

MAX_SYMBOLS = 500
DEFAULT_JOB = jobs.JOBS[0].name


def _as_of(value: Any) -> date | datetime | None:
    """ISO 8601 text as a date, or as a time with an offset: without one it would mean another moment elsewhere."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - pydantic makes a 422 of it, and of a TypeError a 500
            'a date ("2013-03-01") or a time with an offset ("2013-03-01T21:00:00Z") as text'
        )
    if len(value) == len("2013-03-01"):
        return date.fromisoformat(value)
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC this time is outside of the calendar") from None


AsOf = Annotated[date | datetime | None, BeforeValidator(_as_of, json_schema_input_type=str | None)]
Symbol = Annotated[str, Field(min_length=1, max_length=16)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PredictRequest(_Request):
    """What is asked: quantiles of `job` for `symbols`, knowing what was known at `as_of` (null: the data's clock)."""

    symbols: list[Symbol] = Field(min_length=1, max_length=MAX_SYMBOLS)
    job: str = DEFAULT_JOB
    as_of: AsOf = None


class ReloadRequest(_Request):
    """Which alias to load again, of one job or of all that have it. Never a path: those are configuration."""

    alias: str = Field(min_length=1, max_length=50)
    job: str | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Numbers(_Answer):
    """What every answer with numbers says about where they are from."""

    version: str
    schema_hash: str
    source: str
    as_of: datetime
    degraded: bool


class ModelRef(_Answer):
    """The model that answered."""

    version: str
    alias: str
    kind: str
    bootstrap: bool
    trusted: bool


class SenvecState(_Answer):
    """What sentiment a prediction had: `missing` are the groups without any, `age_s` is of each group's newest input.

    `stale`: last-known vectors stood in, fetched `stale_s` seconds ago or less.
    """

    degraded: bool
    stale: bool
    stale_s: float | None
    missing: list[str]
    age_s: dict[str, float | None]


class SymbolPrediction(_Answer):
    """Quantiles of the log return per horizon, (horizons, quantiles), ascending; `last_close` in USD."""

    as_of: datetime
    last_close: float
    log_returns: list[list[float]]
    senvec: SenvecState


class PredictResponse(Numbers):
    """A prediction for each symbol that could have one; the others are in `refused` with the reason."""

    job: str
    model: ModelRef
    horizons: list[int]
    quantiles: list[float]
    predictions: dict[str, SymbolPrediction]
    refused: dict[str, str]


class BarOut(_Answer):
    """One session; `time` is its close (UTC), prices in USD."""

    time: datetime
    open: float
    high: float
    low: float
    close: float
    adjusted_close: float
    volume: float


class BarsResponse(Numbers):
    """The last bars of one symbol, oldest first."""

    symbol: str
    bars: list[BarOut]


class ModelOut(_Answer):
    """One alias and the model version that it points to."""

    job: str
    alias: str
    version: str
    kind: str
    bootstrap: bool
    trusted: bool
    horizons: list[int]
    quantiles: list[float]
    trained_on: dict[str, Any]
    git_commit: str | None
    metrics: dict[str, Any]
    sha256: str


class ModelsResponse(_Answer):
    """All models that are loaded."""

    version: str
    schema_hash: str
    models: list[ModelOut]


class SwapOut(_Answer):
    """What a reload changed; `before` is null for an alias that was not loaded."""

    job: str
    alias: str
    before: str | None
    after: str


class ReloadResponse(_Answer):
    """The aliases that were loaded again."""

    version: str
    schema_hash: str
    reloaded: list[SwapOut]
