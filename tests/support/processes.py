"""Real service processes for tests: started as a deploy starts them, asked over HTTP, stopped by their own id."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

KEPT = ("PATH", "HOME", "TMPDIR", "LANG")


def environment() -> dict[str, str]:
    """This process's environment, without what pytest and Molecule say to Ansible."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTEST_"))}


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """One process of `python -m <module>`; it sees `env` and nothing of the test's environment but the path."""

    def __init__(self, module: str, env: Mapping[str, str], port: int) -> None:
        self.module = module
        self.url = f"http://127.0.0.1:{port}"
        handle, name = tempfile.mkstemp(suffix=f"-{module}.log")
        self._log = Path(name)
        kept = {key: os.environ[key] for key in KEPT if key in os.environ}
        command = [sys.executable, "-m", module]
        self.process = subprocess.Popen(command, env={**kept, **env}, stdout=handle, stderr=handle)
        os.close(handle)

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """Everything the process wrote so far, both streams."""
        return self._log.read_text(errors="replace")

    def ready(self) -> bool:
        """Whether /ready answers 200 now."""
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=2) as answer:  # noqa: S310 - our own loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait_ready(self, timeout_s: float = 30) -> None:
        """Return once /ready answers 200; AssertionError with the log when it ends before or takes too long."""
        end = time.monotonic() + timeout_s
        while not self.ready():
            code = self.process.poll()
            assert code is None, f"{self.module} ended with code {code}:\n{self.log()[-4000:]}"
            assert time.monotonic() < end, f"{self.module} not ready after {timeout_s:g} s:\n{self.log()[-4000:]}"
            time.sleep(0.05)

    def stop(self, timeout_s: float = 10) -> int:
        """SIGTERM, then the exit code; SIGKILL and AssertionError where it doesn't end in time."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.module} did not stop in {timeout_s:g} s:\n{self.log()[-4000:]}") from None

    def kill(self) -> None:
        """SIGKILL, as when a machine fails."""
        self.process.kill()
        self.process.wait()

    def forget(self) -> None:
        """Remove the captured log."""
        self._log.unlink(missing_ok=True)


@contextmanager
def running(
    module: str, env: Mapping[str, str], port: int, *, ready: bool = True, timeout_s: float = 30
) -> Iterator[Service]:
    """Run `python -m <module>` with `env` (which must make it listen on `port`) for the length of the block.

    With `ready` the block begins once /ready answers 200.
    """
    service = Service(module, env, port)
    try:
        if ready:
            service.wait_ready(timeout_s)
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()
        service.forget()


def family(pid: int) -> list[int]:
    """A process and all that descend from it, as they are now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found
