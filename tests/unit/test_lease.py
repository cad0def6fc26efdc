"""Leases against a real PostgreSQL: who beats keeps a deployment, and one reaper at a time takes what is left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from ansible.module_utils.caelum.database import controllers, lease
from ansible.module_utils.caelum.database.connection import transaction

from support.modules import run_module
from support.postgres import Database

pytest_plugins = ["support.postgres", "support.modules"]

COMPONENTS = [{"component": "pim-web", "host": "pim-27"}, {"component": "pim-worker", "host": "pim-27"}]


def open_one(login: dict[str, Any], **more: Any) -> dict[str, Any]:
    options = {"service": "pim", "version": "v1.2.0", "requested_by": "jane", "components": COMPONENTS, **more}
    opened = run_module("caelum_deployment", {"state": "opened", "database": login, **options})
    assert "failed" not in opened, opened
    return opened


def close(login: dict[str, Any], opened: dict[str, Any]) -> dict[str, Any]:
    key = {"ids": opened["ids"], "fencing_token": opened["fencing_token"]}
    return run_module("caelum_deployment", {"state": "closed", "database": login, "status": "success", **key})


def silence(database: Database, seconds: int) -> None:
    """Let the last heartbeat be that long ago."""
    with database.connect() as connection:
        connection.execute("UPDATE deployment_history SET heartbeat_at = now() - make_interval(secs => %s)", (seconds,))


def expired(login: dict[str, Any], inventory: str = "local", host: str | None = "pim-27") -> list[lease.Group]:
    with transaction(login) as cursor:
        return lease.expired(cursor, inventory, host)


def seize(login: dict[str, Any], group: lease.Group, lease_s: int = 30) -> int | None:
    with transaction(login) as cursor:
        return lease.seize(cursor, group, lease_s)


def events(database: Database) -> list[str]:
    with database.connect() as connection:
        return [row[0] for row in connection.execute("SELECT event FROM deployment_events ORDER BY id").fetchall()]


def rows(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute("SELECT status, logs, fencing_token FROM deployment_history ORDER BY id").fetchall()


def test_a_lease_ends_when_its_seconds_have_passed_since_the_last_beat(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    own = [{**COMPONENTS[0], "version": "v1.0.3"}, *COMPONENTS[1:]]
    opened = open_one(login, lease=60, components=own)
    assert opened["lease"] == 60
    silence(migrated_database, 50)
    assert expired(login) == []
    silence(migrated_database, 61)
    (group,) = expired(login)
    assert (group.service, group.version, group.action, group.requested_by) == ("pim", "v1.2.0", "deploy", "jane")
    assert (group.token, group.opened_with) == (opened["fencing_token"],) * 2
    assert (group.ids, group.components, group.hosts) == (tuple(opened["ids"]), ("pim-web", "pim-worker"), ("pim-27",))
    assert group.silent.total_seconds() >= 61
    with transaction(login) as cursor:
        assert lease.beat(cursor, group.token) == 2
    assert expired(login) == []


def test_a_lease_below_a_second_is_refused(migrated_database: Database, login: dict[str, Any]) -> None:
    options = {"service": "pim", "version": "v1.2.0", "components": COMPONENTS, "lease": 0}
    refused = run_module("caelum_deployment", {"state": "opened", "database": login, **options})
    assert "lease is 0 s, and must be 1 s or more" in refused["msg"]
    assert rows(migrated_database) == []


def test_a_released_lease_is_over_at_once_and_no_beat_revives_it(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    opened = open_one(login)
    with transaction(login) as cursor:
        assert lease.release(cursor, opened["fencing_token"], "interrupted by SIGINT") == 2
        assert lease.release(cursor, opened["fencing_token"]) == 0
        lease.beat(cursor, opened["fencing_token"])
    assert [group.ids for group in expired(login)] == [tuple(opened["ids"])]
    assert events(migrated_database) == ["opened", "opened", "released", "released"]


def test_a_controller_releases_what_it_opened_and_nothing_else(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    mine = open_one(login, controller_pid=os.getpid())
    open_one(login, service="fincoll", components=[{"component": "fincoll", "host": "pim-27"}])
    other = {**controllers.identity(os.getpid()), "started": 1}
    with transaction(login) as cursor:
        assert lease.release_of(cursor, other, "no") == 0
        assert lease.release_of(cursor, controllers.identity(os.getpid()), "yes") == 2
    assert [group.token for group in expired(login)] == [mine["fencing_token"]]


def test_what_other_inventories_and_hosts_left_is_not_this_reapers(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    open_one(login, inventory="staging")
    open_one(login)
    silence(migrated_database, 99)
    assert [group.inventory for group in expired(login)] == ["local"]
    assert expired(login, host="fin-44") == []
    assert len(expired(login, "staging", None)) == 1


def test_a_seized_deployment_is_the_reapers_until_it_closes_it(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    opened = open_one(login)
    silence(migrated_database, 31)
    (group,) = expired(login)
    token = seize(login, group)
    assert token is not None
    assert token > opened["fencing_token"]
    assert expired(login) == []
    assert "held by another run" in close(login, opened)["msg"], "a zombie's write passed the fence"
    with transaction(login) as cursor:
        assert lease.beat(cursor, opened["fencing_token"]) == 0
        lost = f"deployment {opened['ids'][0]} was seized by caelum-reaper"
        assert lease.loss(cursor, opened["ids"]).startswith(lost)
        assert lease.beat(cursor, token) == 2
        assert lease.close_reaped(cursor, token, "aborted", "returned to v1.1.0") == 2
        assert lease.close_reaped(cursor, token, "failed", "again") == 0
    assert rows(migrated_database) == [("aborted", "returned to v1.1.0", token)] * 2
    assert events(migrated_database) == [*["opened"] * 2, *["reaping"] * 2, *["reaped"] * 2]


def test_what_a_reaper_left_is_found_again_under_the_token_that_the_hosts_know(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    opened = open_one(login, lease=5)
    silence(migrated_database, 31)
    (group,) = expired(login)
    token = seize(login, group)
    silence(migrated_database, 31)
    (again,) = expired(login)
    assert (again.token, again.opened_with) == (token, opened["fencing_token"])
    assert seize(login, again) not in {None, token}


def test_a_released_deployment_that_is_seized_has_a_lease_again(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    opened = open_one(login)
    with transaction(login) as cursor:
        lease.release(cursor, opened["fencing_token"])
    (group,) = expired(login)
    assert seize(login, group) is not None
    assert expired(login) == []


@pytest.mark.parametrize("meanwhile", ["beat", "closed", "aborted", "seized"])
def test_who_comes_too_late_seizes_nothing(migrated_database: Database, login: dict[str, Any], meanwhile: str) -> None:
    opened = open_one(login)
    silence(migrated_database, 31)
    (group,) = expired(login)
    if meanwhile == "beat":
        with transaction(login) as cursor:
            lease.beat(cursor, group.token)
    elif meanwhile == "closed":
        close(login, opened)
    elif meanwhile == "aborted":
        run_module("caelum_deployment", {"state": "aborted", "database": login, "service": "pim"})
    else:
        seize(login, group)
    before = rows(migrated_database)
    assert seize(login, group) is None
    assert rows(migrated_database) == before


def test_of_two_reapers_at_once_one_seizes_and_none_waits(migrated_database: Database, login: dict[str, Any]) -> None:
    open_one(login)
    silence(migrated_database, 31)
    (group,) = expired(login)
    with transaction(login) as first:
        assert lease.seize(first, group) is not None
        second: list[int | None] = []
        other = threading.Thread(target=lambda: second.append(seize(login, group)))
        other.start()
        other.join(8)  # less than the lock_timeout: who waits for the first would still be there
        assert second == [None]


def test_the_next_run_waits_for_a_reaper_and_takes_nothing_from_it(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as controller:
        dead = open_one(login, controller_pid=controller.pid)
        controller.kill()
    silence(migrated_database, 31)
    (group,) = expired(login)
    token = seize(login, group)
    assert token is not None
    options = {"service": "pim", "version": "v1.2.0", "components": COMPONENTS, "controller_pid": 1}
    rehearsed = run_module("caelum_deployment", {"state": "opened", "database": login, **options}, check=True)
    assert "and caelum-reaper is taking it back; run the same command again in a moment" in rehearsed["msg"]

    def finish() -> None:
        with transaction(login) as cursor:
            lease.close_reaped(cursor, token, "aborted", "returned to v1.1.0")

    reaper = threading.Timer(1.5, finish)
    reaper.start()
    opened = open_one(login, controller_pid=1)
    reaper.join()
    assert opened["taken_over"] == []
    assert [row[:2] for row in rows(migrated_database)[:2]] == [("aborted", "returned to v1.1.0")] * 2
    assert set(opened["ids"]).isdisjoint(dead["ids"])


def test_a_reaper_that_died_holds_up_no_run_of_the_controllers_host(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as controller:
        dead = open_one(login, controller_pid=controller.pid)
        controller.kill()
    silence(migrated_database, 31)
    (group,) = expired(login)
    seize(login, group)
    silence(migrated_database, 31)
    assert open_one(login, controller_pid=1)["taken_over"] == dead["ids"]


def test_the_reapers_question_is_answered_by_the_index_of_open_rows(migrated_database: Database) -> None:
    asked = "EXPLAIN SELECT id FROM deployment_history WHERE status = 'in_progress' AND inventory = 'local' AND "
    with migrated_database.connect() as connection:
        connection.execute(
            "INSERT INTO deployment_history (service_name, component, version, action, status)"
            " SELECT 'pim', 'c' || n, 'v1', 'deploy', 'success' FROM generate_series(1, 20000) AS n"
        )
        connection.execute("ANALYZE deployment_history")
        plan = connection.execute(asked + lease.OVER).fetchall()
    assert "deployment_history_one_open" in "\n".join(line for (line,) in plan)
