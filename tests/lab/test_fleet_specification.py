"""The lines of the specification that several hosts or systemd must serve, word for word on the production fleet."""

from __future__ import annotations

import re

import pytest

from support import specification
from support.fleet import CANDIDATE, FINCOLL, Fleet
from support.specification import Line
from support.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
LINES = [line for line in specification.load() if line.fleet]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.title)
def test_a_line_of_the_specification(fleet: Fleet, line: Line) -> None:
    globals()[line.fleet](fleet, line.line)


def typed(line: str) -> list[str]:
    """What a person types in a shell of the host."""
    return ["sh", "-c", line]


def answers(fleet: Fleet, line: str) -> None:
    found = re.search(r"([\d.]+):(\d+)(?:-(\d+))?", line)
    assert found, line
    (host,) = [one.name for one in fleet.machines.lab.hosts if one.address == found[1]]
    for port in range(int(found[2]), int(found[3] or found[2]) + 1):
        assert fleet.ask(host, "/health", port)["status"] == "healthy"


def has_the_timer(fleet: Fleet, line: str) -> None:
    del line
    timers = fleet.machines[CANDIDATE].run(["systemctl", "list-timers", "--no-legend", "finvec-train@llm1.timer"])
    assert "finvec-train@llm1.service" in timers.stdout


def starts_fincoll(fleet: Fleet, line: str) -> None:
    host = fleet.machines[FINCOLL]
    host.run(["systemctl", "stop", "fincoll"])
    listens = ["systemctl", "is-active", "fincoll@stable.socket"]
    until("the port is closed", lambda: host.run(listens, check=False).stdout == "inactive\n", 20)
    host.run(typed(line))
    until("FinColl serves", fleet.all_serve)


def restarts_fincoll(fleet: Fleet, line: str) -> None:
    host = fleet.machines[FINCOLL]
    shown = ["systemctl", "show", "-P", "MainPID", "fincoll@stable"]
    before = host.run(shown).stdout
    host.run(typed(line))
    until("FinColl serves", fleet.all_serve)
    assert host.run(shown).stdout != before


def trains(fleet: Fleet, line: str) -> None:
    """The bootstrap model counts as none: this is the first model of the job that was trained by its unit."""
    host = fleet.machines[CANDIDATE]
    host.run(typed(line))
    state = ["systemctl", "show", "-P", "ActiveState", "finvec-train@llm1"]
    until("the training is over", lambda: host.run(state).stdout in ("inactive\n", "failed\n"), 300)
    said = host.run(["journalctl", "-u", "finvec-train@llm1", "-o", "cat", "-n", "30", "--no-pager"]).stdout
    assert host.run(["systemctl", "show", "-P", "Result", "finvec-train@llm1"]).stdout == "success\n", said
    made = host.run(["ls", "/home/rford/caelum/ss/checkpoints"]).stdout.split()
    assert [name for name in made if name.endswith(".onnx") and name != "llm1-tech-v1.0.0.onnx"], (made, said)
