"""Runs the modules of `library/`: in this process, or through a real `ansible-playbook`.

`pytest_plugins = ["support.postgres", "support.modules"]` gives the fixture `login` too. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args

from support.ansible_path import ROOT
from support.postgres import Database


@pytest.fixture
def login(migrated_database: Database) -> dict[str, Any]:
    """The option `database` of the modules for a migrated database of the test's own."""
    return login_of(migrated_database)


def login_of(database: Database) -> dict[str, Any]:
    """The option `database` of the modules for `database`, as its owner."""
    credentials = database.credentials()
    return {"dbname": credentials.pop("database"), **credentials}


def load(name: str) -> ModuleType:
    """The module `library/<name>.py`, imported afresh."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "library" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run_module(which: str | ModuleType, params: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    """What the module returns for `params`, as Ansible would get it; `failed` is set where it fails.

    `which` is its name, or the module as `load` gave it. `warnings` are texts here. Ansible collects them per process,
    so those of earlier calls are dropped first.
    """
    warnings._global_warnings.clear()
    arguments = {**params, "_ansible_check_mode": check, "_ansible_diff": True, "_ansible_verbosity": 0}
    printed = io.StringIO()
    with patch_module_args(arguments), redirect_stdout(printed), suppress(SystemExit):
        (load(which) if isinstance(which, str) else which).main()
    result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    result["warnings"] = [warning["event"]["msg"] for warning in result.get("warnings", [])]
    return result


def run_playbook(folder: Path, tasks: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[str]:
    """`ansible-playbook` over `tasks` on this machine with the checkout's own modules; `folder` takes its files."""
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    playbook = folder / "play.yml"
    playbook.write_text(yaml.safe_dump([play]))
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", playbook, *options],
        env={
            **os.environ,
            "HOME": str(folder),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LIBRARY": str(ROOT / "library"),
            "ANSIBLE_MODULE_UTILS": str(ROOT / "module_utils"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_NOCOLOR": "1",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
