"""Upgrades, rollbacks and everything that can cut them off: the old release serves, and the history tells the truth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import psycopg
import pytest

from support import scratch
from support.ecosystem import ROOT, Ecosystem, Run
from support.scratch import Scratch

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PORTS = {"fincoll": 8001, "pim": 5000, "senvec": 18000}
LEASE_S = 4
SIGNALS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "KILL": signal.SIGKILL}
STEPS = (
    "Plan what would change",
    "Open the deployment",
    "Write the configuration",
    "Apply the instances",
    "Wait until every instance",
    "Make it what a rollback",
    "Close the deployment",
    "Prune what is older",
)


@pytest.fixture(scope="module")
def broken() -> Iterator[Scratch]:
    """Releases that never become ready: v3.0.0 of all, whose FinColl says so."""
    with tempfile.TemporaryDirectory(prefix="caelum-scratch-") as folder:
        made = scratch.cloned(Path(folder) / "checkout")
        lost = "return bars.lost()"
        made.release("v3.0.0", "services/fincoll/src/fincoll/app.py", lost, 'return "this release is broken"')
        yield made


@pytest.fixture
def at_v110(live: Ecosystem) -> Ecosystem:
    """The ecosystem at v1.1.0, whatever the test before left."""
    done = live.playbook("deploy.yml", "-e", "version=v1.1.0")
    assert done.status == 0, done.output[-4000:]
    return live


def version(ecosystem: Ecosystem, service: str) -> str:
    return str(ecosystem.get(PORTS[service], "/version")["version"])


def versions(ecosystem: Ecosystem) -> dict[str, str]:
    return {service: version(ecosystem, service) for service in PORTS}


def everything(at: str) -> dict[str, str]:
    return dict.fromkeys(PORTS, at)


def rows(ecosystem: Ecosystem, after: int = 0) -> list[tuple[Any, ...]]:
    """(service, version, action, status, logs) of deployments with an id above `after`, the oldest first."""
    with ecosystem.database() as connection:
        return connection.execute(
            "SELECT service_name, version, action, status, coalesce(logs, '') FROM deployment_history WHERE id > %s"
            " ORDER BY id",
            (after,),
        ).fetchall()


def newest(ecosystem: Ecosystem) -> int:
    with ecosystem.database() as connection:
        row = connection.execute("SELECT coalesce(max(id), 0) FROM deployment_history").fetchone()
    assert row
    return int(row[0])


def deploy(ecosystem: Ecosystem, to: str, *arguments: str) -> Run:
    return ecosystem.playbook("deploy.yml", "-e", f"version={to}", *arguments)


def good(run: Run) -> Run:
    assert run.status == 0, run.output[-4000:]
    return run


def refused(run: Run) -> str:
    """The last line of a run that failed, which is all that a person must read."""
    assert run.status != 0, run.output[-4000:]
    last = run.output.strip().splitlines()[-1]
    assert last.startswith("failed: "), run.output[-4000:]
    assert "Traceback" not in run.output
    return last


def until(what: str, condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.2)


def start_database(ecosystem: Ecosystem) -> None:
    """Start PostgreSQL, unless it runs, and wait until it accepts logins."""

    def answers() -> bool:
        try:
            newest(ecosystem)
        except psycopg.OperationalError:
            return False
        return True

    with suppress(Fault):  # supervisord tries it again by itself where it ended by itself
        ecosystem.supervisor.startProcess("postgresql@stable", False)
    until("the database", answers)


def test_an_upgrade_and_two_rollbacks_go_back_twice(at_v110: Ecosystem) -> None:
    good(deploy(at_v110, "v1.2.0"))
    assert versions(at_v110) == everything("v1.2.0")
    good(deploy(at_v110, "v1.3.0", "-e", "service=fincoll"))
    assert versions(at_v110) == everything("v1.2.0") | {"fincoll": "v1.3.0"}
    since = newest(at_v110)

    first = good(at_v110.playbook("rollback.yml"))
    assert versions(at_v110) == everything("v1.2.0"), "the last run changed FinColl alone"
    assert "fincoll@stable" in first.output
    assert rows(at_v110, since)[0][:4] == ("fincoll", "v1.2.0", "rollback", "success")

    good(at_v110.playbook("rollback.yml"))
    assert versions(at_v110) == everything("v1.1.0"), "the run before changed everything"
    assert {row[3] for row in rows(at_v110, since)} == {"success"}
    assert good(deploy(at_v110, "v1.1.0")).recap("changed") == 0, "what a rollback leaves is what a deploy wants"


def test_a_release_that_never_becomes_ready_is_taken_back_whole(at_v110: Ecosystem, broken: Scratch) -> None:
    since = newest(at_v110)
    run = deploy(at_v110, "v3.0.0", "-e", f"caelum_checkout={broken.path}", "-e", "caelum_ready_timeout=8")
    last = refused(run)
    assert "this release is broken" in last
    assert "returned to v1.1.0" in last
    assert versions(at_v110) == everything("v1.1.0"), "SenVec, which was well at v3.0.0, went back with it"
    told = [row[:4] for row in rows(at_v110, since)]
    assert ("fincoll", "v3.0.0", "deploy", "rolled_back") in told
    assert ("senvec", "v1.1.0", "rollback", "success") in told
    assert not any(row[3] == "in_progress" for row in told)
    assert good(at_v110.playbook("verify.yml"))


def test_a_healed_drift_is_no_release_that_a_failing_run_could_take_back(at_v110: Ecosystem, broken: Scratch) -> None:
    good(deploy(at_v110, "v1.2.0"))
    edited = at_v110.prefix / "etc/caelum/news@stable.env"
    edited.write_text(edited.read_text() + "ADDED_BY_HAND=1\n")
    arguments = ("-e", "senvec_version=v1.2.0", "-e", "finvec_version=v1.2.0", "-e", "caelum_ready_timeout=8")
    last = refused(deploy(at_v110, "v3.0.0", "-e", f"caelum_checkout={broken.path}", *arguments))
    assert "this release is broken" in last
    assert versions(at_v110) == everything("v1.2.0"), "SenVec was only healed: v1.1.0 is not what it goes back to"
    assert "ADDED_BY_HAND" not in edited.read_text()


def test_a_check_of_a_rollback_says_where_it_would_go_and_changes_nothing(at_v110: Ecosystem) -> None:
    good(deploy(at_v110, "v1.2.0", "-e", "service=fincoll"))
    since = newest(at_v110)
    shown = good(at_v110.playbook("rollback.yml", "-e", "service=fincoll", "--check"))
    assert shown.recap("changed") == 1
    assert version(at_v110, "fincoll") == "v1.2.0"
    assert rows(at_v110, since) == []


def test_break_glass_needs_no_database_and_its_history_comes_later(at_v110: Ecosystem) -> None:
    good(deploy(at_v110, "v1.2.0", "-e", "service=fincoll"))
    since = newest(at_v110)
    at_v110.supervisor.stopProcess("postgresql@stable")
    try:
        assert "does not answer" in refused(at_v110.playbook("rollback.yml", "-e", "service=fincoll"))
        assert version(at_v110, "fincoll") == "v1.2.0", "without the words, nothing happens without the database"
        good(at_v110.playbook("rollback.yml", "-e", "service=fincoll", "-e", "break_glass=true"))
        assert version(at_v110, "fincoll") == "v1.1.0"
        pim = refused(at_v110.playbook("rollback.yml", "-e", "service=pim", "-e", "break_glass=true"))
        assert "PIM cannot start without its database" in pim
        assert list((at_v110.prefix / "var/lib/caelum/journal").glob("*.json"))
    finally:
        start_database(at_v110)
    assert good(deploy(at_v110, "v1.1.0", "-e", "service=fincoll")).recap("changed") == 0
    told = [row[:4] for row in rows(at_v110, since)]
    good(at_v110.playbook("verify.yml"))
    assert told.count(("fincoll", "v1.1.0", "rollback", "success")) == 1
    assert not list((at_v110.prefix / "var/lib/caelum/journal").glob("*.json"))


def test_a_database_that_is_away_before_stops_everything_and_during_loses_nothing(at_v110: Ecosystem) -> None:
    since = newest(at_v110)
    control = next((at_v110.prefix / "var/lib/caelum").glob("postgresql/**/pg_control"))
    at_v110.supervisor.stopProcess("postgresql@stable")
    control.chmod(0)  # so that the deploy cannot simply start it again
    try:
        refused(deploy(at_v110, "v1.2.0", "-e", "service=fincoll"))
        assert version(at_v110, "fincoll") == "v1.1.0"
    finally:
        control.chmod(0o600)
        start_database(at_v110)
    assert rows(at_v110, since) == []

    with Started(at_v110, "v1.2.0", "-e", "service=fincoll") as run:
        run.wait_for("Apply the instances")
        at_v110.supervisor.stopProcess("postgresql@stable")
        output = run.finish()
    start_database(at_v110)
    assert run.status == 0, output[-4000:]
    assert version(at_v110, "fincoll") == "v1.2.0"
    good(deploy(at_v110, "v1.1.0", "-e", "service=fincoll"))
    assert [row[:4] for row in rows(at_v110, since)] == [
        ("fincoll", "v1.2.0", "deploy", "success"),
        ("fincoll", "v1.1.0", "deploy", "success"),
    ]


class Started:
    """A deploy that runs in the background, in a session of its own, with a task's name printed when it begins."""

    def __init__(self, ecosystem: Ecosystem, to: str, *arguments: str) -> None:
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "deploy.yml", "-v", "-e", f"version={to}"]
        command += ["-e", f"caelum_prefix={ecosystem.prefix}", "-e", f"caelum_port_base={ecosystem.base}", *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTEST_"))}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._lines: list[str] = []

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    def wait_for(self, task: str) -> None:
        """Return when the task begins; it is FinColl's where several services have one of that name."""
        assert self._process.stdout
        fincoll = False
        for line in self._process.stdout:
            self._lines.append(line)
            fincoll = fincoll or line.startswith("PLAY [FinColl]")
            if fincoll and line.startswith("TASK [") and task in line:
                return
        raise AssertionError(f"no task {task!r} in\n{''.join(self._lines)[-4000:]}")

    def send(self, number: int) -> None:
        """A signal as it really comes: Ctrl-C to the whole group of the terminal, the others to the process."""
        if number == signal.SIGINT:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)

    def finish(self, seconds: float = 120) -> str:
        """The whole output, when the run has ended."""
        rest, _ = self._process.communicate(timeout=seconds)
        return "".join(self._lines) + rest

    @property
    def status(self) -> int:
        """Exit status."""
        return int(self._process.returncode)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_controller_that_is_cut_off_at_any_step_leaves_the_old_release_and_one_true_row(
    at_v110: Ecosystem, name: str
) -> None:
    good(deploy(at_v110, "v1.2.0", "-e", "service=fincoll"))
    here, there = "v1.2.0", "v1.1.0"
    for step in STEPS:
        since = newest(at_v110)
        with Started(at_v110, there, "-e", "service=fincoll", "-e", f"caelum_lease={LEASE_S}") as run:
            run.wait_for(step)
            run.send(SIGNALS[name])
            output = run.finish(60)
        assert run.status != 0, f"{step}: {output[-2000:]}"
        until(
            f"{step}: the row is closed",
            lambda since=since: "in_progress" not in {row[3] for row in rows(at_v110, since)},
        )
        told = [row[:4] for row in rows(at_v110, since)]
        assert len(told) <= 1, f"{step}: {told}"
        ended = told[0][3] if told else "none"
        serving = there if ended == "success" else here
        until(f"{step}: {serving} serves", lambda serving=serving: version(at_v110, "fincoll") == serving, 30)
        assert ended in {"none", "aborted", "success"}, f"{step}: {rows(at_v110, since)}"
        if step in STEPS[:4]:
            assert ended != "success", f"{step}: nothing was verified yet"
        # the next run ends clean, in the direction that is left
        good(deploy(at_v110, there, "-e", "service=fincoll"))
        assert version(at_v110, "fincoll") == there
        here, there = there, here


