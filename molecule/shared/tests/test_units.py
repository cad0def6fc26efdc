"""What systemd runs on each host: units, sockets, timers, users, limits."""

from __future__ import annotations

import pytest
from fleet import Fleet, machines, shown, units


def test_nothing_has_failed_on_any_host(fleet: Fleet) -> None:
    for name in machines(fleet):
        assert fleet.host(name).run("systemctl is-system-running").stdout.strip() == "running", name


def test_every_service_runs_as_its_own_user_and_starts_with_the_host(fleet: Fleet) -> None:
    for name in machines(fleet):
        host = fleet.host(name)
        for unit, user, _ in units(fleet, name):
            service = host.service(f"{unit}.service")
            assert service.is_running, (name, unit)
            state = shown(host, f"{unit}.service", "User", "NRestarts")
            assert state["User"] == user, (name, unit)
            assert state["NRestarts"] == "0", (name, unit)
            starts = shown(host, f"{unit}.service", "UnitFileState", "TriggeredBy", "WantedBy", "RequiredBy", "BoundBy")
            assert starts["UnitFileState"] == "enabled" or any(
                starts[key] for key in ("WantedBy", "RequiredBy", "BoundBy")
            ), (name, unit, starts)


def test_every_port_is_held_by_a_socket_unit_on_the_hosts_own_address(fleet: Fleet) -> None:
    for name in machines(fleet):
        host, address = fleet.host(name), fleet.address(name)
        for unit, _, port in units(fleet, name):
            if port is not None:
                assert host.service(f"{unit}.socket").is_running, (name, unit)
                assert host.socket(f"tcp://{address}:{port}").is_listening, (name, unit)


def test_operators_start_and_stop_services_by_one_name(fleet: Fleet) -> None:
    assert fleet.host(fleet.first("senvec")).service("senvec.target").is_running
    assert fleet.host(fleet.first("pim")).service("pim.target").is_running
    assert fleet.host(fleet.first("fincoll")).service("fincoll.service").is_running


def test_memory_is_limited_as_the_specification_says(fleet: Fleet) -> None:
    gib = 1 << 30
    pim, senvec, fincoll = (fleet.host(fleet.first(name)) for name in ("pim", "senvec", "fincoll"))
    slices = [(pim, "pim-web.service"), (senvec, "senvec@news.service")]
    for host, unit in slices:
        of = shown(host, unit, "Slice")["Slice"]
        assert shown(host, of, "MemoryMax")["MemoryMax"] == str(gib), of
    assert shown(fincoll, "fincoll@stable.service", "MemoryMax")["MemoryMax"] == str(2 * gib)


def test_trainings_wait_for_the_close_in_new_york(fleet: Fleet) -> None:
    jobs = {name: fleet.variables[name].get("finvec_jobs", ["llm1-tech"]) for name in fleet.groups["finvec"]}
    with_jobs = [name for name, known in jobs.items() if "llm1-tech" in known]
    assert with_jobs
    for name in fleet.groups["finvec"]:
        timer = fleet.host(name).service("finvec-train@llm1.timer")
        assert timer.is_running == (name in with_jobs), name
    for name in with_jobs:
        host = fleet.host(name)
        state = shown(host, "finvec-train@llm1.timer", "NextElapseUSecRealtime", "TimersCalendar")
        assert state["NextElapseUSecRealtime"], name
        assert "America/New_York" in state["TimersCalendar"], name
        job = shown(host, "finvec-train@llm1.service", "Type", "RuntimeMaxUSec", "User")
        assert job["Type"] == "exec"
        assert job["RuntimeMaxUSec"] != "infinity"
        assert job["User"] == "caelum-finvec"


def test_every_unit_scores_what_the_aim_is(fleet: Fleet) -> None:
    """Root's too; what keeps a unit from a better score stands in its file, and is printed here."""
    worse = {}
    for name in machines(fleet):
        host = fleet.host(name)
        for file in host.check_output("grep -l ^Instance= /etc/systemd/system/*.service").split():
            unit, text = file.rpartition("/")[2], host.file(file).content_string
            said = host.check_output("systemd-analyze security --no-pager %s", unit)
            level = float(said.strip().splitlines()[-1].split(":")[1].split()[0])
            why = [line.removeprefix("# ") for line in text.splitlines()[1:] if line.startswith("# ")]
            print(f"{name} {unit}: {level}", *why, sep="\n  ")
            if level > 1.5:
                worse[name, unit] = level
    assert worse == {}


@pytest.mark.parametrize("name", ["journald.conf.d"])
def test_the_journal_is_limited(fleet: Fleet, name: str) -> None:
    for machine in machines(fleet):
        said = fleet.host(machine).check_output("cat /etc/systemd/%s/*.conf", name)
        assert "SystemMaxUse=" in said, machine
