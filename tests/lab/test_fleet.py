"""Molecule's scenarios: created, converged, converged again without a change, verified on the hosts, destroyed."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.fleet import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]


def test_a_check_of_a_fresh_fleet_ends_well_and_says_what_the_first_deployment_does(fleet: Fleet) -> None:
    run = fleet.fresh_check
    if run is None:
        pytest.skip("the lab of CAELUM_TEST_LAB was deployed before; without it a fresh one is checked")
    assert run.status == 0, run.output[-4000:]
    for step in ("Make the host ready", "Make roles, database and schema", "Have a champion", "Apply the instances"):
        assert f"would change: {step}" in run.output, step
    assert "WARNING]: Unable" not in run.output


def test_a_second_converge_of_the_fleet_changes_nothing(fleet: Fleet) -> None:
    if fleet.fresh_check is None:
        pytest.skip("the lab was deployed by somebody else, and Molecule knows nothing of it")
    run = fleet.molecule("idempotence")
    assert run.status == 0, run.output[-6000:]


def test_the_fleet_is_what_the_inventory_says(fleet: Fleet) -> None:
    run = fleet.molecule("verify")
    assert run.status == 0, run.output[-6000:]
    assert " passed" in run.output


def test_verify_finds_everything_as_it_was_deployed(fleet: Fleet) -> None:
    run = fleet.play("verify.yml")
    assert run.status == 0, run.output[-3000:]


def test_a_check_of_a_converged_fleet_would_change_nothing(fleet: Fleet) -> None:
    before = fleet.rows()
    run = fleet.deploy("--check", "--diff")
    assert run.status == 0, run.output[-3000:]
    assert "would change" not in run.output, run.output[-4000:]
    assert fleet.rows() == before


@pytest.mark.full
def test_everything_on_one_host() -> None:
    single = Fleet(f"single-{os.getpid()}")
    run = single.molecule("test", "single")
    assert run.status == 0, run.output[-6000:]
    assert (
        subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout.find(single.name)
        == -1
    )
