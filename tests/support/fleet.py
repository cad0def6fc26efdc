"""The specification's production fleet on lab machines, deployed once for all tests that need it, through Molecule."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.lab import lab
from tools.lab.places import ROOT

from support.lab import Machines
from support.processes import environment

VERSION = "v1.1.0"
INVENTORY = "inventory/production"
PIM, FINCOLL, CANDIDATE, TRAINING, DATABASE = "wsl-27", "gpu-44", "gpu-62", "gpu-22", "db-254"
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


@dataclass(frozen=True)
class Run:
    """A finished command: its exit status and all that it said."""

    status: int
    output: str

    @property
    def last(self) -> str:
        """The line that matters."""
        return next(line for line in reversed(self.output.splitlines()) if line.strip())


class Fleet:
    """Machines with the ecosystem on them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fresh_check: Run | None = None
        """What `--check --diff` said before the first deployment, where a test's own fixture asked."""
        self._machines: Machines | None = None

    @property
    def machines(self) -> Machines:
        """The hosts, and what can go wrong with them."""
        if self._machines is None:
            self._machines = Machines(lab.find(self.name))
        return self._machines

    def molecule(self, step: str, scenario: str = "fleet", timeout: float = 1500) -> Run:
        """One step of a scenario."""
        kept, folder = environment(), Path(sys.executable).parent
        # what Molecule remembers of a scenario is this lab's alone
        memory = Path(tempfile.gettempdir(), f"caelum-molecule-{self.name}")
        kept["MOLECULE_EPHEMERAL_DIRECTORY"] = str(memory)
        words = {**kept, "CAELUM_LAB": self.name, "PATH": f"{folder}:{kept['PATH']}", "NO_COLOR": "1"}
        command = [str(folder / "molecule"), step, "-s", scenario]
        try:
            return _run(command, words, timeout)
        finally:
            if step in ("destroy", "test"):
                shutil.rmtree(memory, ignore_errors=True)

    def deploy(self, *words: str, version: str = VERSION, inventory: str = INVENTORY, timeout: float = 900) -> Run:
        """`make deploy INVENTORY=production LAB=1`."""
        return self.play("deploy.yml", "-e", f"version={version}", *words, inventory=inventory, timeout=timeout)

    def play(self, playbook: str, *words: str, inventory: str = INVENTORY, timeout: float = 900) -> Run:
        """A playbook in the lab."""
        return _run(self._command(playbook, *words, inventory=inventory), environment(), timeout)

    def begin(self, playbook: str, *words: str) -> subprocess.Popen[str]:
        """As `play`, without waiting for its end; its output is in `stdout`."""
        return subprocess.Popen(
            self._command(playbook, *words),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _command(self, playbook: str, *words: str, inventory: str = INVENTORY) -> list[str]:
        command = [str(ROOT / ".venv/bin/python"), "-m", "tools.lab", "play", self.name, "--"]
        return [*command, "-i", inventory, playbook, *words]

    def ask(self, host: str, path: str, port: int = 8001, of: str = PIM) -> Any:
        """JSON that the host `of` gets from another."""
        address = self.machines[host].address
        return json.loads(self.machines[of].run(["python3", "-c", ASK, f"http://{address}:{port}{path}"]).stdout)

    def sql(self, statement: str) -> list[list[str]]:
        """Rows of the database, asked on its own host."""
        command = [
            "runuser",
            "-u",
            "postgres",
            "--",
            "psql",
            "-p",
            "5432",
            "-AtF",
            "\t",
            "-c",
            statement,
            "pim_database",
        ]
        return [line.split("\t") for line in self.machines[DATABASE].run(command).stdout.splitlines()]

    def rows(self) -> list[list[str]]:
        """The history: service, component, version, action, status."""
        columns = "service_name, component, version, action, status"
        return self.sql(f"SELECT {columns} FROM deployment_history ORDER BY id")  # noqa: S608 - our own words

    def all_serve(self, version: str = VERSION) -> bool:
        """Whether the stable FinColl predicts at this version."""
        return bool(self.ask(FINCOLL, "/predict/AAPL")["version"] == version)


@contextmanager
def predicting(fleet: Fleet, every_s: float = 0.5, at: str = FINCOLL) -> Iterator[list[str]]:
    """Ask the stable FinColl for predictions all the time, from its own host; what failed is in the list."""
    failed: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(every_s):
            try:
                fleet.ask(at, "/predict/AAPL", of=at)
            except Exception as error:
                failed.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield failed
    finally:
        done.set()
        thread.join()


def _run(command: list[str], environment: dict[str, str], timeout: float) -> Run:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return Run(done.returncode, done.stdout)
