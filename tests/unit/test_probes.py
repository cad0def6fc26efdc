"""`caelum_health` against real HTTP servers: K in a row, the reason on one line, and no waiting for what gave up."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.modules import run_module
from support.postgres import Database

pytest_plugins = ["support.postgres", "support.modules"]

Answer = tuple[int, Any]
READY: Answer = (200, {"ready": True})
PROBLEM: Answer = (
    503,
    {"type": "about:blank", "status": 503, "detail": "no champion for job llm1-tech", "remedy": "register one"},
)


class Service:
    """A small HTTP service whose `/ready` is what `ready` says, given how often it was asked before."""

    def __init__(self, ready: Callable[[int], Answer], version: str = "v1.1.0") -> None:
        self.asked = 0
        self.ready = ready
        self.version = version
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = (200, {"version": outer.version}) if self.path == "/version" else outer.next()
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/problem+json" if status >= 400 else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def next(self) -> Answer:
        self.asked += 1
        return self.ready(self.asked - 1)


@contextmanager
def serving(ready: Callable[[int], Answer] = lambda _: READY, **more: Any) -> Iterator[Service]:
    service = Service(ready, **more)
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield service
    finally:
        service.server.shutdown()
        service.server.server_close()
        thread.join()


def closed_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def health(*instances: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = [{"name": "fincoll@stable", **instance} for instance in instances]
    return run_module("caelum_health", {"instances": named, "interval": 0.05, "timeout": 1, "host": "fin-44", **more})


def test_a_ready_instance_passes_after_three_answers() -> None:
    with serving() as service:
        result = health({"url": service.url})
        (seen,) = result["instances"]
    assert (result["changed"], service.asked) == (False, 3)
    assert seen["response_time_ms"] < 1000
    assert {**seen, "response_time_ms": 0} == {
        "name": "fincoll@stable",
        "version": "v1.1.0",
        "status": "healthy",
        "response_time_ms": 0,
        "detail": "",
    }


def test_passes_must_come_in_a_row() -> None:
    with serving(lambda n: READY if n % 3 else PROBLEM) as flapping:
        result = health({"url": flapping.url}, timeout=0.6)
    assert result["msg"].startswith("fincoll@stable on fin-44 is not ready after 0.6 s: ")
    assert flapping.asked > 6
    with serving(lambda n: READY if n != 2 else PROBLEM) as stumbling:
        assert not health({"url": stumbling.url}).get("failed")
    assert stumbling.asked == 6


def test_the_reason_is_the_problem_documents_own_on_one_line() -> None:
    with serving(lambda _: PROBLEM) as service:
        result = health({"url": service.url}, timeout=0.2)
    assert result["msg"] == (
        "fincoll@stable on fin-44 is not ready after 0.2 s: no champion for job llm1-tech; register one"
    )
    assert result["instances"][0]["status"] == "degraded"


def test_an_answer_that_is_no_problem_document_is_told_by_its_status() -> None:
    with serving(lambda _: (500, [])) as service:
        result = health({"url": service.url, "log": "/var/log/x.log"}, timeout=0.2)
    assert result["msg"].endswith("/ready answers 500; read /var/log/x.log")


def test_a_slow_instance_fails_at_the_timeout() -> None:
    release = threading.Event()

    def slow(_: int) -> Answer:
        release.wait(5)
        return READY

    with serving(slow) as service:
        began = time.monotonic()
        result = health({"url": service.url}, timeout=0.4)
        took = time.monotonic() - began
        release.set()
    assert "no answer from" in result["msg"]
    assert result["instances"][0]["status"] == "down"
    assert took < 2


def test_instances_are_asked_at_once() -> None:
    with serving() as one, serving() as two:
        began = time.monotonic()
        health({"url": one.url, "name": "one"}, {"url": two.url, "name": "two"}, passes=2, interval=2, timeout=20)
        assert time.monotonic() - began < 4, "one after the other takes 4 s"


def test_every_failure_is_named() -> None:
    with serving() as service:
        result = health(
            {"url": closed_url(), "name": "a"}, {"url": service.url}, {"url": closed_url(), "name": "b"}, timeout=0.2
        )
    first, second = result["msg"].split(" | ")
    assert first.startswith("a on fin-44 is not ready")
    assert second.startswith("b on fin-44 is not ready")
    assert [seen["status"] for seen in result["instances"]] == ["down", "healthy", "down"]


def test_another_version_does_not_count() -> None:
    with serving(version="v1.0.0") as service:
        result = health({"url": service.url, "expect_version": "v1.1.0"}, timeout=0.2)
        assert "version v1.0.0 answers at" in result["msg"]
        service.version = "v1.1.0"
        assert not health({"url": service.url, "expect_version": "v1.1.0"}).get("failed")


def test_an_instance_that_gave_up_fails_at_once_with_its_own_words(tmp_path: Path) -> None:
    log = tmp_path / "fincoll.log"
    log.write_text('{"event": "starting"}\ncannot start: no champion for job llm1-tech; register one\n')
    began = time.monotonic()
    result = health({"url": closed_url(), "log": str(log)}, timeout=20)
    assert time.monotonic() - began < 3
    assert result["msg"] == "fincoll@stable on fin-44 cannot start: no champion for job llm1-tech; register one"


def test_last_words_of_an_earlier_start_do_not_fail_this_one(tmp_path: Path) -> None:
    log = tmp_path / "fincoll.log"
    log.write_text("cannot start: no champion\n")
    an_hour_ago = time.time() - 3600
    os.utime(log, (an_hour_ago, an_hour_ago))
    result = health({"url": closed_url(), "log": str(log)}, timeout=0.3)
    assert "refuses connections" in result["msg"]
    with serving() as service:
        log.touch()
        assert not health({"url": service.url, "log": str(log)}).get("failed")


def test_one_look_asks_once_ready_or_not() -> None:
    with serving() as ready, serving(lambda _: PROBLEM) as missing:
        assert not health({"url": ready.url}, passes=1, timeout=0).get("failed")
        assert health({"url": missing.url}, passes=1, timeout=0)["failed"]
        assert (ready.asked, missing.asked) == (1, 1)


def test_a_gate_that_nothing_can_pass_is_refused() -> None:
    assert (
        "3 passes every 0.5 s do not fit into 0.5 s" in health({"url": closed_url()}, interval=0.5, timeout=0.5)["msg"]
    )


def test_what_was_seen_is_recorded(migrated_database: Database, login: dict[str, Any]) -> None:
    with serving() as service:
        seen = ({"url": service.url}, {"url": closed_url(), "name": "senvec@stable", "service": "senvec"})
        result = health(*seen, timeout=0.3, record=True, database=login)
    assert result["failed"]
    with migrated_database.connect() as connection:
        rows = connection.execute(
            "SELECT service_name, version, status, metadata FROM service_health ORDER BY id"
        ).fetchall()
    assert [row[:3] for row in rows] == [("fincoll", "v1.1.0", "healthy"), ("senvec", None, "down")]
    assert rows[1][3]["instance"] == "senvec@stable"


def test_a_database_that_is_away_does_not_fail_the_gate(login: dict[str, Any]) -> None:
    with serving() as service:
        result = health({"url": service.url}, record=True, database={**login, "port": 1})
    assert not result.get("failed")
    assert "not recorded in service_health" in result["warnings"][0]
