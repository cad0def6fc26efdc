"""What `make bench` makes of its figures, and when it holds a rollback to be done."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.bench_rollback import Watch
from tools.bench_table import histogram, table

FIGURES: dict[str, Any] = {
    "machine": {"cores": 2, "load at the start": 0.5},
    "no-op": {"seconds": 7.2, "fastest": 7.0, "slowest": 7.9},
    "memory": {"fincoll@stable": 95.0, "pim-web@stable": 66.0},
    "runs": {
        "no-op": {
            "seconds": 7.2,
            "tasks": [
                {"name": "Plan", "seconds": 1.0},
                {"name": "Ask", "seconds": 1.5},
                {"name": "Plan", "seconds": 2.0},
            ],
        }
    },
    "failed": {"rollback": "FinColl did not come back"},
}


def test_the_table_has_figures_beside_their_aims_and_names_what_failed():
    lines = table(FIGURES)
    assert any("no-op" in line and "7.2" in line and "<= 8" in line for line in lines)
    assert any(line.startswith("all") and "161.0" in line and "= 169 MB; aim <= 500 MB" in line for line in lines)
    assert lines[-1] == "no figure for rollback: FinColl did not come back"


def test_the_histogram_adds_tasks_of_one_name_and_draws_the_longest_first():
    title, first, second, rest = histogram("no-op", FIGURES["runs"]["no-op"])
    assert title == "no-op: 7.2 s by task"
    assert first.split() == ["Plan", "(2x)", "3.00", "#" * 40]
    assert second.split() == ["Ask", "1.50", "#" * 20]
    assert rest.split() == ["0", "others", "0.00"]


@pytest.fixture
def service():
    class Handler(BaseHTTPRequestHandler):
        version = "v2.0.0"

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"version": Handler.version}).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, f"http://127.0.0.1:{server.server_address[1]}/version"
    server.shutdown()
    server.server_close()


def eventually(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_rollback_is_done_when_no_other_release_answers_any_more(service):
    handler, url = service
    with Watch(url, "v1.0.0") as watch:
        eventually(lambda: watch.last == "v2.0.0")
        assert watch.settled_s is None
        handler.version = "v1.0.0"
        eventually(lambda: watch.settled_s is not None)
        first = watch.settled_s
        handler.version = "v2.0.0"
        eventually(lambda: watch.settled_s is None)  # the new one answered again, so it was not over
        handler.version = "v1.0.0"
        eventually(lambda: watch.settled_s is not None)
    assert first is not None
    assert watch.settled_s is not None
    assert watch.settled_s > first
    assert watch.last == "v1.0.0"


def test_a_service_that_never_answers_was_not_taken_back():
    with Watch("http://127.0.0.1:9/version", "v1.0.0") as watch:
        time.sleep(0.1)  # an answer, if there were one, would come in a few ms
    assert (watch.settled_s, watch.last) == (None, "")
