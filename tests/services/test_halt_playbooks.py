"""`halt.yml` and `resume.yml` as a user types them: a line that tells the outcome, and a record of both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.checkpoints import write_checkpoint
from support.ecosystem import Ecosystem, Run, free_base
from support.fincoll import EnvFile, fincoll
from support.modules import login_of
from support.postgres import Database

pytest_plugins = ["support.postgres"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

REASON = "it's the split of AAPL"


class Place(Ecosystem):
    """A prefix in which a FinColl alone was deployed."""

    @property
    def env(self) -> EnvFile:
        made = EnvFile(self.prefix / "etc/caelum", CAELUM_STATE_DIR=self.prefix / "var/lib/caelum/fincoll")
        made.champion(write_checkpoint(self.prefix / "models"))
        return made

    def play(self, name: str, *options: str, reason: str = REASON, database: Database | None = None) -> Run:
        given: dict[str, Any] = {"reason": reason, "caelum_requested_by": "jane"}
        if database:
            given["caelum_database_login"] = login_of(database)
        return self.playbook(name, "-e", json.dumps(given), *options, timeout=120)

    def journal(self) -> list[str]:
        """What waits to be recorded."""
        return [path.read_text() for path in sorted((self.prefix / "var/lib/caelum/journal").rglob("*.json"))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for folder in ("etc/caelum", "var/lib/caelum"):
        (tmp_path / folder).mkdir(parents=True)
    return Place(tmp_path, free_base())


def last(run: Run) -> str:
    return run.output.strip().splitlines()[-1]


def test_both_are_recorded_once_and_a_second_time_changes_nothing(place: Place, migrated_database: Database) -> None:
    with fincoll(place.env) as (_, client):
        halted = place.play("halt.yml", database=migrated_database)
        assert halted.status == 0, halted.output
        assert re.fullmatch(rf"localhost: FinColl is halted since \S+Z by jane: {REASON}", last(halted))
        assert client.get("/predict/AAPL").json()["halted"]["reason"] == REASON
        again = place.play("halt.yml", reason="another", database=migrated_database)
        assert (again.status, again.recap("changed")) == (0, 0), again.output
        assert f"was halted already, since {client.get('/health').json()['halted']['at']} by jane" in last(again)
        resumed = place.play("resume.yml", database=migrated_database)
        assert (resumed.status, last(resumed)) == (0, "localhost: FinColl is resumed"), resumed.output
        assert client.get("/predict/AAPL").status_code == 200
        again = place.play("resume.yml", database=migrated_database)
        assert (again.recap("changed"), last(again)) == (0, "localhost: FinColl was not halted")
    with migrated_database.connect() as sql:
        rows = sql.execute("SELECT actor, action, target, detail FROM audit_log ORDER BY id").fetchall()
    assert [row[:3] for row in rows] == [
        ("jane", "halt", "fincoll on 127.0.0.1"),
        ("jane", "resume", "fincoll on 127.0.0.1"),
    ]
    assert rows[0][3]["reason"] == rows[1][3]["was"]["reason"] == REASON
    assert [item["state"] for item in rows[0][3]["instances"]] == ["halted"]


def test_without_a_database_and_with_fincoll_down_it_halts_and_journals(place: Place) -> None:
    env = place.env
    run = place.play("halt.yml")
    assert run.status == 0, run.output
    assert "fincoll@stable on localhost does not answer" in " ".join(run.output.split())
    assert last(run).startswith("localhost: FinColl is halted since ")
    (entry,) = place.journal()
    assert REASON in entry
    with fincoll(env) as (_, client):
        assert client.get("/predict/AAPL").status_code == 503
        run = place.play("resume.yml")
        assert run.status == 0, run.output
        assert client.get("/predict/AAPL").status_code == 200
    assert len(place.journal()) == 2


def test_without_a_reason_nothing_happens_and_the_way_is_named(place: Place) -> None:
    run = place.play("halt.yml", reason=" ")
    assert run.status != 0
    assert last(run).startswith("failed: no reason given;")
    assert "ansible-playbook halt.yml -e reason=" in last(run)
    assert not (place.prefix / "var/lib/caelum/fincoll").exists()


def test_check_mode_only_says_what_would_be(place: Place) -> None:
    run = place.play("halt.yml", "--check")
    assert run.status == 0, run.output
    assert last(run).startswith("localhost: FinColl would be halted since ")
    assert not (place.prefix / "var/lib/caelum/fincoll").exists()
    assert place.journal() == []
