"""A cluster of Debian's on this host: what it is, what must change, and the change."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..database import scram
from ..errors import Refused
from . import local, tls
from .wanted import Wanted, access, drop_in, settings


@dataclass(frozen=True)
class File:
    """A file as it should be; one without `text` gets its text when it is made."""

    path: Path
    owner: str
    mode: int
    text: str = field(default="", repr=False)
    secret: bool = False

    def differs(self) -> bool:
        """Whether the host's file is another one."""
        try:
            found, text = self.path.stat(), self.path.read_text(errors="replace")
        except OSError:
            return True
        owner = (pwd.getpwnam(self.owner).pw_uid, grp.getgrnam(self.owner).gr_gid)
        return (text, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)) != (self.text, self.mode, owner)

    def told(self, text: str) -> list[str]:
        """Lines of `text` for a diff, without comments, and nothing of what is secret."""
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return [f"{self.path}: (not shown)"] if self.secret and lines else [f"{self.path}: {line}" for line in lines]


@dataclass(frozen=True)
class Have:
    """What of the cluster the host has; `tls` says why its certificate must be made anew."""

    is_installed: bool
    has_config: bool
    has_data: bool
    starts_at_boot: bool
    port: int | None
    running: local.Running | None
    differing: tuple[File, ...]
    tls: str
    written: float

    @property
    def exists(self) -> bool:
        """Whether the cluster is there."""
        return self.has_config and self.has_data


@dataclass(frozen=True)
class Plan:
    """What is to be done; false when nothing is. `package` must be there before the rest can be."""

    package: str = ""
    create: bool = False
    files: tuple[File, ...] = ()
    make_tls: bool = False
    enable: bool = False
    start: bool = False
    reload: bool = False
    restart: bool = False
    password: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.after)


def files(wanted: Wanted) -> list[File]:
    """The files whose text is known beforehand."""
    certificate, key = wanted.tls
    found = [
        File(wanted.conf, local.USER, 0o644, settings(wanted)),
        File(wanted.hba, local.USER, 0o640, access(wanted)),
        File(wanted.drop_in, "root", 0o644, drop_in(wanted)),
    ]
    if wanted.certificate or wanted.key:
        tls.check_pair(wanted.certificate, wanted.key)
        found.append(File(certificate, local.USER, 0o644, _ended(wanted.certificate)))
        found.append(File(key, local.USER, 0o600, _ended(wanted.key), secret=True))
    return found


def observe(wanted: Wanted) -> Have:
    """What the host has."""
    is_installed = (wanted.bin / "postgres").exists()
    port = local.port_of(wanted) if is_installed else None
    rendered = files(wanted)
    start = wanted.folder / "start.conf"
    boots = start.is_file() and any(line.strip() == "auto" for line in start.read_text().splitlines())
    enabled = is_installed and local.run(["systemctl", "is-enabled", "--quiet", "postgresql.service"]).returncode == 0
    return Have(
        is_installed,
        (wanted.folder / "postgresql.conf").exists(),
        (wanted.data / "PG_VERSION").exists(),
        boots and enabled,
        port,
        local.observe(wanted, port) if port else None,
        tuple(file for file in rendered if not is_installed or file.differs()),
        "" if wanted.certificate else tls.why_unfit(*wanted.tls, wanted.subject),
        max((path.stat().st_mtime for path in _read_at_load(wanted) if path.exists()), default=0.0),
    )


def plan(wanted: Wanted, have: Have) -> Plan:
    """What leads from what there is to what is wanted; raises Refused where it would take away somebody else's."""
    _refuse_half(wanted, have)
    _refuse_anothers(wanted, have)
    running = have.running
    changed = bool(have.differing) or bool(have.tls)
    found = Plan(
        package="" if have.is_installed else f"postgresql-{wanted.version}",
        create=not have.exists,
        files=have.differing,
        make_tls=bool(have.tls),
        enable=not have.starts_at_boot,
        start=running is None,
        reload=running is not None and (changed or have.written > running.loaded),
        restart=bool(running and running.pending),
        password=running is None or not (running.is_admin and scram.matches(running.verifier, wanted.password)),
    )
    told = list(_told(wanted, have, found))
    return replace(
        found,
        before=tuple(line for was, _ in told for line in was),
        after=tuple(line for _, will in told for line in will),
    )


def state(wanted: Wanted, have: Have, plan: Plan) -> str:
    """Whether the server can be asked before the plan is carried out: `answers`, `silent`, or `fresh` without ours."""
    known = have.running is not None and wanted.database in have.running.databases
    if not have.exists or (have.running is not None and not known and not wanted.conf.exists()):
        return "fresh"
    return "silent" if plan.files or plan.start or plan.password else "answers"


def _told(wanted: Wanted, have: Have, plan: Plan) -> Iterator[tuple[list[str], list[str]]]:
    """Lines for the diff, before and after, for each thing that changes."""
    cluster = f"cluster {wanted.version}/{wanted.cluster}"
    pending = ", ".join(have.running.pending) if have.running else ""
    short = (
        (bool(plan.package), f"package {plan.package}", "missing", "installed"),
        (plan.create, cluster, "missing", "made"),
        (plan.make_tls, "certificate", have.tls, f"self-signed, for {wanted.subject}"),
        (plan.enable, cluster, "not started at boot", "started at boot"),
        (plan.start, cluster, "stopped", f"listens on port {wanted.port}"),
        (plan.reload and not (plan.files or plan.make_tls), cluster, "configuration not loaded", "loaded"),
        (plan.restart, cluster, f"restart pending for {pending}", "restarted"),
        (plan.password, f"role {wanted.admin}", "missing or another password", "superuser, password as given"),
    )
    for file in plan.files:
        old = file.path.read_text(errors="replace") if file.path.is_file() else ""
        yield file.told(old), file.told(file.text)
    for holds, what, was, will in short:
        if holds:
            yield [f"{what}: {was}"], [f"{what}: {will}"]


def _refuse_half(wanted: Wanted, have: Have) -> None:
    if have.has_config != have.has_data:
        name = f"{wanted.version} {wanted.cluster}"
        raise Refused(
            f"cluster {name} is only half there ({wanted.folder}, {wanted.data}); remove the rest with "
            f"`pg_dropcluster {name}`, or name another in postgresql_cluster"
        )


def _refuse_anothers(wanted: Wanted, have: Have) -> None:
    if have.running is None or wanted.conf.exists():
        return
    others = sorted(set(have.running.databases) - {"postgres", wanted.database})
    if others:
        raise Refused(
            f"cluster {wanted.version}/{wanted.cluster} holds other databases ({', '.join(others)}), which would lose "
            "their logins; let Caelum have its own: `postgresql_cluster: caelum`, with a free caelum_database_port"
        )


def _read_at_load(wanted: Wanted) -> tuple[Path, ...]:
    return (wanted.conf, wanted.hba, *wanted.tls)


def _ended(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def refuse_unless_root() -> None:
    """Raises Refused where this process may not do what a cluster needs."""
    if os.geteuid() != 0:
        raise Refused("a PostgreSQL server of Debian's is kept by root; set ansible_become, or log in as root")
