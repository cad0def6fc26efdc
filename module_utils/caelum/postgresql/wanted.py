"""What a cluster must be, and the text of its files; pure, so that it can be tested without a server."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Refused

HEAD = "# Written by Caelum's role postgresql; the next deploy puts back what is changed here.\n"
LOOPBACK = ("127.0.0.1/32", "::1/128")
# pg_hba.conf's words for the networks and the addresses that the server itself has.
OWN = frozenset({"samenet", "samehost"})
SETTING = re.compile(r"[a-z_][a-z0-9_.]*\Z")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}\Z")


@dataclass(frozen=True)
class Wanted:
    """The cluster as it should be. `allowed` are networks that may log in; `settings` win over this module's own."""

    version: int
    cluster: str
    port: int
    addresses: tuple[str, ...]
    allowed: tuple[str, ...]
    database: str
    roles: tuple[str, ...]
    admin: str
    password: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    certificate: str = ""
    key: str = field(default="", repr=False)

    @property
    def bin(self) -> Path:
        """Where Debian keeps the programs of this version."""
        return Path(f"/usr/lib/postgresql/{self.version}/bin")

    @property
    def folder(self) -> Path:
        """Where Debian keeps the cluster's configuration."""
        return Path(f"/etc/postgresql/{self.version}/{self.cluster}")

    @property
    def data(self) -> Path:
        """Where Debian keeps the cluster itself."""
        return Path(f"/var/lib/postgresql/{self.version}/{self.cluster}")

    @property
    def log(self) -> Path:
        """Where the server writes what it has to say."""
        return Path(f"/var/log/postgresql/postgresql-{self.version}-{self.cluster}.log")

    @property
    def unit(self) -> str:
        """The server's systemd unit."""
        return f"postgresql@{self.version}-{self.cluster}.service"

    @property
    def conf(self) -> Path:
        """The file of settings that is read after Debian's own."""
        return self.folder / "conf.d" / "caelum.conf"

    @property
    def hba(self) -> Path:
        """The file that says who may log in from where."""
        return self.folder / "pg_hba.conf"

    @property
    def drop_in(self) -> Path:
        """The file that lets the unit wait for its address."""
        return Path("/etc/systemd/system") / f"{self.unit}.d" / "caelum.conf"

    @property
    def tls(self) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.folder / "caelum.crt", self.folder / "caelum.key"

    @property
    def subject(self) -> str:
        """The address that a certificate must be for."""
        return self.addresses[0] if self.addresses else "localhost"


def settings(wanted: Wanted) -> str:
    """The text of `conf.d/caelum.conf`; raises Refused for a name that is no setting's."""
    certificate, key = wanted.tls
    found = {
        "port": str(wanted.port),
        "listen_addresses": ",".join(("localhost", *wanted.addresses)),
        "password_encryption": "scram-sha-256",
        "ssl": "on",
        "ssl_min_protocol_version": "TLSv1.2",
        "ssl_cert_file": str(certificate),
        "ssl_key_file": str(key),
        **wanted.settings,
    }
    for name in found:
        if not SETTING.match(name):
            raise Refused(f"{name!r} is no name of a PostgreSQL setting; correct postgresql_settings")
    return HEAD + "".join(f"{name} = {_quoted(value)}\n" for name, value in found.items())


def access(wanted: Wanted) -> str:
    """The text of `pg_hba.conf`: TLS and SCRAM for the given networks, the local socket for the system's own user."""
    for name in (wanted.database, wanted.admin, *wanted.roles):
        if not NAME.match(name):
            raise Refused(f"{name!r} cannot be a role's or a database's name here; use letters, digits and _")
    networks = [*LOOPBACK, *dict.fromkeys(_network(entry) for entry in wanted.allowed)]
    roles = ",".join(f'"{role}"' for role in wanted.roles)
    lines = ["local   all  postgres  peer"]
    for network in networks:
        lines.append(f'hostssl "postgres","{wanted.database}"  "{wanted.admin}"  {network}  scram-sha-256')
        lines.append(f'hostssl "{wanted.database}"  {roles}  {network}  scram-sha-256')
    return HEAD + "".join(f"{line}\n" for line in lines)


def drop_in(wanted: Wanted) -> str:
    """The text of the unit's drop-in.

    PostgreSQL listens on what is there when it starts, and with one address of two it is content: after a reboot that
    raced with the network it would be deaf until somebody restarts it.
    """
    lines = ["[Unit]", "Wants=network-online.target", "After=network-online.target", "", "[Service]"]
    for address in wanted.addresses:
        if _is_address(address):
            wait = f'until hostname -I | grep -qwF "{address}" || [ $$i -ge 100 ]; do i=$$((i+1)); sleep 0.2; done'
            lines.append(f"ExecStartPre=/bin/sh -c 'i=0; {wait}'")
    return HEAD + "".join(f"{line}\n" for line in lines)


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def _network(entry: str) -> str:
    if entry in OWN:
        return entry
    try:
        return str(ipaddress.ip_network(entry, strict=False))
    except ValueError:
        raise Refused(
            f"{entry!r} in postgresql_allowed is no network; write one such as 10.32.3.0/24, or samenet"
        ) from None


def _quoted(value: str) -> str:
    if "\n" in value:
        raise Refused("a PostgreSQL setting holds a line break; correct postgresql_settings")
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
