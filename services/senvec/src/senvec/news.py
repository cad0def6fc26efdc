"""The eight news features; the formulas stand in senvec-72.yml."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from statistics import fmean, median, pstdev

from senvec.features import Row, clipped, empty_row, masked_row
from senvec.observations import Article, Store

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
HALF_LIFE = DAY
PRIOR_WEIGHT = 3
COUNT_DAYS, COUNT_MINIMUM = 252, 20
CACHE_LIMIT = 4096


def shrunk_mean(weighted: Iterable[tuple[float, float]]) -> float:
    """Σ w·p / (Σ w + 3) over pairs (w, p): few texts say little."""
    pairs = list(weighted)
    return sum(weight * score for weight, score in pairs) / (sum(weight for weight, _ in pairs) + PRIOR_WEIGHT)


def decayed(article: Article, as_of: datetime) -> float:
    """The article's relevance, halved with every 24 hours of age."""
    return article.relevance * 2 ** (-((as_of - article.event_time) / HALF_LIFE))


def word_share(hits: int, articles: Sequence[Article]) -> float | None:
    """`hits` over all words of the articles; None where they have none."""
    words = sum(article.words.total() for article in articles)
    return hits / words if words else None


def count_z(articles: Sequence[Article], as_of: datetime) -> float | None:
    """Robust z of log(1 + articles of 24 h) against the 24-hour spans before, over 5 and clipped to ±1.

    None with fewer than 20 whole spans since the first article, or where more than half of them are alike (MAD 0).
    """
    if not articles:
        return None
    spans = min(COUNT_DAYS, int((as_of - articles[0].event_time) / DAY) - 1)
    if spans < COUNT_MINIMUM:
        return None
    counts = Counter(int((as_of - article.event_time) / DAY) for article in articles)
    past = [math.log1p(counts[span]) for span in range(1, spans + 1)]
    middle = median(past)
    spread = 1.4826 * median(abs(value - middle) for value in past)
    return clipped((math.log1p(counts[0]) - middle) / spread, 5) / 5 if spread else None


def novelty(week: Sequence[Article], day: Sequence[Article]) -> float | None:
    """Mean over the day's articles of 1 − the greatest cosine with an article of the 7 days before each."""
    if not day:
        return None
    found = []
    for article in day:
        earlier = (each for each in week if article.event_time - WEEK < each.event_time < article.event_time)
        found.append(1 - max((cosine(article.words, each.words) for each in earlier), default=0.0))
    return fmean(found)


def cosine(left: Counter[str], right: Counter[str]) -> float:
    """Cosine of two word counts, in [0, 1]; 0 where either is empty."""
    dot = sum(count * right[word] for word, count in left.items() if word in right)
    norms = sum(n * n for n in left.values()) * sum(n * n for n in right.values())
    return min(1.0, dot / math.sqrt(norms)) if norms else 0.0


class News:
    """News features of the articles in a store."""

    group = "news"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._nothing = empty_row(self.group)
        self._rows: dict[tuple[str, datetime], Row] = {}
        self._rows_of = store.version

    def row(self, symbol: str, as_of: datetime) -> Row:
        """The features at `as_of`; kept until the store changes."""
        if self._rows_of != self._store.version or len(self._rows) >= CACHE_LIMIT:
            self._rows.clear()
            self._rows_of = self._store.version
        key = (symbol, as_of)
        if key not in self._rows:
            articles = self._store.known(symbol, as_of)
            if not articles:
                return self._nothing
            self._rows[key] = news_row(articles, as_of)
        return self._rows[key]


def news_row(articles: Sequence[Article], as_of: datetime) -> Row:
    """The features from all articles known at `as_of`, oldest first; at least one."""
    fortnight = [article for article in articles if article.event_time > as_of - 2 * WEEK]
    week = [article for article in fortnight if article.event_time > as_of - WEEK]
    day = [article for article in week if article.event_time > as_of - DAY]
    values = [
        shrunk_mean((article.relevance, article.score) for article in day) if day else None,
        shrunk_mean((decayed(article, as_of), article.score) for article in week) if week else None,
        pstdev(article.score for article in week) if len(week) > 1 else None,
        word_share(sum(article.uncertain for article in week), week),
        word_share(sum(article.litigious for article in week), week),
        count_z(articles, as_of),
        novelty(fortnight, day),
        float(any(article.earnings for article in week)) if week else None,
    ]
    newest = articles[-1]
    return masked_row(values, newest.event_time, max(article.observed_at for article in articles))
