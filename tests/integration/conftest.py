"""One whole ecosystem for all integration tests: deploying it takes minutes, so they share it and leave it running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import ecosystem as support
from support.ecosystem import Ecosystem, Run


@pytest.fixture(scope="session")
def deployed() -> Iterator[tuple[Ecosystem, Run]]:
    """The ecosystem, and the run that made it from nothing."""
    with support.temporary() as ecosystem:
        yield ecosystem, ecosystem.playbook("deploy.yml", "-e", "version=v1.1.0")


@pytest.fixture
def live(deployed: tuple[Ecosystem, Run]) -> Ecosystem:
    """The ecosystem, deployed without an error."""
    ecosystem, run = deployed
    assert run.status == 0, run.output[-4000:]
    return ecosystem


@pytest.fixture
def at_v110(live: Ecosystem) -> Ecosystem:
    """The ecosystem at v1.1.0, whatever the test before left."""
    done = live.playbook("deploy.yml", "-e", "version=v1.1.0")
    assert done.status == 0, done.output[-4000:]
    return live
