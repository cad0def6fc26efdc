"""caelum_release as a user meets it: in a playbook, with its progress, and in ansible-doc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.tiny_release import LIBRARY, ROOT, Tiny, tiny_repository


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return tiny_repository(tmp_path)


def ansible(tiny: Tiny, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs with the folders of this repository, as ansible.cfg names them."""
    folders = {"LIBRARY": "library", "MODULE_UTILS": "module_utils", "ACTION_PLUGINS": "plugins/action"}
    env = {f"ANSIBLE_{name}": str(ROOT / folder) for name, folder in folders.items()}
    env |= {"ANSIBLE_CONFIG": str(tiny.base / "none.cfg"), "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_NOCOLOR": "1"}
    env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tiny.index), "ANSIBLE_HOME": str(tiny.base / "ansible")}
    argv = [str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(argv, check=False, capture_output=True, text=True, env=os.environ | env, cwd=tiny.base)


def play(tiny: Tiny, *arguments: str, **given: Any) -> str:
    """Build and install the demo service in a real run; its standard output."""
    services = [tiny.service()]
    build = {"source": tiny.root, "store": tiny.store, "pool": tiny.base / "pool", "signing_key": tiny.key}
    install = {"store": tiny.store, "prefix": tiny.prefix, "public_key": f"{tiny.key}.pub", "may_be_built": True}
    tasks = [
        {"caelum_release": {"state": "built", "create_key": True, "services": services} | build | given},
        {"caelum_release": {"state": "installed", "services": services} | install},
    ]
    hosts = {"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": tasks}
    hosts["vars"] = {"ansible_python_interpreter": sys.executable}
    (tiny.base / "play.json").write_text(json.dumps([hosts], default=str))
    answer = ansible(tiny, "ansible-playbook", "-i", "localhost,", "play.json", *arguments)
    return answer.stdout + answer.stderr


def test_a_run_shows_its_progress_and_a_second_one_changes_nothing(tiny: Tiny) -> None:
    first = play(tiny)
    assert "changed=2" in first
    lines = [line.strip() for line in first.splitlines()]
    assert "demo v1.0.0: downloading 1 wheel" in lines
    assert any(line.startswith("demo v1.0.0: built") for line in lines)
    assert any(line.startswith("demo v1.0.0: installed in ") for line in lines)
    second = play(tiny)
    assert "ok=2 " in second
    assert "changed=0" in second
    assert "WARNING" not in first + second


def test_check_mode_in_a_run_reports_the_change_with_its_diff_and_makes_none(tiny: Tiny) -> None:
    shown = play(tiny, "--check", "--diff")
    assert "+demo v1.0.0 (to be built)" in shown
    assert "+demo v1.0.0 (after it is built)" in shown
    assert "[WARNING]: release v1.0.0 of demo is not in the store" in shown
    assert "changed=2" in shown
    assert not tiny.prefix.exists()
    assert not tiny.store.exists()


def test_a_refusal_ends_the_run_with_its_one_line(tiny: Tiny) -> None:
    shown = play(tiny, services=[tiny.service("latest")])
    assert "'latest' is not a version; write vMAJOR.MINOR.PATCH" in shown
    assert "Traceback" not in shown


def test_the_documentation_names_every_option_with_its_default(tiny: Tiny) -> None:
    answer = ansible(tiny, "ansible-doc", "-t", "module", "-j", "caelum_release")
    documented = json.loads(answer.stdout)["caelum_release"]["doc"]["options"]

    def defaults(options: dict[str, Any]) -> dict[str, Any]:
        return {name: option.get("default") for name, option in options.items()}

    assert defaults(documented) == defaults(LIBRARY.SPEC)
    assert defaults(documented["services"]["suboptions"]) == defaults(LIBRARY.SERVICE)
    assert documented["state"]["choices"] == LIBRARY.SPEC["state"]["choices"]
