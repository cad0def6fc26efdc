"""What is written to the database, or kept in a journal until the database is back: one class per kind of entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Evidence = dict[str, Any] | None


@dataclass(frozen=True)
class Component:
    """A component that changes: `host` is the list where it changes on several.

    `version` and `git_commit` are its own where they are not the service's.
    """

    component: str
    host: str | None = None
    version: str | None = None
    git_commit: str | None = None


@dataclass(frozen=True)
class Change:
    """What the history says of a deployment from its beginning: a row for each of `components`."""

    service: str
    version: str
    action: str
    inventory: str
    environment: str
    requested_by: str
    git_commit: str | None
    components: tuple[Component, ...]

    def release_of(self, one: Component) -> tuple[str, str | None]:
        """Version and commit of a component's row."""
        if one.version in {None, self.version}:
            return self.version, one.git_commit or self.git_commit
        return str(one.version), one.git_commit


@dataclass(frozen=True)
class Write:
    """One change to open deployments.

    `event` is `closed` or the name of a step; `at` is when it happened (ISO 8601, UTC), which a replay keeps. `events`
    are what happened on single hosts, each with `event`, `host` and `detail`, written beside it.
    """

    write_id: str
    at: str
    ids: tuple[int, ...]
    fencing_token: int
    event: str
    host: str | None
    detail: dict[str, Any]
    status: str | None = None
    logs: str | None = None
    evidence: Evidence = None
    events: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.event} of deployment {', '.join(map(str, self.ids))}"


@dataclass(frozen=True)
class Recorded:
    """A deployment that is over, written down afterwards. Times are ISO 8601 in UTC."""

    write_id: str
    change: Change
    started_at: str
    completed_at: str
    status: str
    logs: str | None = None
    evidence: Evidence = None

    def __str__(self) -> str:
        return f"{self.change.action} of {self.change.service} to {self.change.version}"


@dataclass(frozen=True)
class Audit:
    """A line of the audit log: who did what to what, when (ISO 8601, UTC)."""

    write_id: str
    at: str
    actor: str
    action: str
    target: str
    detail: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.action} of {self.target} by {self.actor}"


Entry = Write | Recorded | Audit
KINDS: dict[str, type[Write] | type[Recorded] | type[Audit]] = {
    "write": Write,
    "deployment": Recorded,
    "audit": Audit,
}


def pack(entry: Entry) -> dict[str, Any]:
    """The entry with its kind, fit for JSON; a deployment's fields are flat, as in the journals of earlier releases."""
    kind = next(name for name, one in KINDS.items() if isinstance(entry, one))
    told = asdict(entry)
    return {"kind": kind, **told.pop("change", {}), **told}


def unpack(fields: Mapping[str, Any]) -> Entry:
    """The entry that `pack` made `fields` of; without a kind it is a write, as journals had nothing else before.

    Components in the journals of earlier releases are pairs of component and host.

    Raises KeyError, TypeError or ValueError for what is none.
    """
    told = dict(fields)
    kind = KINDS[told.pop("kind", "write")]
    if kind is Write:
        told["ids"] = tuple(told["ids"])
        told["events"] = tuple(told.get("events") or ())
    if kind is Recorded:
        told["components"] = tuple(
            Component(**one) if isinstance(one, Mapping) else Component(*one) for one in told["components"]
        )
        told["change"] = Change(**{entry.name: told.pop(entry.name) for entry in dataclasses.fields(Change)})
    return kind(**told)
