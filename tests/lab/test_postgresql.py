"""Debian's PostgreSQL on a real host, kept by the role: who gets in, what a second run does, and what goes wrong."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.lab import Machines, machines

pytestmark = pytest.mark.lab

SERVER, PIM, STRANGER = "10.255.255.254", "10.32.3.27", "10.32.3.44"
PORT = 15433
CONTROLLER = "10.255.255.1/32"
ADMIN, OWNER, USER = "admins-own", "owners-own", "users-own"
VARIABLES: dict[str, Any] = {
    "caelum_inventory": "trial",
    "caelum_runtime": "systemd",
    "caelum_prefix": "/",
    "caelum_database_address": SERVER,
    "caelum_database_port": PORT,
    "postgresql_mode": "installed",
    "postgresql_allowed": [CONTROLLER],
    "ansible_python_interpreter": "/usr/bin/python3",
    "vault_postgresql_admin_password": ADMIN,
    "vault_pim_owner_password": OWNER,
    "vault_pim_user_password": USER,
}


@pytest.fixture(scope="module")
def three() -> Iterator[Machines]:
    with machines("pg", {"db": SERVER, "near": PIM, "stranger": STRANGER}) as have:
        yield have


@pytest.fixture(scope="module")
def play(three: Machines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A playbook of the role alone, beside an inventory of three hosts."""
    folder = tmp_path_factory.mktemp("trial")
    hosts = {
        name: {"ansible_host": address, "caelum_address": address}
        for name, address in (("db", SERVER), ("near", PIM), ("stranger", STRANGER))
    }
    groups = {"database": {"hosts": {"db": None}}, "pim": {"hosts": {"near": None}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": groups, "vars": VARIABLES}}))
    role = {"hosts": "database", "gather_facts": False, "roles": ["postgresql"], "vars": {"__release_wanted": []}}
    (folder / "play.yml").write_text(yaml.safe_dump([role]))
    return folder / "play.yml"


def run(three: Machines, play: Path, *words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The role, for a service that needs no schema."""
    given = ["-e", json.dumps({"service": "fincoll", **settings})]
    return three.playbook("-i", str(play.with_name("hosts.yml")), str(play), *given, *words)


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks changed something; fails with the output where the play did."""
    assert done.returncode == 0, done.stdout + done.stderr
    return sum(int(count) for count in re.findall(r"changed=(\d+)", done.stdout)) or done.stdout.count("changed: [")


def pid(three: Machines) -> str:
    return three["db"].run(["head", "-1", "/var/lib/postgresql/15/main/postmaster.pid"]).stdout


def enter(
    three: Machines, name: str, user: str, password: str, *, sslmode: str = "require", database: str = "pim_database"
) -> str:
    """What psql on host `name` answers, or says."""
    address = f"host={SERVER} port={PORT} dbname={database} user={user} sslmode={sslmode} connect_timeout=5"
    asked = ["env", f"PGPASSWORD={password}", "psql", "-XAtq", address, "-c", "SELECT current_user"]
    done = three[name].run(asked, check=False)
    return (done.stdout or done.stderr).strip()


@pytest.fixture(scope="module")
def kept(three: Machines, play: Path) -> Machines:
    """The server, made by the role."""
    before = three["db"].run(["find", "/etc/postgresql", "-type", "f"]).stdout
    assert changed(run(three, play, "--check", "--diff", "--tags", "postgresql")) > 0
    assert three["db"].run(["find", "/etc/postgresql", "-type", "f"]).stdout == before
    assert changed(run(three, play)) > 0
    return three


def test_a_second_run_and_a_rehearsal_change_nothing(kept: Machines, play: Path) -> None:
    was = pid(kept)
    assert changed(run(kept, play)) == 0
    assert changed(run(kept, play, "--check", "--diff")) == 0
    assert pid(kept) == was


def test_only_the_inventorys_roles_enter_only_from_where_they_are_and_only_by_tls(kept: Machines) -> None:
    assert enter(kept, "near", "pim_user", USER) == "pim_user"
    assert "no encryption" in enter(kept, "near", "pim_user", USER, sslmode="disable")
    assert "password authentication failed" in enter(kept, "near", "pim_user", "guessed")
    assert "no pg_hba.conf entry" in enter(kept, "near", "pim_user", USER, database="postgres")
    assert "no pg_hba.conf entry" in enter(kept, "near", "nobody", USER)
    assert "no pg_hba.conf entry" in enter(kept, "stranger", "pim_user", USER)
    assert "no pg_hba.conf entry" in enter(kept, "stranger", "postgres", ADMIN, database="postgres")


def test_files_are_the_servers_own_and_nothing_secret_is_in_its_log(kept: Machines) -> None:
    folder = "/etc/postgresql/15/main"
    files = [f"{folder}/{name}" for name in ("caelum.key", "pg_hba.conf", "conf.d/caelum.conf")]
    assert kept["db"].run(["stat", "-c", "%U %a", *files]).stdout.split("\n")[:3] == [
        "postgres 600", "postgres 640", "postgres 644"
    ]  # fmt: skip
    said = kept["db"].run(["sh", "-c", "cat /var/log/postgresql/*.log; journalctl --no-pager"]).stdout
    assert not [secret for secret in (ADMIN, OWNER, USER, "SCRAM-SHA-256$") if secret in said]
    unit = kept["db"].run(["systemd-analyze", "verify", "postgresql@15-main.service"], check=False)
    assert "caelum.conf" not in unit.stderr


def test_a_setting_is_reloaded_where_that_is_enough_and_restarts_the_server_where_not(
    kept: Machines, play: Path
) -> None:
    was = pid(kept)
    assert changed(run(kept, play, postgresql_work_mem="6MB")) == 1
    assert pid(kept) == was
    assert changed(run(kept, play, postgresql_shared_buffers="20MB")) == 1
    assert pid(kept) != was
    assert changed(run(kept, play)) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"work_mem": "plenty"}, 'invalid value for parameter "work_mem"'),
        ({"no_such": "1"}, 'unrecognized configuration parameter "no_such"'),
        ({"shared_preload_libraries": "absent"}, 'could not access file "absent"'),
    ],
)
def test_a_setting_that_the_server_does_not_take_leaves_it_as_it_was(
    kept: Machines, play: Path, settings: dict[str, str], words: str
) -> None:
    refused = run(kept, play, postgresql_settings=settings)
    assert refused.returncode != 0
    assert words in refused.stdout + refused.stderr
    assert enter(kept, "near", "pim_user", USER) == "pim_user"
    assert changed(run(kept, play)) == 0


