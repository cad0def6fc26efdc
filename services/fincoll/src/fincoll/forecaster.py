"""From symbols and a time to quantiles: bars and sentiment into tokens, one batched run of the model."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from caelum_common.market import UnknownSymbol
from caelum_common.windows import TOKENS, NotEnoughHistory, window
from fincoll.bars import Bars, History
from fincoll.predictor import ModelFault, Predictor
from fincoll.sentiment import Sentiment
from fincoll.senvec import SenVec

INLINE_MAX = 8  # more windows than this run in a thread, so that other requests need not wait


@dataclass(frozen=True, slots=True)
class Prediction:
    """One symbol: `log_returns` float32 (horizons, quantiles) from the close of `as_of`, `last_close` in USD."""

    as_of: datetime
    last_close: float
    log_returns: NDArray[np.float32]
    sentiment: Sentiment


@dataclass(frozen=True, slots=True)
class Forecast:
    """The answer to one question; symbols without a prediction are in `refused` with the reason.

    `unknown` are those of the refused that the market has never heard of.
    """

    model: Predictor
    as_of: datetime
    predictions: dict[str, Prediction] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    @property
    def degraded(self) -> bool:
        """Whether any prediction had to do without sentiment, or with a part of it."""
        return any(prediction.sentiment.degraded for prediction in self.predictions.values())


class Forecaster:
    """Answers questions with the model it is given; remembers when it last did, and which models failed."""

    def __init__(self, bars: Bars, senvec: SenVec) -> None:
        self._bars = bars
        self._senvec = senvec
        self._faults: dict[str, str] = {}
        self.last_prediction: datetime | None = None

    async def forecast(self, model: Predictor, symbols: Sequence[str], as_of: date | datetime | None) -> Forecast:
        """Quantiles for each symbol as of the last session closed by `as_of` (None: the data's clock).

        Raises AfterTheClock, DataMissing, or ModelFault when the model gave no usable numbers.
        """
        session, known_at = self._bars.at(as_of)
        forecast = Forecast(model, known_at)
        await self._bars.read(symbols)
        ends = self._ends(symbols, session, forecast)
        asks = {symbol: history.dates[end + 1 - TOKENS : end + 1] for symbol, (history, end) in ends.items()}
        sentiments = await self._senvec.windows(asks)
        tokens: dict[str, NDArray[np.float32]] = {}
        for symbol, (history, end) in ends.items():
            try:
                tokens[symbol] = _tokens(history, end, sentiments[symbol])
            except NotEnoughHistory as reason:
                forecast.refused[symbol] = str(reason)
        for symbol, answer in (await self._run(model, tokens)).items():
            history, end = ends[symbol]
            bar = history.bars[end]
            forecast.predictions[symbol] = Prediction(bar.time, bar.close, answer, sentiments[symbol])
        return forecast

    def fault(self, model: Predictor) -> str | None:
        """What went wrong at the model's last run; None when it answered, or was not asked yet."""
        return self._faults.get(model.name)

    def _ends(self, symbols: Sequence[str], session: date, forecast: Forecast) -> dict[str, tuple[History, int]]:
        """Each symbol's history with the row its window ends in; those without one go to `forecast.refused`."""
        ends: dict[str, tuple[History, int]] = {}
        for symbol in symbols:
            try:
                history = self._bars.history(symbol)
                ends[symbol] = history, history.end(session)
            except UnknownSymbol as reason:
                forecast.unknown.add(symbol)
                forecast.refused[symbol] = str(reason)
            except NotEnoughHistory as reason:
                forecast.refused[symbol] = str(reason)
        return ends

    async def _run(self, model: Predictor, tokens: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        if not tokens:
            return {}
        batch = np.stack(list(tokens.values()))
        try:
            if len(batch) <= INLINE_MAX:
                answers = model.predict(batch)
            else:
                answers = await asyncio.to_thread(model.predict, batch)
        except ModelFault as fault:
            self._faults[model.name] = str(fault)
            raise
        self._faults.pop(model.name, None)
        self.last_prediction = datetime.now(UTC)
        return dict(zip(tokens, answers, strict=True))


def _tokens(history: History, end: int, sentiment: Sentiment) -> NDArray[np.float32]:
    """One window, float32 (TOKENS, CHANNELS)."""
    features = history.features[end + 1 - TOKENS : end + 1]
    return window(features, sentiment.values, sentiment.mask, TOKENS - 1)
