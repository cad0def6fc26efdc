"""Feeds come from strangers: broken, huge or hostile ones must cost nothing and enter nothing."""

import time
from datetime import UTC, datetime

import pytest

from senvec.rss import ENTRIES_LIMIT, Feed, parse

FETCHED = datetime(2026, 1, 2, tzinfo=UTC)


def rss(*items: str, head: str = "") -> bytes:
    channel = f"<channel><title>t</title>{''.join(items)}</channel>"
    return f'<?xml version="1.0"?>{head}<rss version="2.0">{channel}</rss>'.encode()


def item(title: str = "A title", extra: str = "") -> str:
    return f"<item><title>{title}</title>{extra}</item>"


def test_an_entry_is_read_with_its_key_text_and_time():
    extra = "<guid>g1</guid><description>more &amp;amp; more</description>"
    date = "<pubDate>Fri, 01 Mar 2013 16:00:00 -0500</pubDate>"
    (entry,) = parse(rss(item("A &lt;b&gt;bold&lt;/b&gt;  title", extra + date)))
    assert entry == ("g1", "A bold title", "more & more", datetime(2013, 3, 1, 21, tzinfo=UTC))


def test_atom_is_read_too():
    document = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title><entry><id>1</id><title>Atomic</title>'
        "<published>2013-03-01T21:00:00Z</published></entry></feed>"
    )
    (entry,) = parse(document.encode())
    assert (entry.title, entry.published) == ("Atomic", datetime(2013, 3, 1, 21, tzinfo=UTC))


@pytest.mark.parametrize(
    "document", [b"", b"<html><body>Sign in</body></html>", b'{"Information": "rate limit"}', b"\x00\xff\xfe"]
)
def test_what_is_no_feed_is_refused(document):
    with pytest.raises(ValueError, match="neither RSS nor Atom"):
        parse(document)


def test_a_truncated_feed_gives_what_arrived():
    whole = rss(item("First"), item("Second"), item("Third"))
    titles = [entry.title for entry in parse(whole[: whole.index(b"Third")])]
    assert titles[:2] == ["First", "Second"]


def test_entities_are_neither_expanded_without_end_nor_fetched(tmp_path):
    bomb = '<!DOCTYPE r [<!ENTITY a "lol">' + "".join(
        f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    begin = time.perf_counter()
    entries = parse(rss(item("&i;"), head=bomb + "]>"))
    assert time.perf_counter() - begin < 2
    assert sum(len(entry.title) for entry in entries) < 1000

    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    outside = f'<!DOCTYPE r [<!ENTITY x SYSTEM "file://{secret}">]>'
    assert "hunter2" not in str(parse(rss(item("T &x;"), head=outside)))


def test_markup_and_scripts_are_no_words():
    (entry,) = parse(
        rss(item("Title", "<description><![CDATA[<script>steal()</script><p onclick='x()'>kept</p>]]></description>"))
    )
    assert entry.summary == "kept"


def test_sizes_are_bounded():
    entries = parse(rss(*(item(f"{number} " + "x" * 2000) for number in range(ENTRIES_LIMIT + 10))))
    assert len(entries) == ENTRIES_LIMIT
    assert max(len(entry.title) for entry in entries) <= 500


@pytest.mark.parametrize("when", ["yesterday", "Fri, 99 Mar 99999 99:00:00 GMT", ""])
def test_a_date_that_is_none_is_no_date(when):
    (entry,) = parse(rss(item(extra=f"<pubDate>{when}</pubDate>")))
    assert entry.published is None


def observations(feed: Feed, document: bytes):
    return [found for entry in parse(document) for found in feed._observations(entry, FETCHED)]


def test_a_sample_is_observed_when_published_and_needs_a_date():
    dated = item("Dated", "<pubDate>Fri, 01 Mar 2013 21:00:00 GMT</pubDate>")
    feed = Feed("http://x/IBM", ["IBM"], own=True, sample=True)
    (found,) = observations(feed, rss(dated, item("Undated")))
    assert found.event_time == found.observed_at == datetime(2013, 3, 1, 21, tzinfo=UTC)


def test_live_news_is_observed_when_fetched_and_never_before_it_happened():
    dated = item("Dated", "<pubDate>Fri, 01 Mar 2013 21:00:00 GMT</pubDate>")
    ahead = item("Ahead", "<pubDate>Fri, 01 Mar 2041 21:00:00 GMT</pubDate>")
    feed = Feed("http://x/IBM", ["IBM"], own=True, sample=False)
    found = observations(feed, rss(dated, ahead, item("Undated")))
    assert [each.observed_at for each in found] == [FETCHED] * 3
    assert [each.event_time for each in found] == [datetime(2013, 3, 1, 21, tzinfo=UTC), FETCHED, FETCHED]


def test_a_general_feed_speaks_of_the_symbols_it_names():
    feed = Feed("http://x/all", ["IBM", "FB", "BRK.B"], own=False, sample=False)
    named = item("$IBM rises", "<description>and FB too, not FBX</description>")
    found = observations(feed, rss(named, item("Nobody here: IBMs"), item("BRK.B, up")))
    assert [(each.symbol, each.relevance) for each in found] == [("IBM", 1.0), ("FB", 0.5), ("BRK.B", 1.0)]
