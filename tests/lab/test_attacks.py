"""Twelve attacks: each works from a unit that confines nothing, and none from within a deployed service's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tools.lab.host import Host

from support.attacks import confine
from support.fleet import FINCOLL, PIM, Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

UNITS = {
    PIM: ("pim-web", "pim-worker", "senvec@news", "senvec@aggregator", "finvec-train@llm1", "finvec-gpu"),
    FINCOLL: ("fincoll@stable", "finvec-gpu"),
}
REAPER = "caelum-reaper"
VICTIMS = ("senvec@social", "pim-web", "fincoll@stable", "chrony")
SHARE = "/home/rford/caelum/ss"
PORT = 8199
# What a controller holds, where it is one of the hosts; the last two, so that no host goes without such.
PLANTED = (
    "/root/.ssh/id_ed25519",
    "/home/rford/.ssh/id_ed25519",
    "/root/caelum/inventory/production/group_vars/all/vault.yml",
    "/etc/caelum/credentials/other@stable/token",
    "/var/lib/caelum/revisions/other/token",
)
# Credentials and revisions that the host really has; its code, and where journal and units are.
FOUND = """
import glob, json
def all(*patterns):
    return sorted(path for pattern in patterns for path in glob.glob(pattern))
print(json.dumps({
    "secrets": all("/etc/caelum/credentials/*/*", "/run/credentials/[cpsf]*/[a-z]*", "/var/lib/caelum/revisions/*/*"),
    "code_folders": all("/opt/caelum/*/releases/*", "/opt/caelum/*/slots"),
    "code_files": all("/opt/caelum/*/releases/*/manifest.json"),
    "journals": all("/var/log/journal/*", "/run/log/journal/*"),
    "unit_folders": ["/etc/systemd/system", "/run/systemd/system"],
}))
"""

Attack = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="module", params=UNITS)
def host(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host of the fleet, with a controller's secrets on it for as long as it is attacked."""
    have = fleet.machines[request.param]
    made = have.run(["mkdir", "-pv", *(path.rpartition("/")[0] for path in PLANTED)]).stdout.splitlines()
    have.run(["sh", "-c", 'for path; do umask 077; echo secret > "$path"; done', "-", *PLANTED])
    yield have
    have.run(["rm", *PLANTED])
    have.run(["rmdir", *(line.split("'")[1] for line in reversed(made))])


@pytest.fixture(scope="module")
def attack(host: Host) -> Attack:
    """Runs the attacks under a unit's text as the user called so, against the processes of all others."""
    targets = json.loads(said(host, "python3", "-c", FOUND))
    share = said(host, "sh", "-c", f"ls {SHARE}/.*.json").split()
    targets |= {"share_credentials": share, "keys": ["/root/.ssh/authorized_keys", *PLANTED[:3]], "free_port": PORT}
    victims = {pid: said(host, "ps", "-o", "user:32=", "-p", pid).strip() for pid in pids(host)}
    assert all(targets.values())
    assert len(set(victims.values())) > 1

    def run(text: str, user: str) -> dict[str, Any]:
        others = [int(pid) for pid, owner in victims.items() if owner != user]
        return confine.attack(
            lambda words, given=None: host.run(words, given=given).stdout, text, {**targets, "victim_pids": others}
        )

    return run


def test_each_attack_works_where_nothing_is_confined(attack: Attack) -> None:
    found = attack(confine.CONTROL, "")["attacks"]
    assert len(found) == 12
    assert ways(found, lambda came: came != "succeeded") == {}


def test_no_attack_works_from_within_a_service(host: Host, attack: Attack) -> None:
    for unit in UNITS[host.name]:
        user = f"caelum-{unit.partition('-')[0].partition('@')[0]}"
        answer = attack(said(host, "cat", f"/etc/systemd/system/{unit}.service"), user)
        assert answer["uid"] == int(said(host, "id", "-u", user)), unit
        assert_harmless(unit, answer["attacks"])


def test_no_attack_works_from_within_the_reaper_though_it_is_root(host: Host, attack: Attack) -> None:
    if host.name != PIM:
        pytest.skip("the reaper runs beside PIM alone")
    answer = attack(said(host, "cat", f"/etc/systemd/system/{REAPER}.service"), "")
    assert answer["uid"] == 0
    assert_harmless(REAPER, answer["attacks"])


def assert_harmless(unit: str, found: dict[str, dict[str, str]]) -> None:
    """All twelve came to nothing, those that a sandbox refuses by the sandbox itself."""
    assert len(found) == 12, unit
    assert ways(found, lambda came: came == "succeeded") == {}, unit
    assert found["load a module"] == {"finit_module": "EPERM"}, unit
    assert found["open a listening port elsewhere"] == {f"port {PORT}": "EPERM"}, unit


def ways(found: dict[str, dict[str, str]], which: Callable[[str], bool]) -> dict[tuple[str, str], str]:
    """The ways of attacks of which came what is asked for."""
    return {(name, way): came for name, tried in found.items() for way, came in tried.items() if which(came)}


def pids(host: Host) -> list[str]:
    """Main processes of those of VICTIMS that the host runs."""
    units = [f"{name}.service" for name in VICTIMS]
    shown = said(host, "systemctl", "show", "-p", "MainPID", "--value", *units).split()
    return [pid for pid in shown if pid != "0"]


def said(host: Host, *words: str) -> str:
    """What a command on the host prints."""
    return host.run(words).stdout
