"""pim-worker as a process: what it writes to service_health, and what it outlives."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.rows import dict_row

from support.pim import MICROSERVICES, eventually, instance, web, worker
from support.postgres import Database, database, server

pytest_plugins = ["support.postgres"]
pytestmark = pytest.mark.services

QUICK = {
    "FINCOLL_INTERVAL_S": "0.3",
    "SENVEC_INTERVAL_S": "0.3",
    "HEARTBEAT_INTERVAL_S": "0.3",
    "UPKEEP_INTERVAL_S": "0.3",
}


def records(db: Database, service: str) -> list[dict[str, Any]]:
    with db.connect() as sql:
        cursor = sql.cursor(row_factory=dict_row)
        cursor.execute("SELECT * FROM service_health WHERE service_name = %s ORDER BY id", (service,))
        return cursor.fetchall()


def test_it_records_what_services_answer(migrated_database: Database, tmp_path: Path) -> None:
    with instance("v1.1.0") as fincoll, instance("v2.0.0") as senvec, instance() as social:
        social.unready = "no source answers"
        urls = {**dict.fromkeys(MICROSERVICES, senvec.url), "social": social.url}
        settings = {
            "FINCOLL_URLS": json.dumps({"stable": fincoll.url}),
            "SENVEC_URL": senvec.url,
            "SENVEC_SERVICES": json.dumps(urls),
        }
        with worker(migrated_database, tmp_path, **settings):
            first = eventually(lambda: records(migrated_database, "fincoll"))[0]
            five = eventually(lambda: records(migrated_database, "senvec"))[0]
    assert (first["status"], first["version"]) == ("healthy", "v1.1.0")
    assert first["response_time_ms"] is not None
    assert first["metadata"] == {"url": fincoll.url, "detail": "", "slot": "stable"}
    assert (five["status"], five["version"]) == ("healthy", "v2.0.0")
    assert five["metadata"]["microservices"]["social"] == {
        "status": "degraded", "version": "v1.0.0", "detail": "not ready: no source answers",
    }  # fmt: skip


@pytest.mark.parametrize(("failures", "status"), [(2, "healthy"), (3, "down")])
def test_fincoll_is_down_after_three_tries_and_not_before(
    migrated_database: Database, tmp_path: Path, failures: int, status: str
) -> None:
    with instance() as fincoll:
        fincoll.failures = failures
        with worker(migrated_database, tmp_path, FINCOLL_URLS=json.dumps({"stable": fincoll.url})):
            first = eventually(lambda: records(migrated_database, "fincoll"))[0]
    assert first["status"] == status
    assert fincoll.asked == 3


def test_old_records_go_and_young_ones_stay(migrated_database: Database, tmp_path: Path) -> None:
    with migrated_database.connect() as sql:
        for days in (31, 29):
            sql.execute(
                "INSERT INTO service_health (service_name, status, last_check)"
                " VALUES ('old', 'healthy', now() - %s * interval '1 day')",
                (days,),
            )
    with worker(migrated_database, tmp_path):
        eventually(lambda: len(records(migrated_database, "old")) == 1)


def moved_on(db: Database, starts: int) -> bool:
    """That the heartbeat of the given start is there, and beats."""

    def beat() -> Any:
        rows = records(db, "pim-worker")
        return rows[starts - 1]["last_check"] if len(rows) >= starts else None

    first = eventually(beat)
    return bool(eventually(lambda: beat() > first))


def test_its_heartbeat_is_one_row_a_start_and_reaches_pim_webs_health(
    migrated_database: Database, tmp_path: Path
) -> None:
    with web(migrated_database, tmp_path) as pim:

        def seen() -> dict[str, Any]:
            facts: dict[str, Any] = httpx.get(f"{pim.url}/health", trust_env=False).json()["worker"]
            return facts

        assert seen()["status"] == "never"
        for starts in (1, 2):
            with worker(migrated_database, tmp_path, **QUICK):
                assert moved_on(migrated_database, starts)
            assert len(records(migrated_database, "pim-worker")) == starts
        eventually(lambda: seen()["status"] == "alive")
        with migrated_database.connect() as sql:
            sql.execute("UPDATE service_health SET last_check = last_check - interval '1 min'")
        eventually(lambda: seen()["status"] == "late")


def test_it_outlives_the_database_and_stops_quickly_without_it(tmp_path: Path) -> None:
    with server() as postgres, database(postgres) as db:
        db.migrate("upgrade")
        with worker(db, tmp_path, **QUICK) as process:
            eventually(lambda: len(records(db, "fincoll")) > 1)
            postgres.stop()
            eventually(lambda: "health is not recorded until the database is back" in process.log())
            postgres.start()
            before = len(records(db, "fincoll"))
            eventually(lambda: len(records(db, "fincoll")) > before)
            assert "the database is back" in process.log()
            assert "Traceback" not in process.log()
            postgres.stop()
            begin = time.monotonic()
            assert process.stop() == 0
            assert time.monotonic() - begin < 3
            postgres.start()
