"""The change of a cluster: every file checked before it lands, and put back when the server does not take it."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..atomic import make_dirs, write_atomic
from ..database import scram
from ..errors import Refused
from . import local, tls
from .cluster import File, Plan
from .wanted import Wanted

START_S = 60.0
LOAD_S = 5.0
LOOK_EVERY_S = 0.05

ADMINISTRATOR = """
SET log_min_error_statement = panic;
SELECT format('CREATE ROLE %I', :'admin') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'admin') \\gexec
ALTER ROLE :"admin" SUPERUSER LOGIN PASSWORD :'verifier';
"""


def apply(wanted: Wanted, plan: Plan) -> str:
    """Make the change; what the server had to do for it: `started`, `restarted`, `reloaded` or nothing.

    Raises Refused, with the old files in place again and the server running on them, where it does not take new ones.
    """
    if plan.create:
        program = ["pg_createcluster", str(wanted.version), wanted.cluster, f"--port={wanted.port}"]
        options = ["--encoding=UTF8", "--locale=C.UTF-8", "--start-conf=auto"]
        checks = ["--", "--auth-local=peer", "--auth-host=scram-sha-256", "--data-checksums"]
        local.must([*program, *options, *checks], f"making cluster {wanted.version}/{wanted.cluster}")
    did = ""
    with _put_back(wanted) as kept:
        _write(wanted, plan, kept)
        if plan.start:
            did = "started"
            _systemctl("start", wanted)
        elif plan.reload or plan.restart:
            did = _load(wanted, plan)
        _must_run(wanted)
    if plan.password:
        verifier = scram.verifier(wanted.password)
        port = local.port_of(wanted) or wanted.port
        local.psql(wanted, port, ADMINISTRATOR, admin=wanted.admin, verifier=verifier)
    return did


def _write(wanted: Wanted, plan: Plan, kept: dict[Path, bytes | None]) -> None:
    for file in plan.files:
        if file.path == wanted.conf:
            _check_settings(wanted, file.text)
    for file in plan.files:
        _land(file, kept)
    if plan.make_tls:
        certificate, key = wanted.tls
        with tls.own_pair(wanted.subject) as (public, secret):
            _land(File(certificate, local.USER, 0o644, public), kept)
            _land(File(key, local.USER, 0o600, secret, secret=True), kept)
    if any(file.path == wanted.drop_in for file in plan.files):
        local.must(["systemctl", "daemon-reload"], "reading the unit's drop-in")
    if plan.enable:
        _land(File(wanted.folder / "start.conf", local.USER, 0o644, "auto\n"), kept)
        local.must(["systemctl", "enable", "--quiet", "postgresql.service"], "enabling postgresql.service")


def _check_settings(wanted: Wanted, text: str) -> None:
    """The server's own judgement of its settings, before they land: it reads them and starts nothing."""
    with tempfile.TemporaryDirectory(prefix="caelum-conf-") as folder:
        Path(folder).chmod(0o755)
        candidate = Path(folder, "postgresql.conf")
        candidate.write_text(f"include '{wanted.folder}/postgresql.conf'\n{text}")
        candidate.chmod(0o644)
        program: list[str | Path] = [
            wanted.bin / "postgres",
            "-C",
            "port",
            "-D",
            wanted.data,
            "-c",
            f"config_file={candidate}",
        ]
        done = local.run(program, user=local.USER)
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if line.strip()), "no reason given")
            told = said.replace(f' in file "{candidate}"', "").rpartition("LOG:")[2].strip()
            raise Refused(f"PostgreSQL would not take the settings: {told}; correct postgresql_settings or its kin")


def _land(file: File, kept: dict[Path, bytes | None]) -> None:
    """Put the file in its place, whole; what was there is kept for the way back."""
    kept.setdefault(file.path, file.path.read_bytes() if file.path.is_file() else None)
    if not file.path.parent.is_dir():
        make_dirs(file.path.parent)
    write_atomic(file.path, file.text.encode(), file.mode)
    owner = pwd.getpwnam(file.owner)
    os.chown(file.path, owner.pw_uid, owner.pw_gid)


def _load(wanted: Wanted, plan: Plan) -> str:
    """Reload, and restart where the server says that it takes that; which of the two it was."""
    if plan.reload:
        before = _ask(wanted).loaded
        _systemctl("reload", wanted)
        until = time.monotonic() + LOAD_S
        while (now := _ask(wanted)).loaded <= before and not now.errors and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)
        if now.errors:
            raise Refused(f"PostgreSQL refuses its configuration: {now.errors[0]}; the old one is back in place")
        if not now.pending:
            return "reloaded"
    _systemctl("restart", wanted)
    return "restarted"


def _must_run(wanted: Wanted) -> None:
    """Raises Refused unless the server answers on the wanted port; a start that recovers may take its time."""
    until = time.monotonic() + START_S
    while True:
        port = local.port_of(wanted)
        if port is None:
            raise Refused(f"PostgreSQL does not start: {_last_words(wanted)}; read {wanted.log}")
        try:
            errors = local.observe(wanted, port).errors
            break
        except Refused:
            if time.monotonic() > until:
                raise
            time.sleep(LOOK_EVERY_S)
    if errors:
        raise Refused(f"PostgreSQL refuses its configuration: {errors[0]}; the old one is back in place")
    if port != wanted.port:
        raise Refused(
            f"PostgreSQL listens on port {port}, not {wanted.port}; look for `port` in {wanted.folder}/conf.d"
        )


@contextlib.contextmanager
def _put_back(wanted: Wanted) -> Iterator[dict[Path, bytes | None]]:
    """Take back every file that was written, when what follows fails, and let the server run on the old ones."""
    kept: dict[Path, bytes | None] = {}
    try:
        yield kept
    except Refused:
        for path, data in kept.items():
            if data is None:
                path.unlink(missing_ok=True)
            else:
                found = path.stat()
                write_atomic(path, data, found.st_mode & 0o777)
                os.chown(path, found.st_uid, found.st_gid)
        if kept:
            local.run(["systemctl", "daemon-reload"])
            local.run(["systemctl", "reload-or-restart", wanted.unit])
            if local.port_of(wanted) is None:
                local.run(["systemctl", "restart", wanted.unit])
        raise


def _ask(wanted: Wanted) -> local.Running:
    return local.observe(wanted, local.port_of(wanted) or wanted.port)


def _systemctl(verb: str, wanted: Wanted) -> None:
    done = local.run(["systemctl", verb, wanted.unit])
    if done.returncode:
        # systemd only knows that it failed; the server's own log knows why
        raise Refused(f"PostgreSQL did not {verb}: {_last_words(wanted)}; read {wanted.log}")


def _last_words(wanted: Wanted) -> str:
    try:
        lines = wanted.log.read_text(errors="replace").splitlines()[-50:]
    except OSError:
        return "it left no log"
    bad = [line for line in lines if "FATAL:" in line or "could not bind" in line]
    return (bad or lines or ["its log is empty"])[-1].rpartition("]")[2].strip()
