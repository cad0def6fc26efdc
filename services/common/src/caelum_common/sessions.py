"""Sessions of the New York Stock Exchange: when each one closed, early closes included."""

import csv
from datetime import UTC, date, datetime
from importlib.resources import files


def closes(first: date, last: date) -> dict[date, datetime]:
    """Closing times (UTC) of the sessions from `first` to `last`, both included, in order.

    From `xnys_sessions.csv`, which `tools/make_sessions.py` writes: serving needs no calendar library.
    """
    with (files("caelum_common") / "xnys_sessions.csv").open(encoding="ascii") as lines:
        rows = csv.reader(lines)
        next(rows)
        low, high = first.isoformat(), last.isoformat()
        return {
            date.fromisoformat(day): datetime.strptime(close, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC)
            for day, close in rows
            if low <= day <= high
        }
