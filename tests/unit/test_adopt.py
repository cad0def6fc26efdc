"""Who keeps a process running, what of it may be written down, and how the report reads."""

from pathlib import Path

import pytest
from ansible.module_utils.caelum.adopt import looks, schema, secrets, words
from ansible.module_utils.caelum.adopt.supervisors import (
    Group,
    Supervisor,
    classify,
    god_home,
    parse_cgroup,
    proxied_port,
)
from ansible.module_utils.caelum.adopt.tables import with_words
from ansible.module_utils.caelum.errors import Refused

from support.ansible_path import ROOT

ID = "4f1c0e9d2b7a6c5d8e3f4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d"
MIGRATIONS = ROOT / "services/pim/src/pim/migrations/versions"

# Recorded from hosts with control groups of version 1, of both, and of version 2.
V1 = """\
12:pids:{0}
11:cpuset:/
10:memory:{0}
1:name=systemd:{0}
"""
HYBRID = V1 + "0::{0}\n"
V2 = "0::{0}\n"
DOCKER_V1 = f"""\
12:pids:/docker/{ID}
11:memory:/docker/{ID}
1:name=systemd:/docker/{ID}
0::/system.slice/containerd.service
"""


@pytest.mark.parametrize("text", [V1, HYBRID, V2])
def test_a_unit_is_found_in_every_version_of_control_groups(text: str) -> None:
    assert parse_cgroup(text.format("/system.slice/fincoll.service")) == Group(unit="fincoll.service")
    inside = parse_cgroup(text.format("/system.slice/system-senvec.slice/senvec@news.service"))
    assert inside == Group(unit="senvec@news.service")
    mine = parse_cgroup(text.format("/user.slice/user-1000.slice/user@1000.service/app.slice/fincoll.service"))
    assert mine == Group(unit="fincoll.service", manager_uid=1000)
    shell = parse_cgroup(text.format("/user.slice/user-1000.slice/session-3.scope"))
    assert shell == Group()


@pytest.mark.parametrize(
    "text",
    [
        DOCKER_V1,
        f"1:name=systemd:/system.slice/docker-{ID}.scope\n",
        f"0::/system.slice/docker-{ID}.scope\n",
        f"0::/docker/{ID}\n",
        f"0::/system.slice/docker-{ID}.scope/init\n",
        f"0::/machine.slice/libpod-{ID}.scope/container\n",
    ],
)
def test_a_container_is_found_in_every_version_of_control_groups(text: str) -> None:
    assert parse_cgroup(text) == Group(container=ID)


def test_the_terminals_of_people_and_the_daemons_of_others_are_no_services() -> None:
    """To stop ssh.service, in which a shell's children live, would end far more than the process."""
    for unit in ("ssh.service", "sshd.service", "cron.service", "docker.service", "user@0.service", "pm2-root.service"):
        assert classify(Group(unit=unit), [], {}) == Supervisor("hand")
    over_ssh = classify(Group(unit="ssh.service"), [["-bash"], ["sshd: jane@pts/0"], ["/usr/sbin/sshd", "-D"]], {})
    assert str(over_ssh) == "by hand (ssh)"
    assert str(classify(Group(), [["-bash"], ["tmux: server"]], {})) == "by hand (tmux)"


def test_each_supervisor_is_told_from_the_others() -> None:
    god = ["PM2 v5.4.3: God Daemon (/home/rford/.pm2)"]
    assert god_home(god) == "/home/rford/.pm2"
    assert classify(Group(unit="pm2-rford.service"), [god], {"name": "pim"}) == Supervisor("pm2", "pim")
    assert classify(Group(unit="fincoll.service"), [], {}) == Supervisor("systemd", "fincoll.service")
    assert classify(Group(unit="x.service", manager_uid=1000), [], {}) == Supervisor("systemd-user", "x.service")
    assert classify(Group(container=ID), [god], {}) == Supervisor("docker", ID[:12])
    proxy = ["/usr/bin/docker-proxy", "-proto", "tcp", "-host-port", "8001", "-container-ip", "172.17.0.2"]
    assert proxied_port(proxy) == 8001
    assert proxied_port(["python3", "-m", "fincoll.server"]) is None
    assert classify(Group(unit="docker.service"), [], {}, "fincoll-1") == Supervisor("docker", "fincoll-1")


def test_a_process_that_looks_like_a_service_of_old_is_told_from_a_stranger() -> None:
    assert looks.looks_like(["python -m fincoll.server", "/home/rford"]) == "fincoll"
    assert looks.looks_like(["node dist/index.js", "/home/rford/caelum/ss/PassiveIncomeMaximizer"]) == "pim"
    assert looks.looks_like(["python main.py", "", "senvec@news.service"]) == "senvec"
    assert looks.looks_like(["node server.js", "/srv", "", "pim"]) == "pim"
    assert looks.looks_like(["nc -l 8001", "/root", "", "pimento"]) == ""


