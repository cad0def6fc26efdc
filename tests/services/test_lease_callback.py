"""The callback `caelum_lease` in real runs of `ansible-playbook`: it beats, lets go on a signal, ends a lost run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.caelum.database import lease
from ansible.module_utils.caelum.database.connection import transaction

from support.ansible_path import ROOT
from support.modules import login_of, run_module
from support.postgres import Database, Server, database, server

pytest_plugins = ["support.postgres", "support.modules"]
pytestmark = pytest.mark.services

BOUND_S = 40  # an interrupted run ends in two seconds here; a hung one never does
LEASE_S = 6
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


class Run:
    """A running `ansible-playbook` over `tasks`, which reach the database through variables of the play."""

    def __init__(self, folder: Path, login: dict[str, Any], tasks: list[dict[str, Any]]) -> None:
        self.folder = folder
        (folder / "secret.yml").write_text(json.dumps({"test_password": login["password"]}))
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "vars_files": ["secret.yml"],
            "vars": {"caelum_database_login": {**login, "password": "{{ test_password }}"}},
            "tasks": tasks,
        }
        (folder / "play.yml").write_text(yaml.safe_dump([play]))
        env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "HOME": str(folder),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
        }
        program = Path(sys.executable).with_name("ansible-playbook")
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [program, "-i", "localhost,", "-c", "local", folder / "play.yml"],
                env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    def told(self) -> list[str]:
        """Lines on the error stream so far."""
        return (self.folder / "err").read_text().splitlines()

    def everything(self) -> str:
        return (self.folder / "out").read_text() + (self.folder / "err").read_text()

    def reached(self, name: str) -> None:
        """Return once the task that makes the file `name` is at work."""
        until(lambda: (self.folder / name).exists() or self.process.poll() is not None, self.everything)
        assert (self.folder / name).exists(), self.everything()

    def go(self) -> None:
        """Let the tasks that wait go on, orphaned ones too."""
        (self.folder / "go").touch()

    def end(self) -> int:
        """The exit code, once it has ended; it must do so in bounded time."""
        try:
            return self.process.wait(BOUND_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {BOUND_S} s:\n{self.everything()}") from None


def until(happens: Callable[[], Any], otherwise: Callable[[], object], seconds: float = BOUND_S) -> None:
    """Return once `happens`; AssertionError with what `otherwise` says when it has not within `seconds`."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)


@contextmanager
def running(folder: Path, login: dict[str, Any], *tasks: dict[str, Any]) -> Iterator[Run]:
    run = Run(folder, login, list(tasks))
    try:
        yield run
    finally:
        run.go()
        run.process.kill()
        run.process.wait()


def opening(**more: Any) -> dict[str, Any]:
    options = {
        "state": "opened",
        "database": "{{ caelum_database_login }}",
        "service": "fincoll",
        "version": "v1.2.0",
        "requested_by": "jane",
        "components": [{"component": "fincoll", "host": "fin-44"}],
        "controller_pid": "{{ 'x' | caelum_controller_pid }}",
        "lease": LEASE_S,
        **more,
    }
    return {"name": "open", "caelum_deployment": options, "register": "opened"}


def waiting(folder: Path, name: str) -> dict[str, Any]:
    """A task that says it is there by the file `name` (with its pid), and lasts until it may go on."""
    there = folder / name
    script = f"echo $$ > {there}.new; mv {there}.new {there}; until test -e {folder}/go; do sleep 0.1; done"
    return {"name": name, "ansible.builtin.command": {"argv": ["sh", "-c", script]}}


def touching(folder: Path, name: str) -> dict[str, Any]:
    return {"name": name, "ansible.builtin.file": {"path": str(folder / name), "state": "touch"}}


CLOSING = {
    "name": "close",
    "caelum_deployment": {
        "state": "closed",
        "database": "{{ caelum_database_login }}",
        "ids": "{{ opened.ids }}",
        "fencing_token": "{{ opened.fencing_token }}",
        "status": "success",
    },
}


def row(on: Database) -> tuple[Any, ...] | None:
    """Status and lease of the one deployment."""
    with on.connect() as connection:
        found = connection.execute("SELECT status, lease_seconds FROM deployment_history").fetchall()
    assert len(found) <= 1
    return found[0] if found else None


def heartbeat(on: Database) -> Any:
    with on.connect() as connection:
        return (connection.execute("SELECT max(heartbeat_at) FROM deployment_history").fetchone() or (None,))[0]


