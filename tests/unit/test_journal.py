"""What was done while the database was away gets into it later: in order, once, and whatever its kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.database import entries, writes
from ansible.module_utils.caelum.database.journal import Journal

from support.modules import run_module
from support.postgres import Database

pytest_plugins = ["support.postgres", "support.modules"]

FINCOLL = [{"component": "fincoll", "host": "fin-44"}, {"component": "fincoll@candidate", "host": "fin-44"}]


def away(login: dict[str, Any]) -> dict[str, Any]:
    return {**login, "port": 1}


def record(login: dict[str, Any], *, check: bool = False, **more: Any) -> dict[str, Any]:
    options = {
        "service": "fincoll",
        "version": "v1.0.0",
        "action": "rollback",
        "status": "success",
        "requested_by": "jane",
        "components": FINCOLL,
        **more,
    }
    return run_module("caelum_deployment", {"state": "recorded", "database": login, **options}, check=check)


def audit(login: dict[str, Any], *, check: bool = False, **more: Any) -> dict[str, Any]:
    options = {"actor": "jane", "action": "halt", "target": "fincoll", "detail": {"reason": "wrong prices"}, **more}
    return run_module("caelum_audit", {"database": login, **options}, check=check)


def rows(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            "SELECT component, version, action, status, requested_by, started_at::text, completed_at::text, logs"
            " FROM deployment_history ORDER BY id"
        ).fetchall()


def log(database: Database) -> list[tuple[Any, ...]]:
    with database.connect("pim_user") as connection:
        return connection.execute(
            "SELECT actor, action, target, detail - 'write_id' FROM audit_log ORDER BY id"
        ).fetchall()


def test_a_component_of_another_version_has_that_version_and_its_commit_alone(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    components = [
        {"component": "news", "host": "pim-27", "version": "v1.0.3"},
        {"component": "social", "host": "pim-27", "version": "v1.0.0", "git_commit": "77aa"},
        {"component": "aggregator", "host": "pim-27"},
    ]
    options: dict[str, Any] = {"service": "senvec", "components": components, "git_commit": "1f3c"}
    record(login, **options)
    record(away(login), **options, journal=str(tmp_path))
    record(login, journal=str(tmp_path), components=FINCOLL)
    with migrated_database.connect() as connection:
        told = connection.execute(
            "SELECT component, version, git_commit FROM deployment_history WHERE service_name = 'senvec' ORDER BY id"
        ).fetchall()
    assert told == [("news", "v1.0.3", None), ("social", "v1.0.0", "77aa"), ("aggregator", "v1.0.0", "1f3c")] * 2


def test_a_journal_of_an_earlier_release_is_read() -> None:
    change = entries.Change("pim", "v1.0.0", "deploy", "local", "dev", "jane", None, ())
    written = entries.pack(entries.Recorded("id", change, "then", "now", "success"))
    read = entries.unpack({**written, "components": [["pim-web", "pim-27"]]})
    assert isinstance(read, entries.Recorded)
    assert read.change.components == (entries.Component("pim-web", "pim-27"),)


def test_a_deployment_is_written_down_afterwards_as_a_complete_row_per_component(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    times: dict[str, Any] = {"started_at": "2025-06-02T10:00:00+02:00", "completed_at": "2025-06-02T08:00:09"}
    rehearsed = record(login, check=True, **times)
    assert (rehearsed["changed"], rehearsed["ids"], rows(migrated_database)) == (True, [], [])
    done = record(login, logs="break glass", **times)
    assert (done["changed"], done["journaled"], len(done["ids"])) == (True, False, 2)
    outcome = ("v1.0.0", "rollback", "success", "jane", "2025-06-02 08:00:00+00", "2025-06-02 08:00:09+00")
    assert rows(migrated_database) == [
        ("fincoll", *outcome, "break glass"),
        ("fincoll@candidate", *outcome, "break glass"),
    ]
    last = run_module("caelum_deployment", {"state": "last", "database": login, "service": "fincoll"})
    assert last["versions"]["fincoll"]["version"] == "v1.0.0"


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"started_at": "yesterday"}, "started_at is 'yesterday', and must be a time like"),
        ({"started_at": "2025-06-02T09:00:00", "completed_at": "2025-06-02T08:00:00"}, "is after completed_at"),
        ({"components": []}, "no component of fincoll is named"),
    ],
    ids=["no time", "backwards", "no component"],
)
def test_what_cannot_be_a_record_is_refused_before_it_reaches_a_journal(
    login: dict[str, Any], tmp_path: Path, wrong: dict[str, Any], line: str
) -> None:
    assert line in record(away(login), journal=str(tmp_path / "journal"), **wrong)["msg"]
    assert not (tmp_path / "journal").exists()


def test_records_and_audits_that_found_the_database_away_come_in_later_in_order_and_once(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    folder = str(tmp_path / "journal")
    began = "2025-06-02T08:00:00.123456"
    kept = [
        audit(away(login), journal=folder),
        record(away(login), journal=folder, started_at=began),
        audit(away(login), journal=folder, action="resume"),
    ]
    assert [one["journaled"] for one in kept] == [True] * 3
    assert login["password"] not in "".join(path.read_text() for path in Path(folder).glob("*.json"))
    saved = {path: path.read_bytes() for path in Journal(Path(folder)).entries()}

    assert audit(login, journal=folder, action="verify")["journaled"] is False
    for path, data in saved.items():  # as if the replay had been cut off before it removed them
        path.write_bytes(data)
    assert writes.replay(login, Journal(Path(folder))) == []
    assert [line[1] for line in log(migrated_database)] == ["halt", "resume", "verify"]
    assert log(migrated_database)[0] == ("jane", "halt", "fincoll", {"reason": "wrong prices"})
    assert [row[0] for row in rows(migrated_database)] == ["fincoll", "fincoll@candidate"]
    assert Journal(Path(folder)).entries() == []


def test_without_a_journal_a_database_that_is_away_fails_the_task(login: dict[str, Any]) -> None:
    assert "does not answer" in audit(away(login))["msg"]
    assert "does not answer" in record(away(login))["msg"]


def test_entries_from_before_there_were_kinds_are_writes(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    journal = Journal(tmp_path)
    opening = {"service": "fincoll", "version": "v1.2.0", "components": FINCOLL}
    opened = run_module("caelum_deployment", {"state": "opened", "database": login, **opening})
    key = {"ids": opened["ids"], "fencing_token": opened["fencing_token"]}
    closing = {"state": "closed", "status": "success", "after_change": True, "journal": str(tmp_path), **key}
    run_module("caelum_deployment", {"database": away(login), **closing})
    (entry,) = journal.entries()
    fields = json.loads(entry.read_bytes())
    assert fields.pop("kind") == "write"
    entry.write_text(json.dumps(fields))
    assert writes.replay(login, journal) == []
    assert [row[3] for row in rows(migrated_database)] == ["success", "success"]


def test_an_entry_that_the_database_never_takes_holds_up_no_other(
    migrated_database: Database, login: dict[str, Any], tmp_path: Path
) -> None:
    record(away(login), journal=str(tmp_path), version="v1.0.0-" + "9" * 20)
    audit(away(login), journal=str(tmp_path))
    (line,) = writes.replay(login, Journal(tmp_path))
    assert "value too long" in line
    assert "its journal entry lies in" in line
    assert rows(migrated_database) == []
    assert len(log(migrated_database)) == 1
    assert len(list((tmp_path / "rejected").iterdir())) == 1


def test_a_wrong_login_costs_no_entry(login: dict[str, Any], tmp_path: Path) -> None:
    audit(away(login), journal=str(tmp_path))
    assert "refused the login" in audit({**login, "password": "no"}, journal=str(tmp_path))["msg"]
    assert len(Journal(tmp_path).entries()) == 1


def test_an_entry_of_an_unknown_kind_is_named_and_kept(login: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "00000001-x.json").write_text('{"kind": "poem"}')
    assert "00000001-x.json is not a journal entry (KeyError)" in audit(login, journal=str(tmp_path))["msg"]
    assert len(Journal(tmp_path).entries()) == 1


def test_an_audit_line_is_checked_and_rehearsed(migrated_database: Database, login: dict[str, Any]) -> None:
    assert audit(login, check=True)["changed"]
    assert log(migrated_database) == []
    assert "action has 51 characters, and must have 1 to 50" in audit(login, action="x" * 51)["msg"]
    assert audit(login)["changed"]
    assert len(log(migrated_database)) == 1
