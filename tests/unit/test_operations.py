"""Which services go back together, what stands half way, and how drift is told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.caelum import drift, operations


def revision(version: str, at: str, run: str = "", name: str = "fincoll@stable") -> dict[str, Any]:
    return {"version": version, "at": at, "run": run, "instances": [{"name": name, "release": version}]}


def service(
    current: dict[str, Any] | None, pending: dict[str, Any] | None = None, previous: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"current": current, "previous": previous, "pending": pending}


def test_what_the_newest_run_changed_goes_back_and_nothing_else() -> None:
    first = {
        "senvec": service(revision("v1.2.0", "2026-01-01T10:00:00", "a")),
        "fincoll": service(revision("v1.3.0", "2026-01-02T10:00:00", "b")),
    }
    assert operations.going_back({"a": first}, "") == {"fincoll": {"hosts": ["a"]}}
    first["fincoll"] = service(revision("v1.2.0", "2026-01-01T10:00:09", "a"))
    second = {"pim": service(revision("v1.2.0", "2026-01-01T10:00:20", "a")), "finvec": service(None)}
    everywhere = {"fincoll": {"hosts": ["a"]}, "pim": {"hosts": ["b"]}, "senvec": {"hosts": ["a"]}}
    assert operations.going_back({"a": first, "b": second}, "") == everywhere, "on whatever host they run"
    assert operations.going_back({"a": first, "b": second}, "", ["pim"]).keys() == {"fincoll", "senvec"}


def test_a_revision_without_a_run_goes_back_alone() -> None:
    listing = {
        "senvec": service(revision("v1.2.0", "2026-01-01T10:00:00")),
        "fincoll": service(revision("v1.2.0", "2026-01-01T10:00:01")),
    }
    assert operations.going_back({"a": listing}, "") == {"fincoll": {"hosts": ["a"]}}
    assert operations.going_back({"a": {"pim": service(None)}}, "") == {}


def test_hosts_of_a_service_go_back_only_where_its_last_run_had_been() -> None:
    upgraded = {"fincoll": service(revision("v1.2.0", "2026-01-02T10:00:00", "b"))}
    left_out = {"fincoll": service(revision("v1.1.0", "2026-01-01T10:00:00", "a"))}
    assert operations.going_back({"a": upgraded, "b": left_out}, "fincoll") == {"fincoll": {"hosts": ["a"]}}


def test_a_move_goes_back_to_where_the_service_was() -> None:
    there, here = revision("v1.1.0", "2026-01-01T10:00:00", "a"), revision("v1.1.0", "2026-01-02T10:00:00", "b")
    gone = {"version": "v1.1.0", "at": "2026-01-02T10:00:09", "run": "b", "instances": []}
    hosts = {"old": {"fincoll": service(gone, previous=there)}, "new": {"fincoll": service(here)}}
    assert operations.going_back(hosts, "") == {"fincoll": {"hosts": ["old"]}}
    del hosts["old"]
    assert operations.going_back(hosts, "") == {"fincoll": {"hosts": ["new"]}}, "which is refused, and says why"


def test_a_deployment_that_broke_off_goes_back_where_it_was_begun_and_where_it_had_ended() -> None:
    before, new = revision("v1.1.0", "2026-01-01T10:00:00", "a"), revision("v1.2.0", "2026-01-02T10:00:00", "b")
    committed, begun = {"fincoll": service(new, previous=before)}, {"fincoll": service(before, new)}
    untouched = {"fincoll": service(before)}
    hosts = {"a": committed, "b": begun, "c": untouched}
    assert operations.going_back(hosts, "fincoll") == {"fincoll": {"hosts": ["a", "b"]}}
    assert operations.half_way(hosts) == {"fincoll": {"hosts": ["b"]}}


def test_an_abort_knows_what_all_hosts_had_verified() -> None:
    done, open_one = {"fence": 7, "committed": 7}, {"fence": 7, "committed": 0}
    assert operations.verified([{"fincoll": done}, {"fincoll": done}]) == [7]
    assert operations.verified([{"fincoll": done}, {"fincoll": open_one}]) == []


def test_what_some_hosts_had_verified_of_a_deployment_that_ended_returns_as_well() -> None:
    committed = service(revision("v2", "x"), previous=revision("v1", "x")) | {"brought": 7}
    first = service(revision("v2", "x")) | {"brought": 7}
    hosts = {"a": {"fincoll": committed}, "b": {"fincoll": service(revision("v1", "x"), {"version": "v2"})}}
    assert operations.brought(hosts | {"c": {"fincoll": first, "pim": service(None)}}) == {"7": ["a", "c"]}
    assert operations.half_way(hosts, [7]) == {"fincoll": {"hosts": ["a", "b"]}}
    assert operations.half_way(hosts, [8]) == {"fincoll": {"hosts": ["b"]}}
    assert operations.half_way({"c": {"fincoll": first}}, [7]) == {}, "there is nothing before the first"


def test_only_what_has_a_good_revision_can_be_returned_to_it() -> None:
    listing = {"pim": service(None, {"version": "v1.0.0"}), "fincoll": service(revision("v1", "x"), {"version": "v2"})}
    assert operations.half_way({"a": listing}) == {"fincoll": {"hosts": ["a"]}}


def test_an_abort_says_what_it_closed_and_what_it_returned() -> None:
    assert "nothing of fincoll was under way" in operations.abort_lines({"ids": []}, {}, "fincoll")[1]
    line = operations.abort_lines({"ids": [7, 8]}, {"fincoll": {"hosts": ["a", "b"]}}, "")[1]
    assert "deployment 7, 8" in line
    assert "last good release: fincoll on a, b" in line


def test_the_history_is_a_table_of_one_line_each() -> None:
    row = {"started_at": "2026-01-01T10:00:00.123+00:00", "service": "fincoll", "component": "fincoll",
           "version": "v1.2.0", "action": "deploy", "status": "rolled_back", "took_s": 12.4, "requested_by": None,
           "logs": "broken\n" + "x" * 200}  # fmt: skip
    _, head, line, _ = operations.history_lines([row])
    assert head.split()[0] == "STARTED"
    assert "2026-01-01 10:00:00" in line
    assert "12 s" in line
    assert line.endswith("…")
    assert operations.history_lines([])[1] == "nothing was deployed yet"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("write /p/etc/caelum/news@stable.env", "/p/etc/caelum/news@stable.env is not as it was deployed"),
        ("switch fincoll@stable from v1.2.0 to v1.1.0", "slot fincoll@stable points to v1.2.0 instead of v1.1.0"),
        ("apply social@stable (start)", "social@stable is stopped"),
        ("apply social@stable (start, it was fatal)", "social@stable does not run: fatal"),
        ("apply fincoll@stable (restart, it runs release v1.2.0)", "fincoll@stable runs the code of v1.2.0"),
        (
            "apply fincoll@stable (restart, it runs with older settings or an older build)",
            "fincoll@stable runs with older settings or an older build",
        ),
        ("apply news@stable (environment, restart)", ""),
        ("something new", "to be as deployed it takes: something new"),
    ],
)
def test_each_step_of_a_plan_says_what_is_wrong_now(step: str, said: str) -> None:
    found = drift.saying(step)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def facts(**changes: Any) -> dict[str, Any]:
    current = revision("v1.1.0", "2026-01-01T10:00:00")
    return {
        "inventory_hostname": "one",
        "__verify_revisions": {"services": {"fincoll": service(current)}},
        "__verify_plans": {"results": [{"item": "fincoll", "steps": []}]},
        "__verify_code": {"findings": []},
        "__verify_health": {"instances": [{"name": "fincoll@stable", "status": "healthy"}]},
        **changes,
    }


def history(*rows: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "history": [
            {"id": number, "service": "fincoll", "component": "fincoll", "version": version, "action": action,
             "status": status, "requested_by": "jane"}
            for number, (version, action, status) in enumerate(rows, 1)
        ]
    }  # fmt: skip


def test_nothing_is_found_where_host_and_history_agree() -> None:
    assert drift.drift([facts()], history(("v1.1.0", "deploy", "success"))) == []
    assert drift.lines([])[1] == "everything is as it was deployed"


def test_a_host_is_held_against_what_the_history_says_of_it_and_of_either_slot() -> None:
    both = revision("v1.1.0", "x") | {
        "instances": [
            {"name": f"fincoll@{slot}", "release": f"v1.{number}.0"}
            for number, slot in enumerate(("candidate", "stable"))
        ]
    }
    here = facts(caelum_address="10.0.0.1", __verify_revisions={"services": {"fincoll": service(both)}})

    def told(*rows: tuple[str, str]) -> list[str]:
        said = history(*((version, "deploy", "success") for version, _ in rows))
        said["history"] = [{**row, "host": host} for row, (_, host) in zip(said["history"], rows, strict=True)]
        return drift.drift([here], said)

    assert told(("v1.0.0", "10.0.0.1"), ("v1.1.0", "10.0.0.1")) == [], "the newest went to the candidate slot"
    assert told(("v2.0.0", "10.0.0.2"), ("v1.1.0", "10.0.0.2, 10.0.0.1")) == [], "the newest went to another host"
    assert "is at v1.0.0 and v1.1.0, the history's last success is v2.0.0" in told(("v2.0.0", "10.0.0.1"))[0]
    assert "v2.0.0" in told(("v2.0.0", "10.0.0.2, 10.0.0.3 and 9 more"))[0], "it may be one of those that are counted"


def test_every_source_of_findings_counts() -> None:
    half = facts(
        __verify_revisions={"services": {"fincoll": service(revision("v1.1.0", "x"), {"version": "v1.2.0"})}},
        __verify_plans={"results": [{"item": "fincoll", "failed": False, "msg": "no release"}]},
        __verify_code={"findings": ["fincoll v1.1.0: app.py was edited"]},
        __verify_health={"instances": [{"name": "fincoll@stable", "status": "down", "detail": "refused"}]},
    )
    found = drift.drift([half], history(("v1.2.0", "deploy", "in_progress"), ("v1.0.0", "rollback", "success")))
    assert [line.partition(": ")[2][:34] for line in found[:4]] == [
        "fincoll stands half way: v1.2.0 wa", "fincoll cannot be compared: no rel",
        "fincoll v1.1.0: app.py was edited", "fincoll@stable is down: refused",
    ]  # fmt: skip
    assert "is open, held by jane" in found[4]
    assert "fincoll is at v1.1.0, the history's last success is v1.0.0" in found[5]


def test_a_database_that_is_away_is_itself_a_finding() -> None:
    (line,) = drift.drift([facts()], {"failed": False, "msg": "database pim_database does not answer"})
    assert "the history cannot be compared: database pim_database does not answer" in line