def test_no_secret_of_an_environment_is_kept() -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PWD": "/opt/fincoll",
        "FINCOLL_PORT": "8001",
        "SENVEC_API_URL": "http://10.32.3.27:18000",
        "CREDENTIALS_DIR": "/home/rford/caelum/ss",
        "DATABASE_URL": "postgresql://pim_user:hush@10.255.255.254:5432/pim_database",
        "SOME_URL": "http://jane:hush@10.32.3.27/",
        "TRADESTATION_TOKEN": "hush",
        "ODD": "ghp9f8e7d6c5b4a39281706f5e4d3c",
    }
    kept, left = secrets.kept(environment)
    assert left == ["DATABASE_URL", "ODD", "SOME_URL", "TRADESTATION_TOKEN"]
    assert set(kept) == {"PATH", "PWD", "FINCOLL_PORT", "SENVEC_API_URL", "CREDENTIALS_DIR"}


def test_no_secret_of_a_command_line_is_shown() -> None:
    shown = secrets.shown(["python3", "-m", "pim", "--port", "5000", "--password", "hush", "--api-key=hush", "--token"])
    assert shown == [
        "python3",
        "-m",
        "pim",
        "--port",
        "5000",
        "--password",
        "(not kept)",
        "--api-key=(not kept)",
        "--token",
    ]
    assert secrets.shown(["psql", "postgresql://a:hush@b/c"]) == ["psql", "(not kept)"]
    plain = ["/opt/fincoll/.venv/bin/python", "-m", "fincoll.server", "--host=0.0.0.0", "postgresql://10.32.3.27/x"]
    assert secrets.shown(plain) == plain


def test_words_of_theirs_lead_to_words_of_ours_only() -> None:
    assert (
        with_words({"deployment_history.action": {"Ship": "deploy"}})["deployment_history.action"]["ship"] == "deploy"
    )
    with pytest.raises(Refused, match="choose one of degraded, down, healthy"):
        with_words({"service_health.status": {"meh": "fine"}})
    with pytest.raises(Refused, match=r"adopt_words has no field service_health\.state"):
        with_words({"service_health.state": {}})


def test_the_first_migration_is_read_without_alembic_and_leaves_it_importable() -> None:
    import alembic

    first = schema.first_migration(MIGRATIONS)
    assert first.revision == "0001"
    assert any("CREATE TABLE service_configs" in statement for statement in first.upgrade)
    assert any("DROP TABLE" in statement for statement in first.downgrade)
    import alembic as after

    assert after is alembic


def test_a_folder_without_a_first_migration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds 0 first migrations"):
        schema.first_migration(tmp_path)


PROCESS = {
    **{"service": "fincoll", "ports": [8001], "pid": 812, "user": "rford", "command": "python -m fincoll.server"},
    **{"supervisor": "systemd fincoll.service", "since": "2025-06-02T08:00:00Z", "version": "v1.0.0", "ours": False},
}
HOST = {
    **{"processes": [PROCESS], "steps": ["fincoll: disable and stop unit fincoll.service"], "obstacles": ["no"]},
    **{"adopted": [], "files": [{"path": "/ss/.t.json", "kind": "credentials", "mode": "0644", "open": True}]},
}
REPORT = {
    **{"server": "15.8", "server_zone": "Etc/UTC", "zone": "America/New_York", "stated": True, "revision": None},
    **{"adopted": "", "users": ["pim_user from 10.32.3.27"], "open": [7], "problems": ["a table models is there"]},
    "tables": [{"name": "service_health", "rows": 3, "types": {"id": "integer"}, "extra": ["owner"]}],
    "times": [
        {
            **{"table": "service_health", "column": "last_check", "type": "timestamp without time zone"},
            **{"first": "2025-03-09 02:30:00", "last": "2025-11-02 01:30:00", "first_after": "2025-03-09 07:30:00Z"},
            **{"last_after": "2025-11-02 06:30:00Z", "twice": 1, "never": 1},
        }
    ],
}


def test_the_report_tells_hosts_database_and_every_step() -> None:
    hosts = words.results(["fin-44", "gpu-22"], {"fin-44": {"r": HOST}, "gpu-22": {"r": {"msg": "cut off"}}}, "r")
    text = words.lines(hosts, {"report": REPORT})
    (row,) = [line for line in text if line.startswith("fin-44  fincoll")]
    assert "8001" in row
    assert "systemd fincoll.service" in row
    assert "  gpu-22: cut off" in text
    assert "  fin-44: in the way: no" in text
    assert "  fin-44: credentials /ss/.t.json, mode 0644, readable by others: `chmod 600` it" in text
    assert "  in the way: a table models is there" in text
    assert any("2025-03-09 02:30:00 → 2025-03-09 07:30:00Z" in line and "came twice" in line for line in text)
    steps = [line for line in text if line.lstrip()[:2] in {"1.", "2.", "3."}]
    assert len(steps) == 3
    assert "close 1 open rows as aborted" in steps[1]


def test_a_database_that_does_not_answer_keeps_no_host_from_the_report() -> None:
    text = words.lines([{"host": "fin-44", "result": HOST}], {"msg": "database pim_database does not answer"})
    assert "  database pim_database does not answer" in text
    assert any(line.startswith("fin-44  fincoll") for line in text)
