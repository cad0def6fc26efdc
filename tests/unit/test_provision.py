"""`caelum_database` against a real PostgreSQL: roles, rights and schema, dumped before they change."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible.module_utils.caelum.database.migrations import read_revisions
from ansible.module_utils.caelum.errors import Refused
from psycopg import sql

from support.modules import run_module
from support.postgres import Database, Server, server

pytest_plugins = ["support.postgres", "support.modules"]

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = ROOT / "services/pim/src/pim/migrations/versions"
_number = count(1)


@contextmanager
def disposable(on: Server, name: str, *roles: str) -> Iterator[None]:
    try:
        yield
    finally:
        on.sudo(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in roles:
            on.sudo(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture
def params(postgres_server: Server, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The option set for a database and two roles that aren't there yet."""
    number = next(_number)
    name, owner, user = f"made_{number}", f"owner_{number}", f"user_{number}"
    with disposable(postgres_server, name, owner, user):
        yield {
            "admin": {
                "host": "127.0.0.1",
                "port": postgres_server.port,
                "password": postgres_server.passwords["postgres"],
            },
            "name": name,
            "owner": owner,
            "connect": [user],
            "roles": [{"name": owner, "password": "p@ss/word of the owner"}, {"name": user, "password": "anotherone"}],
            "migrate": {"command": [sys.executable, "-m", "pim.migrate"], "migrations": str(MIGRATIONS)},
            "pg_dump": str(postgres_server.bin / "pg_dump"),
            "backups": str(tmp_path / "backups"),
        }


def converge(params: dict[str, Any], *, check: bool = False, **more: Any) -> dict[str, Any]:
    result = run_module("caelum_database", {**params, **more}, check=check)
    assert not any(role["password"] in json.dumps(result) for role in params["roles"])
    assert params["admin"]["password"] not in json.dumps(result)
    return result


def enter(params: dict[str, Any], role: int, **more: Any) -> psycopg.Connection[Any]:
    login = params["roles"][role]
    return psycopg.connect(
        host="127.0.0.1", port=params["admin"]["port"], dbname=params["name"], user=login["name"],
        password=login["password"], autocommit=True, **more,
    )  # fmt: skip


def test_an_empty_server_gets_roles_database_and_schema_and_a_second_run_changes_nothing(
    params: dict[str, Any], postgres_server: Server
) -> None:
    rehearsed = converge(params, check=True)
    assert rehearsed["changed"]
    assert "schema: none" in rehearsed["diff"]["before"]
    with pytest.raises(psycopg.OperationalError):
        enter(params, 0)

    made = converge(params)
    assert (made["changed"], made["diff"], made["dump"]) == (True, rehearsed["diff"], "")
    assert made["revision"] == read_revisions(MIGRATIONS).head
    with enter(params, 0) as owner, enter(params, 1) as user:
        assert owner.execute("SELECT version_num FROM alembic_version").fetchone() == (made["revision"],)
        assert owner.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'models'").fetchone() == (
            params["owner"],
        )
        assert user.execute("SELECT 1").fetchone() == (1,)
    stranger = psycopg.conninfo.make_conninfo(postgres_server.dsn("pim_user", params["name"]))
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(stranger)

    for again in (converge(params), converge(params, check=True)):
        assert (again["changed"], again["diff"]) == (False, {"before": "", "after": ""})
        assert again["revision"] == made["revision"]


def test_the_servers_own_verifier_of_the_same_password_is_no_change(
    params: dict[str, Any], postgres_server: Server
) -> None:
    known = {"name": "pim_user", "password": postgres_server.passwords["pim_user"]}
    rehearsed = converge({**params, "roles": [*params["roles"], known]}, check=True)
    assert "role pim_user" not in rehearsed["diff"]["after"]
    other = converge({**params, "roles": [*params["roles"], {**known, "password": "not that one"}]}, check=True)
    assert "role pim_user: another password" in other["diff"]["before"]


def test_drift_is_told_and_put_right(params: dict[str, Any], postgres_server: Server) -> None:
    converge(params)
    user = sql.Identifier(params["roles"][1]["name"])
    name = sql.Identifier(params["name"])
    postgres_server.sudo(
        sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD 'drifted'").format(user),
        sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(name),
        sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(name, user),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(name),
    )
    repaired = converge(params)
    assert len(repaired["diff"]["before"].splitlines()) == 5
    enter(params, 1).close()
    assert not converge(params)["changed"]


