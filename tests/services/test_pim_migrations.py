"""The schema on real servers: forward, back, and what it refuses."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from pim import schema
from support.postgres import POSTGRESQL_15, Database, Server, database, server

pytest_plugins = ["support.postgres"]
pytestmark = pytest.mark.services

SPECIFIED = {
    "service_configs": "id service_name version config_json environment host port enabled created_at updated_at",
    "service_health": "id service_name version status last_check response_time_ms metadata",
    "deployment_history": "id service_name version action host status started_at completed_at logs",
}
OPEN = "INSERT INTO deployment_history (service_name, component, version, action, status) VALUES (%s, %s, 'v1', %s, %s)"


def there_and_back(on: Server) -> None:
    with database(on) as empty:
        head = schema.head()
        assert empty.migrate("current") == "none"
        assert empty.migrate("upgrade") == f"none -> {head}"
        with empty.connect("pim_user") as connection:
            made = connection.execute("SELECT make_prediction_partitions(3)").fetchone()
            assert made == (1,)
        assert empty.migrate("downgrade", "base") == f"{head} -> none"
        with empty.connect() as connection:
            left = connection.execute(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'p')"
            ).fetchall()
            assert left == [("alembic_version",)]
        assert empty.migrate("upgrade") == f"none -> {head}"
        assert empty.migrate("upgrade") == f"{head} -> {head}"


def test_the_schema_goes_forward_back_and_forward_on_postgresql_18(postgres_server: Server) -> None:
    there_and_back(postgres_server)


@pytest.mark.package("postgresql-15")
def test_the_schema_goes_forward_back_and_forward_on_postgresql_15() -> None:
    with server(POSTGRESQL_15) as older:
        there_and_back(older)


def revisions() -> list[str]:
    folder = Path(schema.__file__).parent / "migrations" / "versions"
    return sorted(path.name.partition("_")[0] for path in folder.glob("[0-9]*_*.py"))


class Shape:
    """What code can rely on: tables with their columns' types and defaults, and what pim_user may do with them."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.columns = {
            (table, column): (kind, optional, has_default)
            for table, column, kind, optional, has_default in connection.execute(
                """SELECT relname, attname, format_type(atttypid, atttypmod), NOT attnotnull,
                          atthasdef OR attidentity <> ''
                   FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                   WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0
                     AND NOT attisdropped AND NOT relispartition"""
            )
        }
        self.granted = {
            tuple(row)
            for row in connection.execute(
                """SELECT 'table', table_name, column_name, privilege_type FROM information_schema.column_privileges
                   WHERE grantee = 'pim_user' AND table_schema = 'public'
                   UNION SELECT 'table', table_name, '', privilege_type FROM information_schema.table_privileges
                   WHERE grantee = 'pim_user' AND table_schema = 'public'
                   UNION SELECT 'routine', routine_name, '', privilege_type FROM information_schema.routine_privileges
                   WHERE grantee = 'pim_user' AND routine_schema = 'public'
                   UNION SELECT 'sequence', relname, '', 'USAGE' FROM pg_class
                   WHERE relnamespace = 'public'::regnamespace AND CASE relkind WHEN 'S'
                   THEN has_sequence_privilege('pim_user', oid, 'USAGE') END"""
            )
        }

    def broken_by(self, later: "Shape") -> list[str]:
        """What code written for this shape can no longer do in the later one."""
        found = [f"{name} is gone" for name in self.columns if name not in later.columns]
        for name, (kind, optional, _) in self.columns.items():
            now = later.columns.get(name)
            if now and now[0] != kind:
                found.append(f"{name} was {kind} and is {now[0]}")
            if now and optional and not now[1]:
                found.append(f"{name} may no longer be null")
        tables = {table for table, _ in self.columns}
        for name, (_, optional, has_default) in later.columns.items():
            if name[0] in tables and name not in self.columns and not (optional or has_default):
                found.append(f"{name} must be given, which older code does not")
        return found + [f"pim_user lost {grant}" for grant in sorted(self.granted - later.granted)]


