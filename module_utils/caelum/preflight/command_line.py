"""What was asked for, judged on the controller before any host is reached."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import versions
from ..components import COMPONENTS, SERVICES, service_of, wanted_service
from ..errors import Refused

# supervisord binds <socket>.<pid> first, and the kernel takes 107 bytes.
SOCKET_BYTES = 99
RUNTIMES = ("native", "systemd")
COMING = ("docker", "compose", "pm2")
GROUPS = ("database", *SERVICES)
SECRETS = ("vault_postgresql_admin_password", "vault_pim_owner_password", "vault_pim_user_password", "vault_tokens")
PLACEHOLDER = "change-me"
# Not a role's variables, but known on the command line.
OTHERS = ("version", "service", "component", "rebuild", "break_glass")


@dataclass(frozen=True)
class Asked:
    """What a run was asked for.

    `given` are the variables on the command line, `known` all that roles declare with their types. `versions` are those
    of the services, and `pinned` those of single components of SenVec. `groups` has the number of hosts in each group
    of the inventory, `slots` those of FinColl that its hosts run, `secrets` the names of the secrets that it holds,
    `placeholders` of those that still are the example's, `vault` its file of secrets; a run that deploys nothing leaves
    these out.
    """

    version: str
    inventory: str = ""
    runtime: str = "native"
    prefix: str = "/"
    service: str = ""
    component: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    pinned: Mapping[str, str] = field(default_factory=dict)
    as_root: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict, repr=False)
    groups: Mapping[str, int] | None = None
    slots: Sequence[str] = ("stable",)
    secrets: Sequence[str] | None = None
    placeholders: Sequence[str] = ()
    vault: str = ""


def refusal(asked: Asked) -> str:
    """Why a deployment cannot work; empty when nothing speaks against it."""
    return _first(asked, (*_WHAT, _runtime, _groups, _secrets, _vault, _before_release, _prefix, _folders))


def build_refusal(asked: Asked) -> str:
    """Why a build cannot work, which no host and no pre-release keeps back."""
    return _first(asked, _WHAT)


def _first(asked: Asked, checks: Iterable[Callable[[Asked], str]]) -> str:
    return next((line for check in checks if (line := check(asked))), "")


def _version(asked: Asked) -> str:
    if not asked.version:
        return "no version given; name one, for example `-e version=v1.1.0`"
    for variable, version in {"version": asked.version, **_versions(asked)}.items():
        try:
            versions.parse(version)
        except Refused as refused:
            return str(refused) if variable == "version" else f"{variable}: {refused}"
    return ""


def _versions(asked: Asked) -> dict[str, str]:
    """Versions of what the run is about, by the variable that sets each."""
    only = wanted_service(asked.service, asked.component)
    found = {f"{name}_version": str(version) for name, version in asked.versions.items() if only in {"", name}}
    if only in {"", "senvec"}:
        found |= {f"senvec_versions.{name}": str(version) for name, version in asked.pinned.items()}
    return found


def _service(asked: Asked) -> str:
    if asked.service in {"", *SERVICES}:
        return ""
    return f"there is no service {asked.service!r}; known: {', '.join(SERVICES)}; leave `-e service=` out for all"


def _component(asked: Asked) -> str:
    name = asked.component
    service = service_of(name)
    if not name:
        return ""
    if not service:
        known = ", ".join(one for names in COMPONENTS.values() for one in names)
        return f"there is no component {name!r}; known: {known}; leave `-e component=` out for all"
    if asked.service not in {"", service}:
        return f"component {name} is of service {service}, not of {asked.service}; leave `-e service=` out"
    pinned = str(asked.pinned.get(name, asked.version))
    if pinned != asked.version:
        return (
            f"component {name} is held at {pinned} by senvec_versions, {asked.version} was asked for; "
            "change senvec_versions to that version"
        )
    return ""


def _runtime(asked: Asked) -> str:
    if asked.runtime in RUNTIMES:
        return ""
    what = "is to come" if asked.runtime in COMING else "is not known"
    return (
        f"runtime {asked.runtime} of inventory {asked.inventory} {what}; there are {' and '.join(RUNTIMES)} today, and "
        f"{', '.join(COMING)} later: set caelum_runtime to one of the first"
    )


def _groups(asked: Asked) -> str:
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


def _secrets(asked: Asked) -> str:
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


def _vault(asked: Asked) -> str:
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


def _before_release(asked: Asked) -> str:
    """A -beta stops at FinColl's candidate slot; an -rc goes to a tenth of the traffic, which takes an edge."""
    alone = wanted_service(asked.service, asked.component) == "fincoll"
    for variable, text in _versions(asked).items():
        version = versions.parse(text)
        final = f"v{version.major}.{version.minor}.{version.patch}"
        if version.stage == "rc":
            return (
                f"{variable}: {text} is a release candidate, which begins with 10% of the traffic, and inventory "
                f"{asked.inventory} has no edge that splits it; deploy {final}, or try a beta in FinColl's candidate "
                f"slot with `-e service=fincoll -e version={final}-beta`"
            )
        if version.stage == "beta" and not alone:
            return (
                f"{variable}: {text} is a beta, which runs in FinColl's candidate slot only; "
                f"deploy {final}, or add `-e service=fincoll`"
            )
    return ""


