"""Rules for all tests: what runs beside what, and that what this machine lacks skips a test by name.

Under REQUIRE_ALL=1 the latter fails it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import PurePosixPath

import pytest
from tools.lab import requirements
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

import support.ansible_path  # noqa: F401  # before any test imports ansible.module_utils.caelum


def installed(package: str) -> bool:
    """Whether the Debian package is installed on this machine."""
    if shutil.which("dpkg-query") is None:
        return False
    query = subprocess.run(["dpkg-query", "-W", "-f=${Status}", package], check=False, capture_output=True, text=True)
    return "ok installed" in query.stdout


# Tests of these files share one ecosystem, and the first of them want it as it was deployed. Others that use it do not
# care how they find it.
ECOSYSTEM = {"test_local_deploy", "test_recovery", "test_refusals", "test_specification"}


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Keep together what shares a deployment, a lab's machines or a file's fixtures."""
    return Grouped(config, log)


class Grouped(LoadScopeScheduling):  # type: ignore[misc] # xdist ships no types
    """Gives groups of files to the processes that run tests, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        if file.parent.name == "lab":
            return "machines"
        return "ecosystem" if file.stem in ECOSYSTEM else file.stem


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long where tests run beside each other, so that nothing waits for it at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (not item.get_closest_marker("lab"), not item.get_closest_marker("integration")))


def _hold_back(reason: str) -> None:
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold back a test whose package is missing, or that boots machines where this one can't."""
    if item.get_closest_marker("lab") and (reason := requirements.missing()):
        _hold_back(reason)
    for mark in item.iter_markers("package"):
        package = mark.args[0]
        if not installed(package):
            _hold_back(f"needs the Debian package {package}: apt-get install {package}")
