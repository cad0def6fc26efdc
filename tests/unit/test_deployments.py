"""`caelum_deployment` against a real PostgreSQL: the open row is the lock, and no history is lost."""

from __future__ import annotations

import json
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from support.modules import run_module
from support.postgres import Database

# A spawned process reads this file without conftest, and finds Ansible's path through support.
# isort: split
from ansible.module_utils.caelum.database import writes
from ansible.module_utils.caelum.database.connection import transaction
from ansible.module_utils.caelum.database.journal import Journal

pytest_plugins = ["support.postgres", "support.modules"]

COMPONENTS = [{"component": "pim-web", "host": "pim-27"}, {"component": "pim-worker", "host": "pim-27"}]


def opening(login: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "state": "opened",
        "database": login,
        "service": "pim",
        "version": "v1.1.0",
        "requested_by": "jane",
        "components": COMPONENTS,
        **more,
    }


def closing(login: dict[str, Any], opened: dict[str, Any], status: str, **more: Any) -> dict[str, Any]:
    return {
        "state": "closed",
        "database": login,
        "ids": opened["ids"],
        "fencing_token": opened["fencing_token"],
        "status": status,
        **more,
    }


def stepping(login: dict[str, Any], opened: dict[str, Any], event: str, **more: Any) -> dict[str, Any]:
    step = closing(login, opened, "success", event=event, **more)
    del step["status"]
    return {**step, "state": "step"}