def _variables(asked: Asked) -> str:
    """A misspelled variable would be ignored in silence."""
    known = {*asked.known, *OTHERS}
    prefixes = {f"{name.partition('_')[0]}_" for name in asked.known}
    for name, value in asked.given.items():
        if asked.known.get(name) == "int" and not re.fullmatch(r"-?\d{1,9}", str(value).strip(), re.ASCII):
            return f"{name} is {str(value)!r}, and takes a whole number; README says what it means under Variables"
        if name in known or name.startswith(("ansible_", "vault_")):
            continue
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.8)
        if near:
            return f"there is no variable {name}; did you mean {near[0]}?"
        if name.startswith(tuple(prefixes)):
            return f"there is no variable {name}; docs/variables.md lists all"
    return ""


def _prefix(asked: Asked) -> str:
    if not asked.prefix.startswith("/"):
        return (
            f"caelum_prefix {asked.prefix!r} does not begin with a slash, so its place would depend on where the run "
            f"was started; write it in full, as in -e caelum_prefix={Path(asked.prefix).absolute()}"
        )
    if asked.runtime == "systemd":
        if asked.prefix == "/":
            return ""
        return (
            f"caelum_prefix is {asked.prefix}, and systemd reads units of the whole host alone; leave it "
            "out, or set it to / for runtime systemd"
        )
    if not asked.prefix.rstrip("/"):
        return "caelum_prefix is /, which runtime native would fill; choose a folder with -e caelum_prefix="
    path = f"{asked.prefix.rstrip('/')}/run/supervisor.sock"
    length = len(os.fsencode(path))
    if length <= SOCKET_BYTES:
        return ""
    return (
        f"the socket path {path} has {length} bytes, and {SOCKET_BYTES} is the limit; "
        "choose a shorter folder with -e caelum_prefix="
    )


def _folders(asked: Asked) -> str:
    """As root PostgreSQL runs as a system user, which must be able to enter every folder above its own."""
    if not asked.as_root or asked.runtime != "native":
        return ""
    for folder in (*reversed(Path(asked.prefix).parents), Path(asked.prefix)):
        if folder.exists() and not folder.stat().st_mode & 0o001:
            return (
                f"the system user of PostgreSQL cannot enter {folder} on the way to {asked.prefix}; "
                f"allow it with `chmod o+x {folder}` or choose another prefix with -e caelum_prefix="
            )
    return ""


_WHAT = (_variables, _version, _service, _component)


def declared(specs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Names of all variables in the argument specs of roles, with their types."""
    entries = (entry for spec in specs for entry in spec["argument_specs"].values())
    return {str(name): str(option.get("type", "str")) for entry in entries for name, option in entry["options"].items()}
