"""caelum-reaper as supervisord's program: what it leaves of deployments whose controller was lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.native_host import alive, eventually
from support.postgres import Database, database, server
from support.reaper import REAPER, STABLE, Deployment, ReaperHost, reaper_host

pytest_plugins = ["support.postgres"]
pytestmark = pytest.mark.services

# The reaper needs a second or two; the machine may be busy.
SOON_S = 40
WAITING = """
import pathlib, runpy, sys, time

while not pathlib.Path(sys.argv[1], "go").exists():
    time.sleep(0.05)
runpy.run_path(sys.argv[1] + "/serve.py")
"""


@pytest.fixture
def host(migrated_database: Database) -> Iterator[ReaperHost]:
    """A host with a reaper, where v1.0.0 of FinColl is not deployed yet."""
    with reaper_host(migrated_database) as made:
        made.start_reaper()
        yield made


def outcome(deployment: Deployment) -> tuple[str, str]:
    """Status and logs, once the reaper has closed the deployment."""
    what = f"the reaper's outcome of {deployment.service} {deployment.version}"
    try:
        return eventually(deployment.outcome, what, SOON_S)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{deployment.host.native.log(REAPER)}") from None


def serves(host: ReaperHost) -> str:
    return str(host.native.ask(STABLE)["version"])


def half_way(host: ReaperHost) -> Deployment:
    """v1.0.0 was deployed; the controller of v1.1.0 went after it had applied it."""
    host.open("v1.0.0").complete(host.stable("v1.0.0"))
    lost = host.open("v1.1.0")
    applied = lost.apply(host.stable("v1.1.0"))
    assert not applied.get("failed"), applied["msg"]
    return lost


def test_a_deployment_left_half_way_is_taken_back_and_its_controller_is_shut_out(host: ReaperHost) -> None:
    lost = half_way(host)
    assert serves(host) == "v1.1.0"
    assert lost.outcome() is None
    lost.lease_ends()
    status, line = outcome(lost)
    assert status == "aborted", line
    assert "returned 127.0.0.1 to v1.0.0" in line
    assert f"ready: {STABLE}" in line
    assert "\n" not in line
    assert serves(host) == "v1.0.0"
    # The controller was not dead but slow: it comes back and goes on.
    assert "was taken over" in lost.apply(host.stable("v1.1.0"))["msg"]
    assert lost.commit()["failed"]
    assert lost.close()["failed"]
    assert (serves(host), lost.row()) == ("v1.0.0", (status, line))
    # The next run finds nothing in its way.
    host.open("v1.1.0").complete(host.stable("v1.1.0"))
    assert serves(host) == "v1.1.0"


def test_configuration_and_tokens_go_back_with_the_release(host: ReaperHost) -> None:
    old = {"service": "fincoll", "version": "v1.0.0", "environment": "dev", "host": "127.0.0.1", "port": 8001}
    old["config"] = {"log_level": "INFO"}
    tokens = [{"name": "operator", "sha256": "a" * 64, "scopes": []}]
    host.open("v1.0.0").complete(host.stable("v1.0.0"), config=old, tokens=tokens)
    lost = host.open("v1.0.0")
    changed = host.stable("v1.0.0") | {"environment": {"LOG_LEVEL": "DEBUG"}}
    assert not lost.apply(changed, config=old | {"config": {"log_level": "DEBUG"}}).get("failed")
    with host.database.connect() as sql:
        sql.execute(
            "INSERT INTO service_configs (service_name, version, environment, host, port, config_json)"
            """ VALUES ('fincoll', 'v1.0.0', 'dev', '127.0.0.1', 8001, '{"log_level": "DEBUG"}')"""
        )
    lost.lease_ends()
    status, line = outcome(lost)
    assert status == "aborted", line
    with host.database.connect() as sql:
        assert sql.execute("SELECT config_json FROM service_configs").fetchall() == [({"log_level": "INFO"},)]
        assert sql.execute("SELECT name FROM api_tokens").fetchall() == [("operator",)]


def test_a_living_controller_is_left_alone(host: ReaperHost) -> None:
    lost = half_way(host)
    eventually(lambda: beats(host), "a heartbeat", SOON_S)
    other = host.open("v1.1.0", "senvec", "news")
    other.lease_ends()
    assert outcome(other)[0] == "aborted"
    assert lost.outcome() is None
    assert serves(host) == "v1.1.0"


def test_a_release_that_was_committed_before_its_controller_went_is_a_success(host: ReaperHost) -> None:
    lost = half_way(host)
    assert not lost.commit().get("failed")
    before = host.native.ask(STABLE)["pid"]
    lost.lease_ends()
    status, line = outcome(lost)
    assert status == "success", line
    assert "v1.1.0 had passed its gates" in line
    assert (serves(host), host.native.ask(STABLE)["pid"]) == ("v1.1.0", before)


def test_where_nothing_had_changed_nothing_is_touched(host: ReaperHost) -> None:
    host.open("v1.0.0").complete(host.stable("v1.0.0"))
    before = host.native.ask(STABLE)["pid"]
    lost = host.open("v1.1.0")
    lost.lease_ends()
    status, line = outcome(lost)
    assert status == "aborted", line
    assert "holds nothing of v1.1.0, v1.0.0 serves" in line
    assert host.native.ask(STABLE)["pid"] == before
    assert "was taken over" in lost.apply(host.stable("v1.1.0"))["msg"]


def test_a_first_deployment_has_nothing_to_return_to(host: ReaperHost) -> None:
    lost = host.open("v1.0.0")
    assert not lost.apply(host.stable("v1.0.0")).get("failed")
    lost.lease_ends()
    status, line = outcome(lost)
    assert status == "failed", line
    assert "there is none to return to" in line
    host.open("v1.0.0").complete(host.stable("v1.0.0"))


def test_what_cannot_be_taken_back_is_told_and_keeps_nothing_else_waiting(host: ReaperHost) -> None:
    lost = half_way(host)
    host.native.prefix.joinpath("opt/caelum/fincoll/releases/v1.0.0/manifest.json").unlink()
    other = host.open("v1.1.0", "senvec", "news")
    for deployment in (lost, other):
        deployment.lease_ends()
    status, line = outcome(lost)
    assert status == "failed", line
    assert "v1.0.0" in line
    assert outcome(other)[0] == "aborted"
    host.native.prefix.joinpath("opt/caelum/fincoll/releases/v1.0.0/manifest.json").write_text("{}")


def test_a_reaper_that_is_killed_half_way_is_continued_by_the_next(host: ReaperHost) -> None:
    release = host.native.prefix / "opt/caelum/fincoll/releases/v1.0.0"
    (release / "wait.py").write_text(WAITING)
    (release / "go").touch()
    old = host.stable("v1.0.0")
    old["command"][1] = "{release}/wait.py"
    host.open("v1.0.0").complete(old)
    lost = host.open("v1.1.0")
    assert not lost.apply(host.stable("v1.1.0")).get("failed")
    (release / "go").unlink()
    lost.lease_ends()
    eventually(lambda: stable_runs(host, "v1.0.0"), "v1.0.0 started again", SOON_S)
    watcher = host.process()
    assert watcher is not None
    (working,) = host.rounds()
    for pid in (working, watcher.pid or 0):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(working), "the end of the killed process")
    assert lost.outcome() is None
    (release / "go").touch()
    lost.lease_ends()
    status, line = outcome(lost)
    assert status == "aborted", line
    assert "returned 127.0.0.1 to v1.0.0" in line
    assert serves(host) == "v1.0.0"


def test_it_takes_back_pim_and_itself_with_it(host: ReaperHost) -> None:
    host.open("v1.0.0", "pim", "caelum-reaper").complete(host.reaper())
    lost = host.open("v1.1.0", "pim", "caelum-reaper")
    assert not lost.apply(host.reaper("v1.1.0")).get("failed")
    newer = eventually(host.process, "the newer reaper", SOON_S)
    assert newer.release == "v1.1.0"
    lost.lease_ends()
    status, line = outcome(lost)
    assert status == "aborted", line
    older = eventually(host.process, "the older reaper", SOON_S)
    assert (older.release, older.state) == ("v1.0.0", "running")
    # It is what a deployment of v1.0.0 would have left, so the next one finds nothing to do.
    assert host.native.apply(host.reaper(), services=["pim"], check=True)["steps"] == []
    after = host.open("v9.9.9")
    after.lease_ends()
    assert outcome(after)[0] == "aborted"


def test_the_database_may_go_and_come_back() -> None:
    with server() as postgres, database(postgres) as db:
        db.migrate("upgrade")
        with reaper_host(db) as host:
            host.start_reaper()
            lost = half_way(host)
            lost.lease_ends()
            postgres.stop()
            eventually(lambda: "no lease is watched" in host.native.log(REAPER), "word of the database", SOON_S)
            watcher = host.process()
            postgres.start()
            assert outcome(lost)[0] == "aborted"
            assert host.process() == watcher
            assert "leases are watched again" in host.native.log(REAPER)
            assert "Traceback" not in host.native.log(REAPER)
            assert serves(host) == "v1.0.0"


def test_it_is_small_and_gives_a_sign_of_life(host: ReaperHost) -> None:
    ((version, run),) = eventually(lambda: beats(host), "a heartbeat", SOON_S)
    assert (version, bool(run)) == ("dev", True)
    process = host.process()
    assert process is not None
    assert pss_mib(process.pid or 0) < 20


def beats(host: ReaperHost) -> list[tuple[Any, ...]]:
    with host.database.connect() as sql:
        return sql.execute(
            "SELECT version, metadata->>'run' FROM service_health WHERE service_name = %s", ("caelum-reaper",)
        ).fetchall()


def stable_runs(host: ReaperHost, version: str) -> bool:
    process = host.process(STABLE)
    return process is not None and process.release == version


def pss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