def rows(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute("SELECT component, status FROM deployment_history ORDER BY id").fetchall()


def events(database: Database) -> list[str]:
    with database.connect() as connection:
        found = connection.execute("SELECT event FROM deployment_events ORDER BY id").fetchall()
    return [row[0] for row in found]


def reap(database: Database) -> None:
    with database.connect() as connection:
        connection.execute(
            "UPDATE deployment_history SET status = 'aborted', completed_at = now() - interval '5 min' "
            "WHERE status = 'in_progress'"
        )


def away(login: dict[str, Any]) -> dict[str, Any]:
    return {**login, "port": 1}


def test_opening_takes_a_row_per_component_and_closing_ends_them(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    opened = run_module("caelum_deployment", opening(login, git_commit="1f3c"))
    assert opened["changed"]
    assert rows(migrated_database) == [("pim-web", "in_progress"), ("pim-worker", "in_progress")]
    step = stepping(login, opened, "switched", host="pim-27", detail={"n": 1})
    assert run_module("caelum_deployment", step)["changed"]
    closed = run_module("caelum_deployment", closing(login, opened, "success", logs="done", evidence={"n": 2}))
    assert closed["changed"]
    assert rows(migrated_database) == [("pim-web", "success"), ("pim-worker", "success")]
    assert events(migrated_database) == ["opened", "opened", "switched", "switched", "closed", "closed"]
    with migrated_database.connect() as connection:
        written = connection.execute("SELECT DISTINCT logs, evidence, completed_at IS NOT NULL FROM deployment_history")
        assert written.fetchall() == [("done", {"n": 2}, True)]
    again = run_module("caelum_deployment", closing(login, opened, "success"))
    assert not again["changed"]


def test_a_second_deployment_is_told_who_holds_the_lock(migrated_database: Database, login: dict[str, Any]) -> None:
    first = run_module("caelum_deployment", opening(login))
    with migrated_database.connect() as connection:
        connection.execute("UPDATE deployment_history SET started_at = now() - interval '7 min'")
    for check in (False, True):
        second = run_module("caelum_deployment", opening(login, version="v1.2.0", requested_by="joe"), check=check)
        assert second["failed"]
        assert second["msg"].startswith(
            f"deployment {first['ids'][0]} of pim v1.1.0 (pim-web) is still open: jane holds it since 7 min, "
        )
        assert second["msg"].endswith("end it with `ansible-playbook abort.yml -e service=pim`")
    assert rows(migrated_database) == [("pim-web", "in_progress"), ("pim-worker", "in_progress")]


def test_a_deployment_that_is_blocked_in_one_component_takes_none(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    run_module("caelum_deployment", opening(login, components=COMPONENTS[1:]))
    assert run_module("caelum_deployment", opening(login))["failed"]
    assert rows(migrated_database) == [("pim-worker", "in_progress")]


def test_other_inventories_and_services_are_not_locked(login: dict[str, Any]) -> None:
    run_module("caelum_deployment", opening(login))
    assert "failed" not in run_module("caelum_deployment", opening(login, inventory="staging"))
    again = run_module("caelum_deployment", opening(login, inventory="staging"))
    assert again["msg"].endswith("`ansible-playbook -i inventory/staging abort.yml -e service=pim`")
    assert "failed" not in run_module("caelum_deployment", opening(login, service="senvec"))


def _open_at_the_gate(gate: Any, name: str, params: dict[str, Any], out: Connection) -> None:
    gate.wait()
    out.send(run_module("caelum_deployment", {**params, "requested_by": name}))


def test_of_two_deployments_at_once_exactly_one_begins(migrated_database: Database, login: dict[str, Any]) -> None:
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        gate = context.Barrier(2)
        pipes, started = [], []
        # Listed in opposite orders, which would deadlock if rows were taken as listed.
        for name, components in (("jane", COMPONENTS), ("joe", COMPONENTS[::-1])):
            here, there = context.Pipe()
            wanted = opening(login, components=components)
            process = context.Process(target=_open_at_the_gate, args=(gate, name, wanted, there))
            process.start()
            pipes.append(here)
            started.append(process)
        results = [pipe.recv() for pipe in pipes]
        for process in started:
            process.join()
        lost = [result for result in results if result.get("failed")]
        assert len(lost) == 1, results
        assert "is still open" in lost[0]["msg"]
        assert [status for _, status in rows(migrated_database)].count("in_progress") == 2
        reap(migrated_database)


def test_a_zombie_controller_cannot_write_to_a_deployment_that_was_reaped(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    opened = run_module("caelum_deployment", opening(login))
    reap(migrated_database)
    closed = run_module("caelum_deployment", closing(login, opened, "success"))
    assert closed["failed"]
    assert closed["msg"].startswith(f"deployment {opened['ids'][0]} was aborted 5 min ago")
    assert run_module("caelum_deployment", stepping(login, opened, "switched"))["failed"]
    assert rows(migrated_database) == [("pim-web", "aborted"), ("pim-worker", "aborted")]
    assert events(migrated_database) == ["opened", "opened"]


def test_the_token_of_another_run_opens_nothing(migrated_database: Database, login: dict[str, Any]) -> None:
    opened = run_module("caelum_deployment", opening(login))
    stale = {**opened, "fencing_token": opened["fencing_token"] - 1}
    closed = run_module("caelum_deployment", closing(login, stale, "failed"))
    assert f"deployment {opened['ids'][0]} is held by another run" in closed["msg"]
    assert rows(migrated_database) == [("pim-web", "in_progress"), ("pim-worker", "in_progress")]


def test_abort_ends_what_is_open_whoever_holds_it_and_nothing_when_idle(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    abort = {"state": "aborted", "database": login, "service": "pim", "requested_by": "joe"}
    assert not run_module("caelum_deployment", abort)["changed"]
    opened = run_module("caelum_deployment", opening(login))
    rehearsed = run_module("caelum_deployment", abort, check=True)
    assert (rehearsed["changed"], rehearsed["ids"]) == (True, opened["ids"])
    assert rows(migrated_database)[0] == ("pim-web", "in_progress")
    assert run_module("caelum_deployment", abort)["ids"] == opened["ids"]
    assert run_module("caelum_deployment", closing(login, opened, "aborted"))["failed"]
    assert not run_module("caelum_deployment", abort)["changed"]
    assert "failed" not in run_module("caelum_deployment", opening(login))


def test_an_abort_without_a_service_ends_all_and_gives_a_token_that_shuts_everybody_out(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    pim = run_module("caelum_deployment", opening(login))
    senvec = run_module(
        "caelum_deployment", opening(login, service="senvec", components=[{"component": "news", "host": "pim-27"}])
    )
    elsewhere = run_module("caelum_deployment", opening(login, inventory="staging"))
    abort = {"state": "aborted", "database": login, "requested_by": "joe"}
    assert "fencing_token" not in run_module("caelum_deployment", abort, check=True)
    aborted = run_module("caelum_deployment", abort)
    assert aborted["ids"] == [*pim["ids"], *senvec["ids"]]
    assert aborted["rows"][-1] == {
        "id": senvec["ids"][0],
        "service": "senvec",
        "component": "news",
        "host": "pim-27",
        "version": "v1.1.0",
        "status": "aborted",
    }
    assert aborted["fencing_token"] > elsewhere["fencing_token"]
    idle = run_module("caelum_deployment", abort)
    assert (idle["changed"], idle["ids"]) == (False, [])
    assert idle["fencing_token"] > aborted["fencing_token"], "hosts left half way are taken back with it"


def test_an_abort_makes_a_success_of_what_all_hosts_have_and_names_what_only_some_have(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    opened = run_module("caelum_deployment", opening(login, hosts={"a": "10.0.0.1", "b": "10.0.0.2"}))
    abort = {"state": "aborted", "database": login, "requested_by": "joe"}
    token = opened["fencing_token"]
    ended = run_module("caelum_deployment", {**abort, "brought": {str(token): ["a"]}})
    assert (ended["ids"], ended["undone"], {row["status"] for row in ended["rows"]}) == (
        opened["ids"],
        [token],
        {"aborted"},
    )
    again = run_module("caelum_deployment", {**abort, "brought": {str(token): ["a"]}})
    assert (again["changed"], again["undone"]) == (False, [token]), "as long as a host has it"
    whole = {**abort, "brought": {str(token): ["b", "a"]}}
    assert run_module("caelum_deployment", whole, check=True)["ids"] == opened["ids"]
    assert rows(migrated_database) == [("pim-web", "aborted"), ("pim-worker", "aborted")]
    done = run_module("caelum_deployment", whole)
    assert (done["ids"], done["undone"], {row["status"] for row in done["rows"]}) == (opened["ids"], [], {"success"})
    assert rows(migrated_database) == [("pim-web", "success"), ("pim-worker", "success")]
    assert not run_module("caelum_deployment", whole)["changed"]
    assert events(migrated_database)[-2:] == ["verified"] * 2


def test_what_an_abort_ends_and_no_host_has_is_no_success(login: dict[str, Any]) -> None:
    opened = run_module("caelum_deployment", opening(login))
    ended = run_module("caelum_deployment", {"state": "aborted", "database": login})
    assert (ended["ids"], ended["undone"]) == (opened["ids"], [opened["fencing_token"]])


def test_the_history_is_the_newest_rows_first_with_the_seconds_that_they_took(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    first = run_module("caelum_deployment", opening(login, components=COMPONENTS[:1]))
    run_module("caelum_deployment", closing(login, first, "failed", logs="no space"))
    with migrated_database.connect() as connection:
        connection.execute("UPDATE deployment_history SET started_at = completed_at - interval '90 s'")
    second = run_module("caelum_deployment", opening(login, service="senvec", components=COMPONENTS[:1]))
    run_module("caelum_deployment", opening(login, inventory="staging"))
    asked = {"state": "history", "database": login}
    found = run_module("caelum_deployment", asked)
    assert not found["changed"]
    assert [(row["id"], row["status"], row["took_s"]) for row in found["history"]] == [
        (second["ids"][0], "in_progress", None),
        (first["ids"][0], "failed", 90.0),
    ]
    assert found["history"][1]["logs"] == "no space"
    assert [row["service"] for row in run_module("caelum_deployment", {**asked, "limit": 1})["history"]] == ["senvec"]
    assert [row["id"] for row in run_module("caelum_deployment", {**asked, "service": "pim"})["history"]] == first[
        "ids"
    ]
    assert "limit is 0" in run_module("caelum_deployment", {**asked, "limit": 0})["msg"]


def test_the_last_version_is_the_last_that_succeeded_per_component(login: dict[str, Any]) -> None:
    for version, status, action in (
        ("v1.0.0", "success", "deploy"),
        ("v1.1.0", "success", "rollback"),
        ("v1.2.0", "failed", "deploy"),
        ("v1.3.0", "success", "canary"),
    ):
        opened = run_module("caelum_deployment", opening(login, version=version, action=action))
        run_module("caelum_deployment", closing(login, opened, status))
    found = run_module("caelum_deployment", {"state": "last", "database": login, "service": "pim"})
    assert not found["changed"]
    assert {name: row["version"] for name, row in found["versions"].items()} == {
        "pim-web": "v1.1.0",
        "pim-worker": "v1.1.0",
    }
    elsewhere = {"state": "last", "database": login, "service": "pim", "inventory": "staging"}
    other = run_module("caelum_deployment", elsewhere)
    assert other["versions"] == {}


def test_before_a_change_a_database_that_is_away_fails_the_run(login: dict[str, Any], tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    opened = run_module("caelum_deployment", opening(away(login), journal=journal))
    assert opened["failed"]
    assert "does not answer: connection to server at" in opened["msg"]
    assert login["password"] not in json.dumps(opened)
    step = stepping(away(login), {"ids": [1], "fencing_token": 1}, "x", journal=journal)
    assert run_module("caelum_deployment", step)["failed"]
    assert not Path(journal).exists()


def test_after_a_change_writes_are_kept_and_replayed_once_in_order(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    journal = {"journal": str(tmp_path / "journal"), "after_change": True}
    opened = run_module("caelum_deployment", opening(login))
    gone = away(login)
    for event in ("first", "second"):
        kept = run_module("caelum_deployment", stepping(gone, opened, event, **journal))
        assert (kept["changed"], kept["journaled"]) == (True, True)
        assert "which the next deployment replays" in kept["warnings"][0]
    run_module("caelum_deployment", closing(gone, opened, "success", logs="late", **journal))
    assert len(Journal(tmp_path / "journal").entries()) == 3
    assert rows(migrated_database)[0] == ("pim-web", "in_progress")

    again = run_module("caelum_deployment", opening(login, version="v1.2.0", journal=journal["journal"]))
    assert "failed" not in again, again
    assert events(migrated_database) == [
        *("opened", "opened", "first", "first", "second", "second", "closed", "closed", "opened", "opened")
    ]
    assert [status for _, status in rows(migrated_database)] == ["success", "success", "in_progress", "in_progress"]
    assert Journal(tmp_path / "journal").entries() == []


def test_a_replay_that_was_cut_off_before_it_removed_the_entry_writes_nothing_twice(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    opened = run_module("caelum_deployment", opening(login))
    gone = stepping(away(login), opened, "switched", journal=str(folder), after_change=True)
    run_module("caelum_deployment", gone)
    (entry,) = Journal(folder).entries()
    kept = entry.read_bytes()
    assert writes.replay(login, Journal(folder)) == []
    entry.write_bytes(kept)
    assert writes.replay(login, Journal(folder)) == []
    assert events(migrated_database) == ["opened", "opened", "switched", "switched"]
    assert Journal(folder).entries() == []


def test_a_kept_write_that_the_fence_refuses_stays_in_the_history(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    opened = run_module("caelum_deployment", opening(login))
    kept = closing(away(login), opened, "success", journal=str(folder), after_change=True)
    run_module("caelum_deployment", kept)
    reap(migrated_database)
    again = run_module("caelum_deployment", opening(login, journal=str(folder)))
    assert "was aborted" in again["warnings"][0]
    assert rows(migrated_database)[0] == ("pim-web", "aborted")
    assert events(migrated_database).count("late_write_refused") == 2


def test_a_kept_write_of_a_deployment_that_this_database_never_had_is_put_aside(
    login: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    ghost = {"ids": [4711], "fencing_token": 1}
    run_module("caelum_deployment", stepping(away(login), ghost, "x", journal=str(folder), after_change=True))
    opened = run_module("caelum_deployment", opening(login, journal=str(folder)))
    assert "deployment 4711 is not in this database" in opened["warnings"][0]
    assert len(list((folder / "rejected").iterdir())) == 1


def test_a_wrong_password_is_named_as_such(login: dict[str, Any]) -> None:
    opened = run_module("caelum_deployment", opening({**login, "password": "not-the-one"}))
    assert "refused the login: password authentication failed" in opened["msg"]
    assert "not-the-one" not in json.dumps(opened)


def test_an_error_leaves_nothing_of_its_transaction(migrated_database: Database, login: dict[str, Any]) -> None:
    too_long = [*COMPONENTS, {"component": "z" * 51}]
    opened = run_module("caelum_deployment", opening(login, components=too_long))
    assert "value too long" in opened["msg"]
    assert "\n" not in opened["msg"]
    assert rows(migrated_database) == []
    with transaction(login) as cursor:
        cursor.execute("SELECT count(*) FROM deployment_events")
        assert cursor.fetchone() == (0,)
