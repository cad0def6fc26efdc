"""The server asked through its own socket as the system's user postgres: no password, and none in a command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Refused
from .wanted import Wanted

USER = "postgres"
TIMEOUT_S = 60

OBSERVE = """
SELECT json_build_object(
    'verifier', (SELECT rolpassword FROM pg_authid WHERE rolname = :'admin'),
    'admin', (SELECT rolsuper AND rolcanlogin FROM pg_authid WHERE rolname = :'admin'),
    'databases', (SELECT coalesce(json_agg(datname), '[]') FROM pg_database WHERE NOT datistemplate),
    'loaded', extract(epoch FROM pg_conf_load_time()),
    'pending', (SELECT coalesce(json_agg(name), '[]') FROM pg_settings WHERE pending_restart),
    'errors', (
        SELECT coalesce(json_agg(said), '[]') FROM (
            SELECT sourcefile || ' line ' || sourceline || ': ' || error AS said FROM pg_file_settings
            WHERE error IS NOT NULL AND error <> 'setting could not be applied'
            UNION ALL SELECT 'pg_hba.conf line ' || line_number || ': ' || error FROM pg_hba_file_rules
            WHERE error IS NOT NULL) AS found));
"""


@dataclass(frozen=True)
class Running:
    """What a running server says of itself; `verifier` is what it stores of the administrator's password."""

    verifier: str | None
    is_admin: bool | None
    databases: tuple[str, ...]
    loaded: float
    pending: tuple[str, ...]
    errors: tuple[str, ...]


def run(argv: Sequence[str | Path], *, user: str | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command's result; raises Refused when it isn't there or takes more than a minute."""
    words = [str(word) for word in argv]
    as_whom: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    try:
        return subprocess.run(  # noqa: S603 - Debian's programs, with arguments of the inventory
            words, input=stdin, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd="/", **as_whom
        )
    except FileNotFoundError:
        raise Refused(f"{words[0]} is not there; install the package postgresql-common and openssl") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"`{' '.join(words[:3])}` took more than {TIMEOUT_S} s; look at what holds it") from None


def must(argv: Sequence[str | Path], what: str, *, user: str | None = None, stdin: str = "") -> str:
    """What a command printed; raises Refused with the last line it said when it fails."""
    done = run(argv, user=user, stdin=stdin)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise Refused(f"{what} failed: {said}; put that right and run it again")
    return done.stdout.strip()


def port_of(wanted: Wanted) -> int | None:
    """The port that the running server has its socket under, which may not be the wanted one; None when it's down."""
    try:
        lines = (wanted.data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, ValueError, IndexError):
        return None
    return port if Path(f"/proc/{pid}").exists() else None


def psql(wanted: Wanted, port: int, sql: str, **values: str) -> str:
    """What the statements in `sql` return. Values are named `:'name'` there and go the same way: by standard input."""
    given = "".join(f"\\set {name} '{value}'\n" for name, value in values.items())
    program: list[str | Path] = [
        wanted.bin / "psql",
        "-XAtq",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        "/run/postgresql",
        "-p",
        str(port),
    ]
    return must([*program, "-d", "postgres"], "asking PostgreSQL through its socket", user=USER, stdin=given + sql)


def observe(wanted: Wanted, port: int) -> Running:
    """What the running server says."""
    found = json.loads(psql(wanted, port, OBSERVE, admin=wanted.admin))
    return Running(
        found["verifier"],
        found["admin"],
        tuple(found["databases"]),
        float(found["loaded"]),
        tuple(found["pending"]),
        tuple(found["errors"]),
    )
