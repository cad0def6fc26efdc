"""A knob is declared once with its meaning, and everything that repeats it says the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def options(role: str) -> dict[str, dict[str, Any]]:
    """Options of the role's one entry point."""
    (spec,) = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"].values()
    found: dict[str, dict[str, Any]] = spec["options"]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_every_default_has_an_argument_spec_that_says_the_same_and_the_reverse(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults/main.yml")
    declared = {name: option["default"] for name, option in options(role).items()}
    assert declared == defaults


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_says_what_it_means_and_carries_its_roles_name(role: str) -> None:
    own = "caelum_" if role == "base" else f"{role}_"
    for name, option in options(role).items():
        assert name.startswith(own), f"{name} of role {role}"
        assert len(option["description"]) > 10, f"{name} is not explained"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_uses_every_variable_that_it_declares(role: str) -> None:
    scope = [ROOT / "roles", ROOT / "playbooks"] if role == "base" else [ROOT / "roles" / role, ROOT / "roles/release"]
    text = "".join(
        path.read_text() for folder in scope for path in folder.rglob("*.yml") if path.name != "argument_specs.yml"
    )
    for name in options(role):
        uses = re.findall(rf"\b{name}\b(?!:)", text)
        assert uses, f"{name} of role {role} is declared and never used"


def test_readme_shows_the_variables_as_they_are() -> None:
    check = subprocess.run(
        [sys.executable, "tools/docs.py", "--check"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stderr


@pytest.mark.parametrize("uid", [0, 65534])
def test_the_tools_and_the_inventory_agree_on_the_prefix(uid: int) -> None:
    from ansible.module_utils.caelum.topology import local_prefix

    if uid != os.geteuid() and os.geteuid() != 0:
        pytest.skip("only root can ask as somebody else")
    with tempfile.TemporaryDirectory(dir="/tmp") as checkout:  # where any user may enter
        Path(checkout).chmod(0o755)
        tool = Path(checkout, "tools/prefix.sh")
        tool.parent.mkdir()
        shutil.copy(ROOT / "tools/prefix.sh", tool)
        assert subprocess.check_output([tool], user=uid, text=True).strip() == local_prefix(checkout, uid)
