"""Every service stops without failing what it accepted, within 3 s, and refuses to start in one line."""

import json
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from support.processes import Service, free_port, running

pytestmark = pytest.mark.services
TESTS = str(Path(__file__).parents[1])


def environment(port: int, **more: str) -> dict[str, str]:
    return {"PYTHONPATH": TESTS, "SLOW_PORT": str(port), **more}


class Caller(threading.Thread):
    """Asks again and again until nothing listens any more; counts answers, keeps every other failure."""

    def __init__(self, url: str, *, keep_alive: bool) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._limits = httpx.Limits(max_keepalive_connections=1 if keep_alive else 0)
        self.answers = 0
        self.failures: list[str] = []

    def run(self) -> None:
        with httpx.Client(limits=self._limits, timeout=5) as client:
            while True:
                try:
                    answer = client.get(self._url)
                except httpx.ConnectError:
                    return
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    return
                if answer.status_code != 200:
                    self.failures.append(answer.text)
                self.answers += 1


def test_a_stop_under_load_fails_no_request():
    port = free_port()
    with running("support.slow_service", environment(port), port) as service:
        callers = [Caller(f"{service.url}/sleep/0.005", keep_alive=bool(number % 2)) for number in range(6)]
        for caller in callers:
            caller.start()
        while any(caller.answers < 5 and not caller.failures for caller in callers):
            time.sleep(0.05)
        begin = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begin < 3
        for caller in callers:
            caller.join(10)
        assert [caller.failures for caller in callers] == [[]] * 6


def test_a_request_that_was_accepted_and_not_yet_sent_is_answered():
    port = free_port()
    with running("support.slow_service", environment(port), port) as service:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(5)
            stopping = threading.Thread(target=service.stop)
            stopping.start()
            time.sleep(0.3)  # the signal is handled, the grace runs
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            answer = connection.recv(65536)
        stopping.join()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer


def test_a_request_as_long_as_the_stop_allows_is_finished_and_a_longer_one_told_why():
    port = free_port()
    with running("support.slow_service", environment(port), port) as service, httpx.Client(timeout=10) as client:
        answers: dict[str, httpx.Response] = {}

        def ask(seconds: str) -> None:
            answers[seconds] = client.get(f"{service.url}/sleep/{seconds}")

        threads = [threading.Thread(target=ask, args=(seconds,)) for seconds in ("1.5", "60")]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        begin = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begin < 3
        for thread in threads:
            thread.join(5)
    assert answers["1.5"].json() == {"slept": 1.5}
    assert answers["60"].status_code == 503
    assert answers["60"].json()["title"] == "Stopping"


def test_a_process_that_cannot_start_says_so_in_one_line_with_code_78():
    port = free_port()
    with running(
        "support.slow_service", environment(port, SLOW_REFUSAL="no model; make one"), port, ready=False
    ) as service:
        assert service.process.wait(20) == 78
        assert service.log() == "cannot start: no model; make one\n"


def test_a_taken_port_is_named_with_its_setting_and_not_tried_again():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        service = Service("support.slow_service", environment(port), port)
        assert service.process.wait(20) == 78  # supervisord would start 1 again without a pause
        expected = f"cannot start: port {port} on 127.0.0.1 is in use; stop what holds it or change SLOW_PORT\n"
        assert service.log() == expected
        service.forget()


def test_the_log_is_json_lines_without_one_per_request():
    port = free_port()
    with running("support.slow_service", environment(port), port) as service:
        httpx.get(f"{service.url}/sleep/0")
        service.stop()
        lines = [json.loads(line) for line in service.log().splitlines()]
    assert {line["instance"] for line in lines} == {"slow@stable"}
    assert not any("/sleep" in line["event"] for line in lines)
