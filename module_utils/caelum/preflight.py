"""What cannot work is refused before anything is built: one line that says what, where and the remedy."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import versions
from .errors import Refused

# supervisord binds <socket>.<pid> first, and the kernel takes 107 bytes.
SOCKET_BYTES = 99
SERVICES = ("senvec", "finvec", "fincoll", "pim")
# Not a role's variables, but known on the command line.
OTHERS = ("version", "service", "rebuild")


@dataclass(frozen=True)
class Asked:
    """What a run was asked for: `given` are the names on the command line, `known` all that roles declare."""

    version: str
    service: str
    inventory: str
    runtime: str
    prefix: str
    as_root: bool = False
    given: tuple[str, ...] = ()
    known: tuple[str, ...] = field(default=(), repr=False)


def refusal(asked: Asked) -> str:
    """Why the run cannot work; empty when nothing speaks against it."""
    checks = (_variables, _version, _service, _runtime, _socket, _folders)
    return next((line for check in checks if (line := check(asked))), "")


def _version(asked: Asked) -> str:
    if not asked.version:
        return "no version given; name one, for example `-e version=v1.1.0`"
    try:
        versions.parse(asked.version)
    except Refused as refused:
        return str(refused)
    return ""


def _service(asked: Asked) -> str:
    if asked.service in {"", *SERVICES}:
        return ""
    return f"there is no service {asked.service!r}; known: {', '.join(SERVICES)}; leave `-e service=` out for all"


def _runtime(asked: Asked) -> str:
    if asked.runtime == "native":
        return ""
    return (
        f"runtime {asked.runtime} of inventory {asked.inventory} is not supported yet; the supported one is native: "
        f"`ansible-playbook -i inventory/local deploy.yml -e version={asked.version}`"
    )


def _variables(asked: Asked) -> str:
    """A misspelled variable would be ignored in silence."""
    known = {*asked.known, *OTHERS}
    prefixes = {f"{name.partition('_')[0]}_" for name in asked.known}
    for name in asked.given:
        if name in known or name.startswith(("ansible_", "vault_")):
            continue
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.8)
        if near:
            return f"there is no variable {name}; did you mean {near[0]}?"
        if name.startswith(tuple(prefixes)):
            return f"there is no variable {name}; README lists all under Variables"
    return ""


def _socket(asked: Asked) -> str:
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


def declared(specs: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of all variables in the argument specs of roles."""
    entries = (entry for spec in specs for entry in spec["argument_specs"].values())
    return tuple(sorted({str(name) for entry in entries for name in entry["options"]}))
