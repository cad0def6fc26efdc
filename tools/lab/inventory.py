"""What a lab needs to know of an inventory, as Ansible itself reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from tools.lab import network
from tools.lab.errors import LabError, run
from tools.lab.places import ROOT

DEFAULT_SHARE = "/srv/caelum/ss"


@dataclass(frozen=True)
class Inventory:
    """Hosts with their addresses, where they find the share, and what the lab must lend."""

    name: str
    hosts: dict[str, str]
    share: str = DEFAULT_SHARE
    database: list[str] = field(default_factory=list)
    existing: bool = False
    pim: str = ""
    pim_port: int = 5000
    vault: dict[str, Any] = field(default_factory=dict)


def read(name: str) -> Inventory:
    """The inventory `name` of the checkout; LabError where there is none or its hosts can't be machines of a lab."""
    folder = ROOT / "inventory" / name
    if not (folder / "hosts.yml").is_file():
        known = ", ".join(sorted(path.parent.name for path in ROOT.glob("inventory/*/hosts.yml")))
        raise LabError(f"there is no inventory {name!r}; known: {known}")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    listed = json.loads(run([ansible("inventory"), "-i", str(folder), "--list"], env=environment))
    return parse(name, listed, example(name))


def ansible(tool: str) -> str:
    """Path of `ansible-<tool>` in the controller's environment."""
    path = ROOT / ".venv/bin" / f"ansible-{tool}"
    if not path.is_file():
        raise LabError(f"there is no {path}; make it with `make venv`")
    return str(path)


def example(name: str) -> dict[str, Any]:
    """The variables that the vault of the inventory `name` must have, by its example."""
    files = sorted((ROOT / "inventory" / name).rglob("vault*example*"))
    return dict(yaml.safe_load(files[0].read_text())) if files else {}


def parse(name: str, listed: Mapping[str, Any], vault: Mapping[str, Any] | None = None) -> Inventory:
    """The inventory from what `ansible-inventory --list` says."""
    variables: Mapping[str, Mapping[str, Any]] = listed["_meta"]["hostvars"]
    hosts = {host: str(have.get("ansible_host", have.get("caelum_address", ""))) for host, have in variables.items()}
    local = sorted(host for host, have in variables.items() if have.get("ansible_connection") == "local")
    if local or not hosts:
        raise LabError(f"inventory {name!r} is this machine itself, which needs no lab: make deploy VERSION=v1.1.0")
    network.check(list(hosts), list(hosts.values()))
    common = next(iter(variables.values()))
    pim = next(iter(listed.get("pim", {}).get("hosts", [])), "")
    return Inventory(
        name=name,
        hosts=hosts,
        share=str(common.get("caelum_share", DEFAULT_SHARE)),
        database=list(listed.get("database", {}).get("hosts", [])),
        existing=common.get("postgresql_mode") == "existing",
        pim=pim,
        pim_port=int(common.get("pim_port", 5000)) + int(common.get("caelum_port_base", 0)),
        vault=dict(vault or {}),
    )
