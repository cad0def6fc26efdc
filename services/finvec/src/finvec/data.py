"""The training data: bars and sentiment of all symbols as one table of daily tokens with their targets."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from caelum_common.jobs import Job
from caelum_common.market import Bar
from caelum_common.windows import LOOK_BACK, TOKENS, Floats, bar_features, token_rows
from finvec.errors import NoData
from finvec.sentiment import Sentiment

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """All rows of all symbols; a row is one symbol on one session, and a symbol's rows are contiguous, ascending.

    A row's window is itself and the TOKENS - 1 rows before; `ready` says that these exist and are finite.
    `targets` are log returns (NaN where the data end first); `label_end` is the session by which all of them are
    known. `session` and `label_end` index `sessions`.
    """

    symbols: tuple[str, ...]
    sessions: tuple[date, ...]
    tokens: Floats  # (rows, CHANNELS)
    targets: Floats  # (rows, horizons)
    log_close: Doubles  # (rows,), adjusted
    symbol: Ints  # (rows,), indexes `symbols`
    session: Ints  # (rows,)
    label_end: Ints  # (rows,)
    ready: NDArray[np.bool_]  # (rows,)

    def fingerprint(self) -> str:
        """Hex sha256 of everything that a model can learn from."""
        digest = hashlib.sha256(" ".join(self.symbols).encode())
        for array in (self.tokens, self.targets, self.symbol, self.session):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def build(histories: Mapping[str, Sequence[Bar]], sentiment: Sentiment, job: Job) -> Panel:
    """The panel of these symbols' bars (ascending); those too short for one window are left out. Raises NoData."""
    usable = {symbol: bars for symbol, bars in histories.items() if len(bars) >= TOKENS + LOOK_BACK}
    if not usable:
        raise NoData(f"no symbol of job {job.name} has {TOKENS + LOOK_BACK} sessions of bars; check CAELUM_DATA")
    sessions = tuple(sorted({bar.date for bars in usable.values() for bar in bars}))
    position = {day: at for at, day in enumerate(sessions)}
    parts = [
        _symbol_rows(bars, sentiment.values.get(symbol), sentiment.mask.get(symbol), position, job)
        for symbol, bars in usable.items()
    ]
    lengths = [len(bars) for bars in usable.values()]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    tokens, targets, log_close, session, label_end, ready = columns
    return Panel(
        symbols=tuple(usable),
        sessions=sessions,
        tokens=tokens,
        targets=targets,
        log_close=log_close,
        symbol=np.repeat(np.arange(len(lengths)), lengths),
        session=session,
        label_end=label_end,
        ready=ready.astype(np.bool_),
    )


def _symbol_rows(
    bars: Sequence[Bar], values: Floats | None, mask: Floats | None, position: Mapping[date, int], job: Job
) -> tuple[Floats, Floats, Doubles, Ints, Ints, NDArray[np.bool_]]:
    """Tokens, targets, log closes, sessions, label ends and readiness of one symbol's rows."""
    features = bar_features(bars)
    finite = np.isfinite(features).all(axis=1)
    whole = np.convolve(finite, np.ones(TOKENS), mode="full")[: len(bars)] == TOKENS
    log_close = np.log(np.array([bar.adjusted_close for bar in bars], dtype=np.float64))
    session = np.array([position[bar.date] for bar in bars], dtype=np.int64)
    last = np.minimum(np.arange(len(bars)) + 1 + max(job.horizons), len(bars) - 1)
    return (
        token_rows(features, values, mask),
        forward_returns(log_close, job.horizons),
        log_close,
        session,
        session[last],
        whole,
    )


def forward_returns(log_close: Doubles, horizons: Sequence[int]) -> Floats:
    """log(C[t+1+H] / C[t+1]) for each row t and horizon H: float32 (rows, horizons), NaN where unknown."""
    rows = len(log_close)
    targets = np.full((rows, len(horizons)), np.nan, dtype=np.float32)
    for column, horizon in enumerate(horizons):
        known = rows - 1 - horizon
        if known > 0:
            targets[:known, column] = log_close[1 + horizon :] - log_close[1 : 1 + known]
    return targets


def trailing_return(panel: Panel, sessions: int) -> Doubles:
    """Log return over the last `sessions` rows of each row's symbol, (rows,); NaN before there are as many."""
    trailing = np.full(len(panel.log_close), np.nan)
    trailing[sessions:] = panel.log_close[sessions:] - panel.log_close[:-sessions]
    other_symbol = panel.symbol[sessions:] != panel.symbol[:-sessions]
    trailing[sessions:][other_symbol] = np.nan
    return trailing