def test_what_was_changed_by_hand_is_put_back(kept: Machines, play: Path) -> None:
    folder = "/etc/postgresql/15/main"
    kept["db"].run(["sh", "-c", f"echo 'host all all all trust' >> {folder}/pg_hba.conf"])
    kept["db"].run(["systemctl", "stop", "postgresql@15-main"])
    kept["db"].run(["chmod", "644", f"{folder}/caelum.key"])
    assert changed(run(kept, play)) > 0
    assert "no pg_hba.conf entry" in enter(kept, "stranger", "pim_user", USER)
    assert kept["db"].run(["stat", "-c", "%a", f"{folder}/caelum.key"]).stdout == "600\n"
    assert changed(run(kept, play)) == 0


def test_somebody_elses_databases_are_not_taken_over(kept: Machines, play: Path) -> None:
    psql = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-p", str(PORT), "-c"]
    kept["db"].run([*psql, "CREATE DATABASE payroll"])
    conf = "/etc/postgresql/15/main/conf.d/caelum.conf"
    kept["db"].run(["mv", conf, "/root/kept"])
    try:
        refused = run(kept, play)
        assert "holds other databases (payroll)" in refused.stdout + refused.stderr
    finally:
        kept["db"].run(["mv", "/root/kept", conf])
        kept["db"].run([*psql, "DROP DATABASE payroll"])


def test_after_a_reboot_it_listens_at_its_address_again(kept: Machines, play: Path) -> None:
    kept.reboot("db")
    assert enter(kept, "near", "pim_user", USER) == "pim_user"
    assert changed(run(kept, play)) == 0
