"""Where a run over several hosts goes, what went wrong on which, and how its taking back is told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.caelum import rollout

OK: dict[str, Any] = {"changed": False}
AWAY = {"unreachable": True, "msg": "Failed to connect to the host via ssh: timed out"}


def broken(msg: str) -> dict[str, Any]:
    return {"failed": True, "msg": msg}


def looked(name: str, groups: list[str], changes: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    """What the look left on a host; `changes` by instance."""
    services = ["senvec", "finvec", "fincoll", "pim"]
    records = {service: {"version": "v1.0.0", "pending": None, "inventory": "production"} for service in services}
    records |= more.pop("records", {})
    rows = [{"name": instance, "changes": what} for instance, what in changes.items()]
    steps = [f"apply {row['name']}" for row in rows if row["changes"]]
    look = {"services": services, "instances": rows, "steps": steps, "records": records, **more}
    running = [{"service": service} for service in services if service in groups]
    return {"inventory_hostname": name, "group_names": groups, "__look": look, "caelum_running": running}


def hosts(**results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {"caelum_address": f"10.0.0.{name[-1]}", **found} for name, found in results.items()}


def test_a_service_changes_where_something_differs_and_nowhere_else() -> None:
    a = looked("a", ["fincoll", "senvec"], {"fincoll@stable": ["environment"], "news@stable": []})
    b = looked("b", ["fincoll"], {"fincoll@stable": []})
    found = rollout.plan([a, b], "production", [])
    assert found["fincoll"] == {"hosts": ["a"], "lost": []}
    assert found["senvec"] == {"hosts": [], "lost": []}
    assert rollout.going({"caelum_plan": found}, "fincoll") == "a"
    assert rollout.going({"caelum_plan": found}, "senvec") == "!all"
    assert rollout.going({"caelum_plan": found, "caelum_failure": "no"}, "fincoll") == "!all"
    assert rollout.going({}, "fincoll") == "!all", "before anything was looked at"


def test_what_was_left_half_way_or_unfinished_goes_through_every_gate_again() -> None:
    half = looked("a", ["fincoll"], {}, records={"fincoll": {"version": "v1", "pending": "v2", "inventory": None}})
    whole = looked("b", ["fincoll"], {})
    assert rollout.plan([half, whole], "production", [])["fincoll"]["hosts"] == ["a"]
    assert rollout.plan([half, whole], "production", ["fincoll"])["fincoll"]["hosts"] == ["a", "b"]


def test_a_host_that_takes_nothing_of_an_unfinished_service_stays_out_of_its_play() -> None:
    stable, testing = looked("a", ["fincoll"], {}), looked("b", ["fincoll"], {})
    stable["caelum_running"] = []
    assert rollout.plan([stable, testing], "production", ["fincoll"])["fincoll"] == {"hosts": ["b"], "lost": []}


def test_only_the_inventory_that_brought_instances_to_a_host_takes_them_away() -> None:
    left = looked("a", ["senvec"], {"fincoll@stable": ["removed"]})
    assert rollout.plan([left], "production", [])["fincoll"] == {"hosts": [], "lost": ["a"]}
    assert rollout.plan([left], "staging", [])["fincoll"] == {"hosts": [], "lost": []}
    run = {"caelum_plan": rollout.plan([left], "production", []), "caelum_whole": True}
    assert rollout.lost(run, "fincoll") == "a"
    assert rollout.left(run) == []
    assert rollout.lost(run | {"caelum_failure": "no"}, "fincoll") == "!all"


def test_a_run_that_leaves_something_out_removes_nothing_and_says_so() -> None:
    left = looked("a", ["senvec"], {"fincoll@stable": ["removed"]})
    run = {"caelum_plan": rollout.plan([left], "production", []), "caelum_whole": False}
    assert rollout.lost(run, "fincoll") == "!all"
    (line,) = rollout.left(run)
    assert "fincoll stays on a" in line
    assert rollout.left({"caelum_plan": {"fincoll": {"hosts": ["a"]}}}) == [], "a rollback removes nothing"


def test_what_a_first_deployment_began_and_did_not_finish_is_taken_away_too() -> None:
    begun = {"fincoll": {"version": None, "pending": "v1.0.0", "inventory": "production"}}
    left = looked("a", ["senvec"], {"fincoll@stable": ["removed"]}, records=begun)
    assert rollout.plan([left], "production", [])["fincoll"]["lost"] == ["a"]
    assert rollout.plan([left], "staging", [])["fincoll"]["lost"] == []


def test_a_host_that_lost_its_last_service_is_looked_at_and_a_foreign_database_is_not() -> None:
    groups = {"all": ["a", "b", "db", "idle"], "database": ["db", "b"], "senvec": ["a"], "pim": ["b"], "fincoll": ["a"]}
    assert rollout.machines(groups) == "a:b:idle"


def test_steps_that_belong_to_no_instance_are_taken_by_the_first_service_of_the_host() -> None:
    stray = looked("a", ["senvec", "pim"], {}, steps=["make directory /etc/caelum 0755"])
    found = rollout.plan([stray], "production", [])
    assert [found[service]["hosts"] for service in ("senvec", "pim")] == [["a"], []]


def test_trouble_names_the_host_that_has_it_and_every_one_of_several() -> None:
    facts = hosts(h1={"x": OK}, h2={"x": broken("disk full")}, h3={"x": AWAY})
    line = rollout.trouble(["h1", "h2", "h3"], facts, ["x"])
    assert line == "h2: disk full; h3: it was cut off (Failed to connect to the host via ssh: timed out)"
    assert rollout.trouble(["h1"], facts, ["x"]) == ""
    assert rollout.trouble(["h2"], facts, ["x"]) == "disk full", "a host that is alone needs no name"
    assert rollout.trouble(["h1"], hosts(h1={"x": {"skipped": True}}), ["x", "y"]) == ""


def test_one_failure_that_all_hosts_share_is_said_once() -> None:
    same = {"x": broken("somebody else deploys")}
    assert rollout.trouble(["h1", "h2"], hosts(h1=same, h2=same), ["x"]).count("somebody") == 1


def test_a_component_is_one_row_with_all_hosts_that_it_changes_on() -> None:
    def planned(*names: str, changes: tuple[str, ...] = ("restart",)) -> dict[str, Any]:
        return {"p": {"instances": [{"name": name, "changes": list(changes)} for name in names]}}

    facts = hosts(h1=planned("fincoll@stable", "finvec-train@llm1"), h2=planned("fincoll@candidate"))
    assert rollout.changes(["h1", "h2"], facts, "p") == [
        {"component": "fincoll", "host": "10.0.0.1, 10.0.0.2"},
        {"component": "finvec-train@llm1", "host": "10.0.0.1"},
    ]
    quiet = hosts(h1=planned("fincoll@stable"), h2=planned("fincoll@stable", changes=()))
    assert rollout.changes(["h1", "h2"], quiet, "p") == [{"component": "fincoll", "host": "10.0.0.1"}]
    assert rollout.changes(["h1", "h2"], quiet, "p", every=True)[0]["host"] == "10.0.0.1, 10.0.0.2"
    none = hosts(h1=planned("fincoll@stable", changes=()))
    assert len(rollout.changes(["h1"], none, "p")) == 1, "a host that was left half way has a row, though it is right"


def test_a_component_is_recorded_at_its_own_version_and_commit() -> None:
    rows = [("news@stable", "v1.0.3"), ("social@stable", "v1.1.0"), ("gone@stable", None)]
    told = [{"name": name, "changes": ["x"], **({"release": of} if of else {})} for name, of in rows]
    built = [
        {"service": "senvec", "version": "v1.0.3", "commit": "1f3c"},
        {"service": "senvec", "version": "v1.1.0", "commit": None},
        {"service": "pim", "version": "v1.1.0", "commit": "77aa"},
    ]
    assert rollout.changes(["h1"], hosts(h1={"p": {"instances": told}}), "p", built=built) == [
        {"component": "news", "host": "10.0.0.1", "version": "v1.0.3", "git_commit": "1f3c"},
        {"component": "social", "host": "10.0.0.1", "version": "v1.1.0"},
        {"component": "gone", "host": "10.0.0.1"},
    ]


def test_more_hosts_than_the_column_holds_are_counted() -> None:
    names = [f"h{number}" for number in range(15)]
    facts = {
        name: {"caelum_address": f"10.255.255.{number}", "p": {"instances": [{"name": "a@stable", "changes": ["x"]}]}}
        for number, name in enumerate(names, start=100)
    }
    column = rollout.changes(names, facts, "p")[0]["host"]
    assert len(column) <= 100
    shown, _, rest = column.partition(" and ")
    assert len(shown.split(", ")) + int(rest.split()[0]) == 15


BACK = {
    "__instance_known": {"services": {"fincoll": {"current": {"version": "v1"}}}},
    "__instance_returned": {"changed": True, "revision": {"version": "v1"}},
}
NEW = {"__instance_known": {"services": {"fincoll": {"current": None}}}}


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        ({"h1": BACK, "h2": BACK}, "rolled_back", "fincoll was returned to v1 on h1, h2"),
        ({"h1": BACK}, "rolled_back", "fincoll was returned to v1"),
        ({"h1": BACK | {"__instance_returned": OK}}, "failed", "nothing had changed"),
        ({"h1": BACK, "h2": {"__instance_known": AWAY}}, "failed", "h2: not taken back: it was cut off"),
        ({"h1": BACK, "h2": NEW}, "failed", "h2: fincoll has no earlier release to return to and stays as it is"),
        ({"h1": BACK | {"__instance_return_ready": broken("no port")}}, "failed", "not taken back: no port"),
    ],
)
def test_taking_back_is_told_as_it_went_on_each_host(found: dict[str, Any], status: str, words: str) -> None:
    told = rollout.taken_back(list(found), hosts(**found), "fincoll")
    assert told["status"] == status
    assert words in told["line"]
    assert [event["host"] for event in told["events"]] == [f"10.0.0.{name[-1]}" for name in found]


def test_a_service_that_is_only_partly_within_the_limit_is_told() -> None:
    groups = {"fincoll": ["a", "b"], "pim": ["a"], "senvec": ["c"]}
    assert rollout.partly(groups, ["a"], "", "") == ["fincoll was looked at on a alone; --limit leaves out b"]
    assert rollout.partly(groups, ["a", "b", "c"], "", "") == []
    assert rollout.partly(groups, ["a"], "pim", "") == []


def test_only_hosts_with_something_before_go_back_after_another_service_failed() -> None:
    facts = hosts(
        h1={"__instance_committed": {"can_return": True}},
        h2={"__instance_committed": {"can_return": False}},
    )
    done = rollout.rolled_out({}, "senvec", ["h1", "h2"], facts)
    assert rollout.earlier({"caelum_rolled_out": done, "caelum_failure": "no"}, "senvec") == "h1"
    assert rollout.earlier({"caelum_rolled_out": done, "caelum_failure": ""}, "senvec") == "!all"


def test_the_look_is_at_what_the_groups_and_the_run_are_about() -> None:
    listed = [
        {"name": "news@stable", "component": "news", "service": "senvec"},
        {"name": "social@stable", "component": "social", "service": "senvec"},
        {"name": "pim-web@stable", "component": "pim-web", "service": "pim"},
    ]
    assert len(rollout.instances(["senvec"], listed, "", "")) == 2
    assert [item["name"] for item in rollout.instances(["senvec", "pim"], listed, "", "news")] == ["news@stable"]
    assert rollout.instances(["senvec"], listed, "pim", "") == []
    assert rollout.scope("", "news") == ["senvec"]
    assert rollout.instances(["senvec"], listed, "pim", "") == []
    assert rollout.scope("", "news") == ["senvec"]


def test_tags_of_services_narrow_what_a_run_looks_at() -> None:
    assert rollout.scope("", "", ["all"]) == ["senvec", "finvec", "fincoll", "pim"]
    assert rollout.scope("", "", ["fincoll", "release"]) == ["fincoll"]
    assert rollout.scope("", "news", ["fincoll"]) == ["senvec"]
