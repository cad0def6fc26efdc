"""Writes the table of exchange sessions that serving reads; run it when exchange_calendars corrects or extends one."""

import sys
from pathlib import Path

import exchange_calendars

TABLE = Path(__file__).parents[1] / "services/common/src/caelum_common/xnys_sessions.csv"
FIRST, LAST = "1999-01-01", "2027-12-31"


def table() -> str:
    """Each session of XNYS from FIRST to LAST as `date,close`, the close in UTC."""
    calendar = exchange_calendars.get_calendar("XNYS", start=FIRST, end=LAST)
    lines = [f"{session:%Y-%m-%d},{close:%Y-%m-%dT%H:%MZ}" for session, close in calendar.schedule["close"].items()]
    return "\n".join(["date,close", *lines]) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="ascii")
    sys.stdout.write(f"wrote {TABLE}\n")
