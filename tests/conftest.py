"""Rules for all tests: what runs beside what, and that what this machine lacks skips a test by name.

Under REQUIRE_ALL=1 the latter fails it.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from tools.lab import requirements

import support.ansible_path  # noqa: F401  # before any test imports ansible.module_utils.caelum


def installed(package: str) -> bool:
    """Whether the Debian package is installed on this machine."""
    if shutil.which("dpkg-query") is None:
        return False
    query = subprocess.run(["dpkg-query", "-W", "-f=${Status}", package], check=False, capture_output=True, text=True)
    return "ok installed" in query.stdout


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in its own
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep together what shares a deployment, a lab's machines or a file's fixtures; begin with what takes long."""
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: (not item.get_closest_marker("lab"), not item.get_closest_marker("integration")))


def _group(item: pytest.Item) -> str:
    if item.get_closest_marker("lab"):
        return "machines"
    return "ecosystem" if "deployed" in getattr(item, "fixturenames", ()) else item.path.stem


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
