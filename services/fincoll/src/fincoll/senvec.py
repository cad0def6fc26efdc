"""Client of SenVec that never holds up a prediction.

A request waits for SenVec at most the hard timeout, and not at all once the breaker is open; only the watcher, a
background task, asks then, so a SenVec that returns is used again without a restart. An answer that comes too late
for its request still fills the cache for the next one.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any

import httpx
import numpy as np
import orjson
import structlog

from caelum_common import vector
from caelum_common.breaker import Breaker
from fincoll import sentiment
from fincoll.sentiment import NOTHING, Asks, Floats, Row, Rows, Sentiment

MAX_CELLS = 5000  # symbols × dates in one POST, SenVec's limit
PATIENCE_S = 5.0  # how long an answer too late for its request is still waited for, to fill the cache
MAX_PENDING = 16  # fetches under way at once; beyond them requests go without
CALM_S, ALERT_S, AWAY_S = 2.0, 0.2, 0.5  # the watcher's pause while all is well, after a failure, while SenVec is away

Count = Callable[[str], None]
_Key = tuple[tuple[str, ...], tuple[date, ...]]  # symbols and dates of one POST

log = structlog.get_logger()


class SenVecFailed(Exception):
    """SenVec gave no usable answer; `outcome` is a short word for the metrics."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


class _Fetch:
    """A fetch under way; `late` once a request has given up waiting for it."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.late = False


class SenVec:
    """Sentiment windows from the aggregator at `url` (empty: there is none, all windows are empty and degraded).

    `timeout_s` is what one request may wait, `stale_s` how old last-known vectors may be that stand in, and `count`
    is told one word per window asked for: cached, ok, stale, away, timeout, busy, refused, error, schema.
    """

    def __init__(  # noqa: PLR0913 - keyword-only settings
        self,
        url: str,
        *,
        timeout_s: float,
        last_session: date,
        probe: str,
        stale_s: float = 0.0,
        count: Count = lambda _outcome: None,
    ) -> None:
        self._client = _client(url, timeout_s) if url else None
        self._timeout_s = timeout_s
        self._stale_s = stale_s
        self._last_session = last_session
        self._probe_symbol = probe
        self._count = count
        self._rows = Rows()
        self._breaker = Breaker(failures=3, reset_after_s=AWAY_S)
        self._pending: dict[_Key, _Fetch] = {}
        self._partial = False

    @property
    def away(self) -> bool:
        """Whether SenVec is not asked now."""
        return self._client is None or self._breaker.state != "closed"

    @property
    def degraded(self) -> bool:
        """Whether predictions now go without sentiment, or with a part of it."""
        return self.away or self._partial

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watches SenVec in the background for as long as the context is open, then closes."""
        watcher = asyncio.create_task(self._watch()) if self._client else None
        try:
            yield
        finally:
            if watcher:
                watcher.cancel()
            await self.close()

    async def close(self) -> None:
        """Gives up what is under way and closes all connections."""
        for fetch in self._pending.values():
            fetch.task.cancel()
        if self._client:
            await self._client.aclose()

    async def windows(self, asks: Asks) -> dict[str, Sentiment]:
        """A window for each symbol in `asks` over its sessions; never fails, and waits at most the timeout."""
        now = time.monotonic()
        outcome = "away"
        if not self.away:
            lacking = self._rows.lacking(asks, now)
            outcome = await self._refresh(lacking) if lacking else "cached"
        # Judged as of the beginning: a row that was fresh then must not lapse while the others are fetched.
        found = {symbol: self._window(symbol, sessions, outcome, now) for symbol, sessions in asks.items()}
        for window in found.values():
            self._count("stale" if window.stale else outcome)
        return found

    def _window(self, symbol: str, sessions: Sequence[date], outcome: str, now: float) -> Sentiment:
        window = None
        if outcome != "away":
            window = self._rows.window(symbol, sessions, now)
        if window is None and self._stale_s:
            window = self._rows.window(symbol, sessions, now, self._stale_s)
        return window or NOTHING

    async def _refresh(self, lacking: Mapping[str, Sequence[date]]) -> str:
        """Fetches what lacks, waiting at most the timeout; the outcome in one word."""
        deadline = time.monotonic() + self._timeout_s
        outcome = "ok"
        fetches = [self._join(post) for post in _posts(lacking)]
        for fetch in fetches:
            if fetch is None or fetch.late:
                outcome = "busy"
                continue
            await asyncio.wait({fetch.task}, timeout=max(0.0, deadline - time.monotonic()))
            if not fetch.task.done():
                outcome = "timeout"
                if not fetch.late:
                    fetch.late = True
                    self._failed(f"no answer within {self._timeout_s:g} s")
            elif (error := fetch.task.exception()) is not None:
                outcome = error.outcome if isinstance(error, SenVecFailed) else "error"
        return outcome

    def _join(self, key: _Key) -> _Fetch | None:
        """The fetch of these, already under way or started now; None when too many are."""
        if key not in self._pending:
            if len(self._pending) >= MAX_PENDING:
                return None
            fetch = _Fetch(asyncio.create_task(self._fetch(*key, PATIENCE_S)))
            self._pending[key] = fetch
            fetch.task.add_done_callback(lambda _task: self._settle(key))
        return self._pending[key]

    def _settle(self, key: _Key) -> None:
        fetch = self._pending.pop(key)
        error = None if fetch.task.cancelled() else fetch.task.exception()
        if error is not None and not fetch.late:
            self._failed(str(error))

    def _failed(self, reason: str) -> None:
        was_away = self.away
        self._breaker.failure()
        if self.away and not was_away:
            log.warning("SenVec is away; predictions go without sentiment", reason=reason)

    async def _fetch(self, symbols: Sequence[str], dates: Sequence[date], timeout_s: float) -> None:
        """Asks SenVec for symbols × dates and keeps the rows. Raises SenVecFailed, which the caller reports."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._post(symbols, dates)
        except TimeoutError:
            raise SenVecFailed("timeout", f"no answer within {timeout_s:g} s") from None
        self._keep(answer, symbols, dates)
        if self.away:
            log.info("SenVec is back")
        self._breaker.success()

    async def _post(self, symbols: Sequence[str], dates: Sequence[date]) -> dict[str, Any]:
        assert self._client is not None  # noqa: S101 - without a client nothing is fetched
        body = orjson.dumps({"symbols": symbols, "dates": dates})
        try:
            response = await self._client.post("/features", content=body, headers={"content-type": "application/json"})
        except httpx.TimeoutException as error:
            raise SenVecFailed("timeout", f"no answer in time ({type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise SenVecFailed("refused", f"no connection ({type(error).__name__}: {error})") from error
        if response.status_code != 200:
            raise SenVecFailed("error", f"HTTP {response.status_code}: {response.text[:200]}")
        try:
            answer: dict[str, Any] = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise SenVecFailed("error", f"the answer is not JSON: {error}") from error
        return answer

    def _keep(self, answer: dict[str, Any], symbols: Sequence[str], dates: Sequence[date]) -> None:
        """Checks an answer and caches its rows; raises SenVecFailed when it does not fit what was asked."""
        ours = vector.schema().hash
        try:
            if answer["schema_hash"] != ours:
                theirs = str(answer["schema_hash"])
                raise SenVecFailed("schema", f"SenVec speaks schema {theirs[:12]}…, this release {ours[:12]}…")
            packed = np.concatenate([_array(answer, "values"), _array(answer, "mask")], axis=2)
            if packed.shape != (len(symbols), len(dates), 2 * vector.WIDTH) or not np.isfinite(packed).all():
                raise SenVecFailed("error", f"vectors of shape {packed.shape} or not finite")
            degraded, age_s = bool(answer["degraded"]), dict(answer["age_s"])
        except (KeyError, TypeError, ValueError) as error:
            raise SenVecFailed("error", f"the answer is not what POST /features gives: {error}") from error
        now = time.monotonic()
        self._partial = degraded
        for column, session in enumerate(dates):
            fresh_s = sentiment.DEGRADED_S if degraded else self._fresh_s(session)
            age = age_s if session == dates[-1] else None
            for row, symbol in enumerate(symbols):
                kept = Row(packed[row, column].copy(), degraded, age, fetched=now, expires=now + fresh_s)
                self._rows.put(symbol, session, kept)

    def _fresh_s(self, session: date) -> float:
        return sentiment.LAST_S if session >= self._last_session else sentiment.HISTORY_S

    async def _watch(self) -> None:
        """Asks for one vector again and again, so that neither SenVec's going nor its return costs a request time."""
        while True:
            healthy = True
            if self._breaker.allow():
                try:
                    await self._fetch([self._probe_symbol], [self._last_session], self._timeout_s)
                except SenVecFailed as failed:
                    self._failed(str(failed))
                    self._count(f"probe_{failed.outcome}")
                    healthy = False
                except Exception:  # a watcher that ended would leave SenVec away for good
                    log.exception("watching SenVec failed")
                    self._failed("the client failed")
                    healthy = False
            await asyncio.sleep(AWAY_S if self.away else CALM_S if healthy else ALERT_S)


