"""From daily bars to the tokens that a model reads: one code path for training and for serving."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from caelum_common import vector
from caelum_common.market import Bar

Floats = NDArray[np.float32]

TOKENS: Final = 64
# Ratios alone: a dividend or split after t rescales every earlier adjusted close, so a level would tell the future.
BAR_CHANNELS: Final = (
    "return_1d",
    "overnight_gap",
    "high_low_range",
    "close_in_range",
    "log_volume_vs_20d",
    "return_5d",
    "return_20d",
    "volatility_20d",
)
LOOK_BACK: Final = 20  # sessions before a token that its channels need
CHANNELS: Final = len(BAR_CHANNELS) + 2 * vector.WIDTH


class NotEnoughHistory(ValueError):
    """The bars before the asked day are too few (or hold a price of zero) for a whole window."""


def bar_features(bars: Sequence[Bar]) -> Floats:
    """Channels of each session from it and the `LOOK_BACK` sessions before: float32 (len(bars), len(BAR_CHANNELS)).

    `bars` are of one symbol, ascending. Returns are logs of adjusted prices, volatility is the root mean square of
    the last 20 daily returns. The first LOOK_BACK rows are NaN. Row t depends on bars up to t alone.
    """
    rows = [(b.open, b.high, b.low, b.close, b.adjusted_close, b.volume) for b in bars]
    features = np.full((len(rows), len(BAR_CHANNELS)), np.nan, dtype=np.float32)
    if len(rows) <= LOOK_BACK:
        return features
    columns = np.ascontiguousarray(np.array(rows, dtype=np.float64).T)
    columns[5] = np.maximum(columns[5], 1.0)  # a session without a trade
    with np.errstate(divide="ignore", invalid="ignore"):  # what comes of it is not finite, and window() refuses it
        features[LOOK_BACK:] = _channels(np.log(columns))
    return features


def _channels(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The channels, in BAR_CHANNELS' order, of the sessions after LOOK_BACK: (sessions, channels)."""
    opens, highs, lows, closes, adjusted, volume = logs
    back = LOOK_BACK
    daily = np.diff(adjusted)
    gap = (opens - closes + adjusted)[1:] - adjusted[:-1]
    usual_volume = sliding_window_view(volume, back)[:-1].mean(axis=1)
    return np.stack(
        [
            daily[back - 1 :],
            gap[back - 1 :],
            (highs - lows)[back:],
            (closes - 0.5 * (highs + lows))[back:],
            volume[back:] - usual_volume,
            adjusted[back:] - adjusted[back - 5 : -5],
            adjusted[back:] - adjusted[:-back],
            np.sqrt(np.square(sliding_window_view(daily, back)).mean(axis=1)),
        ],
        axis=1,
    )


def window(features: Floats, values: Floats | None, mask: Floats | None, end: int) -> Floats:
    """The TOKENS sessions up to and including row `end`, as float32 (TOKENS, CHANNELS).

    `features` is (n, len(BAR_CHANNELS)) from bar_features, or a slice of it; `values` and `mask` are (n, WIDTH) and
    aligned with it row for row, or both None, which means that no sentiment is known. Values where the mask is 0
    count as 0. Raises NotEnoughHistory when a row of the window lacks its look-back.
    """
    start = end + 1 - TOKENS
    if start < 0 or end >= len(features):
        raise NotEnoughHistory(
            f"a window of {TOKENS} sessions that ends at row {end} needs {TOKENS + LOOK_BACK} bars, "
            f"there are {len(features)}"
        )
    bars = features[start : end + 1]
    if not np.isfinite(bars).all():
        raise NotEnoughHistory(
            f"the window of rows {start} to {end} holds sessions without {LOOK_BACK} priced sessions before them; "
            f"ask for {TOKENS + LOOK_BACK} bars or a later day"
        )
    known = slice(start, end + 1)
    return token_rows(bars, None if values is None else values[known], None if mask is None else mask[known])


def token_rows(features: Floats, values: Floats | None, mask: Floats | None) -> Floats:
    """Bar channels, values and mask side by side: float32 (n, CHANNELS); values count as 0 where the mask is 0."""
    rows = np.zeros((len(features), CHANNELS), dtype=np.float32)
    first, second = len(BAR_CHANNELS), len(BAR_CHANNELS) + vector.WIDTH
    rows[:, :first] = features
    if values is not None and mask is not None:
        rows[:, first:second] = values * mask
        rows[:, second:] = mask
    return rows
