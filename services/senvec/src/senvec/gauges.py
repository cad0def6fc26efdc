"""Market gauges computed from daily bars; the formulas stand in senvec-72.yml.

All look backwards only. Prices enter as ratios of one symbol's adjusted closes, which later splits and dividends
leave as they are. Gauges that need data nobody configured (put/call, VIX, surveys, …) stay masked.
"""

import bisect
import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import NamedTuple

from caelum_common.market import Bar, SampleMarket, market
from caelum_common.vector import schema
from senvec.features import Row, clipped, empty_row, masked_row

SHORT_MEAN, LONG_MEAN, YEAR, FORTNIGHT = 50, 200, 252, 10
EMA_FAST, EMA_SLOW = 19, 39
SEASON_MINIMUM = 40


class Signals(NamedTuple):
    """What one bar says of its symbol; None where the history is too short.

    `move` and `extreme` are -1, 0 or 1 (against the previous close; at the year's low or high by close),
    `turnover` is close times volume in USD, `log_return` is against the previous close.
    """

    move: int | None
    turnover: float
    above_short: bool | None
    above_long: bool | None
    extreme: int | None
    log_return: float | None


def signals(bars: Sequence[Bar]) -> list[Signals]:
    """Signals of one symbol's bars, oldest first; each depends on its own bar and earlier ones."""
    closes = [bar.adjusted_close for bar in bars]
    found = []
    for index, (bar, close) in enumerate(zip(bars, closes, strict=True)):
        before = closes[index - 1] if index else None
        year = closes[index + 1 - YEAR : index + 1] if index + 1 >= YEAR else None
        found.append(
            Signals(
                move=None if before is None else (close > before) - (close < before),
                turnover=bar.close * bar.volume,
                above_short=_above_mean(closes, index, SHORT_MEAN),
                above_long=_above_mean(closes, index, LONG_MEAN),
                extreme=None if year is None else (close >= max(year)) - (close <= min(year)),
                log_return=None if before is None else math.log(close / before),
            )
        )
    return found


def _above_mean(closes: Sequence[float], index: int, length: int) -> bool | None:
    if index + 1 < length:
        return None
    return closes[index] > sum(closes[index + 1 - length : index + 1]) / length


class Day(NamedTuple):
    """All symbols' signals of one session, summed up; None where no symbol has enough history."""

    breadth: float | None
    rising: float
    falling: float
    above_short: float | None
    above_long: float | None
    extremes: float | None
    mean_return: float | None


def summed_up(session: Iterable[Signals]) -> Day:
    """One session over its symbols."""
    rows = list(session)
    moves = [row.move for row in rows if row.move is not None]
    moved = sum(map(abs, moves))
    return Day(
        breadth=(sum(moves) / moved if moved else 0.0) if moves else None,
        rising=sum(row.turnover for row in rows if row.move == 1),
        falling=sum(row.turnover for row in rows if row.move == -1),
        above_short=_mean(2.0 * row.above_short - 1 for row in rows if row.above_short is not None),
        above_long=_mean(2.0 * row.above_long - 1 for row in rows if row.above_long is not None),
        extremes=_mean(row.extreme for row in rows if row.extreme is not None),
        mean_return=_mean(row.log_return for row in rows if row.log_return is not None),
    )


def _mean(numbers: Iterable[float]) -> float | None:
    values = list(numbers)
    return sum(values) / len(values) if values else None


def advance_decline(days: Sequence[Day]) -> list[float | None]:
    """Mean breadth of the last ten sessions, in [-1, 1]."""
    found: list[float | None] = []
    for index in range(len(days)):
        last = [day.breadth for day in _fortnight(days, index) if day.breadth is not None]
        found.append(sum(last) / FORTNIGHT if len(last) == FORTNIGHT else None)
    return found


def _fortnight(days: Sequence[Day], index: int) -> Sequence[Day]:
    return days[max(0, index + 1 - FORTNIGHT) : index + 1]


def up_volume(days: Sequence[Day]) -> list[float | None]:
    """2 · (rising turnover / turnover that moved) − 1 over the last ten sessions, in [-1, 1]."""
    ratios: list[float | None] = []
    for index in range(len(days)):
        last = _fortnight(days, index)
        rising, falling = sum(day.rising for day in last), sum(day.falling for day in last)
        enough = len(last) == FORTNIGHT and rising + falling > 0
        ratios.append(2 * rising / (rising + falling) - 1 if enough else None)
    return ratios


