"""What the specification writes down to be typed, called or found, as data: specification.yml beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).with_suffix(".yml")


@dataclass(frozen=True)
class Line:
    """One command, endpoint, setting or address of the specification, word for word.

    `check` names the function that proves it on this machine, `fleet` the one that proves it on the production fleet in
    the lab; without either, `reason` says why it is not served. `here` is what to type instead, `answer` what the
    specification shows as its answer.
    """

    section: str
    line: str
    check: str = ""
    fleet: str = ""
    reason: str = ""
    here: str = ""
    answer: str = ""

    @property
    def title(self) -> str:
        """The line in one row, for the name of a test."""
        return self.line.split("\n")[0].rstrip(" \\(").replace("/", "|")


def load() -> list[Line]:
    """All lines, in the specification's order; a section's reason and command hold for its lines without their own."""
    return [
        Line(section=section["section"], **{**_common(section), **line})
        for section in yaml.safe_load(FILE.read_text())
        for line in section["lines"]
    ]


def _common(section: dict[str, str]) -> dict[str, str]:
    return {key: section[key] for key in ("reason", "here") if key in section}
