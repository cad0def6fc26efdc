"""How the modules reach PostgreSQL: one option, one transaction, and errors that fit on a line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import Refused

if TYPE_CHECKING:
    from psycopg2 import extensions

# psycopg2 is imported where it is needed: a module call that asks no database does not pay for it.

Login = Mapping[str, Any]

CONNECT_TIMEOUT_S = 5
RETRY_S = 0.1
# The server answered, and refused this login. libpq hands over no SQLSTATE for a connection that failed.
REFUSED_LOGIN = ("password authentication failed", "pg_hba.conf", "does not exist", "is not permitted to log in")


class Unreachable(Refused):
    """The database could not be asked; one line that says which, why, and what to do."""


class Rejected(Refused):
    """The values themselves are what the database does not take: no later attempt will fare better."""


def database_argument(*, required: bool = True) -> dict[str, Any]:
    """Specification of the option `database`, documented by the fragment `caelum_database`."""
    return {
        "type": "dict",
        "required": required,
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 15433},
            "dbname": {"type": "str", "default": "pim_database"},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
        },
    }


def place(login: Login) -> str:
    """A database in words, without its password."""
    return f"database {login['dbname']} at {login['host']}:{login['port']} (as {login['user']})"


def one_line(error: BaseException) -> str:
    """The first line of what PostgreSQL said, without its prefix."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removeprefix("ERROR:").removeprefix("FATAL:").strip()


def connect(login: Login) -> extensions.connection:
    """An open connection.

    Raises Refused when the server answers and declines the login, Unreachable when it does not answer.
    """
    import psycopg2

    try:
        return psycopg2.connect(
            host=login["host"],
            port=login["port"],
            dbname=login["dbname"],
            user=login["user"],
            password=login["password"],
            connect_timeout=CONNECT_TIMEOUT_S,
            tcp_user_timeout=5000,  # ms; without it a server whose machine died is waited for for a quarter of an hour
            application_name="caelum-ansible",
            options="-c lock_timeout=10s -c statement_timeout=60s",
        )
    except psycopg2.OperationalError as error:
        reason = one_line(error).rpartition("FATAL:")[2].strip()
        if any(words in reason for words in REFUSED_LOGIN):
            raise Refused(
                f"{place(login)} refused the login: {reason}; check the inventory's vault against the role's password"
            ) from None
        raise Unreachable(
            f"{place(login)} does not answer: {reason}; start PostgreSQL there, or correct its address in the inventory"
        ) from None


def wait_for(login: Login, seconds: float) -> None:
    """Return once the server answers; raises Unreachable when it hasn't within `seconds`, Refused at once."""
    until = time.monotonic() + seconds
    while True:
        try:
            connect(login).close()
        except Unreachable:
            if time.monotonic() >= until:
                raise
            time.sleep(RETRY_S)
        else:
            return


@contextmanager
def transaction(login: Login) -> Iterator[extensions.cursor]:
    """A cursor in one transaction: committed when the block ends, rolled back by whatever leaves it early.

    Raises Refused for what the server rejects (Rejected where it is for the values), Unreachable when the server is
    away or is lost on the way.
    """
    with _session(login) as connection, connection, connection.cursor() as cursor:
        yield cursor


@contextmanager
def statements(login: Login) -> Iterator[extensions.cursor]:
    """A cursor whose statements each commit by themselves, as CREATE DATABASE needs it; errors as `transaction`."""
    with _session(login) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


@contextmanager
def _session(login: Login) -> Iterator[extensions.connection]:
    import psycopg2

    connection = connect(login)
    try:
        yield connection
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise Unreachable(
            f"{place(login)} was lost in the middle: {one_line(error)}; run the same command again once it is back"
        ) from None
    except psycopg2.errors.UndefinedTable as error:
        raise Refused(
            f"{place(login)} has no schema yet: {one_line(error)}; migrate it with `python -m pim.migrate upgrade`"
        ) from None
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:
        raise Rejected(f"{place(login)} rejected it: {one_line(error)}; correct the value it names") from None
    except psycopg2.Error as error:
        raise Refused(
            f"{place(login)} rejected it: {one_line(error)}; correct the value or the right it names"
        ) from None
    finally:
        connection.close()
