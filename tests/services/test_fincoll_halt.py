"""A halted FinColl answers nothing that somebody could trade on, whatever was open or under way when the halt came."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.checkpoints import JOB, write_checkpoint
from support.fincoll import TOKEN, EnvFile, fincoll, reload
from support.senvec_stub import StubSenVec

pytestmark = pytest.mark.services

MADE = {"by": "jane", "at": "2025-06-02T08:00:00Z", "reason": "the split of AAPL"}


class Switch:
    """The flag as halt.yml puts it up, and as resume.yml takes it down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "halted.json"

    def on(self) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(MADE))
        temporary.replace(self.path)

    def off(self) -> None:
        self.path.unlink()


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    return Switch(tmp_path)


@pytest.fixture
def env(tmp_path: Path, switch: Switch) -> EnvFile:
    made = EnvFile(tmp_path, CAELUM_STATE_DIR=switch.folder)
    made.champion(write_checkpoint(tmp_path))
    return made


@pytest.fixture
def client(env: EnvFile) -> Iterator[httpx.Client]:
    with fincoll(env) as (_, made):
        yield made


def refusal(answer: httpx.Response) -> dict[str, Any]:
    """The document of a refusal, which says who, since when, why and what to do."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document == {
        "type": "urn:caelum:problem:halted",
        "title": "Halted",
        "status": 503,
        "detail": "FinColl is halted: the split of AAPL (halted by jane at 2025-06-02T08:00:00Z)",
        "remedy": "resume with `ansible-playbook resume.yml`",
        "instance": answer.url.path,
        "halted": MADE,
    }
    return document


ASKING: list[Callable[[httpx.Client], httpx.Response]] = [
    lambda client: client.post("/predict", json={"symbols": ["AAPL"]}),
    lambda client: client.post("/predict", content=b"{", headers={"content-type": "application/json"}),
    lambda client: client.post("/predict", content=b" " * 5_000_000),
    lambda client: client.get("/predict/AAPL"),
    lambda client: client.get("/predict/XXXX"),
    lambda client: client.get("/bars/AAPL"),
    lambda client: client.get("/models"),
    reload,
    lambda client: client.get("/openapi.json"),
    lambda client: client.get("/nothing"),
    lambda client: client.put("/health/"),
]


def test_every_route_but_four_is_refused_and_all_come_back(switch: Switch, client: httpx.Client) -> None:
    switch.on()
    for ask in ASKING:
        refusal(ask(client))
    assert client.get("/ready").json() == {"ready": True, "checks": {"model": "ok", "data": "ok"}, "halted": MADE}
    assert client.get("/ready").status_code == 200, "a rollback under halt must pass its gates"
    assert client.get("/health").json()["halted"] == MADE
    assert client.get("/version").status_code == 200
    metrics = client.get("/metrics").text
    assert "fincoll_halted 1.0" in metrics
    assert 'route="none",status="503"' in metrics, "refusals are counted like other answers"
    switch.off()
    assert client.get("/predict/AAPL").status_code == 200
    assert reload(client).status_code == 200
    assert client.get("/health").json()["halted"] is None
    assert "fincoll_halted 0.0" in client.get("/metrics").text


def test_an_unready_fincoll_tells_the_halt_as_well(tmp_path: Path, switch: Switch, env: EnvFile) -> None:
    env.champion(write_checkpoint(tmp_path, "v1.1.0", faulty=True))
    with fincoll(env) as (_, client):
        assert client.get("/predict/AAPL").status_code == 503
        switch.on()
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["halted"]) == (503, MADE)


def test_a_halt_outlives_a_restart_and_is_there_before_the_first_answer(switch: Switch, env: EnvFile) -> None:
    switch.on()
    for _ in range(2):
        with fincoll(env) as (service, client):
            refusal(client.get("/predict/AAPL"))
            assert "halted: no predictions until it is resumed" in service.log()
    switch.off()
    with fincoll(env) as (_, client):
        assert client.get("/predict/AAPL").status_code == 200


def test_a_connection_that_is_kept_open_is_refused_and_served_again(switch: Switch, env: EnvFile) -> None:
    with fincoll(env):
        connection = http.client.HTTPConnection("127.0.0.1", env.port, timeout=10)

        def status() -> int:
            body = json.dumps({"symbols": ["AAPL"]})
            connection.request("POST", "/predict", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        assert status() == 200
        socket = connection.sock
        switch.on()
        assert [status(), status()] == [503, 503]
        switch.off()
        assert status() == 200
        assert connection.sock is socket, "the connection was opened anew, so nothing is proven"
        connection.close()


def under_way(senvec: StubSenVec, client: httpx.Client, act: Callable[[], None]) -> httpx.Response:
    """The answer to a prediction that waits for SenVec while `act` happens."""
    with ThreadPoolExecutor(1) as pool:
        senvec.posts.clear()
        senvec.mode = "slow"
        asked = pool.submit(client.get, "/predict/AAPL")
        until = time.monotonic() + 20
        while not senvec.posts:
            assert time.monotonic() < until, "SenVec was not asked"
            time.sleep(0.01)
        assert not asked.done()
        act()
        assert not asked.done(), "the answer left before the halt came, so nothing is proven"
        return asked.result()


@pytest.mark.parametrize("halts", [False, True])
def test_a_prediction_that_was_under_way_does_not_leave(
    tmp_path: Path, switch: Switch, env: EnvFile, halts: bool
) -> None:
    with StubSenVec() as senvec:
        senvec.slow_s = 3.0
        env.write(SENVEC_API_URL=senvec.url, SENVEC_TIMEOUT_MS=15_000)
        senvec.mode = "degraded"  # what is fetched at the start lapses soon
        with fincoll(env) as (_, client):
            answer = under_way(senvec, client, switch.on if halts else lambda: None)
            if not halts:
                assert answer.status_code == 200
                return
            refusal(answer)
            assert b"log_returns" not in answer.content
            refusal(client.get("/predict/AAPL"))
            switch.off()
            assert client.get("/predict/AAPL").status_code == 200


def test_under_load_no_prediction_that_is_asked_after_the_halt_is_answered(switch: Switch, env: EnvFile) -> None:
    seen: list[tuple[float, float, int]] = []
    done = threading.Event()

    def call(url: str) -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as own:
            while not done.is_set():
                asked = time.monotonic()
                status = own.post("/predict", json={"symbols": ["AAPL", "IBM"], "job": JOB.name}).status_code
                seen.append((asked, time.monotonic(), status))

    def wait_for(count: int) -> None:
        until, target = time.monotonic() + 30, len(seen) + count
        while len(seen) < target:
            assert time.monotonic() < until, "the callers are stuck"
            time.sleep(0.01)

    with fincoll(env) as (service, _), ThreadPoolExecutor(3) as pool:
        callers = [pool.submit(call, service.url) for _ in range(3)]
        try:
            wait_for(50)
            before = time.monotonic()
            switch.on()
            on = time.monotonic()
            wait_for(50)
            off = time.monotonic()
            switch.off()
            after = time.monotonic()
            wait_for(50)
        finally:
            done.set()
        for caller in callers:
            caller.result()  # raises where a connection broke
        assert "raceback" not in service.log()
    assert {status for _, answered, status in seen if answered < before} == {200}
    assert {status for asked, answered, status in seen if asked > on and answered < off} == {503}
    assert {status for asked, _, status in seen if asked > after} == {200}


def test_who_may_reload_may_not_get_past_the_halt(switch: Switch, client: httpx.Client) -> None:
    switch.on()
    headers = {"Authorization": f"Bearer {TOKEN}", "x-http-method-override": "GET"}
    for path in ("/predict/AAPL", "//predict/AAPL", "/health/../predict/AAPL", "/predict/AAPL?/health"):
        assert client.get(path, headers=headers).status_code == 503
