"""The sentiment vectors as a heat map: 72 dimensions by the watchlist's symbols. Pure; outside text is escaped.

A table per group, so that a reader of the screen hears the names of row and column with every value. What is masked is
hatched: no value is known, which is not the same as a neutral one.
"""

from html import escape
from itertools import groupby

from pim.dashboard.board import View
from pim.dashboard.words import MINUS, NO_WATCHLIST, logs, moment, text, unavailable
from pim.senvec import Dimension, SenVecUnavailable, Vectors

# Shades on either side of neutral; values lie in -1 to 1.
SHADES = 5


def sentiment(view: View) -> str:
    """The map with its legend, or why there is none, as HTML."""
    found = view.vectors
    if isinstance(found, SenVecUnavailable):
        remedy = "Predictions go on without sentiment and say so. " + logs("aggregator", view.prefix)
        return "<h2>Sentiment</h2>" + unavailable("SenVec unavailable:", str(found), remedy)
    if not found.symbols:
        return f"<h2>Sentiment</h2>{NO_WATCHLIST}"
    groups = groupby(enumerate(found.dimensions), key=lambda pair: pair[1].group)
    tables = "".join(_table(name, list(members), found) for name, members in groups)
    many = " many" if len(found.symbols) > 8 else ""
    return (
        f'<h2>Sentiment</h2>{_provenance(found)}<div class="heat{many}" style="--symbols:{len(found.symbols)}">'
        f"{tables}</div>{_legend()}"
    )


def shade(value: float) -> str:
    """The class of a value's colour: n5 to n1 below zero, z about it, p1 to p5 above."""
    step = round(max(-1.0, min(1.0, value)) * SHADES)
    return "z" if step == 0 else f"{'p' if step > 0 else 'n'}{abs(step)}"


def _table(group: str, members: list[tuple[int, Dimension]], found: Vectors) -> str:
    known = sum(any(row[place] is not None for row in found.values) for place, _ in members)
    told = f"{known} of {len(members)}" if known else "no data"
    heads = "".join(f'<th scope="col"><span>{escape(symbol)}</span></th>' for symbol in found.symbols)
    rows = "".join(_row(place, dimension, found) for place, dimension in members)
    return (
        f"<table><caption>{escape(group)} <span>{told}</span></caption>"
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(place: int, dimension: Dimension, found: Vectors) -> str:
    cells = "".join(_cell(symbol, row[place]) for symbol, row in zip(found.symbols, found.values, strict=True))
    name = dimension.name.removeprefix(f"{dimension.group}_").replace("_", " ")
    about = escape(f"{place}: {dimension.name} = {dimension.formula}", quote=True)
    return f'<tr><th scope="row" title="{about}">{escape(name)}</th>{cells}</tr>'


def _cell(symbol: str, value: float | None) -> str:
    if value is None:
        return f'<td class="no"><span><i>{escape(symbol)} </i>no data</span></td>'
    told = f"{value:+.2f}".replace("-", MINUS)
    return f'<td class="{shade(value)}"><span><i>{escape(symbol)} </i>{told}</span></td>'


def _provenance(found: Vectors) -> str:
    known = sum(any(row[d] is not None for row in found.values) for d in range(len(found.dimensions)))
    badges = [
        f'<span class="badge">{known} of {len(found.dimensions)} dimensions with data</span>',
        f'<span class="badge">{text(found.source)} data as of {moment(found.as_of)}</span>',
        f'<span class="badge">{text(found.schema)}</span>',
    ]
    if found.degraded:
        badges.insert(0, '<span class="badge fair">degraded: a microservice is away</span>')
    return f'<p class="badges">{"".join(badges)}</p>'


def _legend() -> str:
    steps = [*(f"n{step}" for step in range(SHADES, 0, -1)), "z", *(f"p{step}" for step in range(1, SHADES + 1))]
    swatches = "".join(f'<i class="{step}"></i>' for step in steps)
    return (
        f'<p class="legend"><span>{MINUS}1 <b aria-hidden="true">{swatches}</b> +1</span>'
        '<span><b aria-hidden="true"><i class="no"></i></b> masked: no value is known, which is not neutral</span></p>'
    )
