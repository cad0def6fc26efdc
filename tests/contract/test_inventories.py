"""The inventories are the specification's topologies: each renders, and puts every component at its address."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SENVEC = {"sentimentrader": 18001, "alphavantage": 18002, "social": 18003, "news": 18004, "aggregator": 18000}


def senvec(host: str) -> set[str]:
    """The five microservices on one host."""
    return {f"{name}@stable {host}:{port}" for name, port in SENVEC.items()}


def pim(host: str) -> set[str]:
    """PIM's three processes on one host."""
    return {f"pim-web@stable {host}:5000", f"pim-worker@stable {host}", f"caelum-reaper@stable {host}"}


def gpu(*hosts: str) -> set[str]:
    """What reports the GPUs of each host."""
    return {f"finvec-gpu@stable 10.32.3.{host}" for host in hosts}


# This machine, and the specification's Options 1 and 2.
EXPECTED = {
    "local": senvec("127.0.0.1")
    | pim("127.0.0.1")
    | {"replay@stable 127.0.0.1:18090", "fincoll@stable 127.0.0.1:8001", "finvec-train@llm1 127.0.0.1"},
    "development": senvec("10.32.3.27")
    | pim("10.32.3.27")
    | {"replay@stable 10.32.3.27:18090", "fincoll@stable 10.32.3.27:8001", "finvec-train@llm1 10.32.3.27"}
    | gpu("27"),
    "production": senvec("10.32.3.27")
    | pim("10.32.3.27")
    | {"fincoll@stable 10.32.3.44:8001", "fincoll@candidate 10.32.3.62:8002"}
    | {"finvec-train@llm1 10.32.3.27", "finvec-train@llm1 10.32.3.62"}
    | gpu("27", "44", "22", "62"),
}


