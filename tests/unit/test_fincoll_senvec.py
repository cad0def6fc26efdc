"""SenVec never holds up a prediction: whatever it does, a window is there at once, and it says what it lacks."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import date, timedelta

import numpy as np
import pytest

from caelum_common.windows import TOKENS
from fincoll import sentiment, senvec
from fincoll.senvec import SenVec
from support.senvec_stub import GROUPS, Mode, StubSenVec

LAST = date(2013, 3, 1)
SESSIONS = [LAST - timedelta(days=back) for back in reversed(range(TOKENS))]
ASKS = {"AAPL": SESSIONS}
# Only what is about time has a short timeout: a busy machine can hold any answer up for some tenths of a second.
PATIENCE_S = 10.0
TIMEOUT_S = 1.0
AT_ONCE_S = 0.8 * TIMEOUT_S
LONG_S = 3 * TIMEOUT_S


@pytest.fixture
def stub() -> Iterator[StubSenVec]:
    with StubSenVec() as running:
        yield running


@asynccontextmanager
async def client(
    stub: StubSenVec, *, stale_s: float = 0.0, timeout_s: float = PATIENCE_S, watch: bool = True
) -> AsyncIterator[tuple[SenVec, Counter[str]]]:
    outcomes: Counter[str] = Counter()
    made = SenVec(
        stub.url,
        timeout_s=timeout_s,
        stale_s=stale_s,
        last_session=LAST,
        probe="AAPL",
        count=lambda outcome: outcomes.update([outcome]),
    )
    if not watch:
        try:
            yield made, outcomes
        finally:
            await made.close()
        return
    async with made.watching():
        yield made, outcomes


async def until(condition: Callable[[], bool], limit_s: float) -> float:
    """Seconds until `condition` held."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < limit_s, "the condition did not come to hold in time"
        await asyncio.sleep(0.01)
    return time.monotonic() - begin


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_all_symbols_and_sessions_come_in_one_post_and_then_from_the_cache(stub: StubSenVec) -> None:
    async def test() -> None:
        async with client(stub, watch=False) as (made, outcomes):
            asks = dict.fromkeys(("AAPL", "IBM", "MSFT"), SESSIONS)
            for _ in range(3):
                found = await made.windows(asks)
            (post,) = stub.posts
            assert post["symbols"] == ["AAPL", "IBM", "MSFT"]
            assert post["dates"] == [day.isoformat() for day in SESSIONS]
            for window in found.values():
                assert window.values.shape == window.mask.shape == (TOKENS, 72)
                np.testing.assert_array_equal(window.values, 0.5)
                np.testing.assert_array_equal(window.mask, 1)
                assert (window.degraded, window.stale, window.missing) == (False, False, [])
                assert window.age_s == dict.fromkeys(GROUPS, 3600.0)
            assert outcomes == {"ok": 3, "cached": 6}

    run(test)


def test_a_request_over_the_limit_of_one_post_is_split(stub: StubSenVec) -> None:
    async def test() -> None:
        async with client(stub, watch=False) as (made, _):
            found = await made.windows({f"S{number}": SESSIONS for number in range(100)})
            assert sorted(len(post["symbols"]) for post in stub.posts) == [22, 78]
            assert not any(window.degraded for window in found.values())

    run(test)


def test_only_the_last_session_is_asked_again_when_its_time_is_up(
    stub: StubSenVec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentiment, "LAST_S", 0.05)

    async def test() -> None:
        async with client(stub, watch=False) as (made, _):
            await made.windows(ASKS)
            await asyncio.sleep(0.06)
            await made.windows(ASKS)
            assert [len(post["dates"]) for post in stub.posts] == [TOKENS, 1]

    run(test)


def test_ages_are_those_of_the_session_asked_for(stub: StubSenVec) -> None:
    async def test() -> None:
        async with client(stub, watch=False) as (made, _):
            earlier = [session - timedelta(days=1) for session in SESSIONS]
            await made.windows({"AAPL": SESSIONS})
            await made.windows({"AAPL": earlier, "IBM": SESSIONS})
            await made.windows({"AAPL": earlier, "IBM": SESSIONS})
            _, *both = stub.posts  # the two go out side by side
            again, new = sorted(both, key=lambda post: post["symbols"])
            assert again["dates"] == [earlier[0].isoformat(), earlier[-1].isoformat()], "its last row had no age yet"
            assert new["symbols"] == ["IBM"]

    run(test)


def test_rows_that_lapse_while_others_are_fetched_still_count(
    stub: StubSenVec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentiment, "LAST_S", 0.3)

    async def test() -> None:
        async with client(stub, watch=False) as (made, _):
            await made.windows(ASKS)
            stub.mode = "slow"
            found = await made.windows({**ASKS, "IBM": SESSIONS})
            assert not any(window.degraded for window in found.values())

    run(test)


@pytest.mark.parametrize("mode", ["error", "other schema", "garbage", "wrong shape"])
def test_an_unusable_answer_is_no_sentiment(stub: StubSenVec, mode: Mode) -> None:
    stub.mode = mode

    async def test() -> None:
        async with client(stub, watch=False) as (made, outcomes):
            window = (await made.windows(ASKS))["AAPL"]
            assert not window.values.any()
            assert not window.mask.any()
            assert window.degraded
            assert tuple(window.missing) == GROUPS
            assert outcomes == {"schema" if mode == "other schema" else "error": 1}

    run(test)


