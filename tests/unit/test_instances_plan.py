"""The plan of `caelum_instance`: what is done follows from what is asked for and what the host has, and only that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.instance.instances import parse
from ansible.module_utils.caelum.instance.layout import Layout
from ansible.module_utils.caelum.instance.native import Native
from ansible.module_utils.caelum.instance.planning import (
    Asked,
    Host,
    Plan,
    Present,
    Wanted,
    plan_present,
    plan_stopped,
    wanted,
)
from ansible.module_utils.caelum.instance.runtime import Leftover, Process, RuntimeState
from ansible.module_utils.caelum.instance.tree import Found
from ansible.module_utils.caelum.slots import Slots, slot_path

LAYOUT = Layout(Path("/srv/caelum"))
NATIVE = Native(LAYOUT)
RELEASES = ("v1.1.0", "v1.0.0")


def instance(name: str = "fincoll@stable", **more: Any) -> dict[str, Any]:
    """An instance as Ansible hands it over, defaults filled in."""
    defaults = {
        "component": None, "slot": None, "environment": {"LOG_LEVEL": "INFO"}, "credentials": {},
        "address": "127.0.0.1", "port": None, "port_variable": None, "user": None, "stop_signal": "TERM",
        "stop_wait": 5, "state": "started", "kind": "service", "priority": 500,
    }  # fmt: skip
    command = ["{python}", "-m", "fincoll.server"]
    return {"name": name, "service": "fincoll", "release": "v1.0.0", "command": command, **defaults, **more}


def items(*instances: dict[str, Any], build: str = "") -> tuple[Wanted, ...]:
    """The instances with their files."""
    return tuple(wanted(one, LAYOUT, NATIVE, build) for one in parse(instances, ["fincoll", "senvec"]))


def settled(asked: tuple[Wanted, ...], **processes: Process) -> Host:
    """A host on which `asked` was applied and runs; `processes` (by component) replace those that would run."""
    found = {file.path: Found(file.mode, 0, 0, file.content) for item in asked for file in item.files} | {
        item.directory.path: Found(item.directory.mode, 0, 0) for item in asked if item.directory
    }
    running = {
        item.instance.name: processes.get(item.instance.component)
        or Process("running", 4242, fingerprint=item.fingerprint, release=item.instance.release)
        for item in asked
        if item.program
    }
    slots = {item.instance.name: Slots(path_of(item), item.instance.release, RELEASES) for item in asked}
    present = {
        item.instance.name: Present(item.instance.service, (*(file.path for file in item.files), path_of(item)))
        for item in asked
    }
    programs = {item.instance.name: item.instance.wanted_running for item in asked if item.program}
    return Host(RuntimeState(alive=True, pid=1, processes=running), found, slots, present, programs)


def path_of(item: Wanted) -> Path:
    """The slot's link."""
    one = item.instance
    return slot_path(LAYOUT.prefix, one.service, one.component, one.slot)


def plan(asked: tuple[Wanted, ...], host: Host) -> Plan:
    """The plan for `asked` on `host`, whose slots know every instance asked for."""
    slots = {item.instance.name: Slots(path_of(item), "", RELEASES) for item in asked} | dict(host.slots)
    return plan_present(Asked(items=asked), replace(host, slots=slots), "supervisord")


def test_what_is_as_asked_for_gives_an_empty_plan():
    asked = items(instance(credentials={"key.json": "s3cret"}))
    outcome = plan(asked, settled(asked))
    assert not outcome
    assert outcome.steps() == []
    assert outcome.diff() == []
    assert outcome.changes == {"fincoll@stable": ()}


def test_a_first_run_starts_the_daemon_which_starts_the_programs_so_none_is_started_twice():
    outcome = plan(items(instance(), instance("fincoll@candidate")), Host(RuntimeState()))
    assert outcome.start_daemon == "start supervisord with fincoll@candidate, fincoll@stable"
    assert outcome.replace == ()
    assert [str(step[0].path.name) for step in outcome.switch] == ["fincoll@stable", "fincoll@candidate"]


