"""What operators do with a fleet, and what it does by itself when the one who deploys goes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tools.lab.places import ROOT

from support.fleet import CANDIDATE, FINCOLL, INVENTORY, PIM, TRAINING, VERSION, Fleet, predicting
from support.processes import family
from support.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
NEXT = "v1.1.1"
REVISIONS = "/var/lib/caelum/revisions"
LEASE_S = 30
# A look each second, the return of the host, its gate; the machine may be busy.
SOON_S = 90


@pytest.fixture(autouse=True)
def as_deployed(fleet: Fleet) -> Iterator[None]:
    """Afterwards a deployment of the version changes nothing more, and verify.yml finds nothing."""
    yield
    run = fleet.deploy()
    assert run.status == 0, run.output[-4000:]
    verified = fleet.play("verify.yml")
    assert verified.status == 0, verified.output[-3000:]


def pending(fleet: Fleet, host: str, service: str) -> bool:
    """Whether a host stands half way to a release of the service."""
    path = f"{REVISIONS}/{service}/pending.json"
    return fleet.machines[host].run(["test", "-e", path], check=False).returncode == 0


@pytest.mark.parametrize(
    ("service", "host", "status"),
    [("fincoll", CANDIDATE, "aborted"), pytest.param("pim", PIM, "aborted", marks=pytest.mark.full)],
)
def test_the_reaper_ends_what_a_killed_controller_left(fleet: Fleet, service: str, host: str, status: str) -> None:
    known = len(fleet.rows())
    running = fleet.begin("deploy.yml", "-e", f"version={NEXT}", "-e", f"service={service}")
    try:
        until(f"{host} stands half way", lambda: pending(fleet, host, service), 300)
    finally:
        for pid in family(running.pid):
            os.kill(pid, signal.SIGKILL)
        running.communicate()
    began = time.monotonic()
    until("the reaper closed the row", lambda: fleet.rows()[known][-1] != "in_progress", LEASE_S + SOON_S)
    assert time.monotonic() - began >= LEASE_S - 10, "the lease was not over yet"
    assert fleet.rows()[known:] == [row for row in fleet.rows()[known:] if row[0] == service]
    assert {row[-1] for row in fleet.rows()[known:]} == {status}
    if service == "fincoll":
        (line,) = fleet.sql("SELECT logs FROM deployment_history ORDER BY id DESC LIMIT 1")
        assert f"{FINCOLL}, {CANDIDATE} may stand half way to {NEXT}" in line[0]
        (command,) = re.findall(r"`ansible-playbook (?:-i \S+ )?(\S+) -e service=fincoll`", line[0])
        aborted = fleet.play(command, "-e", "service=fincoll")
        assert aborted.status == 0, aborted.output[-3000:]
        assert not any(pending(fleet, one, service) for one in (FINCOLL, CANDIDATE))
    assert not pending(fleet, host, service)
    until("FinColl serves", fleet.all_serve)
    assert fleet.ask(PIM, "/version", 5000)["version"] == VERSION


@pytest.fixture
def moved(tmp_path: Path) -> str:
    """The production inventory with FinColl's stable slot on another host, as somebody would write it."""
    folder = tmp_path / "production"
    shutil.copytree(ROOT / INVENTORY, folder)
    hosts = yaml.safe_load((folder / "hosts.yml").read_text())
    place = hosts["all"]["children"]["fincoll"]["hosts"]
    place[TRAINING] = place.pop(FINCOLL)
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts, sort_keys=False))
    return str(folder)


@pytest.mark.full
def test_fincoll_moves_to_another_host_by_a_change_of_the_inventory(fleet: Fleet, moved: str) -> None:
    known = len(fleet.rows())
    run = fleet.deploy(inventory=moved)
    assert run.status == 0, run.output[-4000:]
    assert fleet.ask(TRAINING, "/predict/AAPL")["version"] == VERSION
    gone = fleet.machines[FINCOLL].run(["systemctl", "is-active", "fincoll@stable.service"], check=False)
    assert gone.returncode != 0
    left = ["find", "/etc/systemd/system", "/etc/caelum", "-name", "fincoll*"]
    assert fleet.machines[FINCOLL].run(left).stdout == ""
    rows = fleet.rows()[known:]
    assert ["fincoll", "fincoll", VERSION, "deploy", "success"] in rows
    health = fleet.ask(PIM, "/api/system/health", 5000)["services"]["fincoll"]
    assert health["status"] == "healthy", health
    assert fleet.machines[TRAINING].address in str(health)

    with predicting(fleet, at=TRAINING) as failed:
        again = fleet.deploy("--check", inventory=moved)
    assert again.status == 0, again.output[-3000:]
    assert "would change" not in again.output
    assert failed == []

    back = fleet.deploy()
    assert back.status == 0, back.output[-4000:]
    assert fleet.all_serve()
    assert fleet.machines[TRAINING].run(left).stdout == ""
