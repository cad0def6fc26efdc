"""Numbers, times and small pieces of HTML as the page writes them. Pure."""

from datetime import UTC, date, datetime, timedelta
from html import escape

MINUS = "−"
NONE = "–"
NO_WATCHLIST = '<p class="empty"><b>The watchlist is empty.</b> Name symbols in <code>pim_watchlist</code>.</p>'

# What a state means, as a colour's name; a shape of its own and the word itself always stand beside the colour.
TONES = {
    **dict.fromkeys(("healthy", "success", "alive", "ok", "training", "served"), "good"),
    **dict.fromkeys(("degraded", "inconclusive", "rolled_back", "late", "stalled", "untrusted"), "fair"),
    **dict.fromkeys(("down", "halted", "failed", "aborted", "gone"), "bad"),
    **dict.fromkeys(("in_progress", "queued"), "busy"),
}


def tone(word: str) -> str:
    """The colour's name of a state: good, fair, bad, busy, or calm for what says neither."""
    return TONES.get(word, "calm")


def state(word: str) -> str:
    """The state's shape in its colour, and the word."""
    return f'<span class="state {tone(word)}">{escape(word.replace("_", " "))}</span>'


def unavailable(what: str, why: str, remedy: str) -> str:
    """One line in place of a part that could not be had. `remedy` is HTML."""
    return f'<p class="empty bad"><b>{escape(what)}</b> {escape(why)}. <span>{remedy}</span></p>'


def logs(component: str, prefix: str) -> str:
    """How to read why a component is away, and how to start it, as HTML; `prefix` empty: not on this machine."""
    if not prefix:
        return f"Its host’s log of {escape(component)} tells why; deploying the version that ran starts it again."
    place = f" PREFIX={escape(prefix)}"
    return (
        f"<code>make logs COMPONENT={escape(component)}{place}</code> tells why; "
        f"<code>make deploy VERSION=…{place}</code> with the version that ran starts it again."
    )


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
