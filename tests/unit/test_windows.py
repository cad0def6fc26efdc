"""From bars to tokens: shapes, meaning, causality and speed of what training and serving share."""

import time
from datetime import date

import numpy as np
import pytest

from caelum_common import vector
from caelum_common.market import market
from caelum_common.windows import BAR_CHANNELS, CHANNELS, LOOK_BACK, TOKENS, NotEnoughHistory, bar_features, window
from support.bars import random_bars

BARS = len(BAR_CHANNELS)


def test_features_mean_what_their_names_say():
    bars = random_bars("AAPL", 60, seed=3)
    row = dict(zip(BAR_CHANNELS, bar_features(bars)[50], strict=True))
    adjusted = np.log([bar.adjusted_close for bar in bars])
    today = bars[50]
    opened = np.log(today.open * today.adjusted_close / today.close)
    usual = np.mean([np.log(bar.volume) for bar in bars[30:50]])
    assert row["return_1d"] == pytest.approx(adjusted[50] - adjusted[49], abs=1e-6)
    assert row["overnight_gap"] == pytest.approx(opened - adjusted[49], abs=1e-6)
    assert row["high_low_range"] == pytest.approx(np.log(today.high / today.low), abs=1e-6)
    assert row["close_in_range"] == pytest.approx(np.log(today.close / np.sqrt(today.high * today.low)), abs=1e-6)
    assert row["log_volume_vs_20d"] == pytest.approx(np.log(today.volume) - usual, abs=1e-5)
    assert row["return_5d"] == pytest.approx(adjusted[50] - adjusted[45], abs=1e-6)
    assert row["return_20d"] == pytest.approx(adjusted[50] - adjusted[30], abs=1e-6)
    assert row["volatility_20d"] == pytest.approx(np.sqrt(np.mean(np.diff(adjusted)[30:50] ** 2)), abs=1e-6)


def test_the_server_s_few_bars_give_the_trainer_s_features_to_the_byte():
    bars = market("sample").bars("IBM")
    few = bar_features(bars[-(TOKENS + LOOK_BACK) :])
    assert few[-TOKENS:].tobytes() == bar_features(bars)[-TOKENS:].tobytes()


def test_a_later_split_that_rescales_adjusted_closes_changes_no_feature():
    bars = market("sample").bars("AAPL", until=date(2012, 6, 1), count=100)
    halved = [type(bar)(**{**_fields(bar), "adjusted_close": bar.adjusted_close / 2}) for bar in bars]
    np.testing.assert_allclose(bar_features(halved), bar_features(bars), atol=1e-6)


def _fields(bar):
    return {name: getattr(bar, name) for name in type(bar).__dataclass_fields__}


def test_a_window_holds_bars_values_and_mask_and_ends_at_the_asked_row():
    features = bar_features(random_bars("AAPL", 100))
    values = np.random.default_rng(0).uniform(-1, 1, (100, vector.WIDTH)).astype(np.float32)
    mask = (values > 0).astype(np.float32)
    tokens = window(features, values, mask, end=90)
    assert tokens.shape == (TOKENS, CHANNELS)
    assert tokens.dtype == np.float32
    np.testing.assert_array_equal(tokens[:, :BARS], features[27:91])
    np.testing.assert_array_equal(tokens[:, BARS : BARS + vector.WIDTH], np.where(mask, values, 0)[27:91])
    np.testing.assert_array_equal(tokens[:, BARS + vector.WIDTH :], mask[27:91])


def test_without_sentiment_values_and_mask_are_zero():
    tokens = window(bar_features(random_bars("AAPL", 84)), None, None, end=83)
    assert not tokens[:, BARS:].any()


@pytest.mark.parametrize(("bars", "end"), [(83, 82), (84, 82), (84, 84), (10, 9)])
def test_a_window_without_its_look_back_is_refused(bars, end):
    with pytest.raises(NotEnoughHistory, match="84 bars"):
        window(bar_features(random_bars("AAPL", bars)), None, None, end)


def test_a_price_of_zero_is_refused_rather_than_predicted_from():
    bars = random_bars("AAPL", 100)
    broken = [*bars[:80], type(bars[80])(**{**_fields(bars[80]), "close": 0.0}), *bars[81:]]
    with pytest.raises(NotEnoughHistory):
        window(bar_features(broken), None, None, end=99)


def test_a_request_s_features_take_a_fraction_of_a_millisecond():
    bars = random_bars("AAPL", 84)
    spent = []
    for _ in range(50):
        began = time.perf_counter()
        window(bar_features(bars), None, None, end=83)
        spent.append(time.perf_counter() - began)
    assert min(spent) < 0.0003
