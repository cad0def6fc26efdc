"""Where pim_database is, without the driver, which not every process that asks needs."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

CREDENTIALS = "pim_database_credentials.json"
KEYS = ("host", "port", "database", "user", "password")


class NoDatabase(Exception):
    """The database is not named, or its credentials cannot be read: one line with the remedy."""


@dataclass(frozen=True)
class Address:
    """Where the database is and as whom to enter it.

    `sslmode` is libpq's, `ca` holds certificates as PEM of which one must have signed the server's.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str = "prefer"
    ca: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"database {self.database} at {self.host}:{self.port}"

    def options(self, application: str) -> dict[str, Any]:
        """libpq's parameters: no more than 2 s for a connection, and a lost peer noticed within 5 s.

        A server that asks for the password in a weaker way than SCRAM does not get it.
        """
        trusted = {"sslrootcert": _in_memory(self.ca)} if self.ca else {}
        return {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "sslmode": self.sslmode,
            "require_auth": "scram-sha-256",
            **trusted,
            "application_name": application,
            "connect_timeout": 2,
            "tcp_user_timeout": 5000,
            "keepalives_idle": 15,
        }

    def explain(self, error: Exception) -> str:
        """One line for a person: which database, and what the driver said first."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        told = next((line for line in lines if "refused" in line or "FATAL" in line), lines[0])
        return f"{self}: {told}"


@cache
def _in_memory(text: str) -> str:
    """A path that holds `text` as long as this process lives, and no file: libpq takes certificates by path alone."""
    descriptor = os.memfd_create("pim-database-ca")
    os.write(descriptor, text.encode())
    return f"/proc/self/fd/{descriptor}"


def address(environ: Mapping[str, str] = os.environ) -> Address:
    """The database's address: from the credentials file, else from DATABASE_URL.

    Raises NoDatabase when neither is there, or when what is there cannot be used.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder) / CREDENTIALS if folder else None
    if file is not None and file.exists():
        return _from_file(file)
    if url := environ.get("DATABASE_URL"):
        return _from_url(url)
    looked = f"{file} does not exist" if file else "CREDENTIALS_DIRECTORY is not set"
    raise NoDatabase(f"no database named: {looked}, nor is DATABASE_URL set; give one of the two")


def _from_url(url: str) -> Address:
    form = "postgresql://user:password@host:port/database"
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = conninfo_to_dict(url)
        return Address(
            str(found["host"]),
            int(found.get("port") or 5432),
            str(found["dbname"]),
            str(found["user"]),
            str(found.get("password") or ""),
            str(found.get("sslmode") or "prefer"),
            Path(str(found["sslrootcert"])).read_text() if found.get("sslrootcert") else "",
        )
    except OSError as error:
        raise NoDatabase(f"DATABASE_URL names a sslrootcert that cannot be read ({error.strerror})") from None
    except KeyError as error:
        raise NoDatabase(f"DATABASE_URL names no {error.args[0]}; write {form}") from None
    except (ValueError, psycopg.ProgrammingError):
        # What the parser says may quote the address, which holds a password.
        raise NoDatabase(f"DATABASE_URL cannot be read; write {form}") from None


def _from_file(file: Path) -> Address:
    try:
        found = json.loads(file.read_text())
        missing = [key for key in KEYS if key not in found]
        if missing:
            raise NoDatabase(f"{file} lacks {', '.join(missing)}; it needs {', '.join(KEYS)}")
        tls = {key: str(found[key]) for key in ("sslmode", "ca") if found.get(key)}
        return Address(found["host"], int(found["port"]), found["database"], found["user"], found["password"], **tls)
    except OSError as error:
        raise NoDatabase(f"{file} cannot be read ({error.strerror}); its reader must own it, mode 0600") from None
    except (TypeError, ValueError):
        raise NoDatabase(f"{file} is not a JSON object with {', '.join(KEYS)}") from None
