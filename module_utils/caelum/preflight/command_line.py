"""What was asked for, judged on the controller before any host is reached."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import versions
from ..components import COMPONENTS, SERVICES, service_of, wanted_service
from ..errors import Refused

# supervisord binds <socket>.<pid> first, and the kernel takes 107 bytes.
SOCKET_BYTES = 99
# Not a role's variables, but known on the command line.
OTHERS = ("version", "service", "component", "rebuild", "break_glass")


@dataclass(frozen=True)
class Asked:
    """What a run was asked for.

    `given` are the variables on the command line, `known` all that roles declare with their types. `versions` are those
    of the services, and `pinned` those of single components of SenVec.
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


def refusal(asked: Asked) -> str:
    """Why a deployment cannot work; empty when nothing speaks against it."""
    return _first(asked, (*_WHAT, _runtime, _before_release, _prefix, _folders))


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
    if asked.runtime == "native":
        return ""
    return (
        f"runtime {asked.runtime} of inventory {asked.inventory} is not supported yet; the supported one is native: "
        f"`ansible-playbook -i inventory/local deploy.yml -e version={asked.version}`"
    )


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
    if not asked.as_root:
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
