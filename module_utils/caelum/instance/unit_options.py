"""What an instance asks of systemd, as a value; the runtime `native` looks at none of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ..errors import Refused

UNIT = re.compile(r"[a-z][a-z0-9_-]*(@[a-z0-9][a-z0-9_-]*)?", re.ASCII)
GROUP = re.compile(r"[a-z][a-z0-9_-]*\.(target|service)", re.ASCII)
SLICE = re.compile(r"[a-z][a-z0-9_-]*\.slice", re.ASCII)
BYTES = re.compile(r"[1-9]\d*[KMGT]?", re.ASCII)
PERCENT = re.compile(r"[1-9]\d*%", re.ASCII)
SPAN = re.compile(r"[1-9]\d*(us|ms|s|min|m|h|d|w)?( ?[1-9]\d*(us|ms|s|min|m|h|d|w))*", re.ASCII)
CALENDAR = re.compile(r"[\w*:.,/ ~+-]+", re.ASCII)
# Neither has a meaning in a unit's list of paths: a blank ends one, a colon divides source from destination.
PATH = re.compile(r"/[^\s:%\"'\\]*")

UNIT_OPTIONS = {
    "unit": {"type": "str"},
    "group": {"type": "str"},
    "memory_max": {"type": "str"},
    "slice": {"type": "str"},
    "cpu_quota": {"type": "str"},
    "tasks_max": {"type": "int"},
    "nice": {"type": "int"},
    "writable": {"type": "list", "elements": "str", "default": []},
    "devices": {"type": "list", "elements": "str", "default": []},
    "privileged": {"type": "bool", "default": False},
    "socket": {"type": "bool"},
    "timer": {
        "type": "dict",
        "options": {
            "calendar": {"type": "str", "required": True},
            "persistent": {"type": "bool", "default": True},
            "randomized_delay": {"type": "str"},
            "runtime_max": {"type": "str"},
        },
    },
}


@dataclass(frozen=True)
class Timer:
    """When a job runs, in systemd's words for calendars and spans of time."""

    calendar: str
    persistent: bool = True
    randomized_delay: str | None = None
    runtime_max: str | None = None


@dataclass(frozen=True)
class UnitOptions:
    """Name, limits, rights and time of an instance's unit; `memory_max` is the slice's where one is named."""

    unit: str = ""
    group: str | None = None
    memory_max: str | None = None
    slice: str | None = None
    cpu_quota: str | None = None
    tasks_max: int | None = None
    nice: int | None = None
    writable: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    privileged: bool = False
    socket: bool = False
    timer: Timer | None = None


def parse_unit(name: str, item: Mapping[str, Any]) -> UnitOptions:
    """The options of instance `name`; Refused when one cannot be meant. Records of older releases have none of them."""
    port, socket, timer = item.get("port"), item.get("socket"), item.get("timer")
    if socket and port is None:
        raise Refused(f"instance {name}: socket is true and it has no port; give one, or leave socket out")
    if timer and item.get("kind") != "job":
        raise Refused(f"instance {name}: a timer starts jobs; add kind: job, or leave timer out")
    if item.get("privileged") and item.get("user"):
        raise Refused(f"instance {name}: privileged runs as root; leave out user, or privileged")
    return UnitOptions(
        unit=_fitting(name, "unit", item.get("unit") or name, UNIT, "fincoll@stable, without .service"),
        group=_optional(name, "group", item.get("group"), GROUP, "senvec.target"),
        memory_max=_optional(name, "memory_max", item.get("memory_max"), BYTES, "512M"),
        slice=_optional(name, "slice", item.get("slice"), SLICE, "caelum-senvec.slice"),
        cpu_quota=_optional(name, "cpu_quota", item.get("cpu_quota"), PERCENT, "150%"),
        tasks_max=_number(name, "tasks_max", item.get("tasks_max"), 1, 4_000_000),
        nice=_number(name, "nice", item.get("nice"), -20, 19),
        writable=tuple(_path(name, "writable", path) for path in item.get("writable") or ()),
        devices=tuple(_path(name, "devices", path) for path in item.get("devices") or ()),
        privileged=bool(item.get("privileged")),
        socket=port is not None if socket is None else bool(socket),
        timer=_timer(name, timer) if timer else None,
    )


def _timer(name: str, item: Mapping[str, Any]) -> Timer:
    persistent = item.get("persistent")
    return Timer(
        calendar=_fitting(name, "timer.calendar", item["calendar"], CALENDAR, "Mon..Fri 18:00 America/New_York"),
        persistent=True if persistent is None else bool(persistent),
        randomized_delay=_optional(name, "timer.randomized_delay", item.get("randomized_delay"), SPAN, "10min"),
        runtime_max=_optional(name, "timer.runtime_max", item.get("runtime_max"), SPAN, "6h"),
    )


def _fitting(name: str, option: str, value: object, pattern: re.Pattern[str], example: str) -> str:
    text = str(value)
    if not pattern.fullmatch(text):
        raise Refused(f"instance {name}: {option} is {text!r}, which systemd would not read; write it as in {example}")
    return text


def _optional(name: str, option: str, value: object, pattern: re.Pattern[str], example: str) -> str | None:
    return None if value in (None, "") else _fitting(name, option, value, pattern, example)


def _number(name: str, option: str, value: int | None, low: int, high: int) -> int | None:
    if value is not None and not low <= int(value) <= high:
        raise Refused(f"instance {name}: {option} is {value}; give a number from {low} to {high}")
    return None if value is None else int(value)


def _path(name: str, option: str, value: str) -> str:
    if not PATH.fullmatch(value) or ".." in PurePosixPath(value).parts:
        raise Refused(f"instance {name}: {option} has {value!r}; give absolute paths without blanks, : % or ..")
    return value
