"""Secrets reach only those that use them, and lie in no setting: rendered from the roles as a deployment does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("senvec", "finvec", "fincoll", "pim")
VAULT: dict[str, Any] = {
    "vault_postgresql_admin_password": "Secret-admin",
    "vault_pim_owner_password": "Secret-owner",
    "vault_pim_user_password": "Secret-user",
    "vault_tokens": {name: f"Secret-token-{name}" for name in ("operator", "pim", "fincoll", "senvec", "finvec")},
    "vault_alpha_vantage_credentials": {"api_key": "Secret-alpha"},
    "vault_sentimentrader_credentials": {"api_key": "Secret-sentiment"},
}


def rendered(folder: Path, **changes: Any) -> dict[str, dict[str, Any]]:
    """Every instance of the development inventory, rendered with VAULT and `changes`, by name."""
    folder.mkdir()
    vault, play, out = folder / "vault.yml", folder / "play.yml", folder / "out.json"
    vault.write_text(yaml.safe_dump({**VAULT, **changes}))
    known = [{"ansible.builtin.import_role": {"name": name, "tasks_from": "topology"}} for name in SERVICES]
    text = "{{ " + " + ".join(f"__{name}_instances" for name in SERVICES) + " }}"
    write = {"ansible.builtin.copy": {"content": "{{ every | to_json }}", "dest": str(out), "mode": "0600"}}
    task = {**write, "vars": {"every": text}, "no_log": True}
    local = {"ansible_python_interpreter": sys.executable, "ansible_become": False, "version": "v1.1.0"}
    plays = [{"hosts": "pim", "gather_facts": False, "connection": "local", "vars": local, "tasks": [*known, task]}]
    play.write_text(yaml.safe_dump(plays))
    program = Path(sys.executable).with_name("ansible-playbook")
    run = subprocess.run(
        [program, "-i", ROOT / "inventory/development", "-e", f"@{vault}", "--diff", "-vvv", play],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Secret-" not in run.stdout + run.stderr
    return {item["name"]: item for item in json.loads(out.read_text())}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return rendered(tmp_path_factory.mktemp("vault") / "before")


def secrets_of(item: dict[str, Any]) -> str:
    return json.dumps(item.get("credentials", {}))


def test_no_setting_and_no_argument_holds_a_secret(before: dict[str, dict[str, Any]]) -> None:
    for name, item in before.items():
        open_part = {key: value for key, value in item.items() if key != "credentials"}
        assert "Secret-" not in json.dumps(open_part), name


def test_each_secret_reaches_its_readers_alone(before: dict[str, dict[str, Any]]) -> None:
    readers = {
        secret: {name for name, item in before.items() if secret in secrets_of(item)}
        for secret in (
            "Secret-user",
            "Secret-alpha",
            "Secret-sentiment",
            "Secret-admin",
            "Secret-owner",
            "Secret-token",
        )
    }
    assert readers == {
        "Secret-user": {"pim-web@stable", "pim-worker@stable", "caelum-reaper@stable"},
        "Secret-alpha": {"alphavantage@stable"},
        "Secret-sentiment": {"sentimentrader@stable"},
        "Secret-admin": set(),
        "Secret-owner": set(),
        "Secret-token": set(),
    }


@pytest.mark.parametrize(
    ("secret", "value", "readers"),
    [
        ("vault_pim_user_password", "Secret-new", {"pim-web@stable", "pim-worker@stable", "caelum-reaper@stable"}),
        ("vault_alpha_vantage_credentials", {"api_key": "Secret-new"}, {"alphavantage@stable"}),
        ("vault_tokens", {**VAULT["vault_tokens"], "senvec": "Secret-new"}, set()),
        ("vault_tokens", {**VAULT["vault_tokens"], "pim": "Secret-new"}, {"fincoll@stable"}),
    ],
)
def test_a_new_secret_changes_only_what_reads_it(
    before: dict[str, dict[str, Any]], tmp_path: Path, secret: str, value: Any, readers: set[str]
) -> None:
    after = rendered(tmp_path / "after", **{secret: value})
    assert {name for name in before if before[name] != after[name]} == readers
