"""Synthetic headlines for the sample: made up, always labelled, the same for the same seed.

They are drawn without a look at prices, so nothing can be learnt from them about what followed.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

LABEL = "synthetic sample"
SPAN = timedelta(hours=16)

SUBJECTS = ("cloud unit", "services business", "hardware line", "advertising arm", "supply chain", "research group",
            "European division", "mobile platform", "enterprise software", "data centres")  # fmt: skip
GOOD = (
    "{symbol} beats estimates as its {subject} shows record growth",
    "Analyst upgrades {symbol}, cites strong demand for its {subject}",
    "{symbol} raises guidance after upbeat quarterly results",
    "{symbol} announces buyback and higher dividend",
    "{symbol} shares rally on approval for its {subject}",
)
BAD = (
    "{symbol} misses estimates, {subject} revenue falls",
    "Analyst downgrades {symbol} on weak outlook for its {subject}",
    "{symbol} warns of headwinds in its {subject}",
    "{symbol} slides after outage in its {subject}",
    "{symbol} delays launch, cites shortage in its {subject}",
)
UNSURE = (
    "{symbol} may restructure its {subject}, outcome unclear",
    "Rumours of a possible sale of the {subject} of {symbol} remain unconfirmed",
    "Investors cautious as {symbol} expects volatile demand for its {subject}",
)
LEGAL = (
    "{symbol} sued over alleged patent infringement in its {subject}",
    "Court ruling on {symbol} expected, settlement possible",
    "Regulator opens antitrust investigation of the {subject} of {symbol}",
)
PLAIN = (
    "{symbol} names new head of its {subject}",
    "{symbol} to present its {subject} at a conference",
    "{symbol} moves its {subject} to a new site",
)
KINDS = (GOOD, BAD, UNSURE, LEGAL, PLAIN)
WEIGHTS = (30, 27, 13, 8, 22)
COUNTS, COUNT_WEIGHTS = (0, 1, 2, 3, 5), (20, 35, 25, 15, 5)


class Headline(NamedTuple):
    """One made-up item; `published` is in UTC."""

    key: str
    title: str
    published: datetime


def headlines(symbol: str, closes: Sequence[datetime], seed: int) -> Iterator[Headline]:
    """Headlines for the sessions that closed at `closes`, each within the 16 hours up to a close, oldest first."""
    draw = random.Random(f"{seed}:{symbol}")  # noqa: S311 - nothing here is secret
    for close in closes:
        count = draw.choices(COUNTS, COUNT_WEIGHTS)[0]
        minutes = sorted((draw.randrange(int(SPAN / timedelta(minutes=1))) for _ in range(count)), reverse=True)
        for minute in minutes:
            published = close - timedelta(minutes=minute)
            text = draw.choice(draw.choices(KINDS, WEIGHTS)[0]).format(symbol=symbol, subject=draw.choice(SUBJECTS))
            yield Headline(f"synthetic-{symbol}-{published:%Y%m%dT%H%M}-{draw.getrandbits(24):06x}", text, published)