def test_a_database_with_tables_is_dumped_before_it_is_migrated(
    params: dict[str, Any], postgres_server: Server, tmp_path: Path
) -> None:
    converge(params, migrate=None)
    with enter(params, 0) as owner:
        owner.execute("CREATE TABLE precious AS SELECT 42 AS answer")
    migrated = converge(params)
    dump = Path(migrated["dump"])
    assert dump.parent == tmp_path / "backups"
    assert (dump.stat().st_mode & 0o777, len(list(dump.parent.iterdir()))) == (0o600, 1)
    listed = subprocess.run(
        [postgres_server.bin / "pg_restore", "--file=-", dump], capture_output=True, text=True, check=True
    )
    assert "COPY public.precious (answer) FROM stdin;\n42\n" in listed.stdout
    assert "CREATE TABLE public.models" not in listed.stdout


SPY = """#!{python}
import json, os, sys
if "--version" not in sys.argv:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    names = os.listdir(folder) if folder else []
    held = {{name: os.stat(os.path.join(folder, name)).st_mode & 0o777 for name in names}}
    with open({told!r}, "a") as told:
        told.write(json.dumps([sys.argv, dict(os.environ), held]) + chr(10))
os.execv({command!r}[0], [*{command!r}, *sys.argv[1:]])
"""


def spied(folder: Path, name: str, *command: str) -> str:
    """A program that writes down what its process shows to others, and becomes the command."""
    program = folder / name
    program.write_text(SPY.format(python=sys.executable, told=str(folder / "told"), command=list(command)))
    program.chmod(0o755)
    return str(program)


def test_no_secret_stands_in_the_words_or_the_environment_of_a_program(
    params: dict[str, Any], postgres_server: Server, tmp_path: Path
) -> None:
    converge(params, migrate=None)
    with enter(params, 0) as owner:
        owner.execute("CREATE TABLE precious AS SELECT 42 AS answer")
    own: dict[str, Any] = {
        "pg_dump": spied(tmp_path, "pg_dump", str(postgres_server.bin / "pg_dump")),
        "migrate": {**params["migrate"], "command": [spied(tmp_path, "migrate", *params["migrate"]["command"])]},
    }
    assert converge(params, **own)["dump"]
    told = (tmp_path / "told").read_text()
    (_, dumping, _), (_, migrating, held) = map(json.loads, told.splitlines())
    assert dumping["PGUSER"] == params["owner"]
    assert held == {"pim_database_credentials.json": 0o600}
    for secret in (params["admin"]["password"], *(role["password"] for role in params["roles"])):
        assert secret not in told
    for gone in (dumping["PGPASSFILE"], migrating["CREDENTIALS_DIRECTORY"]):
        assert not Path(gone).exists()


def test_the_owner_alone_brings_the_schema_forward_and_dumps_what_is_its_own(
    params: dict[str, Any], postgres_server: Server
) -> None:
    converge(params, migrate=None)
    with enter(params, 0) as owner:
        owner.execute("CREATE TABLE precious AS SELECT 42 AS answer")
    with psycopg.connect(postgres_server.dsn("postgres", params["name"]), autocommit=True) as other:
        other.execute('CREATE SCHEMA "Theirs"')
        other.execute('CREATE TABLE "Theirs"."Kept" AS SELECT 1 AS one')
        other.execute("CREATE TABLE public.kept AS SELECT 2 AS two")
    role = params["roles"][0]
    owners = {**params["admin"], "user": role["name"], "password": role["password"], "dbname": params["name"]}
    alone = {**params, "admin": owners, "connect": []}
    rehearsed = run_module("caelum_database", {**alone, "roles": []}, check=True)
    moved = run_module("caelum_database", {**alone, "roles": []})
    assert (moved["changed"], moved["diff"]) == (True, rehearsed["diff"])
    assert moved["revision"] == read_revisions(MIGRATIONS).head
    restore = [postgres_server.bin / "pg_restore", "--file=-", moved["dump"]]
    listed = subprocess.run(restore, capture_output=True, text=True, check=True).stdout
    assert "COPY public.precious (answer) FROM stdin;\n42\n" in listed
    assert "COPY" not in listed.replace("COPY public.precious", "")
    assert not run_module("caelum_database", {**alone, "roles": []})["changed"]
    refused = run_module("caelum_database", {**params, "roles": []})["msg"]
    assert "the login postgres is not the owner's" in refused


