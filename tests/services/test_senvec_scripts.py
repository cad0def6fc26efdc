"""The specification's scripts start SenVec by hand, refuse in one line, and stop all they started."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.services
SCRIPTS = Path(__file__).parents[2] / "services/senvec"
OFFSETS = (18000, 18001, 18002, 18003, 18004, 18090)


def free_base() -> int:
    """A port base at which all six ports are free."""
    for base in random.sample(range(1000, 14000, 100), 50):  # below the ports that the system hands out
        if _free(base):
            return base
    raise AssertionError("no free ports")


def _free(base: int) -> bool:
    for offset in OFFSETS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", base + offset))
            except OSError:
                return False
    return True


def environment(base: int, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "CAELUM_PORT_BASE": str(base), **more}


@contextmanager
def script(name: str, base: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen([SCRIPTS / name], env=environment(base), stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(10)


def test_the_script_starts_all_and_stops_all(tmp_path):
    base, log = free_base(), tmp_path / "log"
    with script("start_all_services.sh", base, log) as process, httpx.Client(timeout=5) as client:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            try:
                body = client.get(f"http://127.0.0.1:{base + 18000}/features/AAPL").json()
                if not body["degraded"] and "news" not in body["missing"]:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    prefixes = {line.split("]")[0] for line in log.read_text().splitlines() if line.startswith("[")}
    assert prefixes == {"[aggregator", "[sentimentrader", "[alphavantage", "[social", "[news", "[replay"}
    assert _free(base), "something still listens"


def refusal(**env: str) -> str:
    done = subprocess.run(
        [SCRIPTS / "start_senvec_services.sh"], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_a_taken_port_is_refused_before_anything_starts():
    base = free_base()
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", base + 18003))
        holder.listen()
        assert refusal(**environment(base)).startswith(f"cannot start: port {base + 18003} of social")


def test_without_a_python_that_has_senvec_it_says_how_to_get_one(tmp_path):
    env = environment(0, CAELUM_PREFIX=str(tmp_path))
    del env["PYTHON"]
    assert "run make deploy or set PYTHON" in refusal(**env)