def mcclellan(days: Sequence[Day]) -> list[float | None]:
    """Ratio-adjusted McClellan oscillator, EMA19 − EMA39 of breadth (weights 0.10 and 0.05), clipped to ±1.

    Valid once breadth has been known for 39 sessions.
    """
    found: list[float | None] = []
    fast = slow = 0.0
    known = 0
    for day in days:
        if day.breadth is not None:
            known += 1
            fast += 2 / (EMA_FAST + 1) * (day.breadth - fast)
            slow += 2 / (EMA_SLOW + 1) * (day.breadth - slow)
        found.append(clipped(fast - slow) if known >= EMA_SLOW else None)
    return found


def seasonality(sessions: Sequence[date], days: Sequence[Day]) -> list[float | None]:
    """How unusual this calendar month's returns were in earlier years: a t value clipped to ±5, over 5.

    The spread is that of all returns so far. Needs 40 returns of the month.
    """
    past: dict[int, tuple[int, float]] = {}
    this_year: dict[int, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    count, total, squares = 0, 0.0, 0.0
    found: list[float | None] = []
    for session, before, day in zip(sessions, [sessions[0], *sessions], days, strict=False):
        if session.year != before.year:
            past = {month: _added(past.get(month, (0, 0.0)), this_year[month]) for month in range(1, 13)}
            this_year.clear()
        if day.mean_return is not None:
            count, total, squares = count + 1, total + day.mean_return, squares + day.mean_return**2
            this_year[session.month] = _added(this_year[session.month], (1, day.mean_return))
        months, month_total = past.get(session.month, (0, 0.0))
        variance = squares / count - (total / count) ** 2 if count else 0.0
        if months < SEASON_MINIMUM or variance <= 0:
            found.append(None)
            continue
        t = (month_total / months - total / count) / math.sqrt(variance / months)
        found.append(clipped(t, 5) / 5)
    return found


def _added(left: tuple[int, float], right: tuple[int, float]) -> tuple[int, float]:
    return left[0] + right[0], left[1] + right[1]


class Gauges:
    """The market gauges: the same for every symbol, computed once for all sessions. The bars aren't kept.

    What is kept lies in two arrays: thousands of small objects would pin the memory that the bars leave behind.
    """

    group = "sentimentrader"

    def __init__(self, market: SampleMarket) -> None:
        closes = [market.close_time(session) for session in market.sessions]
        self._before_all = empty_row(self.group)
        self._width = len(self._before_all.values)
        self._closes = array("d", (close.timestamp() for close in closes))
        rows = gauge_rows(market, closes)
        self._values = array("d", (_number(*cell) for row in rows for cell in zip(row.values, row.mask, strict=True)))

    def row(self, symbol: str, as_of: datetime) -> Row:
        """Gauges of the last session that had closed at `as_of`."""
        del symbol  # a gauge speaks of the market
        index = bisect.bisect_right(self._closes, as_of.timestamp()) - 1
        if index < 0:
            return self._before_all
        close = datetime.fromtimestamp(self._closes[index], UTC)
        found = self._values[index * self._width : (index + 1) * self._width]
        return masked_row([None if math.isnan(value) else value for value in found], close, close)


@cache
def gauges(data: str) -> Gauges:
    """The gauges of the market that `CAELUM_DATA` names, one per process. Raises CannotStart as `market` does."""
    return Gauges(SampleMarket(market(data).path))  # its own reader, so that the bars go when the gauges stand


def _number(value: float, known: int) -> float:
    return value if known else math.nan


def gauge_rows(market: SampleMarket, closes: Sequence[datetime]) -> list[Row]:
    """One row per session of the market; `closes` are the sessions' closes."""
    by_session: dict[date, list[Signals]] = {session: [] for session in market.sessions}
    for symbol in market.symbols:
        bars = market.bars(symbol)
        for bar, signal in zip(bars, signals(bars), strict=True):
            by_session[bar.date].append(signal)
    days = [summed_up(found) for found in by_session.values()]
    columns = {
        "advance_decline_10d": advance_decline(days),
        "above_50d": [day.above_short for day in days],
        "above_200d": [day.above_long for day in days],
        "new_highs_lows": [day.extremes for day in days],
        "mcclellan": mcclellan(days),
        "up_volume_ratio": up_volume(days),
        "seasonality": seasonality(market.sessions, days),
    }
    values = _in_wire_order(columns, len(days))
    return [masked_row(found, close, close) for close, found in zip(closes, values, strict=True)]


def _in_wire_order(columns: dict[str, list[float | None]], length: int) -> Iterable[Sequence[float | None]]:
    nothing: list[float | None] = [None] * length
    names = [dimension.name for dimension in schema().dimensions if dimension.group == Gauges.group]
    return zip(*(columns.get(name, nothing) for name in names), strict=True)
