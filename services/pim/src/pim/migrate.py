"""`python -m pim.migrate current|head|upgrade|downgrade [REVISION]`: the schema of pim_database.

Run it as the role that owns the database. Exit codes: 0 done, 1 refused or failed, 2 a wrong command line.
"""

import argparse
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from pim.address import NoDatabase, address
from pim.database import DatabaseGone

# Any constant will do, as long as every release uses the same.
LOCK = 7_205_759_403


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's settings without a file: the scripts lie beside this module."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The newest revision among the scripts, by Alembic's own reckoning."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    assert revision is not None  # noqa: S101 (the package holds at least one migration)
    return revision


def current(connection: Connection) -> str | None:
    """The revision the database is at; None before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(connection: Connection, verb: str, revision: str) -> tuple[str | None, str | None]:
    """Upgrade or downgrade to a revision; returns the revisions before and after.

    Holds an advisory lock, so that two callers migrate one after the other and not at once.
    """
    connection.execute(text("SET lock_timeout = '30s'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
    connection.commit()
    before = current(connection)
    connection.commit()
    (command.upgrade if verb == "upgrade" else command.downgrade)(configuration(connection), revision)
    connection.commit()
    return before, current(connection)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pim.migrate", description="The schema of pim_database.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("current", help="print the database's revision, or `none`")
    verbs.add_parser("head", help="print the newest revision of this release")
    verbs.add_parser("upgrade", help="go forward").add_argument("revision", nargs="?", default="head")
    verbs.add_parser("downgrade", help="go back").add_argument("revision", nargs="?", default="-1")
    return parser.parse_args(arguments)


def run(arguments: list[str]) -> str:
    """What the command prints."""
    wanted = parsed(arguments)
    if wanted.verb == "head":
        return head()
    where = address()
    engine = create_engine(
        URL.create("postgresql+psycopg"), connect_args=where.options("pim.migrate"), poolclass=NullPool
    )
    try:
        with engine.connect() as connection:
            if wanted.verb == "current":
                return current(connection) or "none"
            before, after = migrate(connection, wanted.verb, wanted.revision)
    except DBAPIError as error:
        raise DatabaseGone(where.explain(error.orig or error)) from error
    return f"{before or 'none'} -> {after or 'none'}"


def main() -> None:
    try:
        print(run(sys.argv[1:]))
    except (NoDatabase, DatabaseGone, CommandError) as error:
        sys.exit(f"pim.migrate: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
