"""Bars are read in one place, and nothing after the moment asked for may come along."""

import subprocess
import sys
from datetime import UTC, date, datetime

import pytest

from caelum_common.market import UnknownSymbol, market
from caelum_common.start import CannotStart


@pytest.fixture(scope="module")
def sample():
    return market("sample")


def test_the_sample_has_its_five_symbols_and_its_clock(sample):
    assert sample.symbols == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert len(sample.sessions) == 3270
    assert sample.sessions == sorted(set(sample.sessions))
    assert sample.last_session == date(2013, 3, 1)


def test_a_bar_carries_the_values_of_its_row_and_the_time_of_its_close(sample):
    (bar,) = sample.bars("AAPL", count=1)
    assert (bar.symbol, bar.date, bar.open, bar.high, bar.low, bar.close, bar.volume) == (
        "AAPL", date(2013, 3, 1), 438.0, 438.1799, 429.98, 430.47, 19730300.0,
    )  # fmt: skip
    assert bar.adjusted_close == pytest.approx(56.137353095488)
    assert bar.time == bar.observed_at == datetime(2013, 3, 1, 21, 0, tzinfo=UTC)
    assert bar.source == "sample"


def test_until_cuts_what_follows_and_count_keeps_the_newest(sample):
    bars = sample.bars("MSFT", until=date(2012, 7, 4), count=3)  # a holiday: the day before is the last
    assert [bar.date for bar in bars] == [date(2012, 6, 29), date(2012, 7, 2), date(2012, 7, 3)]
    assert sample.bars("MSFT", until=date(1999, 1, 1)) == []
    assert len(sample.bars("FB", count=10_000)) == 196
    assert sample.bars("FB", count=0) == []


def test_an_early_close_is_early(sample):
    assert sample.close_time(date(2012, 7, 3)) == datetime(2012, 7, 3, 17, 0, tzinfo=UTC)
    assert sample.close_time(date(2012, 7, 2)) == datetime(2012, 7, 2, 20, 0, tzinfo=UTC)


def test_a_day_without_a_session_has_no_close(sample):
    with pytest.raises(LookupError, match="2012-07-04 is no session"):
        sample.close_time(date(2012, 7, 4))


def test_an_unknown_symbol_is_named_with_the_known_ones(sample):
    with pytest.raises(UnknownSymbol, match="no bars of 'TSLA'; the sample knows AAPL, FB, GOOG, IBM, MSFT"):
        sample.bars("TSLA")


def test_live_data_is_refused_in_one_line():
    with pytest.raises(CannotStart, match="live market data") as refused:
        market("live")
    assert "\n" not in str(refused.value)


def test_reading_bars_imports_neither_pandas_nor_numpy():
    code = (
        "import sys; from caelum_common.market import market; market('sample').bars('AAPL');"
        "print(sorted({'pandas', 'numpy', 'bokeh_sampledata'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
