"""What a run was asked for, as the preflight's checks take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


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


def declared(specs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Names of all variables in the argument specs of roles, with their types."""
    entries = (entry for spec in specs for entry in spec["argument_specs"].values())
    return {str(name): str(option.get("type", "str")) for entry in entries for name, option in entry["options"].items()}