def topology(inventory: str, *arguments: str) -> str:
    """What `make topology` prints for an inventory."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", f"inventory/{inventory}"]
    run = subprocess.run(
        [*command, "playbooks/topology.yml", "-e", "version=v1.1.0", *arguments],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def rows(text: str) -> set[str]:
    """`instance address` of every row of the table."""
    return {
        f"{name} {address}" for name, address in re.findall(r"^\S+ +(\S+@\S+) +v1\.1\.0 +(\S+) ", text, re.MULTILINE)
    }


@pytest.mark.parametrize("inventory", EXPECTED)
def test_an_inventory_puts_every_component_where_the_specification_says(inventory: str) -> None:
    assert rows(topology(inventory)) == EXPECTED[inventory]


def test_a_port_base_is_added_to_every_port() -> None:
    shifted = {re.sub(r":(\d+)$", lambda port: f":{int(port[1]) + 20000}", row) for row in EXPECTED["local"]}
    assert rows(topology("local", "-e", "caelum_port_base=20000")) == shifted


def test_a_fleet_shows_the_units_that_operators_type() -> None:
    shown = topology("production")
    for unit in ("senvec@news", "pim-web", "pim-worker", "fincoll@stable", "finvec-train@llm1"):
        assert f" {unit}.service " in shown
    assert "UNIT" not in topology("local")


@pytest.mark.parametrize("inventory", ["development", "production"])
def test_an_inventory_without_secrets_is_refused_in_one_line_before_any_host_is_reached(
    inventory: str, tmp_path: Path
) -> None:
    place = tmp_path / inventory
    shutil.copytree(ROOT / "inventory" / inventory, place, ignore=shutil.ignore_patterns("vault.yml"))
    status, said = deploy(place)
    assert status != 0
    line = said.strip().splitlines()[-1]
    assert f"inventory {inventory} has no vault_postgresql_admin_password" in line
    assert f"copy inventory/{inventory}/group_vars/all/vault.yml.example to vault.yml beside it" in line
    assert "UNREACHABLE" not in said


def test_encrypted_secrets_without_a_password_are_refused_with_the_remedy(tmp_path: Path) -> None:
    place = tmp_path / "production"
    shutil.copytree(ROOT / "inventory/production", place)
    vault = place / "group_vars/all/vault.yml"
    vault.write_text("vault_tokens: {}\n")
    password = tmp_path / "password"
    password.write_text("a password of this test\n")
    program = Path(sys.executable).with_name("ansible-vault")
    subprocess.run([program, "encrypt", "--vault-password-file", password, vault], check=True, capture_output=True)
    status, said = deploy(place)
    assert status != 0
    assert f"{vault} is encrypted and no password was given; add --ask-vault-pass" in said


@pytest.mark.parametrize(
    ("replaced", "line"),
    [
        (
            "change-me",
            "vault_pim_owner_password, vault_pim_user_password, vault_postgresql_admin_password, vault_tokens of",
        ),
        ("a-real-one", "vault.yml holds secrets and is not encrypted; run `ansible-vault encrypt"),
    ],
)
def test_secrets_of_the_example_or_open_ones_are_refused_before_any_host_is_reached(
    tmp_path: Path, replaced: str, line: str
) -> None:
    place = tmp_path / "production"
    shutil.copytree(ROOT / "inventory/production", place, ignore=shutil.ignore_patterns("vault.yml"))
    example = (place / "group_vars/all/vault.yml.example").read_text()
    (place / "group_vars/all/vault.yml").write_text(example.replace("change-me", replaced))
    status, said = deploy(place)
    assert status != 0
    assert line in said
    assert "UNREACHABLE" not in said


def test_a_fleets_secrets_cannot_be_added_to_the_repository_by_accident() -> None:
    names = [f"inventory/{name}/group_vars/all/vault.yml" for name in ("production", "development", "local")]
    told = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, check=False, capture_output=True, text=True)
    assert told.stdout.split() == names[:2]


def test_no_user_of_a_service_can_exchange_the_folder_of_the_models(tmp_path: Path) -> None:
    """Root writes the copies there, and would follow a link."""
    play, out = tmp_path / "play.yml", tmp_path / "out.json"
    known = {"ansible.builtin.import_role": {"name": "fincoll", "tasks_from": "known"}}
    every = {"models": "{{ __fincoll_models }}", "state": "{{ ['fincoll'] | caelum_state_directories }}"}
    write = {"ansible.builtin.copy": {"content": "{{ every | to_json }}", "dest": str(out), "mode": "0600"}}
    settings = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    tasks = [known, {**write, "vars": {"every": every}}]
    play.write_text(yaml.safe_dump([{"hosts": "fincoll[0]", "gather_facts": False, "vars": settings, "tasks": tasks}]))
    program = Path(sys.executable).with_name("ansible-playbook")
    subprocess.run(
        [program, "-i", ROOT / "inventory/production", "-e", "version=v1.1.0", play],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, check=True, timeout=120,
    )  # fmt: skip
    found = json.loads(out.read_text())
    for folder in found["state"]:
        assert not Path(found["models"]).is_relative_to(f"/{folder['path']}")


def deploy(inventory: Path) -> tuple[int, str]:
    """A `deploy.yml` of an inventory: its exit status and what it said."""
    run = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, "deploy.yml", "-e", "version=v1.1.0"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr


def render(tmp_path: Path, expression: str, *arguments: str) -> str:
    """What an expression over the variables of base and postgresql is on this machine."""
    place = tmp_path / "render.yml"
    roles = [{"name": role, "tasks_from": tasks} for role, tasks in (("base", "main"), ("postgresql", "known"))]
    tasks = [{"ansible.builtin.import_role": role} for role in roles]
    tasks.append({"ansible.builtin.debug": {"msg": f"found <{{{{ {expression} }}}}>"}})
    place.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    given = ["-e", "vault_pim_owner_password=x", "-e", "version=v1.1.0", *arguments]
    run = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "inventory/local", place, *given],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "default",
                       "ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = re.search(r"found <(.*)>", run.stdout)
    assert found, run.stdout + run.stderr
    return found[1]


@pytest.mark.parametrize(("mode", "port"), [("existing", "15433"), ("wheel", "35433")])
def test_a_port_base_moves_no_server_that_exists(mode: str, port: str, tmp_path: Path) -> None:
    both = "caelum_database_login.port ~ ' ' ~ __postgresql_port"
    asked = ["-e", "caelum_port_base=20000", "-e", f"postgresql_mode={mode}"]
    assert render(tmp_path, both, *asked) == f"{port} {port}"


def test_hosts_are_held_against_the_python_that_builds(tmp_path: Path) -> None:
    found = render(tmp_path, "__base_target.abi", "-e", "release_python=/nonexistent/python")
    assert found == f"cp{sys.version_info.major}{sys.version_info.minor}"


@pytest.mark.parametrize(("limit", "part"), [("localhost", "True"), ("!localhost:localhost2", "False"), ("", "True")])
def test_a_schema_waits_for_a_run_that_pims_host_takes_part_in(limit: str, part: str, tmp_path: Path) -> None:
    given = ["-e", f"ansible_limit={limit}"] if limit else []
    assert render(tmp_path, "__postgresql_pim_takes_part", *given) == part


def test_a_limit_that_leaves_the_databases_host_out_leaves_the_database_in() -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    run = subprocess.run(
        [program, "-i", "inventory/production", "deploy.yml", "--limit", "gpu-44", "--list-hosts"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    plays = re.findall(r"\): (Database and schema.*)\t.*\n.*\n    hosts \((\d+)\)", run.stdout)
    assert [hosts for _, hosts in plays] == ["0", "1"], run.stdout + run.stderr


@pytest.mark.parametrize("inventory", ["development", "production"])
def test_a_host_that_lost_its_last_service_is_entered_as_before_and_this_machine_never(
    inventory: str, tmp_path: Path
) -> None:
    place = tmp_path / inventory
    shutil.copytree(ROOT / "inventory" / inventory, place, ignore=shutil.ignore_patterns("vault.yml"))
    hosts = yaml.safe_load((place / "hosts.yml").read_text())
    for group in ("senvec", "finvec", "fincoll", "pim"):
        hosts["all"]["children"][group]["hosts"] = {}
    (place / "hosts.yml").write_text(yaml.safe_dump(hosts))
    told = variables(place, "wsl-27")
    assert told["ansible_become"] is True
    assert told["ansible_python_interpreter"] == "/usr/bin/python3"
    assert "ansible_become" not in variables(place, "localhost")
    if inventory == "production":
        assert "ansible_become" not in variables(place, "db-254")


def variables(inventory: Path, host: str) -> dict[str, object]:
    """What an inventory says of one host."""
    program = Path(sys.executable).with_name("ansible-inventory")
    run = subprocess.run(
        [program, "-i", inventory, "--host", host], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    return dict(json.loads(run.stdout))
