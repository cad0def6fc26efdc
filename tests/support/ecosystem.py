"""A whole ecosystem under a prefix and a port base of its own, deployed as a user would."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

import support.ansible_path  # noqa: F401 - makes the next import possible
from support import processes

# isort: split
from ansible.module_utils.caelum.instance import procfs

ROOT = Path(__file__).resolve().parents[2]
PORTS = (5000, 8001, 8002, 15433, 18000, 18001, 18002, 18003, 18004, 18090)


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
    bin: Path = Path(sys.executable).parent

    def playbook(
        self, name: str, *arguments: str, timeout: float = 600, environment: Mapping[str, str] | None = None
    ) -> Run:
        """Run a playbook on inventory/local with this prefix and port base; `environment` is added to the caller's."""
        command = self.command(name, *arguments)
        done = subprocess.run(
            command, cwd=ROOT, env={**processes.environment(), **(environment or {})}, check=False, text=True,
            timeout=timeout, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Run(done.returncode, done.stdout)

    def command(self, playbook: str, *arguments: str) -> list[str]:
        """What runs a playbook, word by word."""
        place = ["-e", f"caelum_prefix={self.prefix}", "-e", f"caelum_port_base={self.base}"]
        return [str(self.bin / "ansible-playbook"), playbook, *place, *arguments]

    def url(self, port: int, path: str) -> str:
        """Address of a route, by the port that it has without a base."""
        return f"http://127.0.0.1:{port + self.base}{path}"

    def get(self, port: int, path: str, token: str | None = None) -> Any:
        """JSON of a GET; raises urllib's HTTPError for an answer that is no success."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url(port, path), headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310
            return json.load(answer)

    def status(self, port: int, path: str) -> int:
        """HTTP status of a GET, whatever it is."""
        try:
            with urllib.request.urlopen(self.url(port, path), timeout=15) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def memory_kib(self) -> int:
        """PSS of supervisord and all that it runs."""
        return procfs.family_pss_kib(int((self.prefix / "run/supervisord.pid").read_text()))

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
    """A port base at which all ports can be listened on, and none is one that the system hands out (32768 and up).

    Tests that run beside these choose among others, since a base is free until what is deployed there has begun.
    """
    workers, mine = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), _worker()
    bases = range(1000 + 100 * mine, 14600, 100 * workers)
    for base in random.sample(bases, len(bases)):
        if all(_free(port + base) for port in PORTS):
            return base
    raise RuntimeError("no port base between 1000 and 14600 is free")


def _worker() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def temporary(bin: Path = Path(sys.executable).parent) -> Iterator[Ecosystem]:
    """A place for an ecosystem, not made yet; remove.yml must remove whatever was deployed there, at the end.

    Playbooks are run with the Ansible in `bin`.
    """
    # A short path that a system user can enter: sockets have 107 bytes, and PostgreSQL does not run as root.
    place = Path(tempfile.mkdtemp(prefix="caelum-", dir="/tmp"))
    place.chmod(0o755)
    ecosystem = Ecosystem(place / "p", free_base(), bin)
    try:
        yield ecosystem
    finally:
        removal = ecosystem.playbook("playbooks/remove.yml")
        left = ecosystem.prefix.exists()
        shutil.rmtree(place, ignore_errors=True)
        assert removal.status == 0, removal.output[-4000:]
        assert not left, f"remove.yml left {ecosystem.prefix}: {removal.output[-4000:]}"
