"""Upgrades, rollbacks and everything that can cut them off: the old release serves, and the history tells the truth."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import scratch
from support.deploying import (
    Started,
    deploy,
    everything,
    good,
    newest,
    refused,
    rows,
    start_database,
    version,
    versions,
)
from support.ecosystem import Ecosystem
from support.scratch import Scratch

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def broken() -> Iterator[Scratch]:
    """Releases that never become ready: v3.0.0 of all, whose FinColl says so."""
    with tempfile.TemporaryDirectory(prefix="caelum-scratch-") as folder:
        made = scratch.cloned(Path(folder) / "checkout")
        lost = "return bars.lost()"
        made.release("v3.0.0", "services/fincoll/src/fincoll/app.py", lost, 'return "this release is broken"')
        yield made


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
    run = deploy(at_v110, "v3.0.0", "-e", f"caelum_checkout={broken.path}", "-e", "caelum_ready_timeout=20")
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
    arguments = ("-e", "senvec_version=v1.2.0", "-e", "finvec_version=v1.2.0", "-e", "caelum_ready_timeout=20")
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
