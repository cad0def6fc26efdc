"""`caelum_halt` in front of real FinColls: in force at once, without PIM or database, and honest about who did not."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.checkpoints import write_checkpoint
from support.fincoll import EnvFile, fincoll
from support.modules import run_module
from support.processes import Service

pytestmark = pytest.mark.services

REASON = "predictions are off since the split of AAPL"


class Host:
    """A prefix with the settings of one FinColl, as a deploy leaves them."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.flag = prefix / "var/lib/caelum/fincoll/halted.json"
        for folder in ("etc/caelum", "var/lib/caelum"):
            (prefix / folder).mkdir(parents=True)
        self.env = EnvFile(prefix / "etc/caelum", CAELUM_STATE_DIR=self.flag.parent, CAELUM_BIND="127.0.0.1")
        self.env.champion(write_checkpoint(prefix / "models"))

    def halt(self, *, check: bool = False, **more: Any) -> dict[str, Any]:
        given = {"state": "halted", "by": "jane", "reason": REASON, **more}
        return run_module("caelum_halt", {"prefix": str(self.prefix), "host": "fin-44", **given}, check=check)

    def resume(self, *, check: bool = False) -> dict[str, Any]:
        given = {"state": "resumed", "prefix": str(self.prefix), "host": "fin-44"}
        return run_module("caelum_halt", given, check=check)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "p")


@pytest.fixture
def running(host: Host) -> Iterator[tuple[Service, httpx.Client]]:
    with fincoll(host.env) as started:
        yield started


def states(result: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["state"] for item in result["instances"]}


def test_it_halts_and_resumes_and_says_so_when_there_is_nothing_to_do(
    host: Host, running: tuple[Service, httpx.Client]
) -> None:
    _, client = running
    halted = host.halt()
    assert (halted["changed"], states(halted), halted["warnings"]) == (True, {"fincoll@stable": "halted"}, [])
    answer = client.get("/predict/AAPL")
    assert answer.status_code == 503
    assert answer.json()["halted"] == halted["halted"] == json.loads(host.flag.read_text())
    since = f"since {halted['halted']['at']} by jane: {REASON}"
    assert halted["caelum_report"] == [f"fin-44: FinColl is halted {since}"]

    again = host.halt(by="joe", reason="another")
    assert (again["changed"], again["halted"]) == (False, halted["halted"])
    assert again["caelum_report"] == [f"fin-44: FinColl was halted already, {since}"]

    resumed = host.resume()
    assert (resumed["changed"], states(resumed)) == (True, {"fincoll@stable": "serving"})
    assert (resumed["before"], resumed["halted"]) == (halted["halted"], None)
    assert resumed["caelum_report"] == ["fin-44: FinColl is resumed"]
    assert client.get("/predict/AAPL").status_code == 200

    again = host.resume()
    assert (again["changed"], again["caelum_report"]) == (False, ["fin-44: FinColl was not halted"])


def test_check_mode_says_what_would_change_and_changes_nothing(
    host: Host, running: tuple[Service, httpx.Client]
) -> None:
    _, client = running
    rehearsed = host.halt(check=True)
    assert rehearsed["changed"]
    assert rehearsed["diff"]["before"] == ""
    assert REASON in rehearsed["diff"]["after"]
    assert "would be halted" in rehearsed["caelum_report"][0]
    assert client.get("/predict/AAPL").status_code == 200
    assert not host.resume(check=True)["changed"]
    host.halt()
    assert not host.halt(check=True)["changed"]
    assert host.resume(check=True)["changed"]
    assert client.get("/predict/AAPL").status_code == 503


def test_it_is_in_force_within_two_seconds_of_the_modules_start(
    host: Host, running: tuple[Service, httpx.Client]
) -> None:
    service, _ = running
    refused: list[float] = []

    def ask() -> None:
        with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
            while client.get("/predict/AAPL").status_code == 200:
                pass
            refused.append(time.monotonic())

    asking = threading.Thread(target=ask)
    asking.start()
    begin = time.monotonic()
    host.halt()
    asking.join()
    assert refused[0] - begin < 2


