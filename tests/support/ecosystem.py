"""A whole ecosystem under a prefix and a port base of its own, deployed as a user would."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]
PORTS = (5000, 8001, 15433, 18000, 18001, 18002, 18003, 18004, 18090)


@dataclass(frozen=True)
class Run:
    """A finished playbook run."""

    status: int
    output: str

    def recap(self, word: str) -> int:
        """Number that the recap gives for `word`, such as changed, over all hosts."""
        return sum(int(number) for number in re.findall(rf"{word}=(\d+)", self.output))


@dataclass(frozen=True)
class Ecosystem:
    """Where a deployment lives, and how to talk to it."""

    prefix: Path
    base: int

    def playbook(self, name: str, *arguments: str, timeout: float = 600) -> Run:
        """Run a playbook on inventory/local with this prefix and port base."""
        command = [str(Path(sys.executable).parent / "ansible-playbook"), name]
        command += ["-e", f"caelum_prefix={self.prefix}", "-e", f"caelum_port_base={self.base}", *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTEST_"))}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Run(done.returncode, done.stdout)

    def url(self, port: int, path: str) -> str:
        """Address of a route, by the port that it has without a base."""
        return f"http://127.0.0.1:{port + self.base}{path}"

    def get(self, port: int, path: str, token: str | None = None) -> Any:
        """JSON of a GET; raises urllib's HTTPError for an answer that is no success."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url(port, path), headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310
            return json.load(answer)

    @property
    def operator_token(self) -> str:
        """The token that a person uses."""
        return (self.prefix / "etc/caelum/secrets/operator.token").read_text().split()[0]

    @property
    def supervisor(self) -> Any:
        """supervisord's XML-RPC interface, over its socket."""
        from xmlrpc.client import ServerProxy

        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport("", "", serverurl=f"unix://{self.prefix}/run/supervisor.sock")
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def database(self) -> psycopg.Connection[Any]:
        """A connection of the database's owner that commits each statement."""
        password = (self.prefix / "etc/caelum/secrets/pim_owner").read_text().split()[0]
        return psycopg.connect(
            host="127.0.0.1", port=15433 + self.base, dbname="pim_database", user="pim_owner", password=password,
            autocommit=True,
        )  # fmt: skip

    def processes(self) -> dict[str, int]:
        """Pid of every supervised instance."""
        return {item["name"]: item["pid"] for item in self.supervisor.getAllProcessInfo() if item["pid"]}


def free_base() -> int:
    """A port base at which nothing listens."""
    for base in range(20000, 30000, 311):
        if all(_free(port + base) for port in PORTS):
            return base
    raise RuntimeError("no port base between 20000 and 30000 is free")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextmanager
def temporary() -> Iterator[Ecosystem]:
    """A place for an ecosystem, not made yet; remove.yml must remove whatever was deployed there, at the end."""
    # A short path that a system user can enter: sockets have 107 bytes, and PostgreSQL does not run as root.
    place = Path(tempfile.mkdtemp(prefix="caelum-", dir="/tmp"))
    place.chmod(0o755)
    ecosystem = Ecosystem(place / "p", free_base())
    try:
        yield ecosystem
    finally:
        removal = ecosystem.playbook("playbooks/remove.yml")
        left = ecosystem.prefix.exists()
        shutil.rmtree(place, ignore_errors=True)
        assert removal.status == 0, removal.output[-4000:]
        assert not left, f"remove.yml left {ecosystem.prefix}: {removal.output[-4000:]}"


def pss_kib(pid: int) -> int:
    """Proportional set size of a process in KiB; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    match = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    return int(match.group(1)) if match else 0