def test_a_hanging_senvec_costs_one_timeout_and_then_nothing(stub: StubSenVec) -> None:
    stub.mode = "hang"

    async def test() -> None:
        async with client(stub, timeout_s=TIMEOUT_S) as (made, _):
            begin = time.monotonic()
            window = (await made.windows(ASKS))["AAPL"]
            assert TIMEOUT_S * 0.9 <= time.monotonic() - begin < LONG_S
            assert window.degraded
            for _ in range(20):
                begin = time.monotonic()
                assert (await made.windows(ASKS))["AAPL"].degraded
                assert time.monotonic() - begin < AT_ONCE_S
            await until(lambda: made.away, PATIENCE_S)
            begin = time.monotonic()
            assert (await made.windows({"IBM": SESSIONS}))["IBM"].degraded
            assert time.monotonic() - begin < AT_ONCE_S, "an open breaker makes nobody wait, new symbols included"

    run(test)


def test_requests_at_the_same_time_share_one_wait(stub: StubSenVec) -> None:
    stub.mode = "hang"

    async def test() -> None:
        async with client(stub, timeout_s=TIMEOUT_S, watch=False) as (made, _):
            begin = time.monotonic()
            await asyncio.gather(*(made.windows(ASKS) for _ in range(30)))
            assert time.monotonic() - begin < LONG_S
            assert len(stub.posts) == 1

    run(test)


def test_an_answer_too_late_for_its_request_serves_the_next(stub: StubSenVec) -> None:
    stub.mode, stub.slow_s = "slow", 2 * TIMEOUT_S

    async def test() -> None:
        async with client(stub, timeout_s=TIMEOUT_S, watch=False) as (made, outcomes):
            assert (await made.windows(ASKS))["AAPL"].degraded
            await asyncio.sleep(stub.slow_s)
            begin = time.monotonic()
            assert not (await made.windows(ASKS))["AAPL"].degraded
            assert time.monotonic() - begin < AT_ONCE_S
            assert outcomes == {"timeout": 1, "cached": 1}

    run(test)


def test_senvec_stops_and_returns_without_any_request_being_made(stub: StubSenVec) -> None:
    async def test() -> None:
        async with client(stub) as (made, _):
            assert not (await made.windows(ASKS))["AAPL"].degraded
            stub.stop()
            await until(lambda: made.away, senvec.CALM_S + PATIENCE_S)
            window = (await made.windows(ASKS))["AAPL"]
            assert window.degraded
            assert not window.mask.any(), "what was cached does not pass for news of today"
            stub.start()
            await until(lambda: not made.away, PATIENCE_S)
            assert not (await made.windows(ASKS))["AAPL"].degraded

    run(test)


def test_last_known_vectors_stand_in_for_as_long_as_allowed_and_say_so(stub: StubSenVec) -> None:
    async def test() -> None:
        async with client(stub, stale_s=3.0) as (made, outcomes):
            await made.windows(ASKS)
            stub.stop()
            await until(lambda: made.away, senvec.CALM_S + PATIENCE_S)
            window = (await made.windows(ASKS))["AAPL"]
            if window.stale:  # unless the machine was so slow that the three seconds are over
                assert window.degraded
                assert window.stale_s is not None
                assert 0 < window.stale_s <= 3.0
                np.testing.assert_array_equal(window.mask, 1)
                assert outcomes["stale"] == 1
            await asyncio.sleep(max(0.0, 3.1 - (window.stale_s or 0)))
            window = (await made.windows(ASKS))["AAPL"]
            assert (window.stale, window.degraded) == (False, True)
            assert not window.mask.any()

    run(test)


def test_a_senvec_without_a_microservice_is_degraded_and_asked_again_soon(
    stub: StubSenVec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentiment, "DEGRADED_S", 0.05)
    stub.mode = "degraded"

    async def test() -> None:
        async with client(stub, watch=False) as (made, _):
            window = (await made.windows(ASKS))["AAPL"]
            assert window.degraded
            assert made.degraded
            assert window.mask.all(), "what the others know is used"
            stub.mode = "ok"
            await asyncio.sleep(0.06)
            assert not (await made.windows(ASKS))["AAPL"].degraded
            assert not made.degraded

    run(test)


def test_without_an_address_there_is_no_sentiment_and_no_wait() -> None:
    async def test() -> None:
        made = SenVec("", timeout_s=TIMEOUT_S, last_session=LAST, probe="AAPL")
        async with made.watching():
            window = (await made.windows(ASKS))["AAPL"]
            assert window.degraded
            assert made.away
            assert not window.mask.any()

    run(test)


def test_the_cache_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentiment, "MAX_ROWS", 100)
    rows = sentiment.Rows()
    row = sentiment.Row(np.ones(144, dtype=np.float32), degraded=False, age_s={}, fetched=0.0, expires=10.0)
    for number in range(250):
        rows.put("AAPL", LAST - timedelta(days=number), row)
        rows.lacking({"AAPL": [LAST]}, now=1.0)
    assert len(rows) == 100
    assert rows.lacking({"AAPL": [LAST]}, now=1.0) == {}, "what is asked for stays"
