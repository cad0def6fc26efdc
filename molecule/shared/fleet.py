"""The hosts of a scenario's lab, asked over SSH, and what its inventory puts on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import testinfra
import yaml
from testinfra.host import Host

ROOT = Path(__file__).parents[2]
LAB = Path("/var/lib/caelum-lab") / os.environ["CAELUM_LAB"]

SENVEC = ("aggregator", "sentimentrader", "alphavantage", "social", "news")
PORTS = {"aggregator": 18000, "sentimentrader": 18001, "alphavantage": 18002, "social": 18003, "news": 18004}
SLOT_PORTS = {"stable": 8001, "candidate": 8002}


@dataclass(frozen=True)
class Fleet:
    """The inventory's groups and variables, as Ansible reads them, and a way to each host."""

    groups: Mapping[str, tuple[str, ...]]
    variables: Mapping[str, Mapping[str, Any]]

    def host(self, name: str) -> Host:
        """testinfra's view of a host, as root."""
        options = "-F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o UserKnownHostsFile=" + str(
            LAB / "keys/known_hosts"
        )
        return testinfra.get_host(
            f"ssh://root@{self.address(name)}",
            ssh_identity_file=str(LAB / "keys/controller"),
            ssh_extra_args=options,
            controlpath=str(LAB / "cp" / f"testinfra-{name}"),
        )

    def address(self, name: str) -> str:
        """Where the other hosts reach it."""
        return str(self.variables[name]["caelum_address"])

    def first(self, group: str) -> str:
        """The first host of a group."""
        return self.groups[group][0]


def secrets() -> list[str]:
    """Every secret of the lab's vault."""
    tool = str(Path(sys.executable).with_name("ansible-vault"))
    keys = LAB / "keys"
    command = [tool, "view", "--vault-password-file", str(keys / "vault-password"), str(keys / "vault.yml")]
    vault = yaml.safe_load(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return sorted(set(_leaves(vault)))


def _leaves(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for value in node.values():
            yield from _leaves(value)
    elif node:
        yield str(node)


def read() -> Fleet:
    """The fleet of this scenario's inventory."""
    folder = ROOT / "inventory" / os.environ["CAELUM_LAB_INVENTORY"]
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(folder), "--list"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    variables = told.pop("_meta")["hostvars"]
    groups = {name: tuple(group.get("hosts", ())) for name, group in told.items()}
    return Fleet(groups, variables)


def shown(host: Host, unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit."""
    text = host.check_output("systemctl show %s " + " ".join(f"-p {name}" for name in names), unit)
    return dict(line.split("=", 1) for line in text.splitlines())


def units(fleet: Fleet, name: str) -> list[tuple[str, str, int | None]]:
    """Unit, user and port of every service that the inventory puts on a host."""
    found: list[tuple[str, str, int | None]] = []
    if name in fleet.groups["senvec"]:
        found += [(f"senvec@{one}", "caelum-senvec", PORTS[one]) for one in SENVEC]
    if name in fleet.groups["fincoll"]:
        slots = fleet.variables[name].get("fincoll_slots", ["stable"])
        found += [(f"fincoll@{slot}", "caelum-fincoll", SLOT_PORTS[slot]) for slot in slots]
    if name in fleet.groups["pim"]:
        found += [("pim-web", "caelum-pim", 5000), ("pim-worker", "caelum-pim", None), ("caelum-reaper", "", None)]
    return found


def machines(fleet: Fleet) -> list[str]:
    """Every host that a deployment enters."""
    return sorted({name for group in ("senvec", "finvec", "fincoll", "pim") for name in fleet.groups[group]})
