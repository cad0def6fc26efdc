"""Vars plugin: tells what to do when an inventory's secrets are encrypted and no password was given.

Ansible itself says only that it has no password, in a line that names neither the file nor the remedy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.vars import BaseVarsPlugin

DOCUMENTATION = r"""
name: caelum_vault
short_description: Refuse encrypted secrets without a password, with the remedy
description:
  - Gives no variables. Looks at C(group_vars/all/vault.yml) of the inventory before Ansible opens it.
"""

HEADER = b"$ANSIBLE_VAULT;"


class VarsModule(BaseVarsPlugin):  # type: ignore[misc] # ansible-core ships no types
    """Asked by Ansible for variables, before its own plugin reads the folder."""

    REQUIRES_ENABLED = False

    def get_vars(self, loader: Any, path: str, entities: Any, cache: bool = True) -> dict[str, Any]:
        """Nothing; an AnsibleError where the secrets cannot be opened for want of any password."""
        super().get_vars(loader, path, entities)
        if not loader._vault.secrets:
            _refuse_encrypted(Path(path) / "group_vars/all/vault.yml")
        return {}


def _refuse_encrypted(file: Path) -> None:
    if not file.is_file():
        return
    with file.open("rb") as opened:
        encrypted = opened.read(len(HEADER)) == HEADER
    if encrypted:
        raise AnsibleError(
            f"{file} is encrypted and no password was given; add --ask-vault-pass, or name the file that holds it with "
            "--vault-password-file or ANSIBLE_VAULT_PASSWORD_FILE"
        )
