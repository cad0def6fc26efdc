"""The replay server: the routes that every process has, refusals, a start in one line, a stop that fails nobody."""

import http.client
import signal
import socket
import sys
import threading
import time

import httpx
import pytest

from senvec.headlines import LABEL
from support.processes import Service, free_port, running

pytestmark = pytest.mark.services


def environment(port: int, **more: str) -> dict[str, str]:
    return {"SENVEC_REPLAY_PORT": str(port), **more}


@pytest.fixture(scope="module")
def replay():
    port = free_port()
    with running("senvec.replay", environment(port), port) as service:
        yield service


def test_it_has_the_routes_that_every_process_has(replay):
    health = httpx.get(f"{replay.url}/health").json()
    assert {key: health[key] for key in ("status", "service", "component", "version")} == {
        "status": "healthy", "service": "senvec", "component": "replay", "version": "dev",
    }  # fmt: skip
    assert httpx.get(f"{replay.url}/ready").json() == {"ready": True, "checks": {}}
    assert httpx.get(f"{replay.url}/version").json()["python"] == ".".join(map(str, sys.version_info[:3]))


def test_it_counts_what_it_answered_by_route(replay):
    def count(route: str, status: int) -> int:
        text = httpx.get(f"{replay.url}/metrics").text
        wanted = f'caelum_replay_requests_total{{component="replay",version="dev",route="{route}",status="{status}"}} '
        return next((int(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted)), 0)

    before = count("/rss/{symbol}", 200), count("/rss/{symbol}", 404), count("none", 404)
    for path in ("/rss/AAPL?since=1", "/rss/TSLA", "/nowhere"):
        httpx.get(replay.url + path)
    assert (count("/rss/{symbol}", 200), count("/rss/{symbol}", 404), count("none", 404)) == tuple(
        number + 1 for number in before
    )


def test_a_feed_says_that_it_is_made_up(replay):
    answer = httpx.get(f"{replay.url}/rss/AAPL")
    assert answer.headers["content-type"] == "application/rss+xml; charset=utf-8"
    assert LABEL in answer.text


@pytest.mark.parametrize("path", ["/rss/TSLA", "/rss/", "/rss/../etc/passwd", "/nowhere", "/"])
def test_what_is_not_there_is_a_problem_document(replay, path):
    answer = httpx.get(replay.url + path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "remedy", "instance"} == set(answer.json())


def test_what_is_no_request_harms_nobody(replay):
    host, port = replay.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as silent, socket.create_connection((host, int(port))) as odd:
        odd.sendall(b"\x00\x01 nonsense\r\n\r\n")
        assert b"400" in odd.recv(1000)
        assert httpx.get(f"{replay.url}/health", timeout=5).status_code == 200
        silent.close()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"SENVEC_REPLAY_PORT": "many"}, "SENVEC_REPLAY_PORT: not a whole number"),
        ({"SENVEC_REPLAY_PORT": "65536"}, "SENVEC_REPLAY_PORT: not in 0 to 65535"),
        ({"SENVEC_REPLAY_SEED": "x"}, "SENVEC_REPLAY_SEED: not a whole number"),
        ({"CAELUM_ENV_FILE": "/nowhere.env"}, "environment file /nowhere.env is not there"),
    ],
)
def test_settings_that_do_not_fit_end_it_in_one_line(more, said):
    refused = Service("senvec.replay", environment(free_port(), **more), 0)
    assert refused.process.wait(30) == 78
    assert len(refused.log().splitlines()) == 1
    assert said in refused.log()
    refused.forget()


def test_a_port_in_use_is_named_with_its_setting(replay):
    port = replay.url.rpartition(":")[2]
    refused = Service("senvec.replay", environment(int(port)), int(port))
    assert refused.process.wait(30) == 78
    assert f"port {port} on 127.0.0.1 is in use; stop what holds it or change SENVEC_REPLAY_PORT" in refused.log()
    refused.forget()


def test_the_environment_goes_before_the_file(tmp_path):
    port = free_port()
    file = tmp_path / "replay.env"
    file.write_text(f"SENVEC_REPLAY_PORT=1\nSENVEC_REPLAY_SEED='7'\nCAELUM_BIND=\n# {port}\n")
    with running("senvec.replay", environment(port, CAELUM_ENV_FILE=str(file)), port) as service:
        with_file = httpx.get(f"{service.url}/rss/IBM").text
    with running("senvec.replay", environment(port, SENVEC_REPLAY_SEED="7"), port) as service:
        assert httpx.get(f"{service.url}/rss/IBM").text == with_file
    with running("senvec.replay", environment(port), port) as service:
        assert httpx.get(f"{service.url}/rss/IBM").text != with_file


def test_a_stop_under_load_fails_no_request_and_is_quick():
    port = free_port()
    failures: list[str] = []
    answers = [0] * 4

    def ask(number: int) -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            try:
                connection.request("GET", "/rss/AAPL")
                connection.getresponse().read()
                answers[number] += 1
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                return
            finally:
                connection.close()

    with running("senvec.replay", environment(port), port) as service:
        callers = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(len(answers))]
        for caller in callers:
            caller.start()
        while min(answers) < 5 and not failures:
            time.sleep(0.02)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(10) == 0
        for caller in callers:
            caller.join(20)
    assert failures == []