def test_a_changed_setting_restarts_that_instance_alone():
    host = settled(items(instance(), instance("fincoll@candidate")))
    outcome = plan(items(instance(), instance("fincoll@candidate", environment={"LOG_LEVEL": "DEBUG"})), host)
    assert outcome.replace == ("fincoll@candidate",)
    assert outcome.changes == {"fincoll@stable": (), "fincoll@candidate": ("environment", "restart")}


def test_a_changed_credential_restarts_and_is_in_no_text():
    host = settled(items(instance(credentials={"key.json": "old-s3cret"})))
    outcome = plan(items(instance(credentials={"key.json": "new-s3cret"})), host)
    assert outcome.changes["fincoll@stable"] == ("credential key.json", "restart")
    assert "s3cret" not in f"{outcome.steps()}{outcome.diff()}{outcome!r}"
    assert {"(not shown)\n", "(not shown, changed)\n"} <= {side for diff in outcome.diff() for side in diff.values()}


def test_the_mark_that_credentials_go_into_is_not_in_the_diff():
    host = settled(items(instance(credentials={"key.json": "old"})))
    asked = items(instance(credentials={"key.json": "new"}))
    assert asked[0].fingerprint in asked[0].program.content
    assert asked[0].fingerprint not in str(plan(asked, host).diff())


def test_a_credential_no_longer_listed_is_removed():
    asked = items(instance(credentials={"a.json": "1", "b.json": "2"}))
    outcome = plan(items(instance(credentials={"a.json": "1"})), settled(asked))
    assert [path.name for path in outcome.remove] == ["b.json"]
    assert outcome.changes["fincoll@stable"] == ("b.json removed", "restart")


def test_another_release_switches_the_slot_and_restarts():
    host = settled(items(instance()))
    outcome = plan(items(instance(release="v1.1.0")), host)
    assert "switch fincoll@stable from v1.0.0 to v1.1.0" in outcome.steps()
    assert outcome.changes["fincoll@stable"] == ("release v1.0.0 -> v1.1.0", "restart")


def test_the_same_version_built_again_restarts():
    host = settled(items(instance(), build='{"commit": "a"}'))
    outcome = plan(items(instance(), build='{"commit": "b"}'), host)
    assert outcome.changes["fincoll@stable"] == ("restart, it runs with older settings or an older build",)


def test_an_incomplete_release_is_refused_and_the_known_are_named():
    with pytest.raises(Refused, match=r"release 'v2.0.0' is not complete .* known: v1.1.0, v1.0.0"):
        plan(items(instance(release="v2.0.0")), Host(RuntimeState()))


@pytest.mark.parametrize(
    ("process", "change"),
    [
        (Process("exited", exit_status=78), "start, it was exited"),
        (Process("fatal"), "start, it was fatal"),
        (Process("backoff"), "start, it was backoff"),
        (Process("stopped"), "start"),
        (Process("running", 7, release="v0.9.0"), "restart, it runs release v0.9.0"),
        (Process("running", 7, fingerprint="0"), "restart, it runs with older settings or an older build"),
    ],
)
def test_a_process_that_is_not_what_the_files_say_is_set_right(process, change):
    asked = items(instance())
    outcome = plan(asked, settled(asked, fincoll=process))
    assert outcome.changes["fincoll@stable"] == (change,)
    assert outcome.replace == ("fincoll@stable",)


def test_a_process_whose_environment_cannot_be_read_is_left_alone():
    asked = items(instance())
    assert not plan(asked, settled(asked, fincoll=Process("running", 7)))


def test_what_is_no_longer_listed_is_retired_and_removed_whole():
    host = settled(items(instance(), instance("fincoll@candidate", credentials={"key.json": "1"})))
    outcome = plan(items(instance()), host)
    assert outcome.retire == ("fincoll@candidate",)
    assert {path.name for path in outcome.remove} == {
        "fincoll@candidate.env", "fincoll@candidate.conf", "key.json", "fincoll@candidate",
    }  # fmt: skip
    assert outcome.replace == ()
    assert outcome.changes == {"fincoll@stable": (), "fincoll@candidate": ("removed",)}


def test_a_job_has_settings_and_a_slot_and_no_program():
    outcome = plan(items(instance(kind="job", command=None)), Host(RuntimeState()))
    assert [change.file.path.name for change in outcome.write] == ["fincoll@stable.env"]
    assert not outcome.start_daemon
    assert len(outcome.switch) == 1


