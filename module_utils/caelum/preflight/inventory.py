"""What an inventory must have before anything is deployed to it: its runtime, a host for each service, its secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..components import SERVICES
from .asked import Asked

RUNTIMES = ("native", "systemd")
COMING = ("docker", "compose", "pm2")
GROUPS = ("database", *SERVICES)
SECRETS = ("vault_postgresql_admin_password", "vault_pim_owner_password", "vault_pim_user_password", "vault_tokens")
PLACEHOLDER = "change-me"


def runtime(asked: Asked) -> str:
    if asked.runtime in RUNTIMES:
        return ""
    what = "is to come" if asked.runtime in COMING else "is not known"
    return (
        f"runtime {asked.runtime} of inventory {asked.inventory} {what}; there are {' and '.join(RUNTIMES)} today, and "
        f"{', '.join(COMING)} later: set caelum_runtime to one of the first"
    )


def groups(asked: Asked) -> str:
    """Each service asks others, so a deployment of one needs the hosts of all."""
    if asked.groups is None:
        return ""
    for group in GROUPS:
        if not asked.groups.get(group):
            return (
                f"group {group} of inventory {asked.inventory} has no host, and a deployment needs one in each of "
                f"{', '.join(GROUPS)}; name one in inventory/{asked.inventory}/hosts.yml"
            )
    if "stable" not in asked.slots:
        return (
            f"no host of group fincoll in inventory {asked.inventory} runs the stable slot, which PIM asks; "
            "add `stable` to fincoll_slots of one"
        )
    return ""


def secrets(asked: Asked) -> str:
    if asked.secrets is None:
        return ""
    missing = [name for name in SECRETS if name not in asked.secrets]
    if not missing:
        return ""
    folder = f"inventory/{asked.inventory}/group_vars/all"
    return (
        f"inventory {asked.inventory} has no {', '.join(missing)}; copy {folder}/vault.yml.example to vault.yml beside "
        f"it, fill it in, and encrypt it with `ansible-vault encrypt {folder}/vault.yml`"
    )


def vault(asked: Asked) -> str:
    """Secrets of a fleet are nobody's guess, and lie in no file that a copy of the checkout would carry along."""
    if asked.runtime != "systemd":
        return ""
    if asked.placeholders:
        return (
            f"{', '.join(asked.placeholders)} of inventory {asked.inventory} is still {PLACEHOLDER!r}, as in the "
            f"example; put real values in: `ansible-vault edit {asked.vault}`"
        )
    file = Path(asked.vault)
    if set(SECRETS) <= set(asked.given) or not file.is_file() or file.read_bytes().startswith(b"$ANSIBLE_VAULT;"):
        return ""
    return f"{file} holds secrets and is not encrypted; run `ansible-vault encrypt {file}`"


def placeholders(secrets: Iterable[tuple[str, Any]]) -> list[str]:
    """Names of the secrets, given with their values, that hold a value of the example."""
    return sorted(str(name) for name, value in secrets if _holds_placeholder(value))


def _holds_placeholder(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_placeholder, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_placeholder, value))
    return str(value).strip() == PLACEHOLDER


CHECKS = (runtime, groups, secrets, vault)
