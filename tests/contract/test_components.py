"""The components that a run may be narrowed to are those that the roles run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from ansible.module_utils.caelum.components import COMPONENTS

ROOT = Path(__file__).resolve().parents[2]


def test_every_component_of_the_roles_is_known_and_the_reverse() -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    shown: set[str] = set()
    for inventory in ("local", "development"):  # a fleet has more of FinVec
        run = subprocess.run(
            [program, "-i", f"inventory/{inventory}", "playbooks/topology.yml", "-e", "version=v1.1.0"],
            cwd=ROOT, check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        shown |= set(re.findall(r"^\S+ +(\S+)@\S+ +v1\.1\.0 ", run.stdout, re.MULTILINE))
    assert shown == {name for names in COMPONENTS.values() for name in names}
