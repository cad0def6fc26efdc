"""Texts about symbols, kept with when they happened and when we could know of them."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from senvec.lexicon import EARNINGS, LITIGIOUS, UNCERTAIN, counted

HISTORY = timedelta(days=260)
PER_SYMBOL = 20_000


@dataclass(frozen=True, slots=True)
class Observation:
    """One text about one symbol, as a provider tells it.

    `key` is the provider's own name for it: the same key is the same text. Nobody could know it before `observed_at`
    (UTC, like `event_time`). `relevance` is in [0, 1]; `score` is the provider's own in [-1, 1], None where the text
    is to be scored here.
    """

    symbol: str
    key: str
    event_time: datetime
    observed_at: datetime
    text: str
    relevance: float = 1.0
    score: float | None = None


class Article:
    """An observation with all that the features ask of its text, worked out once."""

    __slots__ = (
        "earnings",
        "event_time",
        "known_at",
        "litigious",
        "observed_at",
        "relevance",
        "score",
        "uncertain",
        "words",
    )

    def __init__(self, observation: Observation, score: float) -> None:
        self.event_time = observation.event_time
        self.observed_at = observation.observed_at
        self.known_at = max(observation.event_time, observation.observed_at)
        self.relevance = observation.relevance
        self.score = score
        self.words = counted(observation.text)
        self.uncertain = sum(self.words[word] for word in UNCERTAIN & self.words.keys())
        self.litigious = sum(self.words[word] for word in LITIGIOUS & self.words.keys())
        self.earnings = not EARNINGS.isdisjoint(self.words)


class Store:
    """Articles per symbol in order of event time; the same key is taken once, by its first sight.

    Bounded: what is 260 days older than a symbol's newest, or beyond 20,000 articles, is dropped.
    """

    def __init__(self) -> None:
        self.version = 0
        self._articles: dict[str, list[Article]] = {}
        self._seen: dict[str, dict[str, datetime]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._articles.values()))

    def knows(self, observation: Observation) -> bool:
        """Whether the text is already here."""
        return observation.key in self._seen.get(observation.symbol, ())

    def add(self, articles: Iterable[tuple[Observation, Article]]) -> None:
        """Take in articles that aren't known yet."""
        touched = set()
        for observation, article in articles:
            if self.knows(observation):
                continue
            symbol = observation.symbol
            self._seen.setdefault(symbol, {})[observation.key] = article.event_time
            bisect.insort(self._articles.setdefault(symbol, []), article, key=lambda each: each.event_time)
            touched.add(symbol)
        for symbol in touched:
            self._trim(symbol)
        self.version += bool(touched)

    def known(self, symbol: str, as_of: datetime, since: datetime | None = None) -> list[Article]:
        """Articles of (since, as_of] by event time that were known at `as_of`, oldest first."""
        articles = self._articles.get(symbol, [])
        start = bisect.bisect_right(articles, since, key=lambda each: each.event_time) if since else 0
        end = bisect.bisect_right(articles, as_of, key=lambda each: each.event_time)
        return [article for article in articles[start:end] if article.known_at <= as_of]

    def _trim(self, symbol: str) -> None:
        articles = self._articles[symbol]
        oldest = articles[-1].event_time - HISTORY
        start = max(bisect.bisect_left(articles, oldest, key=lambda each: each.event_time), len(articles) - PER_SYMBOL)
        if start > 0:
            cut = articles[start].event_time
            del articles[:start]
            seen = self._seen[symbol]
            self._seen[symbol] = {key: at for key, at in seen.items() if at >= cut}
