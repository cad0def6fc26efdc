"""Daily bars, read in one place so that training and serving can't differ. Standard library only."""

import bisect
import csv
import gzip
import hashlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, cached_property
from pathlib import Path

from caelum_common import sessions
from caelum_common.start import CannotStart


class UnknownSymbol(LookupError):
    """A symbol the market has no bars of."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One session of one symbol. `time` is its close (UTC); prices in USD, volume in shares.

    `adjusted_close` is adjusted for splits and dividends; nobody could know the bar before `observed_at`.
    """

    symbol: str
    date: date
    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    adjusted_close: float
    source: str
    observed_at: datetime


class SampleMarket:
    """Daily bars of AAPL, IBM, MSFT (2000-03 to 2013-03), GOOG (from 2004-08) and FB (from 2012-05).

    The data is `stocks.csv.gz` of the package bokeh_sampledata, recorded there as public domain. A symbol's bars are
    parsed when first asked for; `until` cuts by date, so what follows it can't leak.
    """

    source = "sample"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bars: dict[str, list[Bar]] = {}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the data file, in hexadecimal."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def symbols(self) -> list[str]:
        """Known symbols, sorted."""
        return sorted(self._dates)

    @cached_property
    def sessions(self) -> list[date]:
        """Dates with a bar of any symbol, sorted."""
        return sorted(set().union(*self._dates.values()))

    @property
    def last_session(self) -> date:
        """The data's clock: nothing is known after its close."""
        return self.sessions[-1]

    def close_time(self, session: date) -> datetime:
        """When a session closed (UTC). Raises LookupError for a date the exchange was closed on."""
        try:
            return self._closes[session]
        except KeyError:
            raise LookupError(
                f"{session} is no session of the sample, which has {self.sessions[0]} to {self.last_session}"
            ) from None

    def bars(self, symbol: str, until: date | None = None, count: int | None = None) -> list[Bar]:
        """Bars of `symbol` up to and with `until`, the last `count` of them, oldest first.

        Raises UnknownSymbol.
        """
        if symbol not in self._dates:
            raise UnknownSymbol(f"no bars of {symbol!r}; the sample knows {', '.join(self.symbols)}")
        if symbol not in self._bars:
            self._bars[symbol] = [self._bar(row) for row in self._rows() if row[0] == symbol]
        bars = self._bars[symbol]
        end = len(bars) if until is None else bisect.bisect_right(bars, until, key=lambda bar: bar.date)
        start = 0 if count is None else max(0, end - count)
        return bars[start:end]

    @cached_property
    def _dates(self) -> dict[str, list[date]]:
        dates: dict[str, list[date]] = {}
        for row in self._rows():
            dates.setdefault(row[0], []).append(date.fromisoformat(row[1]))
        return dates

    @cached_property
    def _closes(self) -> dict[date, datetime]:
        return sessions.closes(self.sessions[0], self.last_session)

    def _rows(self) -> Iterator[list[str]]:
        with gzip.open(self.path, "rt", encoding="ascii", newline="") as lines:
            rows = csv.reader(lines)
            next(rows)
            yield from rows

    def _bar(self, row: list[str]) -> Bar:
        symbol, day = row[:2]
        first, high, low, last, volume, adjusted = map(float, row[2:])
        session = date.fromisoformat(day)
        close = self.close_time(session)
        return Bar(symbol, session, close, first, high, low, last, volume, adjusted, self.source, close)


@cache
def market(data: str) -> SampleMarket:
    """The market that `CAELUM_DATA` names, one per process. Raises CannotStart where its data is missing."""
    if data != "sample":
        raise CannotStart(f"{data} market data needs a provider and none is available yet; set CAELUM_DATA=sample")
    return SampleMarket(_sample_file())


def _sample_file() -> Path:
    # The package itself is never imported: that would import pandas.
    remedy = "install bokeh_sampledata, which the service's lock names, or deploy again"
    try:
        listed = importlib.metadata.files("bokeh_sampledata") or []
    except importlib.metadata.PackageNotFoundError:
        raise CannotStart(f"the sample market data is missing: bokeh_sampledata is not installed; {remedy}") from None
    for file in listed:
        if file.parts[-2:] == ("_data", "stocks.csv.gz"):
            path = Path(str(file.locate()))
            if path.is_file():
                return path
    raise CannotStart(f"the sample market data is missing: bokeh_sampledata holds no _data/stocks.csv.gz; {remedy}")
