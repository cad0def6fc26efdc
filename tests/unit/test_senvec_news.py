"""News features against cases worked out by hand, and the rule that nothing observed later may enter."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from senvec.news import News, cosine, count_z, news_row, novelty, shrunk_mean
from senvec.observations import Article, Observation, Store

NOW = datetime(2013, 3, 1, 21, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MEAN, DECAYED, DISPERSION, UNCERTAIN, LITIGIOUS, COUNT, NOVELTY, EARNINGS = range(8)


def seen(
    age: timedelta, text: str = "plain words", *, late: timedelta = timedelta(), relevance: float = 1.0, key: str = ""
):
    at = NOW - age
    return Observation("T", key or f"{age}{text}", at, at + late, text, relevance)


def article(age: timedelta, score: float = 0.0, text: str = "plain words", relevance: float = 1.0) -> Article:
    return Article(seen(age, text, relevance=relevance), score)


def values(*articles: Article) -> list[float | None]:
    row = news_row(sorted(articles, key=lambda each: each.event_time), NOW)
    return [value if bit else None for value, bit in zip(row.values, row.mask, strict=True)]


def test_few_texts_say_little():
    assert shrunk_mean([(1.0, 1.0)]) == pytest.approx(1 / 4)
    assert shrunk_mean([(0.5, 0.8), (1.0, -0.2)]) == pytest.approx((0.4 - 0.2) / 4.5)


def test_means_weigh_by_relevance_and_by_age():
    found = values(article(12 * HOUR, 0.8, relevance=0.5), article(2 * DAY, -0.4))
    assert found[MEAN] == pytest.approx(0.4 / 3.5, abs=1e-6)
    young, old = 0.5 * 2**-0.5, 2**-2
    assert found[DECAYED] == pytest.approx((0.8 * young - 0.4 * old) / (young + old + 3), abs=1e-6)
    assert found[DISPERSION] == pytest.approx(0.6)


def test_windows_end_where_they_say():
    found = values(article(DAY, 1.0))
    assert found[MEAN] is None, "24 hours old is no longer of the day"
    assert found[DECAYED] == pytest.approx(0.5 / 3.5, abs=1e-6)
    assert values(article(7 * DAY, 1.0)) == [None] * 8
    assert values(article(7 * DAY - HOUR, 1.0))[DISPERSION] is None, "one text has no dispersion"


def test_word_shares_and_the_earnings_flag():
    found = values(article(HOUR, text="Court may hear lawsuit"), article(2 * HOUR, text="quarterly report out soon"))
    assert found[UNCERTAIN] == pytest.approx(1 / 8)
    assert found[LITIGIOUS] == pytest.approx(2 / 8)
    assert found[EARNINGS] == 1.0
    assert values(article(HOUR, text="new office"))[EARNINGS] == 0.0


def test_novelty_compares_with_the_week_before():
    week = [article(30 * HOUR, text="one two"), article(2 * HOUR, text="one three")]
    assert novelty(week, week[1:]) == pytest.approx(0.5)
    assert novelty(week[1:], week[1:]) == 1.0
    assert novelty(week, []) is None
    assert cosine(article(DAY, text="a b").words, article(DAY, text="").words) == 0.0


def test_the_count_is_a_robust_z_of_past_days():
    ages = [30 * DAY]  # the first: 29 whole spans before today's
    for span in range(1, 29):
        ages += [span * DAY + HOUR] * (span % 3)
    articles = [article(age) for age in sorted([*ages, *[HOUR] * 4], reverse=True)]
    past = [*(math.log1p(span % 3) for span in range(1, 29)), 0.0]
    middle = sorted(past)[14]
    spread = 1.4826 * sorted(abs(value - middle) for value in past)[14]
    assert count_z(articles, NOW) == pytest.approx(max(-1, min(1, (math.log(5) - middle) / spread / 5)))
    assert count_z([article(20 * DAY)], NOW) is None, "19 spans are too few"
    assert count_z([article(40 * DAY)], NOW) is None, "days that are all alike have no spread"


def test_nothing_observed_later_enters():
    store = Store()
    late = seen(HOUR, "was known two hours after", late=2 * HOUR)
    early = seen(2 * HOUR, "was known at once")
    store.add([(each, Article(each, 1.0)) for each in (late, early)])
    assert [each.event_time for each in store.known("T", NOW)] == [early.event_time]
    assert len(store.known("T", NOW + HOUR)) == 2
    news = News(store)
    assert news.row("T", NOW).event_time == early.event_time
    assert not any(news.row("T", NOW - 3 * HOUR).mask)
    assert not any(news.row("OTHER", NOW).mask)


def test_an_article_that_arrives_changes_the_row():
    store = Store()
    news = News(store)
    first, second = seen(3 * HOUR, "one"), seen(HOUR, "two")
    store.add([(first, Article(first, 0.5))])
    before = news.row("T", NOW)
    store.add([(second, Article(second, -0.5))])
    assert news.row("T", NOW) != before


def test_the_same_text_is_taken_once_and_at_its_first_sight():
    store = Store()
    first, again = seen(DAY, key="k"), seen(HOUR, key="k")
    store.add([(first, Article(first, 0.0))])
    store.add([(again, Article(again, 0.0))])
    assert [each.event_time for each in store.known("T", NOW)] == [first.event_time]


def test_the_store_is_bounded_in_age():
    store = Store()
    old, new = seen(262 * DAY), seen(DAY)
    store.add([(old, Article(old, 0.0))])
    store.add([(new, Article(new, 0.0))])
    assert len(store) == 1
    assert not store.knows(old)
