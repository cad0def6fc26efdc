"""Measures a deployment of its own, removed at the end: `make bench`. Prints a table and writes .cache/bench.json.

It measures, and judges nothing: the aims stand beside the figures. Everything ends within --limit seconds.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tools.bench_rollback import Watch  # noqa: E402
from tools.bench_table import table  # noqa: E402
from tools.memory import by_component  # noqa: E402

from support import ecosystem  # noqa: E402 - the folders are on no path
from support.ecosystem import Ecosystem  # noqa: E402

OLD, NEW = "v1.1.0", "v1.2.0"
NO_OPS = 3
IDLE_S = 10.0
PLUGINS = (ROOT / "plugins/callback", ROOT / "tools/bench_plugins")

Figures = dict[str, Any]


class Failed(Exception):
    """A step that gave no figure; one line."""


class Bench:
    """The figures of one ecosystem, gathered step by step; a step that fails leaves its line under `failed`."""

    def __init__(self, place: Ecosystem, rounds: int) -> None:
        self.place = place
        self.rounds = rounds
        self.figures: Figures = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine()}
        self.runs: dict[str, Figures] = {}
        self.failed: dict[str, str] = {}

    def all(self) -> Figures:
        """Every figure there is."""
        for name, step in self._steps().items():
            began = time.monotonic()
            print(f"{name} … ", end="", file=sys.stderr, flush=True)
            try:
                self.figures[name] = step()
            except (Failed, subprocess.TimeoutExpired) as failure:
                self.failed[name] = " ".join(str(failure).split())[:400]
            outcome = f"failed: {self.failed[name]}" if name in self.failed else "done"
            print(f"{outcome} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
            if name == "first deploy" and name in self.failed:
                break  # there is nothing to measure
        return {**self.figures, "runs": self.runs, "failed": self.failed}

    def _steps(self) -> dict[str, Callable[[], Any]]:
        return {
            "first deploy": lambda: self.play("first deploy", "deploy.yml", "-e", f"version={OLD}"),
            "no-op": self.no_op,
            "memory": self.memory,
            "upgrade": lambda: self.play("upgrade", "deploy.yml", "-e", f"version={NEW}"),
            "rollback": self.rollback,
            "fincoll": self.fincoll,
            "training": self.training,
        }

    def play(self, name: str, playbook: str, *arguments: str) -> float:
        """Seconds from command to prompt; raises Failed with the run's last line. Keeps the tasks under `runs`."""
        with tempfile.TemporaryDirectory() as folder:
            tasks = Path(folder, "tasks.json")
            began, began_at = time.monotonic(), time.time()
            run = self.place.playbook(playbook, *arguments, environment=enabled(tasks))
            took = time.monotonic() - began
            if run.status != 0:
                raise Failed((run.output.strip().splitlines() or ["no output"])[-1])
            timed = json.loads(tasks.read_text())
        start = timed["began"] - began_at
        end = began_at + took - timed["ended"]
        own = [{"name": "(Ansible starts)", "seconds": start}, {"name": "(Ansible ends)", "seconds": end}]
        self.runs[name] = {"seconds": round(took, 2), "tasks": own + timed["tasks"]}
        return round(took, 2)

    def no_op(self) -> Figures:
        """Median and range of several."""
        took = [self.play("no-op", "deploy.yml", "-e", f"version={OLD}") for _ in range(NO_OPS)]
        return {"seconds": statistics.median(took), "fastest": min(took), "slowest": max(took)}

    def memory(self) -> dict[str, float]:
        """PSS in MiB per component, idle."""
        time.sleep(IDLE_S)
        return {name: round(mib, 1) for name, mib in by_component(self.place.prefix).items()}

    def rollback(self) -> Figures:
        """Seconds from the command until only the old release answers, and until the prompt."""
        with Watch(self.place.url(8001, "/version"), OLD) as watch:
            whole = self.play("rollback", "rollback.yml", "-e", "service=fincoll")
        if watch.settled_s is None:
            raise Failed(f"FinColl did not come back at {OLD}; it last said {watch.last or 'nothing'}")
        return {"seconds": round(watch.settled_s, 2), "to the prompt": whole, "away": round(watch.away_s, 2)}

    def fincoll(self) -> Figures:
        """Milliseconds by batch size and kind of call."""
        checkpoints = sorted((self.place.prefix / "share/checkpoints").glob("*.onnx"))
        if not checkpoints:
            raise Failed("the share holds no checkpoint")
        with tempfile.TemporaryDirectory() as folder:
            figures = Path(folder, "figures.json")
            self._python(
                "fincoll/slots/fincoll@stable", "bench_fincoll.py", "--onnx", str(checkpoints[-1]),
                "--senvec", self.place.url(18000, ""), "--rounds", str(self.rounds), "--json", str(figures),
            )  # fmt: skip
            return dict(json.loads(figures.read_text()))

    def training(self) -> Figures:
        """Windows per second of the local preset."""
        return dict(json.loads(self._python("finvec/slots/finvec-train@llm1", "bench_finvec.py").splitlines()[-1]))

    def _python(self, slot: str, tool: str, *arguments: str) -> str:
        """Standard output of a tool that the release in `slot` runs; raises Failed with its last line."""
        python = self.place.prefix / "opt/caelum" / slot / "bin/python"
        command = [str(python), str(ROOT / "tools" / tool), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)  # noqa: S603 - ours
        if done.returncode != 0:
            raise Failed((done.stderr.strip().splitlines() or ["no output"])[-1])
        return done.stdout


def enabled(tasks: Path) -> dict[str, str]:
    """Environment that makes Ansible time its tasks too, beside the callbacks that ansible.cfg enables."""
    config = configparser.ConfigParser()
    config.read(ROOT / "ansible.cfg")
    names = [name for name in config.get("defaults", "callbacks_enabled", fallback="").split(",") if name]
    return {
        "ANSIBLE_CALLBACK_PLUGINS": ":".join(map(str, PLUGINS)),
        "ANSIBLE_CALLBACKS_ENABLED": ",".join([*names, "caelum_bench"]),
        "CAELUM_BENCH_TASKS": str(tasks),
    }


def machine() -> Figures:
    """What the figures depend on."""
    return {"cores": os.cpu_count(), "load at the start": round(os.getloadavg()[0], 1)}


def stop(number: int, _frame: FrameType | None) -> NoReturn:
    """Leaves through what cleans up."""
    raise SystemExit("bench: the time is over" if number == signal.SIGALRM else 128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 when a step gave no figure."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", type=Path, default=ROOT / ".cache/bench.json", help="default: .cache/bench.json")
    parser.add_argument("--rounds", type=int, default=500, help="predictions of each kind")
    parser.add_argument("--limit", type=int, default=1800, help="seconds after which it gives up")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, stop)
    signal.alarm(options.limit)
    # The small environment, as a user has it.
    with ecosystem.temporary(bin=ROOT / ".venv/bin") as place:
        figures = Bench(place, options.rounds).all()
        signal.alarm(0)  # what follows removes it
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(table(figures)))
    print(f"\nwritten to {options.json}")
    return 1 if figures["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
