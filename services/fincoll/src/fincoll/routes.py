"""HTTP in, domain out: FinColl's routes."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from caelum_common import release, vector
from caelum_common.checkpoint import BadCheckpoint
from caelum_common.errors import Problem
from caelum_common.jobs import UnknownJob
from caelum_common.market import Bar, UnknownSymbol
from caelum_common.start import CannotStart
from caelum_common.tokens import Accepts, requires_token
from caelum_common.wire import JsonResponse
from fincoll import schemas
from fincoll.bars import AfterTheClock, Bars, DataMissing
from fincoll.forecaster import Forecast, Forecaster, Prediction
from fincoll.metrics import Metrics
from fincoll.predictor import ModelFault, Predictor
from fincoll.registry import CHAMPION, Listing, ModelMissing, ModelRegistry
from fincoll.schemas import DEFAULT_JOB, AsOf


@dataclass(frozen=True)
class Parts:
    """What the routes answer from; `listing` reads MODEL_REGISTRY anew."""

    registry: ModelRegistry
    bars: Bars
    forecaster: Forecaster
    metrics: Metrics
    accepts: Accepts
    listing: Callable[[], Listing]


def router(parts: Parts) -> APIRouter:
    """All routes beyond those every service has."""
    routes = APIRouter()
    _add_predictions(routes, parts)
    _add_bars(routes, parts)
    _add_models(routes, parts)
    return routes


def _add_predictions(routes: APIRouter, parts: Parts) -> None:
    async def predict(symbols: Sequence[str], job: str, as_of: date | datetime | None) -> Response:
        begin = time.perf_counter()
        model = _model(parts.registry, job)
        try:
            forecast = await parts.forecaster.forecast(model, list(dict.fromkeys(symbols)), as_of)
        except AfterTheClock as error:
            raise _after_the_clock(error) from None
        except DataMissing as error:
            raise _data_missing(error) from None
        except ModelFault as error:
            raise Problem(
                503, "The model failed", str(error), "reload another version with POST /models/reload, or roll back"
            ) from None
        if len(forecast.unknown) == len(forecast.refused) and not forecast.predictions:
            reasons = "; ".join(forecast.refused.values())
            raise Problem(404, "Unknown symbols", reasons, "ask for a symbol that the market knows")
        parts.metrics.predicted(model.manifest.job, model.manifest.version, time.perf_counter() - begin)
        return JsonResponse(_predict_answer(forecast, parts.bars.source))

    @routes.post("/predict", response_model=schemas.PredictResponse)
    async def predict_many(body: schemas.PredictRequest) -> Response:
        return await predict(body.symbols, body.job, body.as_of)

    @routes.get("/predict/{symbol}", response_model=schemas.PredictResponse)
    async def predict_one(symbol: schemas.Symbol, job: str = DEFAULT_JOB, as_of: AsOf = None) -> Response:
        return await predict([symbol], job, as_of)


def _add_bars(routes: APIRouter, parts: Parts) -> None:
    @routes.get("/bars/{symbol}", response_model=schemas.BarsResponse)
    async def bars(
        symbol: schemas.Symbol, limit: Annotated[int, Query(ge=1, le=5000)] = 120, as_of: AsOf = None
    ) -> Response:
        try:
            session, known_at = parts.bars.at(as_of)
            await parts.bars.read([symbol])
            found = parts.bars.last(symbol, session, limit)
        except AfterTheClock as error:
            raise _after_the_clock(error) from None
        except DataMissing as error:
            raise _data_missing(error) from None
        except UnknownSymbol as error:
            raise Problem(404, "Unknown symbol", str(error.args[0]), "ask for a symbol that the market knows") from None
        numbers = _numbers(parts.bars.source, known_at, degraded=False)
        return JsonResponse({**numbers, "symbol": symbol, "bars": [_bar_answer(bar) for bar in found]})


def _add_models(routes: APIRouter, parts: Parts) -> None:
    @routes.get("/models", response_model=schemas.ModelsResponse)
    async def models() -> Response:
        entries = [_model_answer(entry.job, entry.alias, entry.model) for entry in parts.registry.entries()]
        return JsonResponse({**_versions(), "models": entries})

    @routes.post(
        "/models/reload", response_model=schemas.ReloadResponse, dependencies=[Depends(requires_token(parts.accepts))]
    )
    async def reload(body: schemas.ReloadRequest) -> Response:
        try:
            swaps = await asyncio.to_thread(
                lambda: parts.registry.reload(parts.listing(), body.alias, body.job)  # reads files
            )
        except (UnknownJob, ModelMissing) as error:
            remedy = "MODEL_REGISTRY in the environment file lists the aliases; deploy to change it"
            raise Problem(404, "Nothing to reload", str(error.args[0]), remedy) from None
        except (BadCheckpoint, CannotStart) as error:
            remedy = "the models loaded before go on answering; correct the cause and reload again"
            raise Problem(409, "Checkpoint refused", str(error), remedy) from None
        return JsonResponse({**_versions(), "reloaded": [asdict(swap) for swap in swaps]})


def _model(registry: ModelRegistry, job: str) -> Predictor:
    try:
        return registry.get(job)
    except UnknownJob as error:
        raise Problem(404, "Unknown job", str(error.args[0]), "ask for a job of GET /models") from None
    except ModelMissing as error:
        raise Problem(503, "No model", str(error.args[0]), "GET /models lists what is loaded") from None


def _after_the_clock(error: AfterTheClock) -> Problem:
    return Problem(422, "as_of is in the future", str(error), "leave `as_of` out to ask as of the data's clock")


def _data_missing(error: DataMissing) -> Problem:
    return Problem(503, "No market data", str(error), "see GET /ready")


def _versions() -> dict[str, Any]:
    return {"version": release.current().version, "schema_hash": vector.schema().hash}


def _numbers(source: str, as_of: datetime, *, degraded: bool) -> dict[str, Any]:
    return {**_versions(), "source": source, "as_of": as_of, "degraded": degraded}


def _predict_answer(forecast: Forecast, source: str) -> dict[str, Any]:
    manifest = forecast.model.manifest
    return {
        **_numbers(source, forecast.as_of, degraded=forecast.degraded),
        "job": manifest.job,
        "model": {
            "version": manifest.version,
            "alias": CHAMPION,
            "kind": manifest.kind,
            "bootstrap": manifest.bootstrap,
            "trusted": manifest.trusted,
        },
        "horizons": manifest.horizons,
        "quantiles": manifest.quantiles,
        "predictions": {symbol: _prediction_answer(each) for symbol, each in forecast.predictions.items()},
        "refused": forecast.refused,
    }


def _prediction_answer(prediction: Prediction) -> dict[str, Any]:
    sentiment = prediction.sentiment
    return {
        "as_of": prediction.as_of,
        "last_close": prediction.last_close,
        "log_returns": prediction.log_returns,
        "senvec": {
            "degraded": sentiment.degraded,
            "stale": sentiment.stale,
            "stale_s": sentiment.stale_s,
            "missing": sentiment.missing,
            "age_s": sentiment.age_s,
        },
    }


def _bar_answer(bar: Bar) -> dict[str, Any]:
    return {
        "time": bar.time,
        "open": bar.open,
        "high": bar.high,
        "low": bar.low,
        "close": bar.close,
        "adjusted_close": bar.adjusted_close,
        "volume": bar.volume,
    }


def _model_answer(job: str, alias: str, model: Predictor) -> dict[str, Any]:
    manifest = model.manifest
    return {
        "job": job,
        "alias": alias,
        "version": manifest.version,
        "kind": manifest.kind,
        "bootstrap": manifest.bootstrap,
        "trusted": manifest.trusted,
        "horizons": manifest.horizons,
        "quantiles": manifest.quantiles,
        "trained_on": manifest.data.model_dump(),
        "git_commit": manifest.git_commit,
        "metrics": manifest.metrics,
        "sha256": manifest.files.onnx.sha256,
    }
