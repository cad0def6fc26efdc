"""The panel: targets, label ends and readiness of each row."""

import numpy as np
import pytest

from caelum_common import vector
from caelum_common.market import market
from caelum_common.windows import BAR_CHANNELS, bar_features
from caelum_common.windows import window as served_window
from finvec.data import build, forward_returns, trailing_return
from finvec.errors import NoData
from finvec.sentiment import Sentiment, absent
from support.bars import random_bars
from support.finvec_panel import JOB, TINY, sample_panel, task


def test_a_target_runs_over_h_sessions_from_tomorrow():
    bars = random_bars("AAPL", 120)
    panel = build({"AAPL": bars}, absent("a test"), JOB)
    for column, horizon in enumerate(JOB.horizons):
        expected = np.log(bars[91 + horizon].adjusted_close / bars[91].adjusted_close)
        assert panel.targets[90, column] == pytest.approx(expected, abs=1e-6)


def test_targets_that_the_data_do_not_reach_are_unknown():
    targets = forward_returns(np.arange(20.0), (1, 5, 10))
    assert np.isnan(targets).sum(axis=0).tolist() == [2, 6, 11]
    assert np.nanmax(targets, axis=0).tolist() == [1, 5, 10]


def test_a_label_ends_h_sessions_after_tomorrow():
    panel = build({"AAPL": random_bars("AAPL", 120)}, absent("a test"), JOB)
    assert panel.label_end[90] == 90 + 1 + max(JOB.horizons)


def test_the_trainer_s_window_is_the_server_s():
    panel = sample_panel()
    one = task(panel, TINY)
    row = int(one.test[7])
    first = int(np.flatnonzero(panel.symbol == panel.symbol[row])[0])
    symbol = panel.symbols[panel.symbol[row]]
    day = panel.sessions[panel.session[row]]
    served = market("sample").bars(symbol, until=day, count=84)
    assert row - first >= 83
    trained = one.windows.at(np.array([row]))[0][0].numpy()
    assert trained.tobytes() == served_window(bar_features(served), None, None, end=83).tobytes()


def test_symbols_meet_on_the_same_session():
    late = random_bars("FB", 100, seed=1)[10:]
    panel = build({"AAPL": random_bars("AAPL", 100), "FB": late}, absent("a test"), JOB)
    assert len(panel.sessions) == 100
    assert panel.session[100] == 10
    assert not panel.ready[100 + 82]
    assert panel.ready[100 + 83]


def test_a_symbol_too_young_for_one_window_is_left_out_and_none_is_an_error():
    young = random_bars("FB", 83)
    assert build({"AAPL": random_bars("AAPL", 90), "FB": young}, absent("a test"), JOB).symbols == ("AAPL",)
    with pytest.raises(NoData, match="84 sessions"):
        build({"FB": young}, absent("a test"), JOB)


def test_sentiment_stands_beside_its_session():
    bars = random_bars("AAPL", 100)
    values = np.random.default_rng(0).uniform(-1, 1, (100, vector.WIDTH)).astype(np.float32)
    known = Sentiment({"AAPL": values}, {"AAPL": np.ones_like(values)}, "a test")
    panel = build({"AAPL": bars}, known, JOB)
    start = len(BAR_CHANNELS)
    np.testing.assert_array_equal(panel.tokens[:, start : start + vector.WIDTH], values)


def test_the_fingerprint_changes_with_any_bar():
    bars = random_bars("AAPL", 100)
    one = build({"AAPL": bars}, absent("a test"), JOB).fingerprint()
    assert one == build({"AAPL": bars}, absent("another note"), JOB).fingerprint()
    assert one != build({"AAPL": bars[1:]}, absent("a test"), JOB).fingerprint()


def test_a_trailing_return_does_not_reach_into_another_symbol():
    panel = build({name: random_bars(name, 100, seed) for seed, name in enumerate(("A", "B"))}, absent("x"), JOB)
    trailing = trailing_return(panel, 5)
    assert np.isnan(trailing[100:105]).all()
    assert trailing[105] == pytest.approx(panel.log_close[105] - panel.log_close[100])
