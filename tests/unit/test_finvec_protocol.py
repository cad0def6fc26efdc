"""The four canaries of the leak-free protocol: each fails when the future reaches a model."""

from dataclasses import replace

import numpy as np
import pytest

from caelum_common.market import market
from caelum_common.windows import bar_features
from finvec import evaluate, protocol
from finvec.candidates import fit_ridge
from finvec.data import build
from finvec.errors import Leak, NoData
from finvec.presets import LOCAL, PRODUCTION
from finvec.sentiment import absent
from support.bars import random_bars
from support.finvec_panel import JOB, TINY, sample_panel, task

DAYS = (100, 250, 390)


def test_altering_bars_after_t_leaves_the_features_of_t_byte_identical():
    for symbol in JOB.universe:
        protocol.check_causal(bar_features, market("sample").bars(symbol, count=400), (90, 150, 195))


def test_an_injected_one_day_look_ahead_is_caught():
    def leaky(bars):
        return np.roll(bar_features(bars), -1, axis=0)

    with pytest.raises(Leak, match=r"the features of AAPL on .* change when later bars are altered"):
        protocol.check_causal(leaky, random_bars("AAPL", 400), DAYS)


def test_a_scaler_over_the_whole_history_is_caught():
    def leaky(bars):
        features = bar_features(bars)
        return features - np.nanmean(features, axis=0)

    with pytest.raises(Leak):
        protocol.check_causal(leaky, random_bars("AAPL", 400), DAYS)


def test_shuffled_labels_give_an_interval_that_holds_0():
    panel = sample_panel()
    known = np.flatnonzero(np.isfinite(panel.targets).all(axis=1))
    targets = panel.targets.copy()
    targets[known] = panel.targets[np.random.default_rng(5).permutation(known)]
    candidate = fit_ridge(task(replace(panel, targets=targets), LOCAL), seed=1)
    assert candidate.test["rank_ic"].holds(0.0)


def test_a_look_ahead_into_the_label_shows_in_the_rank_ic():
    """The same fit as above, on true labels whose first days stand in a channel: the figures can see a leak."""
    panel = sample_panel()
    tokens = panel.tokens.copy()
    tokens[:-2, 0] = panel.tokens[2:, 0]
    leaking = fit_ridge(task(replace(panel, tokens=tokens), LOCAL), seed=1).test["rank_ic"]
    honest = fit_ridge(task(panel, LOCAL), seed=1).test["rank_ic"]
    assert leaking.low > 0.1
    assert leaking.low > honest.value


@pytest.mark.parametrize("preset", [LOCAL, PRODUCTION, TINY], ids=lambda preset: preset.name)
def test_no_training_row_overlaps_a_label_that_judges_it(preset):
    panel = sample_panel(3270)
    folds = protocol.walk_forward(len(panel.sessions), preset, max(JOB.horizons))
    assert len(folds) == preset.folds
    for fold in folds:
        train, validate, test = (protocol.rows_in(panel, span) for span in (fold.train, fold.validate, fold.test))
        assert min(len(train), len(validate), len(test)) > 0
        for earlier, later in ((train, validate), (train, test), (validate, test)):
            embargo = panel.session[later].min() - panel.label_end[earlier].max()
            assert embargo > max(JOB.horizons)
            protocol.check_disjoint(panel, earlier, later)


def test_a_split_without_purge_is_refused():
    panel = sample_panel()
    train, later = (protocol.rows_in(panel, span) for span in (range(100, 500), range(500, 600)))
    with pytest.raises(Leak, match="widen the purge"):
        protocol.check_disjoint(panel, train, later)


def test_purged_rows_are_refused_again_when_one_of_them_is_put_back():
    panel = sample_panel()
    fold = protocol.walk_forward(len(panel.sessions), TINY, max(JOB.horizons))[0]
    train, test = protocol.rows_in(panel, fold.train), protocol.rows_in(panel, fold.validate)
    one_more = protocol.rows_in(panel, range(fold.validate.start - 1, fold.validate.start))
    with pytest.raises(Leak):
        protocol.check_disjoint(panel, np.concatenate([train, one_more]), test)


def test_channel_scales_come_from_the_train_slice_alone():
    panel = sample_panel()
    before = task(panel, TINY)
    tokens = panel.tokens.copy()
    tokens[panel.session > panel.session[before.train].max()] *= 100
    after = task(replace(panel, tokens=tokens), TINY)
    for seen, changed in zip(_scales(before), _scales(after), strict=True):
        assert seen.tobytes() == changed.tobytes()


def _scales(one):
    model = fit_ridge(one, seed=1).model
    return model.mean.numpy(), model.scale.numpy()


def test_too_short_a_history_says_how_much_is_needed():
    panel = build({"AAPL": random_bars("AAPL", 200)}, absent("a test"), JOB)
    with pytest.raises(NoData, match="preset local needs 2603 sessions of bars, the data hold 200"):
        protocol.walk_forward(len(panel.sessions), LOCAL, 10)


def test_exactly_the_needed_history_gives_the_first_day_its_whole_window():
    needed = protocol.needed_sessions(TINY)
    panel = build({"AAPL": random_bars("AAPL", needed)}, absent("a test"), JOB)
    fold = protocol.walk_forward(needed, TINY, 10)[0]
    assert panel.session[protocol.rows_in(panel, fold.train)][0] == fold.train.start


def test_the_bootstrap_interval_of_overlapping_labels_is_wider_than_a_naive_one():
    """Days that share most of their label are few days: an interval that ignores it raises false alarms."""
    chance = np.random.default_rng(0).normal(size=500)
    daily = np.convolve(chance, np.ones(10) / 10, mode="valid")
    figure = evaluate.bootstrap(daily)
    naive = 1.96 * daily.std() / np.sqrt(len(daily))
    assert figure.high - figure.value > 1.8 * naive