def _client(url: str, timeout_s: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        timeout=httpx.Timeout(PATIENCE_S, connect=timeout_s),
        limits=httpx.Limits(max_connections=MAX_PENDING + 1, max_keepalive_connections=4),
        trust_env=False,  # a proxy is for the way out, not for a neighbour
        verify=url.startswith("https:"),  # without TLS the certificate store need not be loaded
    )


def _posts(lacking: Mapping[str, Sequence[date]]) -> list[_Key]:
    """Symbols and dates of the fewest POSTs that cover `lacking` and keep to SenVec's limit: nearly always one.

    SenVec tells ages at the latest date of a POST, so symbols whose windows end on other days go in others.
    """
    by_end: dict[date, dict[str, Sequence[date]]] = {}
    for symbol in sorted(lacking):
        by_end.setdefault(lacking[symbol][-1], {})[symbol] = lacking[symbol]
    posts: list[_Key] = []
    for group in by_end.values():
        dates = tuple(sorted(set().union(*group.values())))
        size = max(1, MAX_CELLS // len(dates))
        posts += [(symbols, dates) for symbols in _batches(group, size)]
    return posts


def _batches(symbols: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    rest = iter(symbols)
    while batch := tuple(islice(rest, size)):
        yield batch


def _array(answer: Mapping[str, Any], name: str) -> Floats:
    array = np.asarray(answer[name], dtype=np.float32)
    if array.ndim != 3:
        raise ValueError(f"{name} has {array.ndim} dimensions, expected 3")
    return array