def test_an_instance_that_is_down_is_named_and_halted_when_it_starts(host: Host) -> None:
    halted = host.halt()
    assert halted["changed"]
    assert states(halted) == {"fincoll@stable": "down"}
    (warning,) = halted["warnings"]
    assert warning.startswith("fincoll@stable on fin-44 does not answer: http://127.0.0.1:")
    assert warning.endswith("refuses connections; it is halted when it starts")
    with fincoll(host.env) as (_, client):
        assert client.get("/predict/AAPL").status_code == 503
    resumed = host.resume()
    assert (resumed["changed"], states(resumed)) == (True, {"fincoll@stable": "down"})
    with fincoll(host.env) as (_, client):
        assert client.get("/predict/AAPL").status_code == 200


def test_an_instance_that_hangs_costs_the_time_out_and_is_halted_when_it_wakes(
    host: Host, running: tuple[Service, httpx.Client]
) -> None:
    service, client = running
    os.kill(service.pid, signal.SIGSTOP)
    try:
        halted = host.halt(timeout=0.5)
    finally:
        os.kill(service.pid, signal.SIGCONT)
    assert (halted["changed"], states(halted)) == (True, {"fincoll@stable": "silent"})
    assert "does not answer" in halted["warnings"][0]
    assert client.get("/predict/AAPL").status_code == 503


def test_both_slots_are_halted(host: Host, tmp_path: Path, running: tuple[Service, httpx.Client]) -> None:
    other = EnvFile(tmp_path, CAELUM_STATE_DIR=host.flag.parent, CAELUM_SLOT="candidate")
    other.champion(write_checkpoint(tmp_path / "other", "v1.1.0"))
    (host.prefix / "etc/caelum/fincoll@candidate.env").write_text(other.path.read_text())
    with fincoll(other) as (_, candidate):
        assert states(host.halt()) == {"fincoll@stable": "halted", "fincoll@candidate": "halted"}
        assert {client.get("/predict/AAPL").status_code for client in (running[1], candidate)} == {503}


@contextmanager
def answering(status: int, body: bytes, port: int) -> Iterator[None]:
    """Something at FinColl's port that does not know the halt."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b'{"models": []}'), (503, b'{"title": "No model"}'), (503, b"busy"), (200, b'{"halted": {"by": "jane"}}')],
)
def test_an_instance_that_goes_on_answering_fails_the_run_by_name_and_the_flag_stays(
    host: Host, status: int, body: bytes
) -> None:
    with answering(status, body, host.env.port):
        failed = host.halt(timeout=0.5)
    assert failed["failed"]
    assert failed["changed"], "it must be recorded"
    assert failed["msg"].startswith("fincoll@stable on fin-44 predicts on after 0.5 s: http://127.0.0.1:")
    assert f"answers {status}" in failed["msg"]
    assert "make down" in failed["msg"]
    assert "\n" not in failed["msg"]
    assert host.flag.exists()


def test_what_cannot_be_halted_is_refused_in_one_line(host: Host, tmp_path: Path) -> None:
    assert host.halt(prefix=str(tmp_path / "elsewhere"))["msg"] == (
        f"nothing is deployed under {tmp_path}/elsewhere ({tmp_path}/elsewhere/var/lib/caelum is missing); "
        "name the place with -e caelum_prefix="
    )
    assert not (tmp_path / "elsewhere").exists()
    assert "`reason` is empty" in host.halt(reason=" \n ")["msg"]
    assert "`by` is empty" in host.halt(by="")["msg"]
    assert not host.flag.exists()
    host.env.path.write_text("CAELUM_BIND=127.0.0.1\n")
    failed = host.halt()
    assert failed["changed"], "settings that cannot be read must not hold up the halt"
    assert host.flag.exists()
    assert f"{host.env.path} names no FINCOLL_PORT" in failed["msg"]


def test_a_torn_flag_halts_too_and_can_be_resumed(host: Host, running: tuple[Service, httpx.Client]) -> None:
    host.flag.parent.mkdir(exist_ok=True)
    host.flag.write_text('{"by": "ja')
    again = host.halt()
    assert not again["changed"]
    assert "was halted already, since unknown by unknown" in again["caelum_report"][0]
    assert host.resume()["changed"]
    assert running[1].get("/predict/AAPL").status_code == 200


def test_every_user_can_read_the_flag(host: Host) -> None:
    before = os.umask(0o077)
    try:
        host.halt(reason="  two\n lines ")
    finally:
        os.umask(before)
    assert host.flag.stat().st_mode & 0o777 == 0o644
    assert host.flag.parent.stat().st_mode & 0o005 == 0o005
    assert json.loads(host.flag.read_text())["reason"] == "two lines"
