"""Several hosts on this machine: each has a prefix and a loopback address of its own, one database and one share."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from support.ecosystem import ROOT, Run, free_base
from support.processes import environment

GROUPS: Mapping[str, tuple[str, ...]] = {
    "database": ("one",),
    "senvec": ("one",),
    "finvec": ("one", "two"),
    "fincoll": ("two", "three"),
    "pim": ("one",),
}
ADDRESSES = {"one": "127.0.0.1", "two": "127.0.0.2", "three": "127.0.0.3"}
# Who has a port is told by its number alone, and all hosts are this machine.
FINCOLL_PORTS = {"one": 8001, "two": 8003, "three": 8004}


@dataclass(frozen=True)
class Fleet:
    """A folder with the hosts' prefixes, what they share, and the inventory."""

    place: Path
    base: int

    def prefix(self, host: str) -> Path:
        """Where a host keeps everything."""
        return self.place / host

    def lists(self, groups: Mapping[str, tuple[str, ...]], **variables: Mapping[str, Any]) -> None:
        """Write the inventory: hosts by group, and variables of single hosts."""
        hosts = {
            name: {
                "caelum_address": address,
                "caelum_prefix": str(self.prefix(name)),
                "fincoll_port": FINCOLL_PORTS[name],
                **variables.get(name, {}),
            }
            for name, address in ADDRESSES.items()
        }
        children = {group: {"hosts": dict.fromkeys(names)} for group, names in groups.items()}
        self._write("hosts.yml", {"all": {"hosts": hosts, "children": children}})

    def playbook(self, name: str, *arguments: str, timeout: float = 600) -> Run:
        """Run a playbook on the inventory."""
        done = subprocess.run(
            self.command(name, *arguments), cwd=ROOT, env=environment(), check=False, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Run(done.returncode, done.stdout)

    def command(self, playbook: str, *arguments: str) -> list[str]:
        """What runs a playbook, word by word."""
        program = Path(sys.executable).parent / "ansible-playbook"
        return [str(program), "-i", str(self.place / "inventory"), playbook, *arguments]

    def slot(self, host: str, service: str = "fincoll", instance: str = "fincoll@stable") -> str:
        """The version that an instance's slot points to; empty where there is none."""
        link = self.prefix(host) / "opt/caelum" / service / "slots" / instance
        return link.readlink().name if link.is_symlink() else ""

    def committed(self, host: str, service: str = "fincoll") -> str:
        """The version of the host's last good release; empty while it is getting another."""
        folder = self.prefix(host) / "var/lib/caelum/revisions" / service
        if (folder / "pending.json").exists():
            return ""
        return str(json.loads((folder / "current").read_text())["version"])

    def rows(self, after: int = 0) -> list[tuple[Any, ...]]:
        """(service, version, action, status, host, logs) of deployments with an id above `after`, the oldest first."""
        with self.sql() as connection:
            return connection.execute(
                "SELECT service_name, version, action, status, host, coalesce(logs, '') FROM deployment_history"
                " WHERE id > %s ORDER BY id",
                (after,),
            ).fetchall()

    def events(self, after: int) -> set[tuple[str, str]]:
        """(host, event) of what happened on single hosts, of deployments with an id above `after`."""
        with self.sql() as connection:
            found = connection.execute(
                "SELECT host, event FROM deployment_events WHERE deployment_id > %s AND host IS NOT NULL", (after,)
            )
            return {(str(host), str(event)) for host, event in found.fetchall()}

    def newest(self) -> int:
        """The highest id of a deployment."""
        with self.sql() as connection:
            row = connection.execute("SELECT coalesce(max(id), 0) FROM deployment_history").fetchone()
        assert row
        return int(row[0])

    def sql(self) -> psycopg.Connection[Any]:
        """A connection of the database's owner that commits each statement."""
        password = (self.place / "secrets/pim_owner").read_text().split()[0]
        return psycopg.connect(
            host="127.0.0.1", port=15433 + self.base, dbname="pim_database", user="pim_owner", password=password,
            autocommit=True,
        )  # fmt: skip

    def prepare(self) -> None:
        """Write what all hosts have in common, and the hosts as the tests begin with them."""
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "caelum_inventory": "several",
            "caelum_environment": "dev",
            "caelum_runtime": "native",
            "caelum_data": "sample",
            "caelum_share": str(self.place / "share"),
            "caelum_port_base": self.base,
            "caelum_bind": "{{ caelum_address }}",
            "caelum_journal": str(self.place / "journal"),
            "caelum_database_address": "127.0.0.1",
            "caelum_ready_timeout": 20,
            "postgresql_mode": "wheel",
            "release_signing_key": str(self.place / "keys/release.key"),
            "__secrets": str(self.place / "secrets"),
        }
        secrets = yaml.safe_load((ROOT / "inventory/local/group_vars/all/vault.yml").read_text())
        self._write("group_vars/all/topology.yml", {**secrets, **common})
        self.lists(GROUPS)

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        path = self.place / "inventory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(dict(content)))


@contextmanager
def fleet() -> Iterator[Fleet]:
    """A place for a fleet, not made yet; at the end remove.yml must have removed it from every host."""
    place = Path(tempfile.mkdtemp(prefix="caelum-several-", dir="/tmp"))
    place.chmod(0o755)
    made = Fleet(place, free_base())
    made.prepare()
    try:
        yield made
    finally:
        made.lists(GROUPS)
        removal = made.playbook("playbooks/remove.yml")
        left = [host for host in ADDRESSES if made.prefix(host).exists()]
        shutil.rmtree(place, ignore_errors=True)
        assert removal.status == 0, removal.output[-4000:]
        assert not left, f"remove.yml left {left}: {removal.output[-4000:]}"
