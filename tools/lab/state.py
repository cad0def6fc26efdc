"""What is known of a lab between two commands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tools.lab.errors import LabError
from tools.lab.places import LABS, Places
from tools.lab.processes import Process


@dataclass
class State:
    """A lab's record; `phase` is `making` until everything answers, then `up`."""

    inventory: str
    hosts: dict[str, str]
    share: str
    image: str
    database: list[str] = field(default_factory=list)
    existing: bool = False
    pim: str = ""
    pim_port: int = 0
    dashboard: str = ""
    phase: str = "making"
    processes: dict[str, Process] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Written whole or not at all."""
        new = path.with_suffix(".new")
        with new.open("w") as file:
            json.dump(asdict(self), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def parse(text: str) -> State:
    """The record in `text`; ValueError where it is none."""
    have: Mapping[str, Any] = json.loads(text)
    try:
        processes = {name: Process(**process) for name, process in have["processes"].items()}
        return State(**{**have, "processes": processes})
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from None


def read(places: Places) -> State:
    """The lab's record; LabError where there is no such lab."""
    try:
        return parse(places.state.read_text())
    except FileNotFoundError:
        raise LabError(_absent(places.name)) from None
    except ValueError as error:
        raise LabError(f"{places.state} is not readable ({error}); `make lab-down LAB_NAME={places.name}`") from None


def _absent(name: str) -> str:
    others = ", ".join(sorted(path.name for path in LABS.iterdir())) if LABS.is_dir() else ""
    known = f"; there is {others}" if others else ""
    return f"there is no lab {name!r}{known}; boot it with `make lab INVENTORY=… LAB_NAME={name}`"
