"""What a microservice answers and what it refuses, over its real application."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI

from caelum_common.vector import schema
from senvec.app import create
from senvec.settings import SenvecSettings


@pytest.fixture(scope="module")
def gauges() -> FastAPI:
    return create(SenvecSettings(senvec_component="sentimentrader"))


def ask(app: FastAPI, method: str, path: str, **options) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://senvec") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def test_one_vector_carries_everything_that_dates_it(gauges):
    body = ask(gauges, "GET", "/features/AAPL").json()
    assert body["symbol"] == "AAPL"
    assert (body["schema"], body["schema_hash"]) == (schema().name, schema().hash)
    assert body["as_of"] == body["event_time"] == body["observed_at"] == "2013-03-01T21:00:00Z"
    assert body["indices"] == [0, 23]
    assert len(body["values"]) == len(body["mask"]) == 23
    assert (body["source"], body["degraded"], body["version"]) == ("sample", False, "dev")
    assert (body["age_s"], body["missing"]) == ({"sentimentrader": 0.0}, [])


@pytest.mark.parametrize(
    ("as_of", "moment", "age"),
    [
        ("2013-02-28", "2013-02-28T21:00:00Z", 0),
        ("2013-02-28T22:00:00", "2013-02-28T22:00:00Z", 3600),
        ("2013-02-28T17:30:00-05:00", "2013-02-28T22:30:00Z", 5400),
        ("2013-02-24T21:00:00Z", "2013-02-24T21:00:00Z", 2 * 86400),
    ],
)
def test_as_of_is_a_session_or_a_moment(gauges, as_of, moment, age):
    body = ask(gauges, "GET", "/features/AAPL", params={"as_of": as_of}).json()
    assert (body["as_of"], body["age_s"]["sentimentrader"]) == (moment, age)


@pytest.mark.parametrize("as_of", ["2013-02-24", "2013-03-04", "2013-03-01T21:00:01Z", "tomorrow", "2013-13-01"])
def test_a_moment_the_data_can_not_know_is_refused(gauges, as_of):
    answer = ask(gauges, "GET", "/features/AAPL", params={"as_of": as_of})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("symbol", ["aapl", "A" * 11, "1A", "A;DROP", "%2e%2e"])
def test_a_symbol_that_can_be_none_is_refused(gauges, symbol):
    assert ask(gauges, "GET", f"/features/{symbol}").status_code == 422


def test_a_batch_equals_its_single_vectors(gauges):
    dates = ["2013-02-28", "2005-01-03"]
    batch = ask(gauges, "POST", "/features", json={"symbols": ["AAPL", "BRK.B"], "dates": dates}).json()
    assert (batch["symbols"], batch["dates"]) == (["AAPL", "BRK.B"], dates)
    assert batch["as_of"] == "2013-02-28T21:00:00Z"
    for place, symbol in enumerate(batch["symbols"]):
        for day, date in enumerate(dates):
            one = ask(gauges, "GET", f"/features/{symbol}", params={"as_of": date}).json()
            assert batch["values"][place][day] == one["values"]
            assert batch["mask"][place][day] == one["mask"]


def test_a_batch_without_dates_is_of_the_last_session(gauges):
    body = ask(gauges, "POST", "/features", json={"symbols": ["AAPL"]}).json()
    assert body["dates"] == ["2013-03-01"]


@pytest.mark.parametrize(
    "request_body",
    [
        {"symbols": []},
        {"symbols": ["aapl"]},
        {"symbols": ["AAPL"], "dates": []},
        {"symbols": ["AAPL"], "dates": ["2013-02-24"]},
        {"symbols": ["AAPL"], "date": ["2013-02-28"]},
        {"symbols": ["AAPL"] * 51, "dates": ["2013-02-28"] * 100},
    ],
)
def test_a_batch_that_does_not_fit_is_refused(gauges, request_body):
    answer = ask(gauges, "POST", "/features", json=request_body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("component", ["alphavantage", "social", "news"])
def test_without_a_provider_a_group_is_masked_and_says_so(component):
    app = create(SenvecSettings(senvec_component=component))
    body = ask(app, "GET", "/features/AAPL").json()
    assert set(body["mask"]) == set(body["values"]) == {0}
    assert len(body["mask"]) == len(schema().groups[component])
    assert (body["missing"], body["age_s"]) == ([component], {component: None})
    assert ask(app, "GET", "/ready").status_code == 200
    assert ask(app, "GET", "/health").json()["providers"] == {}


def test_the_schema_is_served(gauges):
    body = ask(gauges, "GET", "/schema").json()
    assert body["hash"] == schema().hash
    assert body["dimensions"][71]["name"] == "news_earnings_window"


def test_the_datas_clock_is_its_last_close(gauges):
    latest = datetime.fromisoformat(ask(gauges, "GET", "/features/IBM").json()["as_of"])
    assert latest == datetime(2013, 3, 1, 21, tzinfo=UTC)
