"""The output of a run: what changed, where, how long; on failure the line that matters last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.ansible_path import ROOT

FINE = {"name": "Look around", "ansible.builtin.command": "true", "changed_when": False}
CHANGE = {"name": "Write the unit", "ansible.builtin.command": "true", "changed_when": True}
FAIL = {"name": "Start the service", "ansible.builtin.fail": {"msg": "port 8001 is taken by\n  pid 42"}}


def play(folder: Path, tasks: list[dict[str, Any]], *options: str, hosts: str = "one,") -> list[str]:
    """Lines that `ansible-playbook` prints for these tasks."""
    playbook = folder / "play.yml"
    playbook.write_text(yaml.safe_dump([{"name": "FinColl", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
    run = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", hosts, "-c", "local", playbook, *options],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1",
             "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "HOME": str(folder)},
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return run.stdout.splitlines()


def test_what_changed_is_named_and_what_was_right_is_only_counted(tmp_path: Path) -> None:
    lines = play(tmp_path, [FINE, CHANGE])
    assert lines[0] == "FinColl"
    assert any(line.startswith("  changed: Write the unit (") for line in lines)
    assert not any("Look around" in line for line in lines)
    assert "one: ok=2 changed=1 unreachable=0 failed=0 rescued=0 in " in lines[-1]


def test_after_a_failure_its_message_is_the_last_line_and_whole(tmp_path: Path) -> None:
    lines = play(tmp_path, [CHANGE, FAIL])
    assert any(line.startswith("  FAILED: Start the service (") for line in lines)
    assert lines[-1] == "failed: port 8001 is taken by pid 42"


def test_commands_are_told_with_the_inventory_of_the_run(tmp_path: Path) -> None:
    told = "end it with `ansible-playbook abort.yml` or `ansible-playbook -i elsewhere deploy.yml`"
    (tmp_path / "my hosts").write_text("one\n")
    lines = play(tmp_path, [{"ansible.builtin.fail": {"msg": told}}], hosts=str(tmp_path / "my hosts"))
    wanted = f"`ansible-playbook -i '{tmp_path}/my hosts' abort.yml` or `ansible-playbook -i elsewhere deploy.yml`"
    assert lines[-1] == f"failed: end it with {wanted}"


def test_a_failure_that_was_rescued_does_not_end_the_run_in_red(tmp_path: Path) -> None:
    lines = play(tmp_path, [{"block": [FAIL], "rescue": [CHANGE]}])
    assert any("FAILED: Start the service" in line for line in lines)
    assert "rescued=1" in lines[-1]


def test_check_mode_says_that_nothing_was_changed(tmp_path: Path) -> None:
    file = {"name": "Write the unit", "ansible.builtin.copy": {"content": "x", "dest": str(tmp_path / "unit")}}
    lines = play(tmp_path, [file], "--check")
    assert any(line.startswith("  would change: Write the unit") for line in lines)
    assert lines[-1].endswith("(check mode: nothing was changed)")
    assert not (tmp_path / "unit").exists()


def test_with_several_hosts_each_line_names_its_host(tmp_path: Path) -> None:
    lines = play(tmp_path, [CHANGE], hosts="one,two,")
    assert {line.split(" on ")[1].split()[0] for line in lines if "changed: Write" in line} == {"one", "two"}


def failing(script: str) -> dict[str, Any]:
    return {"name": "Train", "ansible.builtin.command": {"argv": ["/bin/sh", "-c", script]}, "changed_when": False}


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("echo busy; echo 'loading' >&2; echo 'no space  left' >&2; echo >&2; exit 3", "sh: no space left"),
        ("echo step 1; echo 'step 2 failed'; exit 3", "sh: step 2 failed"),
        ("exit 3", "non-zero return code"),
    ],
)
def test_a_program_that_failed_is_quoted_with_the_last_line_it_said(tmp_path: Path, script: str, line: str) -> None:
    assert play(tmp_path, [failing(script)])[-1] == f"failed: {line}"


def test_a_rescue_that_fails_with_the_failure_it_handles_says_what_the_program_said(tmp_path: Path) -> None:
    again = {"name": "End", "ansible.builtin.fail": {"msg": "{{ ansible_failed_result.msg }}"}}
    block = {"block": [failing("echo 'disk is full' >&2; exit 1")], "rescue": [again]}
    assert play(tmp_path, [block])[-1] == "failed: sh: disk is full"
    block["rescue"] = [failing("exit 1")]
    assert play(tmp_path, [block])[-1] == "failed: non-zero return code"


def test_a_loop_that_failed_says_what_its_item_said(tmp_path: Path) -> None:
    loop = {**failing("echo 'no {{ item }}' >&2; test {{ item }} != model"), "loop": ["bars", "model"]}
    assert play(tmp_path, [loop])[-1] == "failed: sh: no model"


def test_arguments_that_a_role_refuses_are_all_named_on_one_line(tmp_path: Path) -> None:
    spec = {"argument_spec": {"port": {"type": "int", "required": True}, "mode": {"choices": ["on", "off"]}}}
    check = {
        "name": "Check the arguments",
        "ansible.builtin.validate_argument_spec": {**spec, "provided_arguments": {"mode": "maybe"}},
    }
    last = play(tmp_path, [check])[-1]
    assert last.startswith("failed: ")
    assert "Validation of arguments failed" not in last
    assert sorted(last.removeprefix("failed: ").split("; ")) == [
        "missing required arguments: port",
        "value of mode must be one of: on, off, got: maybe",
    ]


@pytest.mark.parametrize("option", ["-v", "-vv"])
def test_verbose_is_ansibles_own_output(tmp_path: Path, option: str) -> None:
    lines = play(tmp_path, [FINE, CHANGE], option)
    assert any(line.startswith("TASK [Look around]") for line in lines)
    assert any(line.startswith("PLAY RECAP") for line in lines)
