"""Modules as Ansible runs them: bundled, in a playbook, documented, and silent about secrets."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg import sql

from support.ansible_path import ROOT
from support.modules import load, run_playbook
from support.postgres import Server

pytest_plugins = ["support.postgres", "support.modules"]

MODULES = (
    "caelum_audit",
    "caelum_database",
    "caelum_deployment",
    "caelum_halt",
    "caelum_config",
    "caelum_model",
    "caelum_health",
    "caelum_instance",
    "caelum_postgresql",
    "caelum_revision",
)


def documented(name: str) -> dict[str, Any]:
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-doc"), "-M", ROOT / "library", "-j", name],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found: dict[str, Any] = json.loads(done.stdout)[name]
    return found


def compare(spec: dict[str, Any], docs: dict[str, Any], where: str) -> None:
    """Fails unless argument specification and documentation say the same of every option."""
    assert sorted(spec) == sorted(docs), where
    for option, rules in spec.items():
        doc, here = docs[option], f"{where}.{option}"
        assert doc["description"], here
        assert rules.get("type", "str") == doc.get("type", "str"), here
        assert rules.get("required", False) == doc.get("required", False), here
        assert rules.get("default") == doc.get("default"), here
        assert rules.get("choices") == doc.get("choices"), here
        assert rules.get("elements") == doc.get("elements"), here
        compare(rules.get("options", {}), doc.get("suboptions", {}), here)


@pytest.mark.parametrize("name", MODULES)
def test_the_documentation_says_what_the_module_takes(name: str) -> None:
    page = documented(name)
    compare(load(name).SPEC, page["doc"]["options"], name)
    assert page["return"]
    examples = yaml.safe_load(page["examples"])
    assert all(name in task for task in examples)


def login_to(server: Server) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "dbname": "played",
        "user": "pim_owner",
        "password": server.passwords["pim_owner"],
    }


def provisioning(server: Server) -> dict[str, Any]:
    """Options of `caelum_database` for a database with the release's schema."""
    roles = [{"name": role, "password": server.passwords[role]} for role in ("pim_owner", "pim_user")]
    admin = {"host": "127.0.0.1", "port": server.port, "password": server.passwords["postgres"]}
    migrate = {
        "command": [sys.executable, "-m", "pim.migrate"],
        "migrations": str(ROOT / "services/pim/src/pim/migrations/versions"),
    }
    return {"admin": admin, "name": "played", "connect": ["pim_user"], "roles": roles, "migrate": migrate}


def recording(login: dict[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of `caelum_deployment` that open and close one deployment."""
    closing = {
        "state": "closed",
        "database": login,
        "ids": "{{ opened.ids }}",
        "fencing_token": "{{ opened.fencing_token }}",
        "status": "success",
        "after_change": True,
        "journal": str(folder / "journal"),
    }
    opening = {
        "state": "opened",
        "database": login,
        "service": "fincoll",
        "version": "v1.1.0",
        "components": [{"component": "fincoll", "host": "localhost"}],
    }
    return opening, closing


def tasks(server: Server, folder: Path) -> list[dict[str, Any]]:
    """A deployment in small: database, lock, configuration, model, and the end of it."""
    login = login_to(server)
    config = {"service": "fincoll", "version": "v1.1.0", "environment": "dev", "config": {"port": 8001}}
    token = {"name": "pim", "sha256": hashlib.sha256(b"a token").hexdigest()}
    opening, closing = recording(login, folder)
    return [
        {"name": "database", "caelum_database": provisioning(server)},
        {"name": "config", "caelum_config": {"database": login, "configs": [config], "tokens": [token]}},
        {"name": "open", "caelum_deployment": opening, "register": "opened"},
        {"name": "close", "caelum_deployment": closing, "when": "not ansible_check_mode"},
        {
            "name": "model",
            "caelum_model": {"database": login, "job": "llm1-tech", "checkpoints": str(folder), "state": "pruned"},
        },
        {
            "name": "health",
            "caelum_health": {
                "instances": [{"name": "fincoll@stable", "url": "http://127.0.0.1:1"}],
                "passes": 1,
                "timeout": 0,
                "host": "fin-44",
            },
            "failed_when": False,
        },
    ]


def test_the_modules_run_in_a_playbook_and_tell_no_secret(postgres_server: Server, tmp_path: Path) -> None:
    try:
        first = run_playbook(tmp_path, tasks(postgres_server, tmp_path), "-vvv", "--diff")
        assert first.returncode == 0, first.stdout
        assert "fincoll@stable on fin-44 is not ready after 0 s: http://127.0.0.1:1/ready refuses" in first.stdout
        assert "[WARNING]" not in first.stdout + first.stderr
        for password in postgres_server.passwords.values():
            assert password not in first.stdout + first.stderr
        idle = [task for task in tasks(postgres_server, tmp_path) if task["name"] not in {"open", "close"}]
        again = run_playbook(tmp_path, idle)
        assert "changed=0" in again.stdout, again.stdout
    finally:
        postgres_server.sudo(sql.SQL("DROP DATABASE IF EXISTS played WITH (FORCE)").format())


@pytest.mark.parametrize(
    ("prefix", "log", "stop"),
    [
        ("/", "journalctl -u fincoll@stable", "`systemctl stop fincoll@stable`"),
        ("/opt/x", "make logs COMPONENT=fincoll", "`make down`"),
    ],
)
def test_a_fincoll_that_does_not_obey_is_told_with_what_works_where_it_runs(prefix: str, log: str, stop: str) -> None:
    module = load("caelum_halt")
    for state, contrary, remedy in (("resumed", "halted", log), ("halted", "serving", stop)):
        answer = module.Answer("fincoll@stable", contrary, "it says so")
        wrong, _ = module.complaints([answer], {"state": state, "host": "a", "timeout": 2.0, "prefix": prefix})
        assert remedy in wrong[0]
