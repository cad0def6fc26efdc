"""How good predictions are, and how sure that is: figures per day, their mean and block-bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caelum_common.jobs import Job
from caelum_common.windows import Floats
from finvec.data import Doubles, Ints, Panel, trailing_return

BLOCK = 20  # sessions; labels of neighbouring days overlap, so days can't be drawn one by one
DRAWS = 1000


@dataclass(frozen=True)
class Figure:
    """A mean over days with its 95% interval."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the interval holds `value`."""
        return self.low <= value <= self.high

    def document(self) -> dict[str, float | None]:
        """As the manifest tells it; null where there was no day to judge."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return {name: round(figure, 6) if np.isfinite(figure) else None for name, figure in figures.items()}


def pinball(targets: Floats, quantiles: Floats, levels: Sequence[float]) -> Doubles:
    """Pinball loss per row, (N,), in log return: mean over the horizons and quantiles of (N, horizons, quantiles)."""
    error = targets[..., None].astype(np.float64) - quantiles
    level = np.asarray(levels)
    loss: Doubles = np.maximum(level * error, (level - 1) * error).mean(axis=(1, 2))
    return loss


def per_day(rows: Doubles, session: Ints) -> Doubles:
    """Mean of `rows` on each day, days ascending."""
    _, day = np.unique(session, return_inverse=True)
    means: Doubles = np.bincount(day, weights=rows) / np.bincount(day)
    return means


def rank_ic(score: Doubles | Floats, outcome: Doubles | Floats, session: Ints) -> Doubles:
    """Spearman's correlation between score and outcome across symbols on each day, days ascending.

    Days with fewer than three symbols, or with a constant score, say nothing and are left out.
    """
    daily = []
    for day in np.unique(session):
        at = (session == day) & np.isfinite(score) & np.isfinite(outcome)
        if at.sum() >= 3 and np.ptp(score[at]) > 0:
            daily.append(np.corrcoef(_ranks(score[at]), _ranks(outcome[at]))[0, 1])
    return np.array(daily, dtype=np.float64)


def _ranks(values: Doubles | Floats) -> Doubles:
    """Ranks from 0, ties share their mean rank."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: Doubles = (last - (count + 1) / 2)[place]
    return ranks


def bootstrap(daily: Doubles, seed: int = 0) -> Figure:
    """The mean over days with a moving-block-bootstrap interval (Künsch 1989); NaN where there are no days."""
    if not len(daily):
        return Figure(np.nan, np.nan, np.nan)
    generator = np.random.default_rng(seed)
    block = min(BLOCK, len(daily))
    blocks = -(-len(daily) // block)
    starts = generator.integers(0, len(daily) - block + 1, size=(DRAWS, blocks))
    drawn = (starts[..., None] + np.arange(block)).reshape(DRAWS, -1)[:, : len(daily)]
    low, high = np.quantile(daily[drawn].mean(axis=1), [0.025, 0.975])
    return Figure(float(daily.mean()), float(low), float(high))


def figures(panel: Panel, rows: Ints, quantiles: Floats, job: Job) -> dict[str, Figure]:
    """Pinball loss, daily RankIC of the primary horizon's median and coverage of the 90% interval on these rows."""
    targets, session = panel.targets[rows], panel.session[rows]
    primary = job.horizons.index(job.primary_horizon)
    inside = (quantiles[..., 0] <= targets) & (targets <= quantiles[..., -1])
    median = quantiles[:, primary, job.quantiles.index(0.5)]
    return {
        "pinball": bootstrap(per_day(pinball(targets, quantiles, job.quantiles), session)),
        "rank_ic": bootstrap(rank_ic(median, targets[:, primary], session)),
        "coverage_90": bootstrap(per_day(inside.mean(axis=1), session)),
    }


def baselines(panel: Panel, train: Ints, test: Ints, job: Job) -> dict[str, Figure]:
    """What any model has to beat on the test rows: unconditional quantiles, 252-day momentum and 5-day reversal."""
    targets, session = panel.targets[test], panel.session[test]
    primary = targets[:, job.horizons.index(job.primary_horizon)]
    usual = np.quantile(panel.targets[train], job.quantiles, axis=0).T.astype(np.float32)
    constant = np.broadcast_to(usual, (len(test), *usual.shape))
    return {
        "unconditional_pinball": bootstrap(per_day(pinball(targets, constant, job.quantiles), session)),
        "momentum_252d_rank_ic": bootstrap(rank_ic(trailing_return(panel, 252)[test], primary, session)),
        "reversal_5d_rank_ic": bootstrap(rank_ic(-trailing_return(panel, 5)[test], primary, session)),
    }