def test_a_changed_setting_of_a_job_touches_no_process():
    host = settled(items(instance(kind="job")))
    outcome = plan(items(instance(kind="job", environment={"LOG_LEVEL": "DEBUG"})), host)
    assert outcome.changes["fincoll@stable"] == ("environment",)
    assert outcome.replace == ()


def test_a_service_that_became_a_job_loses_its_program():
    outcome = plan(items(instance(kind="job")), settled(items(instance())))
    assert outcome.retire == ("fincoll@stable",)
    assert [path.name for path in outcome.remove] == ["fincoll@stable.conf"]


def test_an_instance_to_be_stopped_is_stopped_once():
    asked = items(instance(state="stopped"))
    running = settled(asked)
    assert plan(asked, running).changes["fincoll@stable"] == ("stop",)
    assert not plan(asked, settled(asked, fincoll=Process("stopped")))
    assert not plan(asked, replace(running, runtime=RuntimeState()))


def test_programs_start_by_priority():
    asked = items(instance("fincoll@stable", priority=500), instance("fincoll@candidate", priority=10))
    outcome = plan(asked, Host(RuntimeState(alive=True, pid=1)))
    assert outcome.replace == ("fincoll@candidate", "fincoll@stable")


def test_leftovers_serve_on_until_a_call_starts_the_daemon_or_is_about_them():
    left = (Leftover(7, "pim-web@stable"), Leftover(8, "fincoll@stable"))
    dead = RuntimeState(leftovers=left)
    assert plan(items(instance()), Host(dead)).end == left
    assert plan(items(instance("finvec-train@llm1", kind="job")), Host(dead)).end == ()
    assert plan(items(instance(state="stopped")), Host(dead)).end == left[1:]


def test_stopping_what_does_not_run_is_an_empty_plan():
    assert not plan_stopped(Host(RuntimeState()), "supervisord")
    running = Host(RuntimeState(alive=True, pid=1, processes={"fincoll@stable": Process("running", 7)}))
    assert plan_stopped(running, "supervisord").steps() == ["stop supervisord and fincoll@stable"]


@pytest.mark.parametrize(
    ("instances", "line"),
    [
        ([instance("FinColl")], "names no instance"),
        ([instance(slot="candidate")], "slot is 'candidate'; leave it out or write 'stable'"),
        ([instance(service="pim")], "service 'pim', which is not in services"),
        ([instance(), instance()], "listed twice"),
        ([instance(command=None)], "has no command"),
        ([instance(environment={"A": "1\n2"})], "more than one line"),
        ([instance(environment={"A": None})], "has no value"),
        ([instance(environment={"A": "${HOME}"})], "expand"),
        ([instance(environment={"a b": "1"})], "no name of a setting"),
        ([instance(credentials={"../key": "1"})], "no file name"),
        ([instance(credentials={"key": {"a": 1}})], "to_json"),
        (
            [
                instance(port=8001, port_variable="fincoll_port"),
                instance("fincoll@candidate", port=8001, address="0.0.0.0", port_variable="fincoll_candidate_port"),
            ],
            "fincoll@stable and fincoll@candidate both want port 8001 of 0.0.0.0; "
            "change fincoll_port or fincoll_candidate_port",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(instances, line):
    with pytest.raises(Refused) as refusal:
        items(*instances)
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_one_port_on_two_addresses_is_fine():
    assert len(items(instance(port=8001), instance("fincoll@candidate", port=8001, address="127.0.0.2"))) == 2


def test_a_socket_path_that_supervisord_cannot_bind_is_refused_with_its_length():
    fits = Path("/" + "x" * (107 - len(".4194304") - len("/run/supervisor.sock") - 1))
    Native(Layout(fits)).refuse_impossible()
    with pytest.raises(Refused, match=r"has 100 bytes, more than the 99 .* -e caelum_prefix="):
        Native(Layout(Path(f"{fits}x"))).refuse_impossible()


def test_a_prefix_that_would_break_supervisords_files_is_refused():
    with pytest.raises(Refused, match=r"""holds "'" ';', .* -e caelum_prefix="""):
        Native(Layout(Path("/srv/it's;"))).refuse_impossible()
