"""The documents that SenVec answers with, for one vector and for a batch."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from caelum_common import release
from caelum_common.vector import schema
from senvec.features import FeatureSource, Row

Document = dict[str, Any]


class Answers(Protocol):
    """Whatever can answer for features: one group from its own data, or all groups joined."""

    async def one(self, symbol: str, as_of: datetime) -> Document:
        """The vector of `symbol` at `as_of`."""
        ...

    async def many(self, symbols: Sequence[str], dates: Sequence[str], closes: Sequence[datetime]) -> Document:
        """Vectors of each symbol at each close; `dates` are the sessions as ISO dates, in the same order."""
        ...


def head(as_of: datetime, source: str, *, degraded: bool = False) -> Document:
    """What every answer with numbers says about them."""
    return {
        "schema": schema().name,
        "schema_hash": schema().hash,
        "as_of": as_of,
        "source": source,
        "degraded": degraded,
        "version": release.current().version,
    }


class GroupAnswers:
    """Answers of a microservice: its own group, with the group's place in the whole vector as `indices`."""

    def __init__(self, features: FeatureSource, source: str) -> None:
        self._features = features
        self._source = source
        place = schema().groups[features.group]
        self._indices = [place.start, place.stop]

    async def one(self, symbol: str, as_of: datetime) -> Document:
        """See Answers."""
        row = self._features.row(symbol, as_of)
        return {
            "symbol": symbol,
            **head(as_of, self._source),
            "event_time": row.event_time,
            "observed_at": row.observed_at,
            "indices": self._indices,
            "values": row.values,
            "mask": row.mask,
            "age_s": {self._features.group: _age(row, as_of)},
            "missing": self._missing([row]),
        }

    async def many(self, symbols: Sequence[str], dates: Sequence[str], closes: Sequence[datetime]) -> Document:
        """See Answers; `age_s` is the greatest age at the latest close over the symbols that have any data."""
        rows = [[self._features.row(symbol, close) for close in closes] for symbol in symbols]
        as_of = max(closes)
        latest = closes.index(as_of)
        ages = [age for row in rows if (age := _age(row[latest], as_of)) is not None]
        return {
            **head(as_of, self._source),
            "indices": self._indices,
            "symbols": symbols,
            "dates": dates,
            "values": [[row.values for row in of_symbol] for of_symbol in rows],
            "mask": [[row.mask for row in of_symbol] for of_symbol in rows],
            "age_s": {self._features.group: max(ages, default=None)},
            "missing": self._missing([row for of_symbol in rows for row in of_symbol]),
        }

    def _missing(self, rows: Sequence[Row]) -> list[str]:
        return [] if any(any(row.mask) for row in rows) else [self._features.group]


def _age(row: Row, as_of: datetime) -> float | None:
    return None if row.event_time is None else (as_of - row.event_time).total_seconds()
