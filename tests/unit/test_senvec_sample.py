"""The sample's made-up news: labelled, the same each time, none after its end; and what the scorer makes of it."""

import pytest

from caelum_common.market import market
from senvec.headlines import BAD, GOOD, LABEL, LEGAL, PLAIN, headlines
from senvec.replay import feed
from senvec.rss import parse
from senvec.scorers import scorer_for

CLOSES = [market("sample").close_time(session) for session in market("sample").sessions[-60:]]


def test_headlines_are_the_same_for_the_same_seed_and_within_the_sample():
    first = list(headlines("AAPL", CLOSES, 0))
    assert first == list(headlines("AAPL", CLOSES, 0))
    assert first != list(headlines("AAPL", CLOSES, 1))
    times = [headline.published for headline in first]
    assert times == sorted(times)
    assert times[-1] <= CLOSES[-1]
    assert len({headline.key for headline in first}) == len(first) > 40


def test_a_headline_does_not_depend_on_later_sessions():
    assert (
        list(headlines("IBM", CLOSES[:30], 0))
        == list(headlines("IBM", CLOSES, 0))[: len(list(headlines("IBM", CLOSES[:30], 0)))]
    )


def test_the_feed_is_valid_rss_that_says_what_it_is():
    document = feed("FB", market("sample"), 0)
    entries = parse(document)
    assert len(entries) == len(list(headlines("FB", CLOSES, 0)))
    assert all(entry.published for entry in entries)
    text = document.decode()
    assert f"<title>FB news ({LABEL})</title>" in text
    assert text.count(f"<category>{LABEL}</category>") == len(entries)


@pytest.mark.parametrize("template", GOOD)
def test_good_news_scores_above_zero(template):
    assert scorer_for("news").score(template.format(symbol="IBM", subject="data centres")) > 0.1


@pytest.mark.parametrize("template", BAD)
def test_bad_news_scores_below_zero(template):
    assert scorer_for("news").score(template.format(symbol="IBM", subject="data centres")) < -0.1


@pytest.mark.parametrize("template", PLAIN)
def test_plain_news_is_neutral(template):
    assert abs(scorer_for("news").score(template.format(symbol="IBM", subject="data centres"))) < 0.1


def test_law_suits_are_no_good_news():
    assert all(scorer_for("news").score(text.format(symbol="IBM", subject="data centres")) <= 0 for text in LEGAL)


def test_words_of_finance_are_not_praise_and_negation_counts():
    score = scorer_for("news").score
    assert score("The company sold shares and paid interest on its debt") == 0
    assert score("IBM beats estimates") > 0 > score("IBM does not beat estimates")
