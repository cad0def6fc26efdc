"""A service on several hosts: they go together, one that fails takes all back, and one that is away is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support import several
from support.deploying import Started, good, refused
from support.ecosystem import Run
from support.several import GROUPS, Fleet
from support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

AWAY = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


@pytest.fixture(scope="module")
def first() -> Iterator[tuple[Fleet, Run]]:
    """Three hosts, and the run that deployed to them."""
    with several.fleet() as fleet:
        yield fleet, fleet.playbook("deploy.yml", "-e", "version=v1.1.0")


@pytest.fixture
def fleet(first: tuple[Fleet, Run]) -> Fleet:
    """The three hosts at v1.1.0 as the inventory lists them, whatever the test before left."""
    made, run = first
    assert run.status == 0, run.output[-4000:]
    made.lists(GROUPS)
    if made.rows()[-1][3] != "success" or {made.slot("two"), made.slot("three")} != {"v1.1.0"}:
        good(made.playbook("deploy.yml", "-e", "version=v1.1.0"))
    return made


def deploy(fleet: Fleet, version: str, *arguments: str) -> Run:
    return fleet.playbook("deploy.yml", "-e", f"version={version}", *arguments)


def aborted(fleet: Fleet) -> str:
    return good(fleet.playbook("abort.yml", "-e", "service=fincoll")).output


@contextmanager
def spoiled(fleet: Fleet, host: str, version: str) -> Iterator[None]:
    """A host on which this installed release of FinColl cannot start: its Python ends at once."""
    python = fleet.prefix(host) / "opt/caelum/fincoll/releases" / version / "bin/python"
    was = python.readlink()
    python.unlink()
    python.symlink_to("/bin/false")
    try:
        yield
    finally:
        python.unlink()
        python.symlink_to(was)


def test_a_component_has_one_row_for_all_its_hosts_and_an_event_for_each(first: tuple[Fleet, Run]) -> None:
    fleet, run = first
    assert run.status == 0, run.output[-4000:]
    (row,) = [row for row in fleet.rows() if row[0] == "fincoll"]
    assert row[:5] == ("fincoll", "v1.1.0", "deploy", "success", "127.0.0.2, 127.0.0.3")
    assert {("127.0.0.2", "committed"), ("127.0.0.3", "committed")} <= fleet.events(0)
    assert "fincoll@stable on 127.0.0.3" in run.output or "127.0.0.3:" in run.output


def test_a_second_deploy_changes_nothing_anywhere(fleet: Fleet) -> None:
    since = fleet.newest()
    assert good(deploy(fleet, "v1.1.0")).recap("changed") == 0
    assert fleet.rows(since) == []


def test_a_limit_is_honoured_and_told_and_a_rollback_goes_where_the_run_had_been(fleet: Fleet) -> None:
    since = fleet.newest()
    shown = good(deploy(fleet, "v1.2.0", "-e", "service=fincoll", "--limit", "two"))
    assert "fincoll was looked at on two alone; --limit leaves out three" in shown.output
    assert (fleet.slot("two"), fleet.slot("three")) == ("v1.2.0", "v1.1.0")
    assert [row[:5] for row in fleet.rows(since)] == [("fincoll", "v1.2.0", "deploy", "success", "127.0.0.2")]
    good(fleet.playbook("rollback.yml"))
    assert (fleet.slot("two"), fleet.slot("three")) == ("v1.1.0", "v1.1.0")


def test_an_upgrade_and_its_rollback_go_on_all_hosts_together(fleet: Fleet) -> None:
    good(deploy(fleet, "v1.2.0", "-e", "service=fincoll"))
    assert (fleet.slot("two"), fleet.slot("three")) == ("v1.2.0", "v1.2.0")
    since = fleet.newest()
    good(fleet.playbook("rollback.yml", "-e", "service=fincoll"))
    assert (fleet.slot("two"), fleet.slot("three")) == ("v1.1.0", "v1.1.0")
    assert [row[:5] for row in fleet.rows(since)] == [
        ("fincoll", "v1.1.0", "rollback", "success", "127.0.0.2, 127.0.0.3")
    ]


def test_what_fails_on_one_host_is_taken_back_on_all_and_so_is_what_the_run_did_before(fleet: Fleet) -> None:
    good(deploy(fleet, "v1.2.0", "-e", "service=fincoll", "--limit", "three"))  # which installs it there
    good(fleet.playbook("rollback.yml"))
    since = fleet.newest()
    with spoiled(fleet, "three", "v1.2.0"):
        last = refused(deploy(fleet, "v1.2.0", "-e", "finvec_version=v1.1.0"))
    assert "fincoll@stable on three is not ready" in last
    assert "fincoll was returned to v1.1.0 on three, two" in last
    assert (fleet.slot("two"), fleet.slot("three")) == ("v1.1.0", "v1.1.0")
    assert fleet.slot("one", "senvec", "news@stable") == "v1.1.0", "SenVec, which was well, went back with it"
    told = [row[:4] for row in fleet.rows(since)]
    assert ("fincoll", "v1.2.0", "deploy", "rolled_back") in told
    assert ("senvec", "v1.1.0", "rollback", "success") in told
    assert not any(row[3] == "in_progress" for row in told)


def test_an_abort_leaves_no_host_apart_when_a_controller_was_lost_amid_the_commits(fleet: Fleet) -> None:
    since = fleet.newest()
    with Started(fleet, "v1.2.0", "-e", "service=fincoll", "-e", "caelum_lease=4") as run:
        run.wait_for("Make it what a rollback")
        run.lose()
    until("the reaper closes the row", lambda: fleet.rows(since)[0][3] != "in_progress")
    aborted(fleet)
    (row,) = fleet.rows(since)
    slots = {fleet.slot("two"), fleet.slot("three")}
    assert (slots, row[3]) in [({"v1.1.0"}, "aborted"), ({"v1.2.0"}, "success")], row
    assert "everything is as it was deployed" in good(fleet.playbook("verify.yml")).output


def test_what_all_hosts_had_verified_is_a_success_though_its_controller_was_lost(
    fleet: Fleet,
) -> None:
    since = fleet.newest()
    with Started(fleet, "v1.3.0", "-e", "service=fincoll", "-e", "caelum_lease=4") as run:
        run.wait_for("Apply the instances")
        with fleet.sql() as connection, connection.transaction():
            connection.execute("SELECT 1 FROM deployment_history WHERE status = 'in_progress' FOR UPDATE")
            until("all have committed", lambda: {fleet.committed(one) for one in ("two", "three")} == {"v1.3.0"})
            run.lose()
    until("the reaper closes the row", lambda: fleet.rows(since)[0][3] == "aborted")
    assert "closed as success" in aborted(fleet)
    assert [row[1:4] for row in fleet.rows(since)] == [("v1.3.0", "deploy", "success")]
    assert {fleet.slot("two"), fleet.slot("three")} == {"v1.3.0"}
    assert "everything is as it was deployed" in good(fleet.playbook("verify.yml")).output


def test_a_host_that_is_down_is_refused_before_anything_changes(fleet: Fleet) -> None:
    since = fleet.newest()
    fleet.lists(GROUPS, three=AWAY)
    last = refused(deploy(fleet, "v1.2.0"))
    assert "three: not reached by SSH" in last
    assert "--limit '!three'" in last
    assert (fleet.rows(since), fleet.slot("two")) == ([], "v1.1.0")
    good(deploy(fleet, "v1.2.0", "-e", "service=fincoll", "--limit", "!three"))
    assert (fleet.slot("two"), fleet.slot("three")) == ("v1.2.0", "v1.1.0")


def test_fincoll_moves_by_a_change_of_the_inventory_alone(fleet: Fleet) -> None:
    since = fleet.newest()
    fleet.lists({**GROUPS, "fincoll": ("one", "two")})
    partly = good(deploy(fleet, "v1.1.0", "--limit", "one,three"))
    assert fleet.slot("three") == "v1.1.0", "a run that leaves a host out removes nothing"
    assert "fincoll stays on three, where the inventory does not list it" in partly.output
    good(deploy(fleet, "v1.1.0"))
    assert (fleet.slot("one"), fleet.slot("three")) == ("v1.1.0", "")
    assert not list((fleet.prefix("three") / "etc/caelum").glob("fincoll@*")), "nothing of it is left"
    told = [row[:5] for row in fleet.rows(since) if row[0] == "fincoll"]
    assert told[-1] == ("fincoll", "v1.1.0", "deploy", "success", "127.0.0.3"), (
        "its removal is recorded, after the rest"
    )
    assert good(deploy(fleet, "v1.1.0")).recap("changed") == 0
    good(fleet.playbook("rollback.yml", "-e", "service=fincoll"))
    assert fleet.slot("three") == "v1.1.0", "a rollback finds a service where the inventory does not list it any more"
    assert good(deploy(fleet, "v1.1.0")).status == 0
    assert fleet.slot("three") == ""
