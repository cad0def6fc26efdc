"""A forecast knows what was known at `as_of` and nothing later, and refuses what it can't answer."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from caelum_common.market import UnknownSymbol, market
from caelum_common.windows import LOOK_BACK, TOKENS, bar_features, window
from fincoll.bars import AfterTheClock, Bars
from fincoll.forecaster import Forecast, Forecaster
from fincoll.predictor import ModelFault, Predictor
from fincoll.senvec import SenVec
from support.checkpoints import write_checkpoint

CLOCK = datetime(2013, 3, 1, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def bars() -> Bars:
    return Bars(market("sample"))


@pytest.fixture
def model(tmp_path: Path) -> Predictor:
    return Predictor.load(write_checkpoint(tmp_path))


def forecaster(bars: Bars) -> Forecaster:
    return Forecaster(bars, SenVec("", timeout_s=0.25, last_session=bars.last_session, probe="AAPL"))


def ask(bars: Bars, model: Predictor, *symbols: str, as_of: date | datetime | None = None) -> Forecast:
    return asyncio.run(forecaster(bars).forecast(model, symbols, as_of))


def test_the_numbers_are_those_of_the_window_that_ends_at_as_of(bars: Bars, model: Predictor) -> None:
    day = date(2012, 6, 14)
    found = ask(bars, model, "IBM", as_of=day).predictions["IBM"]
    known = market("sample").bars("IBM", until=day)
    tokens = window(bar_features(known), None, None, len(known) - 1)
    np.testing.assert_allclose(found.log_returns, model.predict(tokens[None])[0], atol=1e-6)
    assert found.last_close == known[-1].close
    assert found.as_of == known[-1].time


@pytest.mark.parametrize(
    ("as_of", "session"),
    [
        (None, date(2013, 3, 1)),
        (date(2013, 3, 1), date(2013, 3, 1)),
        (date(2013, 2, 24), date(2013, 2, 22)),  # a Sunday
        (CLOCK, date(2013, 3, 1)),
        (CLOCK - timedelta(seconds=1), date(2013, 2, 28)),  # the session had not closed
    ],
)
def test_a_moment_is_the_last_session_closed_by_then(bars: Bars, as_of: date | None, session: date) -> None:
    assert bars.at(as_of).session == session


@pytest.mark.parametrize("as_of", [date(2013, 3, 2), CLOCK + timedelta(seconds=1), datetime(2030, 1, 1, tzinfo=UTC)])
def test_the_future_is_refused(bars: Bars, model: Predictor, as_of: date) -> None:
    with pytest.raises(AfterTheClock, match="is after the data's clock, 2013-03-01T21:00:00"):
        ask(bars, model, "AAPL", as_of=as_of)


def test_too_little_history_is_refused_with_the_reason(bars: Bars, model: Predictor) -> None:
    first = market("sample").bars("FB")
    enough = TOKENS + LOOK_BACK
    early = ask(bars, model, "FB", "AAPL", as_of=first[enough - 2].date)
    assert "83 daily bars" in early.refused["FB"]
    assert "needs 84" in early.refused["FB"]
    assert list(early.predictions) == ["AAPL"]
    assert not early.unknown
    assert "FB" in ask(bars, model, "FB", as_of=first[enough - 1].date).predictions


def test_before_all_data_every_symbol_is_refused(bars: Bars, model: Predictor) -> None:
    for as_of in (date(1990, 1, 1), datetime(1990, 1, 1, tzinfo=UTC)):
        found = ask(bars, model, "AAPL", as_of=as_of)
        assert "0 daily bars" in found.refused["AAPL"]
        assert bars.last("AAPL", bars.at(as_of).session, 10) == []


def test_unknown_symbols_are_named_and_the_others_answered(bars: Bars, model: Predictor) -> None:
    found = ask(bars, model, "XXXX", "MSFT")
    assert found.unknown == {"XXXX"}
    assert "the sample knows AAPL" in found.refused["XXXX"]
    assert list(found.predictions) == ["MSFT"]
    with pytest.raises(UnknownSymbol):
        bars.history("XXXX")


def test_without_sentiment_a_forecast_says_so(bars: Bars, model: Predictor) -> None:
    found = ask(bars, model, "AAPL")
    assert found.degraded
    assert not found.predictions["AAPL"].sentiment.mask.any()


def test_a_fault_is_remembered_until_the_model_answers_again(bars: Bars, model: Predictor) -> None:
    made = forecaster(bars)
    broken = Predictor(model.path, model.manifest.model_copy(update={"horizons": (1,)}), model.session)
    with pytest.raises(ModelFault, match="shape"):
        asyncio.run(made.forecast(broken, ["AAPL"], None))
    assert "shape" in str(made.fault(model))
    assert made.last_prediction is None
    asyncio.run(made.forecast(model, ["AAPL"], None))
    assert made.fault(model) is None
    assert made.last_prediction is not None
