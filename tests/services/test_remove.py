"""What ran before a deployment can be started again after the deployment was removed: its notes are no part of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.ansible_path import ROOT
from support.modules import run_module

pytestmark = pytest.mark.services

OURS = ("var/log/caelum/x", "var/cache/caelum/x", "var/lib/caelum/pim/x", "var/lib/caelum/.hidden", "opt/caelum/pim/x",
        "etc/caelum/x.env")  # fmt: skip
NOTES = ("var/lib/caelum/adopted/fincoll.json", "var/lib/caelum/adopted/fincoll.units/fincoll.service")


def host(root: Path, *names: str) -> Path:
    for name in (*OURS, *names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    return root


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def removed(root: Path, folder: Path) -> None:
    """The removal of a fleet's folders, here below `root`."""
    play = folder / "play.yml"
    role = {"ansible.builtin.include_role": {"name": "base", "tasks_from": "remove"}}
    settings = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars": settings, "tasks": [role]}]))
    subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", ROOT / "inventory/local", "-e",
         f"caelum_root={root}", play],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, check=True, timeout=120,
    )  # fmt: skip


def test_a_fleets_host_keeps_the_notes_and_nothing_else(tmp_path: Path) -> None:
    root = host(tmp_path / "root", *NOTES)
    removed(root, tmp_path)
    assert files(root) == set(NOTES)


def test_a_host_without_notes_keeps_nothing(tmp_path: Path) -> None:
    root = host(tmp_path / "root")
    (root / "var/lib/caelum/adopted").mkdir()
    removed(root, tmp_path)
    assert [path.name for path in (root / "var/lib").iterdir()] == []
    assert files(root) == set()


def test_a_deployment_in_a_folder_is_not_purged_while_it_has_notes(tmp_path: Path) -> None:
    root = host(tmp_path / "root", *NOTES)
    asked = {"state": "absent", "purge": True, "prefix": str(root)}
    refused = run_module("caelum_instance", asked)["msg"]
    assert "notes how to start fincoll again" in refused
    assert "adopt_step=return" in refused
    assert files(root) == {*OURS, *NOTES}
    (root / NOTES[0]).unlink()
    run_module("caelum_instance", asked)
    assert files(root) == set()
