"""What caelum-reaper reads at its start, and what it says when that does not fit."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from caelum.database.lease import Group
from caelum.instance import envfile
from caelum_common.start import EXIT_CANNOT_START, CannotStart
from pim.reaper.settings import read
from pim.reaper.takeback import Host

LOGIN = {"host": "10.32.3.27", "port": 15433, "database": "pim_database", "user": "pim_user", "password": "s3cret"}

ODD = "/srv/it's a #1 \\ = \u2028 place"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The process's environment, as its runtime gives it."""
    (tmp_path / "pim_database_credentials.json").write_text(json.dumps(LOGIN))
    env_file = tmp_path / "caelum-reaper@stable.env"
    settings = {
        "CAELUM_PREFIX": ODD,
        "CAELUM_INVENTORY": "local",
        "CAELUM_ADDRESS": "10.32.3.27",
        "CAELUM_READY_TIMEOUT": "90",
        "LOG_LEVEL": "INFO",
    }
    env_file.write_text(envfile.render("pim", settings))
    return {"CAELUM_ENV_FILE": str(env_file), "CREDENTIALS_DIRECTORY": str(tmp_path)}


def test_the_environment_file_is_read_and_the_environment_wins(environ: dict[str, str]) -> None:
    settings = read({**environ, "LOG_LEVEL": "ERROR"})
    assert settings.prefix == Path(ODD)
    assert (settings.inventory, settings.address, settings.ready_timeout_s) == ("local", "10.32.3.27", 90)
    assert (settings.instance, settings.log_level, settings.runtime) == ("caelum-reaper@stable", "ERROR", "native")
    assert (settings.login["dbname"], settings.login["password"]) == ("pim_database", "s3cret")
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"CAELUM_ENV_FILE": "/nowhere.env"}, "environment file /nowhere.env is not there"),
        ({"CAELUM_ENV_FILE": ""}, "CAELUM_PREFIX, CAELUM_INVENTORY, CAELUM_ADDRESS must be given"),
        ({"CAELUM_READY_TIMEOUT": "soon"}, "CAELUM_READY_TIMEOUT is no number of seconds"),
        ({"CREDENTIALS_DIRECTORY": "/nowhere"}, "no database named"),
    ],
)
def test_what_does_not_fit_is_one_line(environ: dict[str, str], change: dict[str, str], line: str) -> None:
    with pytest.raises(CannotStart) as told:
        read(environ | change)
    assert line in str(told.value)


def test_it_starts_with_that_line_and_is_not_started_again() -> None:
    done = subprocess.run([sys.executable, "-m", "pim.reaper"], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_CANNOT_START
    assert done.stderr.startswith("cannot start: settings don't fit: CAELUM_PREFIX")


def test_the_watcher_loads_nothing_that_is_heavy() -> None:
    code = "import sys, pim.reaper.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "asyncio",
        "caelum.instance.planning",
        "dotenv",
        "fastapi",
        "nicegui",
        "psycopg",
        "pydantic",
        "requests",
        "structlog",
    }
    assert heavy & set(loaded) == set()


def test_hosts_out_of_its_reach_are_named_with_the_command_that_returns_them(tmp_path: Path) -> None:
    places = {"gpu-62": "10.32.3.62", "gpu-44": "10.32.3.44"}
    group = Group(
        "fincoll", "v1.2.0", "deploy", "production", "jane", 7, 7, (1,), ("fincoll",), (), timedelta(seconds=40), places
    )
    verdict = Host(tmp_path, "systemd", "10.32.3.27", 30, "production").settle(group, 8)
    assert verdict.status == "aborted"
    assert "gpu-44, gpu-62 may stand half way to v1.2.0" in verdict.line
    assert "`ansible-playbook -i inventory/production abort.yml -e service=fincoll`" in verdict.line
    assert not list(tmp_path.iterdir()), "nothing of the service is here, so nothing here is touched"
