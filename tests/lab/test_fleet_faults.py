"""What goes wrong in a fleet: services come back by themselves, the next run is clean, no history is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from support.fleet import CANDIDATE, DATABASE, FINCOLL, PIM, TRAINING, VERSION, Fleet, Run, predicting
from support.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
NEXT = "v1.1.1"


@pytest.fixture(autouse=True)
def whole_again(fleet: Fleet) -> Iterator[None]:
    """After each fault the next run is clean, and leaves nothing that verify.yml would name."""
    before = fleet.rows()
    yield
    run = fleet.deploy()
    assert run.status == 0, run.output[-4000:]
    assert fleet.rows()[: len(before)] == before, "rows of the history were lost or changed"
    assert not [row for row in fleet.rows() if row[-1] == "in_progress"]
    verified = fleet.play("verify.yml")
    assert verified.status == 0, verified.output[-3000:]
    until("FinColl serves", fleet.all_serve)


def test_a_host_that_is_down_before_the_run_is_named_and_nothing_changes(fleet: Fleet) -> None:
    before = fleet.rows()
    fleet.machines.stop(TRAINING)
    try:
        run = fleet.deploy("-e", "service=finvec", version=NEXT)
    finally:
        fleet.machines.start(TRAINING)
    assert run.status != 0
    assert TRAINING in run.last, run.output[-2000:]
    assert fleet.rows() == before


def test_a_host_cut_off_during_the_run_takes_all_hosts_of_the_service_back(fleet: Fleet) -> None:
    known, runs = len(fleet.rows()), list[Run]()
    running = threading.Thread(
        target=lambda: runs.append(fleet.deploy("-e", "service=fincoll", "-e", "caelum_ready_timeout=20", version=NEXT))
    )
    running.start()
    until("the deployment is open", lambda: [row for row in fleet.rows()[known:] if row[-1] == "in_progress"], 240)
    fleet.machines.cut(CANDIDATE)
    try:
        running.join(600)
        assert not running.is_alive()
        (run,) = runs
        assert run.status != 0
        assert CANDIDATE in run.last, run.output[-2000:]
        row = fleet.rows()[known]
        assert row[:4] == ["fincoll", "fincoll", NEXT, "deploy"]
        assert row[4] in {"rolled_back", "failed"}
        assert fleet.all_serve(VERSION)
    finally:
        fleet.machines.heal(CANDIDATE)


def test_predictions_go_on_while_the_database_is_gone_and_deployments_are_refused(fleet: Fleet) -> None:
    fleet.machines[DATABASE].run(["systemctl", "stop", "postgresql"])
    try:
        with predicting(fleet) as failed:
            run = fleet.deploy("-e", "service=fincoll", version=NEXT)
        assert run.status != 0
        assert "PostgreSQL at 10.255.255.254:5432 cannot be reached" in run.last, run.output[-2000:]
        assert failed == []
    finally:
        fleet.machines[DATABASE].run(["systemctl", "start", "postgresql"])


def test_a_full_disk_is_told_before_anything_changes(fleet: Fleet) -> None:
    before = fleet.rows()
    fleet.machines.fill(FINCOLL, "/opt/caelum/fincoll/releases", free_kib=2048)
    try:
        run = fleet.deploy("-e", "service=fincoll", version="v1.1.2")
    finally:
        fleet.machines.empty(FINCOLL, "/opt/caelum/fincoll/releases")
    assert run.status != 0
    assert "space" in run.last, run.output[-2000:]
    assert fleet.rows() == before
    assert fleet.all_serve(VERSION)


@pytest.mark.parametrize("seconds", [20, pytest.param(300, marks=pytest.mark.full)])
def test_no_prediction_fails_while_the_share_hangs(fleet: Fleet, seconds: int) -> None:
    fleet.machines.hang_share()
    try:
        with predicting(fleet) as failed:
            began = time.monotonic()
            run = fleet.deploy("-e", "service=fincoll", version=NEXT, timeout=300)
            assert run.status != 0
            assert "share" in run.last or "/home/rford/caelum/ss" in run.last, run.output[-2000:]
            while time.monotonic() - began < seconds:
                time.sleep(1)
                assert fleet.ask(PIM, "/api/system/health", 5000)["services"]["fincoll"]["status"] == "healthy"
    finally:
        fleet.machines.resume_share()
    assert failed == []


@pytest.mark.full
@pytest.mark.parametrize("name", [PIM, FINCOLL, CANDIDATE, TRAINING, DATABASE])
def test_services_come_back_by_themselves_when_a_host_reboots(fleet: Fleet, name: str) -> None:
    assert fleet.machines.reboot(name) == "running"
    health = lambda: fleet.ask(PIM, "/api/system/health", 5000)["status"] == "healthy"  # noqa: E731
    until(f"all is healthy after {name} was rebooted", health, 120)
    until("FinColl serves", fleet.all_serve)
