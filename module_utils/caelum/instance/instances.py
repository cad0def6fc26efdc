"""Instances as values: what a role asks for, checked before anything on the host is looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import Refused
from .accounts import Account, account
from .unit_options import UnitOptions, parse_unit

NAME = re.compile(r"[a-z][a-z0-9_-]*@[a-z0-9][a-z0-9_-]*", re.ASCII)
KEY = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)
FILE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
ANYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True)
class Instance:
    """A component in a slot on this host, and how its process is to run."""

    name: str
    service: str
    release: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    address: str = "127.0.0.1"
    port: int | None = None
    port_variable: str | None = None
    user: Account | None = None
    stop_signal: str = "TERM"
    stop_wait: int = 5
    state: str = "started"
    kind: str = "service"
    priority: int = 500
    options: UnitOptions = field(default_factory=UnitOptions)

    @property
    def component(self) -> str:
        """The part of the name before the @."""
        return self.name.partition("@")[0]

    @property
    def slot(self) -> str:
        """The part of the name behind the @."""
        return self.name.partition("@")[2]

    @property
    def supervised(self) -> bool:
        """Whether its process is to run all the time; a job's runs when it is started, by a timer if it has one."""
        return self.kind == "service"

    @property
    def unit(self) -> str:
        """Name of its systemd unit, without what it is a unit of."""
        return self.options.unit or self.name

    @property
    def wanted_running(self) -> bool:
        """Whether a process of it should run, or be started by a timer, in a runtime that has such."""
        return self.state == "started" and (self.supervised or self.options.timer is not None)


def parse(
    items: Iterable[Mapping[str, Any]], services: Sequence[str], *, users_follow: bool = False
) -> tuple[Instance, ...]:
    """The instances that the module was given, in their order; Refused when they cannot be meant.

    With `users_follow` their users may be still to be made.
    """
    instances = tuple(_instance(item, users_follow) for item in items)
    for instance in instances:
        if instance.service not in services:
            raise Refused(
                f"instance {instance.name} is of service {instance.service!r}, which is not in services "
                f"({', '.join(services) or 'empty'}); add it there, or instances could never be pruned"
            )
    refuse_twins(instances)
    return instances


def _instance(item: Mapping[str, Any], users_follow: bool) -> Instance:
    name = str(item["name"])
    if not NAME.fullmatch(name):
        raise Refused(f"{name!r} names no instance; write <component>@<slot> in lower case, as in fincoll@stable")
    for part, value in zip(("component", "slot"), name.split("@"), strict=True):
        if item.get(part) not in (None, value):
            raise Refused(f"instance {name}: {part} is {item[part]!r}; leave it out or write {value!r}")
    if item["kind"] == "service" and not item["command"]:
        raise Refused(f"instance {name} has no command; give one, or say kind: job when nothing is to run all the time")
    return Instance(
        name=name,
        service=str(item["service"]),
        release=str(item["release"]),
        command=tuple(_argument(name, part) for part in item["command"] or ()),
        environment={_key(name, key): _value(name, key, value) for key, value in (item["environment"] or {}).items()},
        credentials={_file(name, key): _secret(name, key, text) for key, text in (item["credentials"] or {}).items()},
        address=str(item["address"]),
        port=item["port"],
        port_variable=item["port_variable"],
        user=account(item["user"], f"instance {name}", follows=users_follow) if item["user"] else None,
        stop_signal=str(item["stop_signal"]),
        stop_wait=int(item["stop_wait"]),
        state=str(item["state"]),
        kind=str(item["kind"]),
        priority=int(item["priority"]),
        options=parse_unit(name, item),
    )


def _argument(name: str, text: str) -> str:
    if any(ord(letter) < 32 for letter in text):
        raise Refused(f"instance {name}: the argument {text!r} of command holds a control character; leave it out")
    return text


def _key(name: str, key: str) -> str:
    if not KEY.fullmatch(key):
        raise Refused(f"instance {name}: {key!r} is no name of a setting; use upper case, digits and _")
    return key


def _value(name: str, key: str, value: object) -> str:
    """The value as settings are read: JSON for lists and dicts, true and false for booleans."""
    if value is None:
        raise Refused(f"instance {name}: setting {key} has no value; give one or leave the key out")
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    if "\n" in text or "\r" in text or "\0" in text:
        raise Refused(f"instance {name}: setting {key} has more than one line; an env file cannot hold it")
    if "${" in text:
        raise Refused(f"instance {name}: setting {key} holds '${{', which readers of env files expand; write it out")
    return text


def _file(name: str, key: str) -> str:
    if not FILE_NAME.fullmatch(key):
        raise Refused(f"instance {name}: {key!r} is no file name for a credential; use letters, digits, . _ and -")
    return key


def _secret(name: str, key: str, text: object) -> str:
    # A dict would make Ansible mask each of its values, such as an address or a port, in everything it shows.
    if not isinstance(text, str):
        raise Refused(f"instance {name}: credential {key} is no text; add `| to_json`")
    return text


def refuse_twins(instances: Iterable[Instance]) -> None:
    """Refuse two instances of one name, and two on one port."""
    names: set[str] = set()
    units: dict[str, str] = {}
    ports: dict[int, list[Instance]] = {}
    for instance in instances:
        if instance.name in names:
            raise Refused(f"instance {instance.name} is listed twice; keep one")
        names.add(instance.name)
        if (twin := units.setdefault(instance.unit, instance.name)) != instance.name:
            raise Refused(f"{twin} and {instance.name} both want the unit {instance.unit}; give one another name")
        if instance.port is None:
            continue
        for other in ports.setdefault(instance.port, []):
            if instance.address == other.address or {instance.address, other.address} & ANYWHERE:
                variables = " or ".join(dict.fromkeys(i.port_variable or "port" for i in (other, instance)))
                raise Refused(
                    f"{other.name} and {instance.name} both want port {instance.port} of {instance.address}; "
                    f"change {variables}"
                )
        ports[instance.port].append(instance)
