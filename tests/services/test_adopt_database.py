"""The specification's tables, made by its own statements, are taken over and given back on a real PostgreSQL 15."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from support.adopt import ROWS, SPECIFICATION
from support.ansible_path import ROOT
from support.modules import run_module
from support.postgres import POSTGRESQL_15, Database, Server, database, server

pytestmark = pytest.mark.package("postgresql-15")

MIGRATIONS = ROOT / "services/pim/src/pim/migrations/versions"
ZONE = "America/New_York"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server(POSTGRESQL_15) as running:
        yield running


@pytest.fixture
def theirs(postgres: Server) -> Iterator[Database]:
    """A database as PIM's makers have it: the three tables, PIM's own login their owner."""
    with database(postgres) as made:
        postgres.sudo(sql.SQL("GRANT CREATE ON SCHEMA public TO pim_user").format(), database=made.name)
        with made.connect("pim_user") as connection:
            connection.execute(SPECIFICATION + ROWS)
        postgres.sudo(
            sql.SQL("REVOKE CREATE ON SCHEMA public FROM pim_user").format(),
            sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(sql.Identifier(made.name)),
            database=made.name,
        )
        yield made


def adopt(on: Database, state: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    login = {"host": "127.0.0.1", "port": on.server.port, "dbname": on.name, "user": "postgres"}
    given = {"state": state, "database": {**login, "password": on.server.passwords["postgres"]}}
    rest = {"migrations": str(MIGRATIONS), "inventory": "production", **options}
    return run_module("caelum_adopt_database", {**given, **rest}, check=check)


def taken(on: Database, **options: Any) -> dict[str, Any]:
    result = adopt(on, "taken", **{"timezone": ZONE, **options})
    assert "failed" not in result, result["msg"]
    return result


def pg_dump(on: Database, *options: str) -> str:
    done = subprocess.run(
        [POSTGRESQL_15 / "pg_dump", *options, on.url("postgres")], capture_output=True, text=True, check=True
    )
    # psql's own guard has a random word in newer releases
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def query(on: Database, statement: str) -> list[tuple[Any, ...]]:
    with on.connect("postgres") as connection:
        connection.execute("SET timezone = 'UTC'")
        return connection.execute(statement).fetchall()


def test_the_report_changes_nothing_and_tells_what_the_times_would_be(theirs: Database) -> None:
    before = pg_dump(theirs)
    result = adopt(theirs, "report", timezone=ZONE)
    assert pg_dump(theirs) == before
    assert result["changed"] is False
    report = result["report"]
    assert {table["name"]: table["rows"] for table in report["tables"]} == {
        "service_configs": 2,
        "service_health": 4,
        "deployment_history": 4,
    }
    assert (report["revision"], report["problems"], report["open"]) == (None, [], [2, 3])
    (health,) = (row for row in report["times"] if row["table"] == "service_health")
    assert (health["first"], health["first_after"]) == ("2025-03-09 02:30:00", "2025-03-09 07:30:00Z")
    assert (health["last"], health["last_after"]) == ("2025-11-02 01:30:00", "2025-11-02 06:30:00Z")
    assert (health["twice"], health["never"]) == (1, 1)


def test_the_schema_is_exactly_that_of_a_fresh_migration(theirs: Database, postgres: Server) -> None:
    taken(theirs)
    with database(postgres) as fresh:
        fresh.migrate("upgrade", "0001")
        options = ("--schema-only", "--schema=public")
        assert pg_dump(theirs, *options) == pg_dump(fresh, *options)
    assert theirs.migrate("upgrade").startswith("0001 -> ")


def test_every_row_is_there_with_its_moment(theirs: Database) -> None:
    result = taken(theirs)
    tables = result["adoption"]["tables"]
    assert [tables[name]["rows"] for name in ("service_configs", "service_health", "deployment_history")] == [2, 4, 4]
    assert query(
        theirs, "SELECT id, to_char(last_check, 'YYYY-MM-DD HH24:MI'), status FROM service_health ORDER BY id"
    ) == [
        (1, "2025-11-02 04:30", "healthy"),  # summer time
        (2, "2025-11-02 06:30", "healthy"),  # the hour that came twice: the later one
        (3, "2025-03-09 07:30", "degraded"),  # nobody wrote when: not newer than the oldest that is known
        (5, "2025-03-09 07:30", "down"),
    ]
    assert query(theirs, "SELECT metadata FROM service_health WHERE id = 1") == [({"note": "50% of O'Neil"},)]
    assert query(
        theirs, "SELECT id, component, action, status, completed_at IS NULL FROM deployment_history ORDER BY id"
    ) == [
        (1, "fincoll", "deploy", "success", False),
        (2, "fincoll", "deploy", "aborted", False),
        (3, "fincoll", "deploy", "aborted", False),
        (4, "aggregator", "deploy", "success", False),
    ]
    assert query(theirs, "SELECT created_at::text, enabled FROM service_configs ORDER BY id")[0] == (
        "2025-03-09 06:59:59.999999+00",
        True,
    )
    with theirs.connect("pim_user") as user:
        (added,) = user.execute("INSERT INTO service_health (service_name, status) VALUES ('a', 'down') RETURNING id")
    assert added == (6,)
    again = adopt(theirs, "taken", timezone=ZONE)
    assert again["changed"] is False


def test_the_return_restores_the_old_tables_byte_for_byte(theirs: Database) -> None:
    before = pg_dump(theirs, "--create"), pg_dump(theirs, "--data-only")
    taken(theirs)
    assert pg_dump(theirs, "--data-only") != before[1]
    assert adopt(theirs, "returned", check=True)["changed"] is True
    result = adopt(theirs, "returned")
    assert result["changed"] is True, result
    assert (pg_dump(theirs, "--create"), pg_dump(theirs, "--data-only")) == before
    assert adopt(theirs, "returned")["changed"] is False
    taken(theirs)


def test_what_their_software_writes_meanwhile_comes_back_too(theirs: Database) -> None:
    taken(theirs)
    with theirs.connect("pim_user") as user:
        user.execute(
            "INSERT INTO service_health (service_name, status, last_check) VALUES ('x', 'down', '2025-12-01 17:00Z')"
        )
        user.execute("UPDATE service_health SET status = 'degraded' WHERE id = 1")
    result = adopt(theirs, "returned")
    assert result["adoption"]["written_since"] == {"service_configs": 0, "service_health": 2, "deployment_history": 0}
    rows = query(theirs, "SELECT id, status, last_check::text FROM service_health WHERE id IN (1, 2, 6) ORDER BY id")
    assert rows == [
        (1, "degraded", "2025-11-02 00:30:00"),
        (2, "UP", "2025-11-02 01:30:00"),
        (6, "down", "2025-12-01 12:00:00"),
    ]
    with theirs.connect("pim_user") as user:
        (added,) = user.execute("INSERT INTO service_health (service_name) VALUES ('y') RETURNING id")
    assert added == (7,)


@pytest.mark.parametrize("deployed", ["upgrade", "audit"])
def test_after_a_deployment_the_return_is_refused(theirs: Database, deployed: str) -> None:
    taken(theirs)
    if deployed == "upgrade":
        theirs.migrate("upgrade")
    else:
        query(theirs, "INSERT INTO audit_log (actor, action, target) VALUES ('a', 'deploy', 'b') RETURNING id")
    before = pg_dump(theirs)
    result = adopt(theirs, "returned")
    assert "a deployment has worked with the adopted database since" in result["msg"]
    assert pg_dump(theirs) == before


def test_tables_columns_and_keys_of_others_stay(theirs: Database) -> None:
    with theirs.connect("postgres") as connection:
        connection.execute(
            """CREATE TABLE trades (id serial PRIMARY KEY, at timestamp,
                                    deployment integer REFERENCES deployment_history);
               INSERT INTO trades (at, deployment) VALUES ('2025-01-01 10:00', 1);
               ALTER TABLE deployment_history ADD COLUMN owner text NOT NULL DEFAULT 'rford',
                   ADD COLUMN trade integer REFERENCES trades;
               UPDATE deployment_history SET owner = 'jane' WHERE id = 3;
               CREATE INDEX history_owner ON deployment_history (owner)"""
        )
    before = pg_dump(theirs)
    taken(theirs)
    assert query(theirs, "SELECT owner FROM deployment_history ORDER BY id") == [
        ("rford",),
        ("rford",),
        ("jane",),
        ("rford",),
    ]
    assert query(theirs, "SELECT at::text FROM trades") == [("2025-01-01 10:00:00",)]
    with theirs.connect("postgres") as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute("INSERT INTO trades (id, deployment) VALUES (2, 99)")
    assert query(theirs, "SELECT tablename FROM pg_indexes WHERE indexname = 'history_owner' AND schemaname = 'public'")
    granted = "SELECT has_sequence_privilege('pim_user', 'trades_id_seq', 'USAGE')"
    assert query(theirs, granted) == [(False,)]
    adopt(theirs, "returned")
    assert pg_dump(theirs) == before


@pytest.mark.parametrize(
    ("breaking", "line"),
    [
        ("UPDATE service_health SET status = 'meh' WHERE id = 2", "service_health has 1 row (id 2) with a status that"),
        ("UPDATE deployment_history SET action = 'magic'", "has 4 rows (id 1, 2, 3, 4) with an action that is no word"),
        ("UPDATE service_configs SET config_json = '[]' WHERE id = 1", "a config_json that is no object"),
        ("UPDATE service_configs SET port = 0 WHERE id = 1", "a port that is none"),
        ("INSERT INTO service_configs (service_name, version, config_json, environment) SELECT service_name, version, "
         "config_json, environment FROM service_configs WHERE id = 2", "(id 2, 3) with the same service_name"),
        ("CREATE TABLE models (id integer)", "a table models is there"),
        ("CREATE VIEW latest AS SELECT * FROM service_health", "view latest reads service_health"),
        ("ALTER TABLE deployment_history ADD COLUMN component text", "deployment_history.component is a column of"),
        ("ALTER TABLE service_health ALTER COLUMN last_check TYPE text", "service_health.last_check is text, and no"),
        ("CREATE TABLE alembic_version (version_num text)", "a table alembic_version without a row"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_over_is_refused_in_one_line(theirs: Database, breaking: str, line: str) -> None:
    with theirs.connect("postgres") as connection:
        connection.execute(breaking)
    before = pg_dump(theirs)
    result = adopt(theirs, "taken", timezone=ZONE)
    assert line in result["msg"]
    assert "\n" not in result["msg"]
    assert pg_dump(theirs) == before


def test_a_word_of_theirs_can_be_told(theirs: Database) -> None:
    query(theirs, "UPDATE service_health SET status = 'meh' WHERE id = 2 RETURNING id")
    wrong = adopt(theirs, "taken", timezone=ZONE, words={"service_health.status": {"meh": "fine"}})
    assert "choose one of degraded, down, healthy" in wrong["msg"]
    taken(theirs, words={"service_health.status": {"meh": "degraded"}})
    assert query(theirs, "SELECT status FROM service_health WHERE id = 2") == [("degraded",)]


def test_the_zone_must_be_stated_and_known(theirs: Database) -> None:
    assert "no zone is stated" in adopt(theirs, "taken")["msg"]
    near = adopt(theirs, "taken", timezone="America/NewYork")["msg"]
    assert "is no time zone that the server knows; near names: America/New_York" in near
    assert "Asia/Tokyo" in adopt(theirs, "taken", timezone="Tokio")["msg"]


def test_a_check_changes_nothing(theirs: Database) -> None:
    before = pg_dump(theirs)
    assert adopt(theirs, "taken", timezone=ZONE, check=True)["changed"] is True
    assert pg_dump(theirs) == before


def test_the_dump_restores_what_was_there(theirs: Database, postgres: Server, tmp_path: Path) -> None:
    made = adopt(theirs, "dumped", backups=str(tmp_path))["dump"]
    assert Path(made["path"]).stat().st_mode & 0o777 == 0o600
    assert "public deployment_history" in made["tables"]
    with database(postgres) as elsewhere:
        subprocess.run([POSTGRESQL_15 / "pg_restore", "--dbname", elsewhere.url("postgres"), made["path"]], check=True)
        assert pg_dump(elsewhere, "--data-only") == pg_dump(theirs, "--data-only")


def test_an_empty_database_is_left_to_the_first_deployment(postgres: Server) -> None:
    with database(postgres) as empty:
        assert adopt(empty, "taken", timezone=ZONE)["changed"] is False
        assert empty.migrate("upgrade").startswith("none -> ")
        assert adopt(empty, "taken", timezone=ZONE)["changed"] is False


def test_roles_that_are_missing_are_made_and_go_again() -> None:
    with server(POSTGRESQL_15) as own, database(own) as made:
        own.sudo(
            sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(sql.Identifier(made.name)),
            sql.SQL("DROP OWNED BY pim_user, pim_owner").format(),
        )
        own.sudo(sql.SQL("DROP OWNED BY pim_user, pim_owner").format(), database=made.name)
        own.sudo(sql.SQL("DROP ROLE pim_user").format(), sql.SQL("DROP ROLE pim_owner").format())
        with made.connect("postgres") as connection:
            connection.execute(SPECIFICATION + ROWS)
        before = pg_dump(made, "--create")
        taken(made)
        roles = "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'pim%' ORDER BY 1"
        assert query(made, roles) == [("pim_owner", False), ("pim_user", False)]
        adopt(made, "returned")
        assert query(made, roles) == []
        assert pg_dump(made, "--create") == before
