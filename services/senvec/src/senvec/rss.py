"""News from RSS and Atom feeds."""

import asyncio
import calendar
import html
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import feedparser
import httpx

from senvec.observations import Observation
from senvec.providers import ProviderError

BYTES_LIMIT = 2_000_000
ENTRIES_LIMIT = 1000
TITLE_LIMIT, SUMMARY_LIMIT = 500, 2000
TAG = re.compile(r"<[^>]*>")


class Entry(NamedTuple):
    """One item of a feed, as plain text; `published` is None where it gives no usable date."""

    key: str
    title: str
    summary: str
    published: datetime | None


def parse(document: bytes) -> list[Entry]:
    """Entries of a feed. Raises ValueError where the document is no feed at all; bad entries are left out."""
    parsed = feedparser.parse(document, sanitize_html=True, resolve_relative_uris=False)
    if not parsed.get("version"):
        raise ValueError("it is neither RSS nor Atom")
    entries = []
    for item in parsed.entries[:ENTRIES_LIMIT]:
        title, summary = _plain(item.get("title"), TITLE_LIMIT), _plain(item.get("summary"), SUMMARY_LIMIT)
        if title:
            key = str(item.get("id") or item.get("link") or title)[:TITLE_LIMIT]
            entries.append(Entry(key, title, summary, _moment(item.get("published_parsed"))))
    return entries


def _plain(text: object, limit: int) -> str:
    if not isinstance(text, str):
        return ""
    return " ".join(html.unescape(TAG.sub(" ", text[: 4 * limit])).split())[:limit]


def _moment(parsed: time.struct_time | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(calendar.timegm(parsed), UTC) if parsed else None
    except (ValueError, OverflowError):
        return None


def feeds(urls: Sequence[str], symbols: Sequence[str], *, sample: bool) -> Iterator["Feed"]:
    """One feed per URL; a URL with `{symbol}` in it stands for one feed per symbol."""
    for url in urls:
        if "{symbol}" in url:
            for symbol in symbols:
                yield Feed(url.replace("{symbol}", symbol), [symbol], own=True, sample=sample)
        else:
            yield Feed(url, symbols, own=False, sample=sample)


class Feed:
    """A feed as a provider.

    The entries of a symbol's own feed are all about it. Those of a general feed are about the symbols they name: with
    relevance 1 in the title, ½ in the summary alone. Sample data is of the past: there an entry counts as observed
    when it was published, and one without a date is left out. Otherwise it is observed when fetched.
    """

    def __init__(self, url: str, symbols: Sequence[str], *, own: bool, sample: bool) -> None:
        self.name = url
        self._own = own
        self._sample = sample
        self._mentions = {symbol: re.compile(rf"(?<![\w.]){re.escape(symbol)}(?!\w)") for symbol in symbols}
        self._etag = ""

    async def fetch(self, client: httpx.AsyncClient) -> list[Observation]:
        """See Provider; nothing new where the server says so."""
        headers = {"if-none-match": self._etag} if self._etag else {}
        try:
            async with client.stream("GET", self.name, headers=headers) as answer:
                if answer.status_code == httpx.codes.NOT_MODIFIED:
                    return []
                if not answer.is_success:
                    raise ProviderError(f"{self.name} answered {answer.status_code}")
                document = await self._body(answer)
        except httpx.HTTPError as error:
            raise ProviderError(f"{self.name} can't be reached: {error or type(error).__name__}") from None
        fetched_at = datetime.now(UTC)
        try:
            entries = await asyncio.to_thread(parse, document)
        except ValueError as error:
            raise ProviderError(f"{self.name} can't be read: {error}") from None
        self._etag = answer.headers.get("etag", "")
        return [found for entry in entries for found in self._observations(entry, fetched_at)]

    async def _body(self, answer: httpx.Response) -> bytes:
        document = bytearray()
        async for part in answer.aiter_bytes():
            document += part
            if len(document) > BYTES_LIMIT:
                raise ProviderError(f"{self.name} sends more than {BYTES_LIMIT} bytes")
        return bytes(document)

    def _observations(self, entry: Entry, fetched_at: datetime) -> Iterator[Observation]:
        if self._sample and entry.published is None:
            return
        event_time = min(entry.published or fetched_at, fetched_at)
        observed_at = event_time if self._sample else fetched_at
        text = f"{entry.title}. {entry.summary}" if entry.summary else entry.title
        for symbol, mention in self._mentions.items():
            if relevance := self._relevance(entry, mention):
                yield Observation(symbol, entry.key, event_time, observed_at, text, relevance)

    def _relevance(self, entry: Entry, mention: re.Pattern[str]) -> float:
        if self._own or mention.search(entry.title):
            return 1.0
        return 0.5 if mention.search(entry.summary) else 0.0
