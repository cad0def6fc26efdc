"""Sentiment vectors that FinColl holds: rows per symbol and session, and the windows a model reads them in."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from caelum_common import vector
from caelum_common.windows import TOKENS

Floats = NDArray[np.float32]

GROUPS = tuple(vector.schema().groups)
MAX_ROWS = 32_768  # 512 symbols' windows, about 30 MB

LAST_S = 30.0  # how long a row of the last session is fresh: sentiment of today still moves
HISTORY_S = 3600.0  # rows of earlier sessions only change when a source is corrected
DEGRADED_S = 1.0  # rows made while a microservice was away are asked for again at once

Asks = Mapping[str, Sequence[date]]  # symbol → the sessions of its window, ascending


@dataclass(frozen=True, slots=True)
class Row:
    """One vector: float32 (2·WIDTH,), values then mask, with what SenVec said about it.

    `age_s` is None for a row that came as an earlier one of a window: SenVec tells ages at the latest only.
    """

    packed: Floats
    degraded: bool
    age_s: Mapping[str, float | None] | None
    fetched: float
    expires: float


@dataclass(frozen=True, slots=True)
class Sentiment:
    """One symbol's window: `values` and `mask` float32 (TOKENS, WIDTH), the rest about its last session.

    `degraded`: SenVec could not be asked, or was itself without a microservice. `stale`: last-known rows stand in,
    `stale_s` seconds old at most. `age_s` per group is the age of its newest input, None where it has none.
    """

    values: Floats
    mask: Floats
    degraded: bool
    stale: bool
    stale_s: float | None
    missing: Sequence[str]
    age_s: Mapping[str, float | None]


NOTHING = Sentiment(
    values=np.zeros((TOKENS, vector.WIDTH), dtype=np.float32),
    mask=np.zeros((TOKENS, vector.WIDTH), dtype=np.float32),
    degraded=True,
    stale=False,
    stale_s=None,
    missing=GROUPS,
    age_s=dict.fromkeys(GROUPS),
)


class Rows:
    """Bounded cache of rows by (symbol, session); those least recently asked for leave first."""

    def __init__(self) -> None:
        self._rows: OrderedDict[tuple[str, date], Row] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, symbol: str, session: date, row: Row) -> None:
        """Keeps a row."""
        self._rows[symbol, session] = row
        self._rows.move_to_end((symbol, session))
        while len(self._rows) > MAX_ROWS:
            self._rows.popitem(last=False)

    def lacking(self, asks: Asks, now: float) -> dict[str, list[date]]:
        """What of `asks` is not held fresh, by symbol."""
        found: dict[str, list[date]] = {}
        for symbol, sessions in asks.items():
            absent = [session for session in sessions if not self._touch(symbol, session, now)]
            if sessions[-1] not in absent and self._rows[symbol, sessions[-1]].age_s is None:
                absent.append(sessions[-1])
            if absent:
                found[symbol] = absent
        return found

    def window(
        self, symbol: str, sessions: Sequence[date], now: float, stale_s: float | None = None
    ) -> Sentiment | None:
        """The window of `sessions`, or None unless every row is fresh.

        With `stale_s`, rows of up to that age in seconds count too; the window then says that it is stale and degraded.
        """
        rows = [self._rows.get((symbol, session)) for session in sessions]
        held = [row for row in rows if row is not None]
        if len(held) < len(rows) or not held:
            return None
        oldest = now - min(row.fetched for row in held)
        if stale_s is None and any(row.expires <= now for row in held):
            return None
        if stale_s is not None and oldest > stale_s:
            return None
        packed = np.stack([row.packed for row in held])
        last = held[-1]
        return Sentiment(
            values=packed[:, : vector.WIDTH],
            mask=packed[:, vector.WIDTH :],
            degraded=stale_s is not None or any(row.degraded for row in held),
            stale=stale_s is not None,
            stale_s=None if stale_s is None else round(oldest, 3),
            missing=_missing(last.packed[vector.WIDTH :]),
            age_s=last.age_s or dict.fromkeys(GROUPS),
        )

    def _touch(self, symbol: str, session: date, now: float) -> bool:
        row = self._rows.get((symbol, session))
        if row is None or row.expires <= now:
            return False
        self._rows.move_to_end((symbol, session))
        return True


def _missing(mask: Floats) -> list[str]:
    """Groups of which no dimension is known."""
    groups = vector.schema().groups
    return [name for name in groups if not mask[groups[name].start : groups[name].stop].any()]
