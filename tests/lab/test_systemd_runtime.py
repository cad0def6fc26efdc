"""The runtime `systemd` on a real host: what is applied runs, only what changed restarts, and boots bring it back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from support.systemd_host import SystemdHost, instance, job, systemd_host

pytestmark = pytest.mark.lab

TINY = ("tiny.service", "tiny@stable.service", "tiny@stable.socket")


@pytest.fixture(scope="module")
def booted() -> Iterator[SystemdHost]:
    with systemd_host("runtime") as have:
        yield have


@pytest.fixture
def host(booted: SystemdHost) -> Iterator[SystemdHost]:
    """The host with both services and the job."""
    answer = booted.apply(instance(), instance("other@stable", 8092), job())
    assert "refused" not in answer, answer
    assert booted.ask(8091)
    yield booted
    assert "refused" not in booted.apply(state="absent", services=[], instances=[])


def test_what_is_applied_runs_and_is_enabled_and_a_second_time_there_is_nothing_to_do(host):
    assert host.ask(8091) == "v1.0.0"
    assert host.is_active(*TINY, "tiny@nightly.timer") == ["active"] * 4
    enabled = host.run(["systemctl", "is-enabled", *TINY, "tiny@nightly.timer"]).split()
    assert enabled == ["enabled"] * 4
    again = host.apply(instance(), instance("other@stable", 8092), job())
    assert again["steps"] == []
    assert again["instances"]["tiny@stable"]["unit"] == "tiny@stable.service"


def test_an_upgrade_restarts_what_changed_alone_and_refuses_no_caller(host):
    pid = "systemctl show -p MainPID --value other@stable"
    before = host.run(["sh", "-c", pid])
    load = "import time, urllib.request as u\nend = time.time() + 6\nwhile time.time() < end:\n"
    load += " print(u.urlopen('http://127.0.0.1:8091/', timeout=5).read().decode().strip())\n"
    answers: list[str] = []
    caller = threading.Thread(target=lambda: answers.extend(host.run(["python3", "-c", load]).split()))
    caller.start()
    answer = host.apply(instance(release="v1.1.0"), instance("other@stable", 8092), job())
    caller.join()
    applied = [step for step in answer["steps"] if step.startswith("apply")]
    assert applied == ["apply tiny@stable (release v1.0.0 -> v1.1.0, restart)"]
    assert answers[-1] == "v1.1.0"  # the caller would have died of the first refusal
    assert host.run(["sh", "-c", pid]) == before


def test_exit_78_is_final_and_closes_the_socket(host):
    host.apply(instance(settings={"REFUSAL": "yes"}), instance("other@stable", 8092), job())
    for _ in range(20):
        if host.is_active("tiny@stable.service") == ["failed"]:
            break
    assert host.is_active(*TINY) == ["inactive", "failed", "inactive"]
    assert host.ask(8091, seconds=0) == ""
    assert host.is_active("tiny@stable.service") == ["failed"], "a connection has started it again"
    report = host.apply(instance(settings={"REFUSAL": "yes"}), instance("other@stable", 8092), job(), check=True)
    assert report["instances"]["tiny@stable"]["exit_status"] == 78
    assert host.apply(instance(), instance("other@stable", 8092), job())["steps"]
    assert host.ask(8091) == "v1.0.0"
    assert host.is_active(*TINY) == ["active"] * 3


@pytest.mark.parametrize("unit", ["tiny.service", "tiny@stable.service"])
def test_an_operators_stop_closes_the_socket_too_and_a_start_brings_all_back(host, unit):
    host.run(["systemctl", "stop", unit])
    for _ in range(20):
        if host.is_active(*TINY) == ["inactive"] * 3:
            break
    assert host.is_active(*TINY) == ["inactive"] * 3
    host.run(["systemctl", "start", "tiny.service"])
    assert host.ask(8091) == "v1.0.0"
    assert host.is_active(*TINY) == ["active"] * 3


def test_a_crash_is_restarted_behind_an_open_socket(host):
    host.run(["systemctl", "kill", "-s", "KILL", "tiny@stable.service"])
    assert host.ask(8091, seconds=0) == "v1.0.0"


def test_what_is_no_longer_listed_is_stopped_and_leaves_nothing(host):
    host.apply(instance(), job())
    assert host.is_active("other@stable.service", "other@stable.socket", "other.service") == ["inactive"] * 3
    assert "other" not in host.run(["find", "/etc/systemd/system", "/etc/caelum", "-name", "other*"])


def test_a_moved_port_closes_the_old_one(host):
    host.apply(instance(port=8095), instance("other@stable", 8092), job())
    assert host.ask(8095) == "v1.0.0"
    assert host.ask(8091, seconds=0) == ""


def test_a_port_that_somebody_else_has_and_a_calendar_that_is_none_are_refused_before_anything_changes(host):
    host.run(["systemd-run", "--quiet", "--unit=squatter", "python3", "-m", "http.server", "8099"])
    assert host.ask(8099)
    answer = host.apply(instance(port=8099), instance("other@stable", 8092), job())
    host.run(["systemctl", "stop", "squatter"])
    assert "cannot listen on port 8099" in answer["refused"]
    timer = {"calendar": "Mon..Fry 18:00"}
    answer = host.apply(instance(), instance("other@stable", 8092), job(timer=timer))
    assert "Failed to parse calendar specification" in answer["refused"]
    assert host.ask(8091) == "v1.0.0"


def test_every_unit_is_rated_as_safe(host):
    for unit in ("tiny@stable.service", "tiny@nightly.service"):
        said = host.run(["systemd-analyze", "security", "--no-pager", unit])
        assert float(said.rpartition(": ")[2].split()[0]) <= 1.5


def test_a_reboot_brings_everything_back(host):
    assert host.lab.reboot(host.host.name) in {"running", "degraded"}
    assert host.ask(8091) == "v1.0.0"
    assert host.ask(8092) == "v1.0.0"
    assert host.is_active(*TINY, "tiny@nightly.timer") == ["active"] * 4
    assert host.apply(instance(), instance("other@stable", 8092), job())["steps"] == []
