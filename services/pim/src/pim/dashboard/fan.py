"""The fan chart of one symbol as SVG: closing prices, then the bands of what is predicted. Pure.

Drawn on the server: it needs no chart library in the browser, follows light and dark through CSS alone, and reads out
a session on hover without a script.
"""

import math
from dataclasses import dataclass
from html import escape

from pim.dashboard.words import day, percent, price
from pim.fincoll import Fan

WIDTH, HEIGHT = 360, 196
LEFT, RIGHT, TOP, BOTTOM = 6, 48, 22, 22
# A horizon counts from the session after as_of, the first at which one could act (the jobs' target).
ENTRY = 1


@dataclass(frozen=True)
class Scale:
    """From session number and price to the drawing's coordinates."""

    sessions: int
    low: float
    high: float

    def x(self, session: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * session / max(self.sessions, 1)

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)

    def at(self, session: float, value: float) -> str:
        return f"{self.x(session):.1f},{self.y(value):.1f}"


def prices(fan: Fan) -> list[list[float]]:
    """Predicted prices by horizon and quantile: the last close times e to the log return."""
    assert fan.last_close is not None  # noqa: S101 (a fan without a refusal has one)
    return [[fan.last_close * math.exp(value) for value in row] for row in fan.log_returns]


def svg(fan: Fan) -> str:
    """The drawing; of the closing prices alone when there is no prediction, empty without either."""
    if not fan.closes:
        return ""
    closes = [close for _, close in fan.closes]
    predicted = [] if fan.refused else prices(fan)
    last = len(closes) - 1
    ahead = ENTRY + max(fan.horizons) if predicted else 0
    low, high = _room([*closes, *(value for row in predicted for value in row)])
    scale = Scale(last + ahead, low, high)
    parts = [
        _grid(scale),
        _bands(fan, predicted, scale, last) if predicted else "",
        f'<polyline class="closes" points="{" ".join(scale.at(i, c) for i, c in enumerate(closes))}"/>',
        f'<circle class="last" cx="{scale.x(last):.1f}" cy="{scale.y(closes[-1]):.1f}" r="2.6"/>',
        _dates(fan, scale, last),
        _readouts(fan, predicted, scale, last),
    ]
    return (
        f'<svg class="fan" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(summary(fan), quote=True)}">'
        f"{''.join(parts)}</svg>"
    )


def summary(fan: Fan) -> str:
    """The drawing in a sentence, for those who cannot see it."""
    first = f"{fan.symbol}: {len(fan.closes)} closing prices up to {day(fan.closes[-1][0])}"
    if fan.refused:
        return f"{first}; no prediction: {fan.refused}"
    return f"{first}; {'; '.join(_words(fan, h) for h in range(len(fan.horizons)))}"


def _words(fan: Fan, h: int) -> str:
    low, middle, high = (fan.log_returns[h][q] for q in (0, len(fan.quantiles) // 2, -1))
    sessions = "session" if fan.horizons[h] == 1 else "sessions"
    change = [percent(math.expm1(value)) for value in (low, middle, high)]
    return f"+{fan.horizons[h]} {sessions}: {change[1]} ({change[0]} to {change[2]})"


def _room(values: list[float]) -> tuple[float, float]:
    """The lowest and highest price drawn, with some air."""
    low, high = min(values), max(values)
    air = (high - low) * 0.06 or max(abs(high) * 0.01, 0.01)
    return low - air, high + air


def ticks(low: float, high: float) -> list[float]:
    """Three to five round prices between low and high."""
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step *= next((m for m in (5.0, 2.0) if (high - low) / (step * m) >= 3), 1.0)
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _grid(scale: Scale) -> str:
    lines = []
    marks = ticks(scale.low, scale.high)
    decimals = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9)) if len(marks) > 1 else 2
    for value in marks:
        y = scale.y(value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" x="{WIDTH - RIGHT + 6}" y="{y + 3.5:.1f}">{value:,.{decimals}f}</text>')
    return "".join(lines)


def _bands(fan: Fan, predicted: list[list[float]], scale: Scale, last: int) -> str:
    """From the session after as_of outwards: 5 to 95 %, 25 to 75 %, and the median."""
    start = last + ENTRY
    origin = fan.closes[-1][1]

    def edge(quantile: int) -> list[str]:
        ends = (scale.at(start + h, row[quantile]) for h, row in zip(fan.horizons, predicted, strict=True))
        return [scale.at(start, origin), *ends]

    count = len(fan.quantiles)
    shapes = [
        f'<polygon class="band" points="{" ".join(edge(count - 1 - q) + edge(q)[::-1])}"/>' for q in range(count // 2)
    ]
    middle = " ".join([scale.at(last, origin), *edge(count // 2)])
    return "".join(shapes) + f'<polyline class="median" points="{middle}"/>'


def _dates(fan: Fan, scale: Scale, last: int) -> str:
    y = HEIGHT - 6
    marks = [
        f'<line class="now" x1="{scale.x(last):.1f}" x2="{scale.x(last):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>',
        f'<text class="tick" x="{LEFT}" y="{y}">{day(fan.closes[0][0])}</text>',
        f'<text class="tick end" x="{scale.x(last):.1f}" y="{y}">{day(fan.closes[-1][0])}</text>',
    ]
    if not fan.refused:
        for h in fan.horizons[1:]:
            x = scale.x(last + ENTRY + h)
            marks.append(f'<text class="tick middle" x="{x:.1f}" y="{y}">+{h}</text>')
    return "".join(marks)


def _readouts(fan: Fan, predicted: list[list[float]], scale: Scale, last: int) -> str:
    """Invisible strips over the drawing; the one under the pointer shows its figures in the top line."""
    points = [(i, close, f"{day(when)}  {price(close)}") for i, (when, close) in enumerate(fan.closes)]
    middle = len(fan.quantiles) // 2
    for h, row in enumerate(predicted):
        points.append((last + ENTRY + fan.horizons[h], row[middle], _words(fan, h)))
    strips = []
    for number, (session, value, words) in enumerate(points):
        left = 0 if number == 0 else (points[number - 1][0] + session) / 2
        right = scale.sessions if number == len(points) - 1 else (session + points[number + 1][0]) / 2
        x = scale.x(session)
        strips.append(
            f'<g class="strip"><rect x="{scale.x(left):.1f}" y="0" width="{scale.x(right) - scale.x(left):.1f}" '
            f'height="{HEIGHT}"/><line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<circle cx="{x:.1f}" cy="{scale.y(value):.1f}" r="2.6"/>'
            f'<text x="{LEFT}" y="12">{escape(words)}</text></g>'
        )
    return "".join(strips)