@pytest.mark.parametrize(("older", "newer"), list(pairwise(revisions())))
def test_a_migration_only_adds_and_goes_back_without_a_trace(postgres_server: Server, older: str, newer: str) -> None:
    """Old code runs on the new schema, so that a release goes back without its migration."""
    with database(postgres_server) as on:
        on.migrate("upgrade", older)
        with on.connect() as connection:
            before = Shape(connection)
        on.migrate("upgrade", newer)
        with on.connect() as connection:
            after = Shape(connection)
        assert before.broken_by(after) == []
        on.migrate("downgrade", older)
        with on.connect() as connection:
            back = Shape(connection)
        assert (back.columns, back.granted) == (before.columns, before.granted)
        assert on.migrate("upgrade", newer) == f"{older} -> {newer}"


@pytest.mark.parametrize(
    ("breaking", "complaint"),
    [
        ("ALTER TABLE deployment_history DROP COLUMN evidence", "('deployment_history', 'evidence') is gone"),
        ("ALTER TABLE deployment_history ALTER COLUMN version TYPE text", "was character varying(20) and is text"),
        ("ALTER TABLE deployment_history ALTER COLUMN logs SET NOT NULL", "may no longer be null"),
        ("ALTER TABLE deployment_history ADD COLUMN must integer NOT NULL", "must be given"),
        ("REVOKE INSERT ON audit_log FROM pim_user", "pim_user lost"),
        ("REVOKE USAGE ON SEQUENCE deployment_fencing FROM pim_user", "pim_user lost"),
        ("DROP TABLE experiments CASCADE", "('experiments', 'name') is gone"),
    ],
)
def test_a_migration_that_would_break_older_code_is_found(
    migrated_database: Database, breaking: str, complaint: str
) -> None:
    """The check above can fail."""
    with migrated_database.connect() as connection:
        before = Shape(connection)
        connection.execute(breaking)
        assert complaint in "\n".join(before.broken_by(Shape(connection)))


def test_statements_from_before_the_lease_work_after_it(migrated_database: Database) -> None:
    with migrated_database.connect("pim_user") as user:
        opened = user.execute(
            """INSERT INTO deployment_history (service_name, version, action, host, status, environment, inventory,
                   component, git_commit, requested_by, heartbeat_at, fencing_token)
               VALUES ('fincoll', 'v1.0.0', 'deploy', 'fin-44', 'in_progress', 'dev', 'local',
                   'fincoll', '1f3c', 'jane', now(), nextval('deployment_fencing'))
               ON CONFLICT (service_name, component, inventory) WHERE status = 'in_progress' DO NOTHING
               RETURNING lease_seconds"""
        ).fetchone()
        assert opened == (30,)
        user.execute("UPDATE deployment_history SET status = 'success', completed_at = now() WHERE fencing_token = 1")
        assert user.execute("SELECT status FROM deployment_history").fetchall() == [("success",)]


def test_an_unknown_revision_and_an_absent_server_are_one_line(postgres_server: Server) -> None:
    unknown = r"^pim\.migrate: Can't locate revision identified by 'nope'$"
    with database(postgres_server) as empty, pytest.raises(RuntimeError, match=unknown):
        empty.migrate("upgrade", "nope")
    with pytest.raises(RuntimeError, match=r'^pim\.migrate: database .*database "pim_database_\d+" does not exist$'):
        empty.migrate("current")


@pytest.fixture
def owner(migrated_database: Database) -> Iterator[psycopg.Connection]:
    with migrated_database.connect() as connection:
        yield connection


@pytest.fixture
def user(migrated_database: Database) -> Iterator[psycopg.Connection]:
    with migrated_database.connect("pim_user") as connection:
        yield connection


def test_the_specifications_columns_stand_first_and_in_its_order(owner: psycopg.Connection) -> None:
    for table, columns in SPECIFIED.items():
        found = owner.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position",
            (table,),
        ).fetchall()
        names = [name for (name,) in found]
        assert names[: len(columns.split())] == columns.split()


def test_one_component_cannot_be_deployed_twice_at_once(owner: psycopg.Connection) -> None:
    owner.execute(OPEN, ("fincoll", "fincoll", "deploy", "in_progress"))
    owner.execute(OPEN, ("senvec", "news", "deploy", "in_progress"))
    owner.execute(OPEN, ("fincoll", "fincoll", "deploy", "queued"))
    with pytest.raises(psycopg.errors.UniqueViolation, match="deployment_history_one_open"):
        owner.execute(OPEN, ("fincoll", "fincoll", "rollback", "in_progress"))
    owner.execute("UPDATE deployment_history SET status = 'success' WHERE status = 'in_progress'")
    owner.execute(OPEN, ("fincoll", "fincoll", "rollback", "in_progress"))


