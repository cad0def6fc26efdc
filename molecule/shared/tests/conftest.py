"""The tests run where the lab's addresses are."""

from __future__ import annotations

import fleet as support
import pytest
from fleet import Fleet


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """The fleet of this scenario's inventory."""
    return support.read()
