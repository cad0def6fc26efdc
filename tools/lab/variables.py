"""What a lab lends to a playbook: SSH key, root, sample data, a vault that is really encrypted, made-up credentials."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tools.lab import keys
from tools.lab.errors import run
from tools.lab.inventory import Inventory, ansible
from tools.lab.places import ROOT, Places

SERVICES = ("operator", "pim", "fincoll", "senvec", "finvec")


def made_up(value: Any) -> Any:
    """`value` of an inventory's example vault with a secret in the place of every text."""
    if isinstance(value, Mapping):
        return {name: made_up(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [made_up(inner) for inner in value]
    return secrets.token_urlsafe(32).replace("-", "x").replace("_", "y")


def lent(places: Places) -> dict[str, Any]:
    """Variables that make a playbook reach the lab's hosts and need nothing of the outside."""
    return {
        "ansible_user": "root",
        "ansible_become": False,
        "ansible_ssh_private_key_file": str(places.keys / "controller"),
        "ansible_ssh_common_args": " ".join(["-F", "/dev/null", *keys.options(places), "-o", "IdentitiesOnly=yes"]),
        "caelum_data": "sample",
        "finvec_bootstrap": "sample",
        "finvec_preset": "local",
        "finvec_variant": "cpu",
        "release_source": str(places.source),
        "release_store": str(places.folder / "releases"),
        "release_allowed_signers": str(places.keys / "allowed_signers"),
        "release_signing_key": str(places.keys / "release.key"),
    }


def make(places: Places, inventory: Inventory) -> None:
    """Write the variables, and the vault with the file that holds its password."""
    places.variables.write_text(yaml.safe_dump(lent(places)))
    password = places.keys / "vault-password"
    _private(password, secrets.token_hex(32))
    vault = {"vault_tokens": dict.fromkeys(SERVICES, "")}
    for key, value in inventory.vault.items():
        vault[key] = {**vault.get(key, {}), **value} if isinstance(value, Mapping) else value
    plain = yaml.safe_dump(made_up(vault))
    encrypt = [
        ansible("vault"),
        "encrypt",
        "--vault-password-file",
        str(password),
        "--output",
        str(places.keys / "vault.yml"),
    ]
    run(encrypt, given=plain, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")})


def arguments(places: Places) -> list[str]:
    """Words that hand all of it to ansible-playbook; before the caller's own, which thereby win."""
    vault = ["-e", f"@{places.keys / 'vault.yml'}", "--vault-password-file", str(places.keys / "vault-password")]
    return ["-e", f"@{places.variables}", *vault]


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
