"""Numbers, times and small pieces of HTML as the page writes them. Pure."""

from datetime import UTC, date, datetime, timedelta
from html import escape

MINUS = "−"
NONE = "–"

# What a state means, as a colour's name; the word itself always stands beside the colour.
TONES = {
    **dict.fromkeys(("healthy", "success", "alive", "ok", "training"), "good"),
    **dict.fromkeys(("degraded", "in_progress", "queued", "inconclusive", "rolled_back", "late", "stalled"), "fair"),
    **dict.fromkeys(("down", "failed", "aborted", "gone"), "bad"),
}


def state(word: str) -> str:
    """A dot in the state's colour, and the word."""
    return f'<span class="state {TONES.get(word, "calm")}">{escape(word.replace("_", " "))}</span>'


def text(value: object) -> str:
    """Escaped; a dash where there is nothing."""
    return NONE if value is None or value == "" else escape(str(value))


def price(value: float) -> str:
    """A price in the currency it came in: thousands apart, two decimals."""
    return f"{value:,.2f}"


def percent(fraction: float) -> str:
    """A change with its sign, to a tenth of a per cent."""
    return f"{fraction * 100:+.1f} %".replace("-", MINUS)


def day(value: date) -> str:
    """A date as `3 Jun 2025`."""
    return f"{value.day} {value:%b %Y}"


def moment(value: datetime | str | None) -> str:
    """To the minute, in UTC; what is not a time is shown as it came."""
    if value is None:
        return NONE
    if isinstance(value, str):
        try:
            return moment(datetime.fromisoformat(value))
        except ValueError:
            return escape(value)
    there = value.astimezone(UTC)
    return f"{day(there)}, {there:%H:%M} UTC"


def clock(value: datetime | str | None, now: datetime) -> str:
    """A moment near `now`: the time of day alone when it is of the same day."""
    if isinstance(value, str):
        try:
            return clock(datetime.fromisoformat(value), now)
        except ValueError:
            return escape(value)
    if value is None or value.astimezone(UTC).date() != now.astimezone(UTC).date():
        return moment(value)
    return f"{value.astimezone(UTC):%H:%M:%S} UTC"


def milliseconds(value: int | None) -> str:
    """A span given in ms, with its unit; a dash for None."""
    return NONE if value is None else f"{value} ms"


def lasted(span: timedelta) -> str:
    """A span in its two largest units, to the second below an hour; a negative one counts as 0 s."""
    seconds = max(round(span.total_seconds()), 0)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
