"""Deployments of an ecosystem: begun, cut off, refused, and what the services and the history say of them."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any
from xmlrpc.client import Fault

import psycopg

from support.ecosystem import ROOT, Ecosystem, Run
from support.processes import environment, family
from support.several import Fleet
from support.waiting import until

PORTS = {"fincoll": 8001, "pim": 5000, "senvec": 18000}


def version(ecosystem: Ecosystem, service: str) -> str:
    return str(ecosystem.get(PORTS[service], "/version")["version"])


def versions(ecosystem: Ecosystem) -> dict[str, str]:
    return {service: version(ecosystem, service) for service in PORTS}


def everything(at: str) -> dict[str, str]:
    return dict.fromkeys(PORTS, at)


def rows(ecosystem: Ecosystem, after: int = 0) -> list[tuple[Any, ...]]:
    """(service, version, action, status, logs) of deployments with an id above `after`, the oldest first."""
    with ecosystem.database() as connection:
        return connection.execute(
            "SELECT service_name, version, action, status, coalesce(logs, '') FROM deployment_history WHERE id > %s"
            " ORDER BY id",
            (after,),
        ).fetchall()


def newest(ecosystem: Ecosystem) -> int:
    with ecosystem.database() as connection:
        row = connection.execute("SELECT coalesce(max(id), 0) FROM deployment_history").fetchone()
    assert row
    return int(row[0])


def deploy(ecosystem: Ecosystem, to: str, *arguments: str) -> Run:
    return ecosystem.playbook("deploy.yml", "-e", f"version={to}", *arguments)


def good(run: Run) -> Run:
    assert run.status == 0, run.output[-4000:]
    return run


def refused(run: Run) -> str:
    """The last line of a run that failed, which is all that a person must read."""
    assert run.status != 0, run.output[-4000:]
    last = run.output.strip().splitlines()[-1]
    assert last.startswith("failed: "), run.output[-4000:]
    assert "Traceback" not in run.output
    return last


def start_database(ecosystem: Ecosystem) -> None:
    """Start PostgreSQL, unless it runs, and wait until it accepts logins."""

    def answers() -> bool:
        try:
            newest(ecosystem)
        except psycopg.OperationalError:
            return False
        return True

    with suppress(Fault):  # supervisord tries it again by itself where it ended by itself
        ecosystem.supervisor.startProcess("postgresql@stable", False)
    until("the database", answers)


class Started:
    """A deploy that runs in the background, in a session of its own, with a task's name printed when it begins."""

    def __init__(self, place: Ecosystem | Fleet, to: str, *arguments: str) -> None:
        command = place.command("deploy.yml", "-v", "-e", f"version={to}", *arguments)
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._lines: list[str] = []

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    def wait_for(self, task: str) -> None:
        """Return when the task begins; it is FinColl's where several services have one of that name."""
        assert self._process.stdout
        fincoll = False
        for line in self._process.stdout:
            self._lines.append(line)
            fincoll = fincoll or line.startswith("PLAY [FinColl]")
            if fincoll and line.startswith("TASK [") and task in line:
                return
        raise AssertionError(f"no task {task!r} in\n{''.join(self._lines)[-4000:]}")

    def send(self, number: int) -> None:
        """A signal as it really comes: Ctrl-C to the whole group of the terminal, the others to the process."""
        if number == signal.SIGINT:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)

    def lose(self) -> None:
        """End it and all that it started at once, as a controller does that loses its power."""
        for pid in family(self._process.pid):  # Ansible's workers have sessions of their own
            os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def finish(self, seconds: float = 120) -> str:
        """The whole output, when the run has ended."""
        rest, _ = self._process.communicate(timeout=seconds)
        return "".join(self._lines) + rest

    @property
    def status(self) -> int:
        """Exit status."""
        return int(self._process.returncode)
