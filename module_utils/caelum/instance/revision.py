"""Revisions as values: a release of a service as this host got it, and one that it is getting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

FORMAT = 1
SHOWN = ("name", "release", "service", "address", "kind", "state")
Item = Mapping[str, Any]
"""An instance as `caelum_instance` takes it."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a deployment gives a host, and what its controller needs to give it again.

    `instances` hold credentials. `config`, `tokens` and `model` are passed through: what the controller hands to
    `caelum_config` and `caelum_model`. `run` names the run of the controller, which concerns other services too, and
    `inventory` the one that the host was given it by, which alone may remove it.
    """

    version: str
    action: str = "deploy"
    instances: tuple[Item, ...] = field(default=(), repr=False)
    config: Item | None = field(default=None, repr=False)
    tokens: tuple[Any, ...] = field(default=(), repr=False)
    model: Item | None = None
    run: str | None = None
    inventory: str | None = None

    def content(self) -> tuple[object, ...]:
        """What two records have in common that give a host the same."""
        by_name = sorted((dict(item) for item in self.instances), key=lambda item: str(item["name"]))
        return self.version, by_name, self.config, list(self.tokens), self.model

    def shown(self) -> dict[str, Any]:
        """The record as a module returns it: of its instances neither settings nor credentials."""
        return {
            "number": getattr(self, "number", None),
            "version": self.version,
            "action": self.action,
            "at": getattr(self, "at", None),
            "run": self.run,
            "inventory": self.inventory,
            "config": self.config,
            "tokens": list(self.tokens),
            "model": self.model,
            "instances": [_shown(item) for item in self.instances],
        }

    def encode(self) -> bytes:
        """The record as its file holds it."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return json.dumps({"format": FORMAT, **values}, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The record of that file; ValueError when it is none, or of another format."""
        values = json.loads(data)
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        try:
            record = cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from None
        return replace(record, instances=tuple(record.instances), tokens=tuple(record.tokens))


@dataclass(frozen=True, kw_only=True)
class Pending(Recorded):
    """What a host is getting. Its `change` is a name that no other has; `activate` is the revision returned to.

    `takes_back`: the deployment that failed goes back to what it found.
    """

    service: str
    at: str
    fencing_token: int
    change: str
    activate: int | None = None
    takes_back: bool = False


@dataclass(frozen=True, kw_only=True)
class Revision(Recorded):
    """A release that was verified on this host. `fencing_token` and `change` are of what made it current last.

    `made` is the token of the deployment that brought it; 0 in the files of earlier releases.
    """

    number: int
    service: str
    at: str
    previous: int | None
    fencing_token: int
    change: str
    made: int = 0


def with_others(items: Iterable[Item], others: Iterable[Item]) -> tuple[Item, ...]:
    """`items`, and those of `others` that have none of their names, in the order of `others`."""
    listed = {str(item["name"]): item for item in items}
    merged = {str(item["name"]): item for item in others} | listed
    return tuple(merged.values())


def _shown(item: Item) -> dict[str, Any]:
    component, _, slot = str(item["name"]).partition("@")
    port = {} if item.get("port") is None else {"port": item["port"]}
    unit = {"unit": item["unit"]} if item.get("unit") else {}
    return {key: item.get(key) for key in SHOWN} | {"component": component, "slot": slot} | port | unit