def test_a_dump_that_fails_stops_the_migration(params: dict[str, Any], tmp_path: Path) -> None:
    converge(params, migrate=None)
    with enter(params, 0) as owner:
        owner.execute("CREATE TABLE precious ()")
    for wrong, words in (
        ({"pg_dump": "/no/such/pg_dump"}, "needs /no/such/pg_dump"),
        ({"backups": None}, "pass `backups`"),
    ):
        assert words in converge(params, **wrong)["msg"]
    with enter(params, 0) as owner:
        assert owner.execute("SELECT to_regclass('models')").fetchone() == (None,)
    assert not list(tmp_path.glob("backups/*"))


def test_a_migration_that_fails_says_why(params: dict[str, Any]) -> None:
    failing = {"command": [sys.executable, "-c", "raise SystemExit('pim.migrate: no')"], "head": "0001"}
    assert "the migration failed: pim.migrate: no;" in converge(params, migrate=failing)["msg"]
    idle = {"command": [sys.executable, "-c", "print('none -> none')"], "head": "0001"}
    assert "ended at revision none, not at 0001" in converge(params, migrate=idle)["msg"]


def test_a_schema_that_is_newer_than_the_release_is_left_alone(params: dict[str, Any]) -> None:
    converge(params)
    with enter(params, 0) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '9999'")
    older = converge(params)
    assert (older["changed"], older["revision"]) == (False, "9999")


def test_without_files_the_release_is_asked_for_its_newest_revision(params: dict[str, Any]) -> None:
    command = {"command": params["migrate"]["command"]}
    assert converge(params, migrate=command)["revision"] == read_revisions(MIGRATIONS).head


def test_a_server_that_stores_md5_is_refused(params: dict[str, Any]) -> None:
    reload = sql.SQL("SELECT pg_reload_conf()").format()
    with server() as own:
        own.sudo(sql.SQL("ALTER SYSTEM SET password_encryption = 'md5'").format(), reload)
        admin = {"host": "127.0.0.1", "port": own.port, "password": own.passwords["postgres"]}
        assert "the server stores passwords as md5" in converge({**params, "admin": admin})["msg"]
        weak = {**admin, "user": "pim_user", "password": own.passwords["pim_user"]}
        own.sudo(sql.SQL("ALTER SYSTEM RESET password_encryption").format(), reload)
        assert "no superuser" in converge({**params, "admin": weak})["msg"]


def test_a_server_that_is_still_starting_is_waited_for(params: dict[str, Any]) -> None:
    with server() as own:
        own.stop()
        admin = {"host": "127.0.0.1", "port": own.port, "password": own.passwords["postgres"]}
        late = {**params, "admin": admin, "migrate": None}
        assert "does not answer" in converge(late, wait=0.3)["msg"]
        starting = threading.Timer(0.5, own.start)
        starting.start()
        assert converge(late, wait=20)["changed"]
        starting.join()


def test_the_newest_revision_is_read_from_the_files(tmp_path: Path) -> None:
    chain = {"a": "None", "b": "'a'", "c": "'b'"}
    for revision, parent in chain.items():
        (tmp_path / f"{revision}.py").write_text(f"revision: str = '{revision}'\ndown_revision = {parent}\n")
    found = read_revisions(tmp_path)
    assert (found.head, found.known) == ("c", frozenset("abc"))
    (tmp_path / "d.py").write_text("revision = 'd'\ndown_revision = 'b'\n")
    with pytest.raises(Refused, match="have c, d as the newest"):
        read_revisions(tmp_path)
    (tmp_path / "e.py").write_text("revision = 'e'\ndown_revision = ('c', 'd')\n")
    assert read_revisions(tmp_path).head == "e"
    with pytest.raises(Refused, match="have no revision as the newest"):
        read_revisions(tmp_path / "empty")


def test_our_reading_of_the_files_agrees_with_alembics(migrated_database: Database) -> None:
    assert migrated_database.migrate("head") == read_revisions(MIGRATIONS).head
