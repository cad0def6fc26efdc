"""The figures a model is judged by."""

import numpy as np
import pytest

from finvec import evaluate

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def test_pinball_charges_each_side_by_its_level():
    quantiles = np.zeros((1, 1, 5), dtype=np.float32)
    above = evaluate.pinball(np.array([[1.0]], dtype=np.float32), quantiles, LEVELS)
    below = evaluate.pinball(np.array([[-1.0]], dtype=np.float32), quantiles, (0.05,) * 5)
    assert above[0] == pytest.approx(np.mean(LEVELS))
    assert below[0] == pytest.approx(0.95)


def test_pinball_is_least_at_the_true_quantiles():
    drawn = np.random.default_rng(0).normal(size=(20_000, 1)).astype(np.float32)
    true = np.broadcast_to(np.quantile(drawn, LEVELS).astype(np.float32), (20_000, 1, 5))
    losses = [evaluate.pinball(drawn, true * scale, LEVELS).mean() for scale in (0.8, 1.0, 1.25)]
    assert min(losses) == losses[1]


def test_rank_ic_is_spearman_s_correlation_per_day():
    session = np.repeat([3, 8], 4)
    outcome = np.array([1.0, 2, 3, 4, 1, 2, 3, 4])
    score = np.array([10.0, 20, 30, 400, 4, 3, 2, 1])
    assert evaluate.rank_ic(score, outcome, session) == pytest.approx([1.0, -1.0])


def test_ties_share_their_mean_rank():
    daily = evaluate.rank_ic(np.array([1.0, 1, 2, 3]), np.array([1.0, 2, 3, 4]), np.zeros(4, dtype=np.int64))
    assert daily == pytest.approx([np.corrcoef([0.5, 0.5, 2, 3], [0, 1, 2, 3])[0, 1]])


def test_days_that_cannot_rank_are_left_out():
    session = np.repeat([0, 1, 2], [2, 3, 3])
    score = np.array([1.0, 2, 5, 5, 5, 1, 2, np.nan])
    assert len(evaluate.rank_ic(score, np.arange(8.0), session)) == 0
    assert evaluate.bootstrap(np.array([])).document() == {"value": None, "low": None, "high": None}


def test_days_count_alike_however_many_symbols_they_have():
    assert evaluate.per_day(np.array([1.0, 3, 10]), np.array([5, 5, 9])).tolist() == [2, 10]


def test_the_interval_is_the_same_each_time_and_holds_the_mean():
    daily = np.random.default_rng(1).normal(0.3, 1, 250)
    figure = evaluate.bootstrap(daily)
    assert figure == evaluate.bootstrap(daily)
    assert figure.low < daily.mean() < figure.high
    assert figure.holds(daily.mean())
    assert not figure.holds(5.0)