def events(on: Database) -> list[tuple[str, dict[str, Any]]]:
    with on.connect() as connection:
        return connection.execute("SELECT event, detail FROM deployment_events ORDER BY id").fetchall()


def expired(login: dict[str, Any]) -> list[lease.Group]:
    with transaction(login) as cursor:
        return lease.expired(cursor, "local", "fin-44")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_the_lease_is_prolonged_during_a_long_task_and_not_after_the_close(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    with running(tmp_path, login, opening(), waiting(tmp_path, "long"), CLOSING, touching(tmp_path, "after")) as run:
        run.reached("long")
        first = heartbeat(migrated_database)
        until(lambda: (heartbeat(migrated_database) - first).total_seconds() > LEASE_S + 1, run.everything)
        assert expired(login) == []
        run.go()
        assert run.end() == 0, run.everything()
        assert row(migrated_database) == ("success", LEASE_S)
        assert [event for event, _ in events(migrated_database)] == ["opened", "closed"]
        assert run.told() == []


@pytest.mark.parametrize("signum", CODES, ids=lambda signum: signum.name)
def test_a_signal_ends_the_run_with_one_line_and_hands_the_deployment_over(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path, signum: signal.Signals
) -> None:
    with running(tmp_path, login, opening(), waiting(tmp_path, "long"), touching(tmp_path, "after")) as run:
        run.reached("long")
        until(lambda: heartbeat(migrated_database) is not None, run.everything)
        run.process.send_signal(signum)
        assert run.end() == CODES[signum], run.everything()
        assert row(migrated_database) == ("in_progress", 0)
        (group,) = expired(login)
        assert run.told() == [
            f"interrupted: deployment {group.ids[0]} of fincoll v1.2.0 is left to caelum-reaper, which returns to the "
            "last good release; run the same command again then"
        ]
        assert events(migrated_database)[-1] == ("released", {"reason": f"interrupted by {signum.name}"})
        assert not (tmp_path / "after").exists()
        assert gone(int((tmp_path / "long").read_text())), "what the worker started outlived the run"


def test_after_sigkill_nobody_beats_and_the_lease_runs_out(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    with running(tmp_path, login, opening(), waiting(tmp_path, "long")) as run:
        run.reached("long")
        first = heartbeat(migrated_database)
        until(lambda: heartbeat(migrated_database) > first, run.everything)
        run.process.kill()
        run.process.wait()
        assert not gone(int((tmp_path / "long").read_text())), "the orphan is what this test is about"
        last = heartbeat(migrated_database)
        until(lambda: expired(login), lambda: "the lease never ran out")
        assert heartbeat(migrated_database) == last
        assert row(migrated_database) == ("in_progress", LEASE_S)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda signum: signum.name)
def test_before_anything_is_open_the_line_says_so(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path, signum: signal.Signals
) -> None:
    with running(tmp_path, login, waiting(tmp_path, "long"), opening()) as run:
        run.reached("long")
        run.process.send_signal(signum)
        assert run.end() == CODES[signum], run.everything()
        assert run.told() == ["interrupted: no deployment was open; run the same command again"]
        assert row(migrated_database) is None


def test_an_opening_that_is_interrupted_on_its_way_leaves_no_lease_behind(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    """The row is there before the controller hears of it: here the worker is held up between the two."""
    held_up = waiting(tmp_path, "long")
    # The same worker opens and then waits, so its result comes only after the wait: a loop's second item.
    script = held_up["ansible.builtin.command"]["argv"][-1]
    opened = opening(version="{{ 'v1.2.0' if item == 1 else lookup('ansible.builtin.pipe', script) or 'v1.2.0' }}")
    task = {**opened, "loop": [1, 2], "vars": {"script": script}}
    with running(tmp_path, login, task) as run:
        run.reached("long")
        assert row(migrated_database) == ("in_progress", LEASE_S)
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == CODES[signal.SIGTERM], run.everything()
        assert row(migrated_database) == ("in_progress", 0)
        assert run.told()[-1].startswith("interrupted: the deployment that was being opened is left to caelum-reaper")


def test_a_signal_while_the_database_holds_up_the_close_still_ends_the_run(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    with running(tmp_path, login, opening(), waiting(tmp_path, "long"), CLOSING) as run:
        run.reached("long")
        with migrated_database.connect() as connection, connection.transaction():
            connection.execute("SELECT 1 FROM deployment_history FOR UPDATE")
            run.go()
            asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE%'"
            with migrated_database.connect() as watcher:
                until(lambda: watcher.execute(asked).fetchone() != (0,), run.everything)
            run.process.send_signal(signal.SIGINT)
            assert run.end() == CODES[signal.SIGINT], run.everything()
        assert f"once the lease of {LEASE_S} s is over" in run.told()[-1]
        until(lambda: expired(login), lambda: "the lease never ran out")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda signum: signum.name)
@pytest.mark.parametrize("after_s", [0.0, 0.35, 0.8, 1.3])
def test_at_any_moment_the_deployment_is_closed_or_handed_over_and_never_held(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path, after_s: float, signum: signal.Signals
) -> None:
    steps = [touching(tmp_path, name) for name in ("begun", "one", "two")]
    with running(tmp_path, login, steps[0], opening(lease=3), *steps[1:], CLOSING) as run:
        run.reached("begun")
        time.sleep(after_s)
        run.process.send_signal(signum)
        code = run.end()
        # 0, or the bare signal, when the run was over and only Python was still ending
        over = {0, -signum} if "localhost: ok=" in run.everything() else {0}
        assert code in {*over, CODES.get(signum, -signum)}, run.everything()
        if code > 0:
            (line,) = run.told()
            assert line.startswith("interrupted: "), line
        until(
            lambda: row(migrated_database) in {None, ("success", 3)} or expired(login),
            lambda: f"{row(migrated_database)} is held by nobody\n{run.everything()}",
        )


def test_a_run_whose_deployment_was_aborted_ends_at_the_next_task(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    with running(tmp_path, login, opening(), waiting(tmp_path, "long"), touching(tmp_path, "after"), CLOSING) as run:
        run.reached("long")
        abort = {"state": "aborted", "database": login, "service": "fincoll", "requested_by": "joe"}
        (row_id,) = run_module("caelum_deployment", abort)["ids"]
        time.sleep(LEASE_S / 2)  # three beats
        run.go()
        assert run.end() == 2, run.everything()
        (line,) = run.told()
        assert line.startswith(f"failed: deployment {row_id} was aborted "), line
        assert line.endswith("ago (aborted by joe); so this run ends here, and changes nothing more"), line
        assert not (tmp_path / "after").exists()
        assert row(migrated_database) == ("aborted", LEASE_S)


def test_a_run_that_slept_through_its_abort_changes_no_host_when_it_wakes(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    """A lease of an hour beats every ten minutes, so here nothing but the asking before the change can tell."""
    listed = {"state": "listed", "prefix": str(tmp_path / "host"), "service": "fincoll"}
    after = [{"name": "change", "caelum_revision": listed}, touching(tmp_path, "after"), CLOSING]
    with running(tmp_path, login, opening(lease=3600), waiting(tmp_path, "long"), *after) as run:
        run.reached("long")
        abort = {"state": "aborted", "database": login, "service": "fincoll", "requested_by": "joe"}
        run_module("caelum_deployment", abort)
        run.go()
        assert run.end() == 2, run.everything()
        assert run.told()[-1].startswith("failed: deployment "), run.everything()
        assert not (tmp_path / "after").exists()


def test_a_run_that_fails_without_closing_hands_the_deployment_over(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    failing = {"name": "fail", "ansible.builtin.fail": {"msg": "no"}}
    with running(tmp_path, login, opening(), failing) as run:
        assert run.end() == 2, run.everything()
        assert row(migrated_database) == ("in_progress", 0)
        assert run.told()[-1].startswith("left open: deployment ")


@pytest.fixture(autouse=True)
def hang_ups_are_heard() -> Iterator[None]:
    """Under nohup they are ignored, and a child would inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that a test may stop."""
    with server() as running_server:
        yield running_server


def test_a_database_that_is_away_costs_no_beat_for_good_and_an_interrupted_run_ends_all_the_same(
    own_server: Server, tmp_path: Path
) -> None:
    with database(own_server) as on:
        on.migrate("upgrade")
        login = login_of(on)
        with running(tmp_path, login, opening(), waiting(tmp_path, "long"), CLOSING) as run:
            run.reached("long")
            own_server.stop()
            time.sleep(LEASE_S / 2)
            own_server.start()
            back = heartbeat(on)
            until(lambda: heartbeat(on) > back, run.everything)
            own_server.stop()
            run.process.send_signal(signal.SIGINT)
            assert run.end() == CODES[signal.SIGINT], run.everything()
            (line,) = run.told()
            assert f"once the lease of {LEASE_S} s is over (database {on.name} at 127.0.0.1" in line
            assert login["password"] not in run.everything()
            own_server.start()
            assert row(on) == ("in_progress", LEASE_S)
