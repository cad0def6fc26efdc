"""A prefix of its own with small releases, to which tests apply `caelum_instance` and a real supervisord."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.modules import run_module
from support.processes import free_port

SERVER = """
import http.server, json, os, sys

release, port = sys.argv[1], int(sys.argv[2])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        import late  # of the release this process was started from, whatever the slot points to by now

        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        secrets = {name: open(f"{folder}/{name}").read() for name in os.listdir(folder)} if folder else {}
        body = {"pid": os.getpid(), "uid": os.getuid(), "release": late.RELEASE, "version": late.RELEASE,
                "secrets": secrets, "settings": open(os.environ["CAELUM_ENV_FILE"]).read(),
                "environment": dict(os.environ)}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *arguments):
        pass


sys.path.insert(0, release)
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class NativeHost:
    """One prefix; `apply` runs the module in this process."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.ports: dict[str, int] = {}

    def release(self, version: str, service: str = "fincoll", python: str = sys.executable) -> Path:
        """Make a complete release, to be run by `python`, whose server tells its version."""
        folder = self.prefix / "opt/caelum" / service / "releases" / version
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/python").symlink_to(python)
        (folder / "serve.py").write_text(SERVER)
        (folder / "late.py").write_text(f"RELEASE = {version!r}\n")
        (folder / "manifest.json").write_text(json.dumps({"version": version, "commit": "0" * 40}))
        return folder

    def instance(self, name: str, release: str = "v1.0.0", **more: Any) -> dict[str, Any]:
        """A server on a port of its own, which stays the same from call to call."""
        port = self.ports.setdefault(name, free_port())
        command = ["{python}", "{release}/serve.py", "{release}", str(port)]
        default = {"service": "fincoll", "command": command, "environment": {"LOG_LEVEL": "INFO"}, "port": port}
        return {"name": name, "release": release, "port_variable": "fincoll_port", **default, **more}

    def apply(self, *instances: dict[str, Any], check: bool = False, **more: Any) -> dict[str, Any]:
        """The module's result; AssertionError with its line where it fails."""
        result = self.attempt(*instances, check=check, **more)
        assert not result.get("failed"), result["msg"]
        return result

    def attempt(self, *instances: dict[str, Any], check: bool = False, **more: Any) -> dict[str, Any]:
        """The module's result, be it a failure."""
        scope = {"services": ["fincoll"], "instances": list(instances)} if more.get("state") is None else {}
        return run_module("caelum_instance", {"prefix": str(self.prefix), **scope, **more}, check=check)

    def ask(self, name: str) -> dict[str, Any]:
        """What the instance's process says of itself, once it answers."""
        url = f"http://127.0.0.1:{self.ports[name]}"
        said: dict[str, Any] = eventually(lambda: _read(url), f"{name} at {url}")
        return said

    def log(self, name: str) -> str:
        """The instance's log."""
        return (self.prefix / f"var/log/caelum/{name}.log").read_text()

    def daemon(self) -> int:
        """Process id of supervisord."""
        return int((self.prefix / "run/supervisord.pid").read_text())


@contextmanager
def native_host() -> Iterator[NativeHost]:
    """A host under a short prefix; everything on it is ended and removed with the block."""
    prefix = Path(tempfile.mkdtemp(prefix="cae", dir="/tmp"))
    prefix.chmod(0o755)
    host = NativeHost(prefix)
    try:
        yield host
    finally:
        with suppress(OSError, ValueError):
            os.kill(host.daemon(), signal.SIGCONT)
        outcome = host.attempt(state="absent")
        if prefix.exists():
            shutil.rmtree(prefix)
        assert not outcome.get("failed"), outcome["msg"]


def eventually(ask: Callable[[], Any], what: str, seconds: float = 10) -> Any:
    """The first true answer within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds:g} s")


def open_to_all(path: str) -> bool:
    """Whether every user can enter the folders on the way to the file `path`, itself included when it is a link."""
    return Path(path).exists() and all(folder.stat().st_mode & 1 for folder in Path(path).resolve().parents)


def alive(pid: int) -> bool:
    """Whether the process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _read(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback
            return json.load(answer)
    except OSError:
        return None
