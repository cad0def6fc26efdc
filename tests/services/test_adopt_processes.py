"""A service that was started by hand is reported, stopped and started again: real processes on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.adopt import starting
from ansible.module_utils.caelum.adopt.records import Records

from support.modules import run_module

SERVICE = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"version": "v1.0.0", "pid": os.getpid(), "colour": os.environ.get("COLOUR"),
                           "token": os.environ.get("API_TOKEN")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(port: int) -> dict[str, Any]:
    until = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=5) as got:
                return dict(json.loads(got.read()))
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


class ByHand:
    """A service of old in a folder of its own, started as from a shell that is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.prefix = folder / "prefix"
        (folder / "serve.py").write_text(SERVICE)
        environment = {"PATH": os.environ["PATH"], "COLOUR": "green", "API_TOKEN": "hush"}
        # a shell in between, so that nobody waits for the service but init
        subprocess.run(
            ["/bin/sh", "-c", '"$0" serve.py "$1" & ', sys.executable, str(self.port)],
            cwd=folder, env=environment, check=True, start_new_session=True,
        )  # fmt: skip
        self.pid = int(answer(self.port)["pid"])

    def adopt(self, state: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        params = {"state": state, "ports": {str(self.port): "fincoll"}, "prefix": str(self.prefix), **options}
        return run_module("caelum_adopt", {"services": ["fincoll"], **params}, check=check)

    def end(self) -> None:
        for _ in range(2):
            with suppress(OSError):
                os.kill(int(answer_now(self.port)["pid"]), signal.SIGKILL)


def answer_now(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=5) as got:
        return dict(json.loads(got.read()))


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[ByHand]:
    started = ByHand(tmp_path)
    try:
        yield started
    finally:
        started.end()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_report_tells_who_listens_and_changes_nothing(by_hand: ByHand) -> None:
    result = by_hand.adopt("report", share=str(by_hand.folder))
    (row,) = result["processes"]
    assert (row["service"], row["pid"], row["ports"]) == ("fincoll", by_hand.pid, [by_hand.port])
    assert (row["kind"], row["version"], row["ours"]) == ("hand", "v1.0.0", False)
    assert row["command"].endswith(f"serve.py {by_hand.port}")
    assert result["changed"] is False
    assert "hush" not in json.dumps(result)
    assert listens(by_hand.port)
    assert not by_hand.prefix.exists()


def test_a_check_tells_the_steps_and_takes_none(by_hand: ByHand) -> None:
    result = by_hand.adopt("taken", check=True)
    assert result["changed"] is True
    assert result["steps"] == [f"fincoll: end pid {by_hand.pid} ({sys.executable} serve.py {by_hand.port})"]
    assert listens(by_hand.port)
    assert not by_hand.prefix.exists()


def test_it_is_stopped_noted_and_started_again_as_it_was(by_hand: ByHand) -> None:
    by_hand.adopt("taken")
    assert not listens(by_hand.port)
    note = by_hand.prefix / "var/lib/caelum/adopted/fincoll.json"
    assert note.stat().st_mode & 0o777 == 0o600
    assert "green" in note.read_text()
    assert "hush" not in note.read_text()
    again = by_hand.adopt("taken")
    assert (again["changed"], again["adopted"]) == (False, ["fincoll"])

    result = by_hand.adopt("returned")
    assert result["changed"] is True
    assert any("started again without API_TOKEN" in line for line in result["warnings"])
    now = answer(by_hand.port)
    assert (now["colour"], now["token"]) == ("green", None)
    assert now["pid"] != by_hand.pid
    assert not note.exists()
    assert by_hand.adopt("returned")["changed"] is False


def test_another_service_is_left_alone(by_hand: ByHand) -> None:
    assert by_hand.adopt("taken", services=["pim"])["changed"] is False
    assert listens(by_hand.port)


def test_a_process_of_the_deployment_is_no_process_of_old(by_hand: ByHand, tmp_path: Path) -> None:
    port = free_port()
    ours = subprocess.Popen(
        [sys.executable, tmp_path / "serve.py", str(port)],
        env={"CAELUM_ENV_FILE": f"{by_hand.prefix}/etc/caelum/fincoll@stable.env"},
    )
    try:
        answer(port)
        result = run_module(
            "caelum_adopt",
            {"state": "taken", "ports": {str(port): "fincoll"}, "prefix": str(by_hand.prefix), "services": ["fincoll"]},
        )
        assert (result["changed"], result["processes"][0]["ours"]) == (False, True)
        assert listens(port)
    finally:
        ours.kill()
        ours.wait()


def test_a_process_that_comes_again_is_named(by_hand: ByHand, tmp_path: Path) -> None:
    """A shell's loop around it is a supervisor that nothing knows of."""
    by_hand.end()
    loop = subprocess.Popen(
        ["/bin/sh", "-c", 'while :; do "$0" serve.py "$1"; done', sys.executable, str(by_hand.port)],
        cwd=tmp_path, start_new_session=True,
    )  # fmt: skip
    try:
        answer(by_hand.port)
        result = by_hand.adopt("taken")
        assert f"port {by_hand.port} is held again, by pid" in result["msg"]
    finally:
        os.killpg(loop.pid, signal.SIGKILL)
        loop.wait()


def test_a_command_with_a_secret_is_not_started_without_it(by_hand: ByHand) -> None:
    by_hand.adopt("taken")
    note = by_hand.prefix / "var/lib/caelum/adopted/fincoll.json"
    text = json.loads(note.read_text())
    text["entries"][0]["arguments"] += ["--password", "(not kept)"]
    note.write_text(json.dumps(text))
    assert "was started with a secret as an argument" in by_hand.adopt("returned")["msg"]
    assert note.exists()


@pytest.mark.parametrize(
    ("inventory", "remedy"),
    [
        ("", "stop the deployment with `make down`, then return"),
        ("production", "remove the deployment with `make clean INVENTORY=production`, which keeps "),
    ],
)
def test_a_way_back_that_the_deployment_bars_is_told_for_its_inventory(
    tmp_path: Path, inventory: str, remedy: str
) -> None:
    unit = "/etc/systemd/system/caelum-test-adopted.service"
    entry = {"kind": "systemd", "unit": Path(unit).name, "files": [unit], "enabled": "", "active": False}
    Records(tmp_path).add("fincoll", entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "is_ours", lambda path: path == unit)
        params = {"state": "returned", "ports": {"1": "fincoll"}, "prefix": str(tmp_path), "inventory": inventory}
        line = run_module("caelum_adopt", params)["msg"]
    assert line.startswith(f"{unit} is the deployment's own unit of fincoll now; {remedy}")
    assert Records(tmp_path).services() == ["fincoll"]
