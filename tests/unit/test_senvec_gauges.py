"""Gauges against cases worked out by hand, and the rule that nothing after a session may move its gauges."""

import dataclasses
import math
from datetime import UTC, date, datetime, timedelta

import pytest

from caelum_common.market import Bar, market
from caelum_common.vector import schema
from senvec.gauges import (
    Day,
    Gauges,
    advance_decline,
    gauge_rows,
    mcclellan,
    seasonality,
    signals,
    summed_up,
    up_volume,
)

INDEX = {dimension.name: dimension.index for dimension in schema().dimensions}
EMPTY = Day(None, 0.0, 0.0, None, None, None, None)


def bars_of(closes: list[float], volume: float = 10.0) -> list[Bar]:
    start = datetime(2012, 1, 2, 21, tzinfo=UTC)
    times = [start + timedelta(days=index) for index in range(len(closes))]
    return [
        Bar("T", at.date(), at, price, price, price, price, volume, price, "test", at)
        for at, price in zip(times, closes, strict=True)
    ]


class Bars:
    """A market of given bars: what the gauges ask of one."""

    def __init__(self, bars: dict[str, list[Bar]]) -> None:
        self._bars = bars
        self.symbols = sorted(bars)
        self.sessions = sorted({bar.date for each in bars.values() for bar in each})

    def bars(self, symbol: str) -> list[Bar]:
        return self._bars[symbol]


def test_the_first_bar_says_nothing_and_the_next_its_direction_and_return():
    first, second, third = signals(bars_of([10.0, 12.0, 12.0]))
    assert (first.move, first.log_return) == (None, None)
    assert (second.move, second.turnover) == (1, 120.0)
    assert second.log_return == pytest.approx(math.log(1.2))
    assert third.move == 0


def test_above_its_mean_needs_the_whole_window():
    found = signals(bars_of([10.0] * 49 + [11.0, 9.0]))
    assert [each.above_short for each in found[48:]] == [None, True, False]
    assert found[-1].above_long is None


def test_a_yearly_extreme_needs_252_sessions():
    found = signals(bars_of([float(number) for number in range(1, 253)] + [0.5]))
    assert [each.extreme for each in found[250:]] == [None, 1, -1]


def test_a_session_is_summed_up_over_its_symbols():
    up, down = signals(bars_of([1.0, 2.0], volume=3))[1], signals(bars_of([2.0, 1.0], volume=5))[1]
    day = summed_up([up, up, down])
    assert day.breadth == pytest.approx(1 / 3)
    assert (day.rising, day.falling) == (12.0, 5.0)
    assert day.mean_return == pytest.approx(math.log(2) / 3)
    assert day.above_short is None
    assert summed_up(signals(bars_of([1.0, 1.0]))[1:]).breadth == 0.0


def test_advance_decline_is_the_mean_of_ten_sessions():
    days = [EMPTY, *(EMPTY._replace(breadth=value) for value in [1.0] * 6 + [-1.0] * 4 + [-1.0])]
    found = advance_decline(days)
    assert found[:10] == [None] * 10
    assert found[10] == pytest.approx(0.2)
    assert found[11] == pytest.approx(0.0)


def test_up_volume_compares_rising_with_falling_turnover():
    days = [EMPTY._replace(rising=3.0, falling=1.0)] * 10
    assert up_volume(days)[8] is None
    assert up_volume(days)[9] == pytest.approx(0.5)
    assert up_volume([EMPTY] * 10)[9] is None


def test_mcclellan_is_the_difference_of_two_averages():
    found = mcclellan([EMPTY._replace(breadth=1.0)] * 40)
    assert found[37] is None
    assert found[38] == pytest.approx((1 - 0.9**39) - (1 - 0.95**39))


def test_seasonality_knows_this_month_of_earlier_years_alone():
    sessions = [date(year, month, day) for year in (2001, 2002) for month in (1, 2) for day in range(1, 29)]
    returns = [0.01 if session.month == 1 else -0.01 for session in sessions]
    returns[56 + 27] = 0.03  # the last January day of 2002: no earlier January knows it
    days = [EMPTY._replace(mean_return=value) for value in returns]
    assert set(seasonality(sessions, days)) == {None}, "28 returns are too few"

    sessions += [date(2003, 1, 1)]
    days += [EMPTY._replace(mean_return=0.0)]
    found = seasonality(sessions, days)[-1]
    values = [*returns, 0.0]
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    january = [value for session, value in zip(sessions, returns, strict=False) if session.month == 1]
    t = (sum(january) / 56 - mean) / (spread / math.sqrt(56))
    assert found == pytest.approx(max(-5, min(5, t)) / 5)


def test_bars_after_a_session_leave_its_gauges_byte_identical():
    sample = market("sample")
    symbols = ["AAPL", "IBM"]
    whole = {symbol: sample.bars(symbol, count=400) for symbol in symbols}
    altered = {
        symbol: bars[:300]
        + [dataclasses.replace(bar, adjusted_close=bar.adjusted_close * 3, volume=1.0) for bar in bars[300:]]
        for symbol, bars in whole.items()
    }
    closes = [bar.time for bar in whole["AAPL"]]
    before, after = gauge_rows(Bars(whole), closes), gauge_rows(Bars(altered), closes)  # type: ignore[arg-type] # a stand-in with the same method
    assert before[:300] == after[:300]
    assert before[300:] != after[300:]


def test_a_row_is_that_of_the_last_session_closed_by_then():
    sample = market("sample")
    gauges = Gauges(sample)
    close = sample.close_time(date(2013, 2, 28))
    assert gauges.row("AAPL", close).event_time == close
    assert gauges.row("XXXX", close) == gauges.row("AAPL", close + timedelta(hours=5))
    assert gauges.row("AAPL", close - timedelta(seconds=1)).event_time == sample.close_time(date(2013, 2, 27))
    assert not any(gauges.row("AAPL", datetime(1999, 1, 1, tzinfo=UTC)).mask)


def test_what_bars_can_tell_is_known_and_the_rest_is_masked():
    row = Gauges(market("sample")).row("AAPL", datetime(2013, 3, 1, 21, tzinfo=UTC))
    known = {
        "advance_decline_10d",
        "above_50d",
        "above_200d",
        "new_highs_lows",
        "mcclellan",
        "up_volume_ratio",
        "seasonality",
    }
    assert [bool(bit) for bit in row.mask] == [dimension.name in known for dimension in schema().dimensions[:23]]
    assert all(value == 0 for value, bit in zip(row.values, row.mask, strict=True) if not bit)
    assert all(-1 <= value <= 1 for value in row.values)