def test_abort_says_what_it_did_and_idle_says_so(at_v110: Ecosystem) -> None:
    idle = good(at_v110.playbook("abort.yml", "-e", "service=fincoll"))
    assert "nothing of fincoll was under way" in idle.output
    since = newest(at_v110)
    with Started(at_v110, "v1.2.0", "-e", "service=fincoll") as run:
        run.wait_for("Wait until every instance")
        run.send(signal.SIGSTOP)
        second = refused(deploy(at_v110, "v1.3.0", "-e", "service=fincoll"))
        assert "of fincoll v1.2.0 (fincoll) is still open" in second
        done = good(at_v110.playbook("abort.yml", "-e", "service=fincoll"))
        assert "closed as aborted" in done.output
        assert version(at_v110, "fincoll") == "v1.1.0"
        run.send(signal.SIGCONT)
        run.finish()
    assert run.status != 0, "the run that was aborted is told so"
    assert version(at_v110, "fincoll") == "v1.1.0", "and changes nothing any more"
    assert [row[:4] for row in rows(at_v110, since)] == [("fincoll", "v1.2.0", "deploy", "aborted")]


def test_verify_finds_every_kind_of_drift_and_a_deploy_heals_it(at_v110: Ecosystem) -> None:
    assert "everything is as it was deployed" in good(at_v110.playbook("verify.yml")).output
    good(deploy(at_v110, "v1.2.0", "-e", "service=fincoll"))
    good(deploy(at_v110, "v1.1.0", "-e", "service=fincoll"))
    edited = at_v110.prefix / "etc/caelum/news@stable.env"
    edited.write_text(edited.read_text() + "ADDED_BY_HAND=1\n")
    at_v110.supervisor.stopProcess("social@stable")
    slot = at_v110.prefix / "opt/caelum/fincoll/slots/fincoll@stable"
    slot.unlink()
    slot.symlink_to("../releases/v1.2.0")
    code = next(
        (at_v110.prefix / "opt/caelum/senvec/releases/v1.1.0").glob("lib/python3*/site-packages/senvec/news.py")
    )
    original, mode = code.read_bytes(), code.stat().st_mode
    code.chmod(0o644)
    code.write_bytes(original + b"# edited\n")
    try:
        found = at_v110.playbook("verify.yml")
    finally:
        code.write_bytes(original)
        code.chmod(mode)
    assert found.status != 0
    for line in (
        f"{edited} is not as it was deployed",
        "social@stable is stopped",
        "slot fincoll@stable points to v1.2.0 instead of v1.1.0",
        "senvec/news.py",
    ):
        assert line in found.output, found.output[-4000:]
    good(deploy(at_v110, "v1.1.0"))
    assert "everything is as it was deployed" in good(at_v110.playbook("verify.yml")).output


