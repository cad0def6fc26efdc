"""One fleet for all tests that need it: booting and deploying it takes minutes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support.fleet import Fleet


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """The production fleet, booted and deployed by the scenario `fleet`.

    With CAELUM_TEST_LAB it is the lab of that name, which somebody booted and deployed, and which stays.
    """
    if have := os.environ.get("CAELUM_TEST_LAB"):
        yield Fleet(have)
        return
    fleet = Fleet(f"fleet-{os.getpid()}")
    try:
        created = fleet.molecule("create")
        assert created.status == 0, f"create: {created.output[-6000:]}"
        fleet.fresh_check = fleet.deploy("--check", "--diff")
        converged = fleet.molecule("converge")
        assert converged.status == 0, f"converge: {converged.output[-6000:]}"
        yield fleet
    finally:
        fleet.molecule("destroy")
