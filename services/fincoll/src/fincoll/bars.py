"""Market data as FinColl needs it: a symbol's bars with their features, and where in time a question falls."""

import asyncio
import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caelum_common.market import Bar, SampleMarket
from caelum_common.windows import LOOK_BACK, TOKENS, NotEnoughHistory, bar_features


class AfterTheClock(ValueError):
    """The asked time lies after what the data knows."""


class DataMissing(Exception):
    """The market data was there at the start and can't be read now."""


class Moment(NamedTuple):
    """A session and its close (UTC), which is the `as_of` of what is known then."""

    session: date
    as_of: datetime


@dataclass(frozen=True)
class History:
    """All bars of one symbol, ascending, and the float32 (n, F) features made from them once."""

    bars: list[Bar]
    dates: list[date]
    features: NDArray[np.float32]

    def end(self, session: date) -> int:
        """Row of the last bar at or before `session`. Raises NotEnoughHistory when no whole window ends there."""
        row = bisect.bisect_right(self.dates, session) - 1
        if row + 1 < TOKENS + LOOK_BACK:
            raise NotEnoughHistory(
                f"{max(row + 1, 0)} daily bars up to {session}, a prediction needs {TOKENS + LOOK_BACK}; "
                f"the first are of {self.dates[0]}"
            )
        return row


class Bars:
    """A market with its features kept. Features are causal, so one pass over all bars serves every `as_of`."""

    def __init__(self, market: SampleMarket) -> None:
        self._market = market
        self._known = frozenset(market.symbols)
        self._histories: dict[str, History] = {}
        self._sessions = market.sessions
        self._closes = [market.close_time(session) for session in self._sessions]

    @property
    def source(self) -> str:
        """Name of the provider, as answers carry it."""
        return self._market.source

    @property
    def symbols(self) -> list[str]:
        """Symbols with bars, sorted."""
        return self._market.symbols

    @property
    def clock(self) -> datetime:
        """Close (UTC) of the data's last session: nothing later is known."""
        return self._closes[-1]

    @property
    def last_session(self) -> date:
        """The session that `clock` closed."""
        return self._sessions[-1]

    def at(self, as_of: date | datetime | None) -> Moment:
        """The last session closed by `as_of`; a date means the close of that day, None the clock.

        A time before all data is answered with that day, of which no symbol has a bar. Raises AfterTheClock.
        """
        if as_of is None:
            return Moment(self.last_session, self.clock)
        if isinstance(as_of, datetime):
            late, row = as_of > self.clock, bisect.bisect_right(self._closes, as_of) - 1
        else:
            late, row = as_of > self.last_session, bisect.bisect_right(self._sessions, as_of) - 1
        if late:
            raise AfterTheClock(f"{as_of.isoformat()} is after the data's clock, {self.clock.isoformat()}")
        if row < 0:
            moment = as_of if isinstance(as_of, datetime) else datetime.combine(as_of, time.min, UTC)
            return Moment(moment.date(), moment)
        return Moment(self._sessions[row], self._closes[row])

    async def read(self, symbols: Iterable[str]) -> None:
        """Reads in a thread what of `symbols` is known and not in memory yet: some 30 ms each. Raises DataMissing."""
        unread = [symbol for symbol in symbols if symbol in self._known and symbol not in self._histories]
        if unread:
            await asyncio.to_thread(lambda: [self.history(symbol) for symbol in unread])

    def history(self, symbol: str) -> History:
        """All of a symbol's bars and features. Raises UnknownSymbol, or DataMissing when they can't be read."""
        known = self._histories.get(symbol)
        if known is None:
            try:
                bars = self._market.bars(symbol)
            except FileNotFoundError:
                raise DataMissing(_gone(self._market.path)) from None
            known = History(bars, [bar.date for bar in bars], bar_features(bars))
            self._histories[symbol] = known
        return known

    def last(self, symbol: str, session: date, count: int) -> list[Bar]:
        """The last `count` bars up to and with `session`. Raises UnknownSymbol or DataMissing."""
        history = self.history(symbol)
        end = bisect.bisect_right(history.dates, session)
        return history.bars[max(0, end - count) : end]

    def lost(self) -> str | None:
        """Why the market data can't be read any more; None while it can."""
        return None if self._market.path.is_file() else _gone(self._market.path)


def _gone(path: Path) -> str:
    return f"the market data file {path} is gone; deploy again, which installs it"
