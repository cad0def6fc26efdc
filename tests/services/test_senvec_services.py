"""The five real processes over HTTP: one vector of 72, honest masks, no future, and quick recovery."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from caelum_common.vector import WIDTH, schema
from support.processes import free_port, running
from support.senvec import SenVec, senvec

pytestmark = pytest.mark.services
NEWS = schema().groups["news"]


@pytest.fixture(scope="module")
def services():
    with senvec() as running_services:
        client = running_services.client
        news = running_services.services["news"]
        end = time.monotonic() + 20
        while client.get(f"{news.url}/health").json()["observations"] < 100:
            assert time.monotonic() < end, news.log()
            time.sleep(0.1)
        yield running_services


def vector(services: SenVec, symbol: str = "AAPL", **query: str) -> dict:
    answer = services.client.get(f"{services.url}/features/{symbol}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_vector_has_72_dimensions_and_an_honest_mask(services):
    body = vector(services)
    assert len(body["values"]) == len(body["mask"]) == WIDTH
    assert set(body["mask"]) <= {0, 1}
    assert all(value == 0 for value, bit in zip(body["values"], body["mask"], strict=True) if not bit)
    assert body["missing"] == ["alphavantage", "social"]
    assert body["degraded"] is False
    assert body["schema_hash"] == schema().hash
    known = {group: sum(body["mask"][index] for index in place) for group, place in schema().groups.items()}
    assert known["sentimentrader"] == 7
    assert known["news"] >= 5
    assert body["age_s"]["alphavantage"] is None
    assert 0 < body["age_s"]["news"] < 7 * 86400


def test_an_unknown_symbol_has_the_markets_gauges_alone(services):
    body = vector(services, "TSLA")
    assert body["values"][:23] == vector(services)["values"][:23]
    assert body["missing"] == ["alphavantage", "social", "news"]


def test_the_past_does_not_know_what_was_published_later(services):
    before = vector(services, as_of="2012-10-01")
    assert before["missing"] == ["alphavantage", "social", "news"]
    weeks = [vector(services, as_of=day) for day in ("2013-01-15", "2013-02-15")]
    assert all(week["event_time"] <= week["as_of"] for week in weeks)
    assert all(week["observed_at"] <= week["as_of"] for week in weeks)
    assert weeks[0]["values"][NEWS.start :] != weeks[1]["values"][NEWS.start :]


def test_a_batch_equals_its_single_vectors(services):
    dates = ["2013-02-15", "2013-03-01", "2003-06-02"]
    request = {"symbols": ["AAPL", "TSLA"], "dates": dates}
    batch = services.client.post(f"{services.url}/features", json=request, timeout=10).json()
    for place, symbol in enumerate(request["symbols"]):
        for day, date in enumerate(dates):
            one = vector(services, symbol, as_of=date)
            assert batch["values"][place][day] == one["values"]
            assert batch["mask"][place][day] == one["mask"]
    assert batch["as_of"] == "2013-03-01T21:00:00Z"
    assert batch["missing"] == ["alphavantage", "social"]


def test_bad_requests_are_refused_by_the_aggregator_itself(services):
    assert services.client.get(f"{services.url}/features/aapl").status_code == 422
    assert services.client.get(f"{services.url}/features/AAPL", params={"as_of": "2031-01-01"}).status_code == 422
    assert vector(services)["degraded"] is False, "a caller's mistake must not count against a microservice"


def test_a_proxy_for_the_way_out_is_not_asked_for_a_neighbour(services):
    port = free_port()
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), f"http://127.0.0.1:{free_port()}")
    env = {**services.env["aggregator"], "SENVEC_PORT": str(port), **proxy, "NO_PROXY": "", "no_proxy": ""}
    with running("senvec.server", env, port) as aggregator:
        body = httpx.get(f"{aggregator.url}/services/status", trust_env=False).json()
    assert body["status"] == "healthy"


def test_the_status_asks_all_four(services):
    body = services.client.get(f"{services.url}/services/status").json()
    assert body["status"] == "healthy"
    assert set(body["services"]) == set(schema().groups)
    assert all(service["version"] == "dev" for service in body["services"].values())
    assert all(0 <= service["response_time_ms"] < 2000 for service in body["services"].values())


def test_a_killed_microservice_costs_its_group_and_no_time_and_comes_back_by_itself(services):
    before = vector(services)
    services.services["news"].kill()
    for _ in range(4):
        body = vector(services)
        assert body["degraded"] is True
        assert body["missing"] == ["alphavantage", "social", "news"]
        assert body["values"][: NEWS.start] == before["values"][: NEWS.start]
    begin = time.monotonic()
    for _ in range(20):
        vector(services)
    assert time.monotonic() - begin < 2, "an open breaker makes nobody wait"
    assert services.client.get(f"{services.url}/services/status").json()["status"] == "degraded"
    assert services.client.get(f"{services.url}/ready").status_code == 200

    services.start_again("news")
    services.services["news"].wait_ready()
    end = time.monotonic() + 2
    while vector(services)["degraded"]:
        assert time.monotonic() < end, services.services["aggregator"].log()
        time.sleep(0.1)
    end = time.monotonic() + 10
    while vector(services)["values"] != before["values"]:
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_graceful_restart_of_a_microservice_is_healed_as_well(services):
    services.services["social"].stop()
    assert vector(services)["degraded"] is True
    services.start_again("social")
    services.services["social"].wait_ready()
    end = time.monotonic() + 2
    while vector(services)["degraded"]:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_microservice_that_hangs_is_waited_for_no_longer_than_the_breaker_takes(services):
    hung = services.services["alphavantage"].process
    hung.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(3) as pool:
            assert all(body["degraded"] for body in pool.map(lambda _: vector(services), range(3)))
        begin = time.monotonic()
        assert vector(services)["degraded"] is True
        assert time.monotonic() - begin < 1, "the timeout is 2 s: this one did not wait"
    finally:
        hung.send_signal(signal.SIGCONT)
    end = time.monotonic() + 3
    while vector(services)["degraded"]:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_news_is_not_ready_while_its_feed_is_away_and_says_which(services):
    port, nowhere = free_port(), free_port()
    env = {
        "SENVEC_COMPONENT": "news",
        "SENVEC_PORT": str(port),
        "SENVEC_NEWS_FEEDS": f'["http://127.0.0.1:{nowhere}/rss"]',
    }
    with running("senvec.server", env, port, ready=False) as news:
        end = time.monotonic() + 30
        while True:
            try:
                answer = services.client.get(f"{news.url}/ready")
                if "can't be reached" in answer.text:
                    break
            except httpx.ConnectError:
                pass
            assert time.monotonic() < end, news.log()
            time.sleep(0.1)
        assert answer.status_code == 503
        assert f"http://127.0.0.1:{nowhere}/rss can't be reached" in answer.json()["detail"]
        masked = services.client.get(f"{news.url}/features/AAPL")
        assert masked.status_code == 200
        assert masked.json()["missing"] == ["news"]


def test_the_replay_refuses_a_symbol_without_a_feed(services):
    answer = services.client.get(f"{services.services['replay'].url}/rss/TSLA")
    assert answer.status_code == 404
    assert "AAPL" in answer.json()["remedy"]
