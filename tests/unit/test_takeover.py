"""What a controller that is gone left open is closed by the next one on its host; what lives is left alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.modules import run_module
from support.postgres import Database

pytest_plugins = ["support.postgres", "support.modules"]

WEB = {"component": "pim-web", "host": "pim-27"}
WORKER = {"component": "pim-worker", "host": "pim-27"}


def deployment(login: dict[str, Any], state: str = "opened", *, check: bool = False, **more: Any) -> dict[str, Any]:
    options = {"service": "pim", "version": "v1.1.0", "requested_by": "jane", "components": [WEB], **more}
    return run_module("caelum_deployment", {"state": state, "database": login, **options}, check=check)


def close(login: dict[str, Any], opened: dict[str, Any], status: str) -> None:
    key = {"ids": opened["ids"], "fencing_token": opened["fencing_token"]}
    assert "failed" not in run_module(
        "caelum_deployment", {"state": "closed", "database": login, "status": status, **key}
    )


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits, as a controller for the module's eyes."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def left_open(login: dict[str, Any], **more: Any) -> tuple[int, dict[str, Any]]:
    """A deployment whose controller was killed in the middle: its pid, and what `opened` returned."""
    with process() as controller:
        opened = deployment(login, controller_pid=controller.pid, **more)
    assert "failed" not in opened, opened
    return controller.pid, opened


def rows(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            "SELECT component, version, status, logs FROM deployment_history ORDER BY id"
        ).fetchall()


def retell(database: Database, **told: Any) -> None:
    """Let the opening event have told something else of its controller."""
    with database.connect() as connection:
        for key, value in told.items():
            connection.execute(
                "UPDATE deployment_events SET detail = jsonb_set(detail, ARRAY[%s], to_jsonb(%s::text)) "
                "WHERE event = 'opened'",
                (key, value),
            )


def test_the_opening_event_tells_of_the_controller(migrated_database: Database, login: dict[str, Any]) -> None:
    deployment(login, controller_pid=os.getpid())
    with migrated_database.connect() as connection:
        (detail,) = connection.execute("SELECT detail FROM deployment_events").fetchone() or ({},)
    assert detail["controller"] == socket.gethostname()
    assert detail["pid"] == os.getpid()
    assert detail["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_what_a_killed_controller_left_open_is_closed_and_the_next_goes_on(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    pid, dead = left_open(login, components=[WEB, WORKER])
    opened = deployment(login, version="v1.2.0", requested_by="joe", controller_pid=os.getpid())
    assert opened["taken_over"] == dead["ids"]
    reason = f"its controller, pid {pid} on host {socket.gethostname()}, is gone"
    assert [reason in warning for warning in opened["warnings"]] == [True, True]
    assert rows(migrated_database) == [
        ("pim-web", "v1.1.0", "aborted", reason),
        ("pim-worker", "v1.1.0", "aborted", reason),
        ("pim-web", "v1.2.0", "in_progress", None),
    ]
    with migrated_database.connect() as connection:
        told = connection.execute("SELECT deployment_id, detail FROM deployment_events WHERE event = 'aborted'")
        assert told.fetchall() == [(row_id, {"by": "joe", "reason": reason}) for row_id in dead["ids"]]


def test_a_rehearsal_takes_over_in_words_alone(migrated_database: Database, login: dict[str, Any]) -> None:
    _, dead = left_open(login)
    rehearsed = deployment(login, check=True, controller_pid=os.getpid())
    assert (rehearsed["changed"], rehearsed["taken_over"]) == (True, dead["ids"])
    assert rows(migrated_database) == [("pim-web", "v1.1.0", "in_progress", None)]


def test_two_live_controllers_exclude_each_other(migrated_database: Database, login: dict[str, Any]) -> None:
    with process() as first, process() as second:
        assert "failed" not in deployment(login, controller_pid=first.pid)
        for check in (False, True):
            refused = deployment(login, check=check, controller_pid=second.pid)
            assert "is still open: jane holds it" in refused["msg"]
    assert [row[2] for row in rows(migrated_database)] == ["in_progress"]


def test_a_live_one_beside_a_dead_one_keeps_both_as_they_are(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    left_open(login)
    with process() as alive:
        # Without taking over, so that the dead one's row is still there.
        deployment(login, components=[WORKER])
        refused = deployment(login, components=[WEB, WORKER], controller_pid=alive.pid)
    assert "(pim-worker) is still open" in refused["msg"]
    assert [row[2] for row in rows(migrated_database)] == ["in_progress", "in_progress"]


def test_without_a_controller_of_its_own_a_run_takes_nothing_over(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    left_open(login)
    assert "is still open" in deployment(login)["msg"]
    assert [row[2] for row in rows(migrated_database)] == ["in_progress"]


@pytest.mark.parametrize(
    "told",
    [
        {"controller": "another-host"},
        {"controller": "another-host", "boot_id": "another"},
        {"machine_id": "another machine of the same name", "boot_id": "another"},
        {"pid_namespace": "pid:[1]"},
    ],
    ids=["host", "host and boot", "machine", "container"],
)
def test_a_controller_elsewhere_counts_as_alive(
    migrated_database: Database, login: dict[str, Any], told: dict[str, str]
) -> None:
    left_open(login)
    retell(migrated_database, **told)
    assert "is still open" in deployment(login, controller_pid=os.getpid())["msg"]


@pytest.mark.parametrize("told", [{"boot_id": "the one before"}, {"started": "1"}], ids=["reboot", "number reused"])
def test_a_number_that_another_process_has_by_now_is_not_the_controller(
    migrated_database: Database, login: dict[str, Any], told: dict[str, str]
) -> None:
    deployment(login, controller_pid=os.getpid())
    retell(migrated_database, **told)
    assert "failed" not in deployment(login, controller_pid=os.getpid())
    assert [row[2] for row in rows(migrated_database)] == ["aborted", "in_progress"]


def test_a_killed_controller_that_nobody_has_waited_for_is_gone(login: dict[str, Any]) -> None:
    with process() as controller:
        deployment(login, controller_pid=controller.pid)
        controller.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, controller.pid, os.WEXITED | os.WNOWAIT)
        assert "failed" not in deployment(login, controller_pid=os.getpid())


def test_a_number_without_a_process_is_refused(migrated_database: Database, login: dict[str, Any]) -> None:
    with process() as ended:
        pass
    for pid in (ended.pid, 0, -1):
        assert f"controller_pid {pid} is no process of" in deployment(login, controller_pid=pid)["msg"]
    assert rows(migrated_database) == []
