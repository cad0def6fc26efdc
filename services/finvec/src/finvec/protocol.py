"""The leak-free protocol: walk-forward folds with purge and embargo, and the checks that hold it to its word."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from caelum_common.market import Bar
from caelum_common.windows import LOOK_BACK, TOKENS, Floats
from finvec.data import Ints, Panel
from finvec.errors import Leak, NoData
from finvec.presets import Preset


@dataclass(frozen=True)
class Fold:
    """Three spans of sessions, in this order, with a gap of purge and embargo after the first two."""

    train: range
    validate: range
    test: range


def walk_forward(sessions: int, preset: Preset, horizon: int) -> list[Fold]:
    """The preset's folds over `sessions` sessions, oldest first; the last one tests on the newest sessions.

    A label of day t ends at t + 1 + horizon. Purge cuts the days whose labels would reach into the next span, the
    embargo another `horizon` days, since returns that touch are not independent. Raises NoData.
    """
    gap = (1 + horizon) + horizon
    folds = []
    for back in reversed(range(preset.folds)):
        end = sessions - back * preset.test
        test = end - preset.test
        validate = test - preset.validate
        train = validate - preset.train
        if train < TOKENS + LOOK_BACK - 1:
            raise NoData(
                f"preset {preset.name} needs {needed_sessions(preset)} sessions of bars, the data hold {sessions}"
            )
        folds.append(Fold(range(train, validate - gap), range(validate, test - gap), range(test, end)))
    return folds


def needed_sessions(preset: Preset) -> int:
    """How many sessions the folds and the first day's window reach back."""
    return preset.sessions + TOKENS + LOOK_BACK - 1


def rows_in(panel: Panel, span: range) -> Ints:
    """Rows of these sessions that have a whole window and known targets, ascending: int64 (n,)."""
    inside = (panel.session >= span.start) & (panel.session < span.stop)
    known = np.isfinite(panel.targets).all(axis=1)
    return np.flatnonzero(inside & known & panel.ready)


def check_disjoint(panel: Panel, earlier: Ints, later: Ints) -> None:
    """Raises Leak unless every label of `earlier` was known before the first day of `later`."""
    if not len(earlier) or not len(later):
        return
    known_by = int(panel.label_end[earlier].max())
    first = int(panel.session[later].min())
    if known_by >= first:
        raise Leak(
            f"a label known on {panel.sessions[known_by]} was to train a model that is judged from "
            f"{panel.sessions[first]} on; widen the purge"
        )


def check_causal(features: Callable[[Sequence[Bar]], Floats], bars: Sequence[Bar], days: Sequence[int]) -> None:
    """Raises Leak if the features of any of `days` (indexes of bars) change by a byte when later bars do."""
    before = features(bars)
    for day in days:
        altered = [*bars[: day + 1], *(_altered(bar) for bar in bars[day + 1 :])]
        if features(altered)[: day + 1].tobytes() != before[: day + 1].tobytes():
            raise Leak(f"the features of {bars[day].symbol} on {bars[day].date} change when later bars are altered")


def _altered(bar: Bar) -> Bar:
    """The same session in a market that went another way."""
    return replace(
        bar,
        open=bar.open * 3,
        high=bar.high * 5,
        low=bar.low * 2,
        close=bar.close * 4,
        adjusted_close=bar.adjusted_close * 4,
        volume=bar.volume * 7 + 1,
    )
