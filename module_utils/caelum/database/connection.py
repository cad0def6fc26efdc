"""How the modules reach PostgreSQL: one option, one transaction, and errors that fit on a line."""

from __future__ import annotations

import os
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
SSLMODES = ["disable", "prefer", "require", "verify-ca", "verify-full"]
# What libpq itself refuses, and the remedy: the server answered, and another attempt will fare no better.
REFUSED_SERVER = {
    "does not support SSL": "turn `ssl` on there, with a certificate, or set caelum_database_sslmode",
    "certificate verify failed": "give the authority that signed its certificate in caelum_database_ca",
    "server certificate for": "give it a certificate for the address that the inventory names",
    "authentication method requirement": (
        "let its pg_hba.conf say scram-sha-256, set password_encryption to that and the role's password anew"
    ),
}


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
            **tls_arguments(),
        },
    }


def tls_arguments() -> dict[str, Any]:
    """Specification of the suboptions of a login that say how its connection is protected."""
    return {
        "sslmode": {"type": "str", "choices": SSLMODES, "default": "prefer"},
        "ca": {"type": "str", "default": ""},
    }


def place(login: Login) -> str:
    """A database in words, without its password."""
    return f"database {login['dbname']} at {login['host']}:{login['port']} (as {login['user']})"


def one_line(error: BaseException) -> str:
    """The first line of what PostgreSQL said, without its prefix."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removeprefix("ERROR:").removeprefix("FATAL:").strip()


@contextmanager
def authority(login: Login) -> Iterator[str]:
    """A path that holds the certificates of `ca` for this process and those it starts, and no file; empty without."""
    if not login.get("ca"):
        yield ""
        return
    descriptor = os.memfd_create("caelum-database-ca")
    try:
        os.write(descriptor, str(login["ca"]).encode())
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def connect(login: Login) -> extensions.connection:
    """An open connection, protected as the login says, and by no weaker proof of the password than SCRAM.

    Raises Refused when the server answers and declines the login, Unreachable when it does not answer.
    """
    with authority(login) as trusted:
        return _connect(login, {"sslrootcert": trusted} if trusted else {})


def _connect(login: Login, more: Mapping[str, Any]) -> extensions.connection:
    import psycopg2

    try:
        opened: extensions.connection = psycopg2.connect(
            host=login["host"],
            port=login["port"],
            dbname=login["dbname"],
            user=login["user"],
            password=login["password"],
            sslmode=login.get("sslmode") or "prefer",
            require_auth="scram-sha-256",
            **more,
            connect_timeout=CONNECT_TIMEOUT_S,
            tcp_user_timeout=5000,  # ms; without it a server whose machine died is waited for for a quarter of an hour
            application_name="caelum-ansible",
            options="-c lock_timeout=10s -c statement_timeout=60s",
        )
        return opened  # noqa: TRY300 - what follows tells why there is none
    except psycopg2.OperationalError as error:
        reason = one_line(error).rpartition("FATAL:")[2].strip()
        if any(words in reason for words in REFUSED_LOGIN):
            raise Refused(
                f"{place(login)} refused the login: {reason}; check the inventory's vault against the role's password"
            ) from None
        for words, remedy in REFUSED_SERVER.items():
            if words in reason:
                raise Refused(f"{place(login)} is not safe to use: {_said(reason)}; {remedy}") from None
        raise Unreachable(
            f"{place(login)} does not answer: {reason}; start PostgreSQL there, or correct its address in the inventory"
        ) from None


def enters(admin: Login, user: str, password: str) -> bool:
    """Whether `password` is the one of `user`, tried at the database that the admin's login names.

    The server compares passwords before it asks for anything else, so a role that may not enter tells as well. Raises
    Refused where the server does not even ask, Unreachable when it does not answer.
    """
    login = {**admin, "user": user, "password": password}
    try:
        connect(login).close()
    except Unreachable as error:
        if "permission denied for database" in str(error):
            return True
        raise
    except Refused as error:
        said = str(error)
        if "password authentication failed" in said:
            return False
        if "pg_hba.conf" in said:
            raise Refused(
                f"{place(login)} cannot be tried from here ({said.partition('login: ')[2].partition(';')[0]}); let "
                "pg_hba.conf there allow this role from here, or give a superuser as the admin"
            ) from None
        if "is not permitted to log in" not in said:
            raise
    return True


def _said(reason: str) -> str:
    """What libpq said, without the address that it begins with."""
    return reason.rpartition("failed: ")[2] if reason.startswith("connection to server") else reason


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
