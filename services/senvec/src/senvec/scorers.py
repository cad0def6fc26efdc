"""What a text says, as a number. A source of texts has the scorer that suits it."""

from collections.abc import Callable
from functools import cache
from typing import Protocol

from senvec.lexicon import FINANCE, NEUTRAL


class Scorer(Protocol):
    """Scores one text in [-1, 1]; 0 is neutral. The same text gets the same score."""

    name: str

    def score(self, text: str) -> float:
        """The score of `text`."""
        ...


class FinanceVader:
    """VADER (Hutto and Gilbert 2014), its rules for negation and degree kept, with a lexicon for company news.

    VADER's own list is of everyday speech: "share" and "interest" praise there, "beats" hits somebody. Words of
    finance get the valence they have for a company, ordinary ones none.
    """

    name = "vader+finance"

    def __init__(self) -> None:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        self._analyzer = SentimentIntensityAnalyzer()
        self._analyzer.lexicon.update(FINANCE)
        for word in NEUTRAL:
            self._analyzer.lexicon.pop(word, None)

    def score(self, text: str) -> float:
        """VADER's compound score."""
        return float(self._analyzer.polarity_scores(text)["compound"])


SCORERS: dict[str, Callable[[], Scorer]] = {"news": FinanceVader}


@cache
def scorer_for(source: str) -> Scorer:
    """The scorer of a source of texts, made once."""
    return SCORERS[source]()
