"""The inventories are the specification's topologies: each renders, and puts every component at its address."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


def deploy(inventory: Path) -> tuple[int, str]:
    """A `deploy.yml` of an inventory: its exit status and what it said."""
    run = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, "deploy.yml", "-e", "version=v1.1.0"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr
