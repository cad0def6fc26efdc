"""PIM's processes as a deploy starts them, and services for them to look at."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.postgres import Database
from support.processes import Service, free_port, running

MICROSERVICES = ("sentimentrader", "alphavantage", "social", "news", "aggregator")


class Instance(ThreadingHTTPServer):
    """A small service with the routes that a probe asks; what it answers can be changed while it runs."""

    daemon_threads = True

    def __init__(self, version: str = "v1.0.0") -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.health: dict[str, Any] = {"status": "healthy", "version": version}
        self.unready = ""
        self.delay_s = 0.0
        self.failures = 0
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Instance

    def do_GET(self) -> None:
        time.sleep(self.server.delay_s)
        if self.path == "/ready":
            detail = self.server.unready
            self._send(503 if detail else 200, {"detail": detail} if detail else {"ready": True})
            return
        self.server.asked += 1
        if self.server.asked <= self.server.failures:
            self._send(500, {})
            return
        self._send(200, self.server.health)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        with suppress(BrokenPipeError):  # a probe that gave up
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Tests read what they need from the answers."""


@contextmanager
def instance(version: str = "v1.0.0") -> Iterator[Instance]:
    """A running Instance."""
    with Instance(version) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def environment(database: Database, folder: Path, **more: str) -> dict[str, str]:
    """Settings of both processes, where no service answers unless `more` says otherwise."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = {
        "CREDENTIALS_DIRECTORY": str(database.write_credentials(folder / "credentials")),
        "FINCOLL_URLS": json.dumps({"stable": nowhere}),
        "SENVEC_URL": nowhere,
        "SENVEC_SERVICES": json.dumps(dict.fromkeys(MICROSERVICES, nowhere)),
        "FINVEC_STATUS_DIR": str(folder / "status"),
    }
    return {**settings, **more}


@contextmanager
def web(database: Database, folder: Path, **more: str) -> Iterator[Service]:
    """A ready pim-web."""
    port = free_port()
    with running("pim.web", {**environment(database, folder, **more), "PIM_PORT": str(port)}, port) as service:
        yield service


@contextmanager
def worker(database: Database, folder: Path, **more: str) -> Iterator[Service]:
    """A pim-worker, which listens on no port."""
    with running("pim.worker", environment(database, folder, **more), 0, ready=False) as service:
        yield service


def eventually(condition: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    """What `condition` returns once it is true; AssertionError when it does not become so in time."""
    until = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < until, f"not so after {timeout_s:g} s"
        time.sleep(0.05)
    return result
