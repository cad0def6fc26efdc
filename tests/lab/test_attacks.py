"""Twelve attacks: each works from a unit that confines nothing, and none from within a service's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.attacks import confine
from support.systemd_host import SystemdHost, instance, job, systemd_host

pytestmark = pytest.mark.lab

UNITS = ("tiny@stable", "tiny@sharing", "tiny@nightly")
KEY, SHARE = "/etc/caelum/controller/key", "/home/rford/caelum/ss"
LENT = f"{SHARE}/.tradestation_token.json"


@pytest.fixture(scope="module")
def host() -> Iterator[SystemdHost]:
    """A host whose services are attacked: files that only modes protect belong to the attacker's own user."""
    with systemd_host("attacks") as have:
        sharing = instance("tiny@sharing", 8093, settings={"CAELUM_SHARE": SHARE})
        answer = have.apply(instance(), sharing, instance("other@stable", 8092), job())
        assert "refused" not in answer, answer
        assert have.ask(8092)
        for path in (KEY, LENT):
            have.run(["install", "-D", "-m", "600", "/dev/stdin", path], "secret")
        # its own user's: what keeps it away from there is the sandbox alone
        have.run(["chown", "caelum-tiny", LENT])
        yield have


@pytest.fixture(scope="module")
def targets(host: SystemdHost) -> dict[str, Any]:
    pid = host.run(["systemctl", "show", "-p", "MainPID", "--value", "other@stable.service"])
    release = "/opt/caelum/tiny/releases/v1.0.0"
    return {
        "victim_pid": int(pid),
        "secrets": ["/etc/caelum/credentials/other@stable/token", "/run/credentials/other@stable.service/token"],
        "code_folders": [release, "/opt/caelum/tiny/slots"],
        "code_files": [f"{release}/service.py"],
        "share_credentials": [LENT],
        "free_port": 8199,
        "journals": [host.run(["sh", "-c", "ls -d /var/log/journal/* /run/log/journal/* | head -1"]).strip()],
        "keys": [KEY, "/root/.ssh/authorized_keys"],
        "unit_folders": ["/etc/systemd/system", "/run/systemd/system"],
    }


def test_each_attack_works_where_nothing_is_confined(host, targets):
    found = confine.attack(host.run, confine.CONTROL, targets)["attacks"]
    assert len(found) == 12
    failed = {(name, way): came for name, ways in found.items() for way, came in ways.items() if came != "succeeded"}
    assert failed == {}


@pytest.mark.parametrize("unit", UNITS)
def test_no_attack_works_from_within_a_service(host, targets, unit):
    text = host.run(["cat", f"/etc/systemd/system/{unit}.service"])
    answer = confine.attack(host.run, text, targets)
    assert answer["uid"] == int(host.run(["id", "-u", "caelum-tiny"]))
    assert len(answer["attacks"]) == 12
    came = {(name, way): what for name, ways in answer["attacks"].items() for way, what in ways.items()}
    worked = [which for which, what in came.items() if what == "succeeded"]
    assert worked == []
    assert answer["attacks"]["load a module"] == {"finit_module": "EPERM"}
    assert answer["attacks"]["open a listening port elsewhere"] == {"port 8199": "EPERM"}
