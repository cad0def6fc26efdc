"""One fleet for all tests that need it: booting and deploying it takes minutes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support.fleet import Fleet


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """The production fleet, booted and deployed by the scenario `fleet`."""
    fleet = Fleet(f"fleet-{os.getpid()}")
    try:
        for step in ("create", "converge"):
            run = fleet.molecule(step)
            assert run.status == 0, f"{step}: {run.output[-6000:]}"
        yield fleet
    finally:
        fleet.molecule("destroy")