def test_one_microservice_can_have_a_version_of_its_own(at_v110: Ecosystem) -> None:
    before = at_v110.processes()
    good(deploy(at_v110, "v1.2.1", "-e", "component=news"))
    assert at_v110.get(18004, "/version")["version"] == "v1.2.1"
    after = at_v110.processes()
    assert {name for name in before if before[name] != after[name]} == {"news@stable"}
    good(at_v110.playbook("rollback.yml"))
    assert at_v110.get(18004, "/version")["version"] == "v1.1.0"


def test_a_beta_goes_to_the_candidate_slot_and_stable_serves_on(at_v110: Ecosystem) -> None:
    before = at_v110.processes()
    good(deploy(at_v110, "v1.4.0-beta", "-e", "service=fincoll"))
    assert at_v110.get(8002, "/version")["version"] == "v1.4.0-beta"
    assert version(at_v110, "fincoll") == "v1.1.0"
    assert at_v110.processes()["fincoll@stable"] == before["fincoll@stable"]
    good(at_v110.playbook("rollback.yml", "-e", "service=fincoll"))
    assert "fincoll@candidate" not in at_v110.processes()
    assert "candidate" in refused(deploy(at_v110, "v1.4.0-beta", "-e", "service=pim"))
    assert "edge" in refused(deploy(at_v110, "v1.4.0-rc.1"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-e", "version=v1.1"), "'v1.1' is not a version"),
        (("-e", "version=v1.1.0", "-e", "fincol_port=1"), "no variable fincol_port; did you mean fincoll_port?"),
        (("-e", "version=v1.2.0", "-e", "caelum_free_mib=99999999"), "caelum_free_mib"),
        (("-e", "version=v1.1.0", "-e", "service=pimm"), "there is no service 'pimm'"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line_and_changes_nothing(
    live: Ecosystem, arguments: tuple[str, ...], words: str
) -> None:
    before, since = live.processes(), newest(live)
    assert words in refused(live.playbook("deploy.yml", *arguments))
    assert live.processes() == before
    assert rows(live, since) == []


def test_a_taken_port_is_refused_before_anything_changes(at_v110: Ecosystem) -> None:
    before, since = at_v110.processes(), newest(at_v110)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as owner:
        assert owner.stdout
        port = int(owner.stdout.readline().split("port ")[1].split()[0])
        try:
            last = refused(deploy(at_v110, "v1.2.0", "-e", f"pim_port={port - at_v110.base}"))
        finally:
            owner.terminate()
    assert str(port) in last
    assert str(owner.pid) in last
    assert "pim_port" in last
    assert at_v110.processes() == before
    assert rows(at_v110, since) == [], "SenVec, which comes before PIM, was not touched either"


def test_a_halt_stops_predictions_and_a_rollback_passes_under_it(at_v110: Ecosystem) -> None:
    good(deploy(at_v110, "v1.2.0", "-e", "service=fincoll"))
    good(at_v110.playbook("halt.yml", "-e", "reason=a test"))
    try:
        assert at_v110.status(8001, "/predict/AAPL") == 503
        good(at_v110.playbook("rollback.yml", "-e", "service=fincoll"))
        assert version(at_v110, "fincoll") == "v1.1.0"
        assert at_v110.status(8001, "/predict/AAPL") == 503, "it stays halted through the restart"
    finally:
        good(at_v110.playbook("resume.yml"))
    assert at_v110.status(8001, "/predict/AAPL") == 200
    with at_v110.database() as connection:
        actions = connection.execute("SELECT action FROM audit_log ORDER BY id DESC LIMIT 2").fetchall()
    assert [action for (action,) in actions] == ["resume", "halt"]