def test_words_outside_the_vocabulary_are_refused(owner: psycopg.Connection) -> None:
    for action, status in (("install", "success"), ("deploy", "done")):
        with pytest.raises(psycopg.errors.CheckViolation):
            owner.execute(OPEN, ("fincoll", "fincoll", action, status))
    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute("INSERT INTO service_health (service_name, status) VALUES ('fincoll', 'fine')")


def test_a_configuration_for_any_host_stands_once(owner: psycopg.Connection) -> None:
    add = (
        "INSERT INTO service_configs (service_name, version, config_json, environment) VALUES ('a', 'v1', '{}', 'dev')"
    )
    owner.execute(add)
    with pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute(add)


def test_pim_user_can_add_to_the_audit_log_and_change_nothing_in_it(user: psycopg.Connection) -> None:
    user.execute("INSERT INTO audit_log (actor, action, target) VALUES ('a', 'deploy', 'fincoll v1')")
    assert user.execute("SELECT count(*) FROM audit_log").fetchone() == (1,)
    for statement in ("UPDATE audit_log SET actor = 'b'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            user.execute(statement)


def test_pim_user_cannot_change_the_schema(user: psycopg.Connection) -> None:
    for statement in ("CREATE TABLE t ()", "DROP TABLE models", "UPDATE alembic_version SET version_num = '0'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            user.execute(statement)


def predict(connection: psycopg.Connection, as_of: datetime) -> None:
    connection.execute(
        "INSERT INTO predictions (as_of, symbol, job, model_version, service_version, horizons, log_returns, source)"
        " VALUES (%s, 'AAPL', 'llm1-tech', 'v1', 'v1', '[5]', '[[0]]', 'sample')",
        (as_of,),
    )


def holders(connection: psycopg.Connection) -> list[str]:
    found = connection.execute("SELECT tableoid::regclass::text FROM predictions ORDER BY id").fetchall()
    return [name for (name,) in found]


def test_predictions_lie_in_their_months_and_a_samples_old_ones_in_the_default(user: psycopg.Connection) -> None:
    now = datetime.now(UTC)
    for as_of in (datetime(2013, 3, 1, 21, tzinfo=UTC), now):
        predict(user, as_of)
    assert holders(user) == ["predictions_default", f"predictions_{now:%Y%m}"]


def test_rows_that_fell_into_the_default_partition_move_when_their_month_is_made(user: psycopg.Connection) -> None:
    now = datetime.now(UTC)
    month = now.year * 12 + now.month - 1 + 4
    later = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
    predict(user, later)
    assert holders(user) == ["predictions_default"]
    assert user.execute("SELECT make_prediction_partitions(4)").fetchone() == (2,)
    assert holders(user) == [f"predictions_{later:%Y%m}"]
    predict(user, later)


def test_an_alias_cannot_point_to_another_jobs_model(owner: psycopg.Connection) -> None:
    owner.execute(
        "INSERT INTO models (job, version, kind, checkpoint, sha256_onnx, schema_hash, manifest)"
        " VALUES ('llm1-tech', 'v1', 'ridge', 'x', repeat('a', 64), repeat('b', 64), '{}')"
    )
    owner.execute("INSERT INTO model_aliases (job, alias, model_id) VALUES ('llm1-tech', 'champion', 1)")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        owner.execute("INSERT INTO model_aliases (job, alias, model_id) VALUES ('llm3-yieldmax', 'champion', 1)")


def test_migrations_are_in_the_wheel(tmp_path: Path) -> None:
    """A release's schema comes with its code, so hatchling must take the scripts along."""
    import zipfile

    from hatchling.builders.wheel import WheelBuilder

    project = Path(__file__).parents[2] / "services" / "pim"
    (wheel,) = WheelBuilder(str(project)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    assert "pim/migrations/env.py" in names
    for revision in revisions():
        assert any(name.startswith(f"pim/migrations/versions/{revision}_") for name in names), revision
    assert "pim/dashboard/style.css" in names
