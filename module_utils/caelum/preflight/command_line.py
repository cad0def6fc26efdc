"""What was asked for, judged on the controller before any host is reached."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from .. import versions
from ..components import COMPONENTS, SERVICES, service_of, wanted_service
from ..errors import Refused
from . import inventory, place
from .asked import Asked

# Not a role's variables, but known on the command line.
OTHERS = ("version", "service", "component", "rebuild", "break_glass")


def refusal(asked: Asked) -> str:
    """Why a deployment cannot work; empty when nothing speaks against it."""
    return _first(asked, (*_WHAT, *inventory.CHECKS, _before_release, *place.CHECKS))


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


_WHAT = (_variables, _version, _service, _component)
