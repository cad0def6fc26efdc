"""Versions of releases: vMAJOR.MINOR.PATCH, with an optional -beta or -rc and its number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from .errors import Refused

EXPRESSION = re.compile(
    r"v(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})(?:-(beta|rc)(?:\.([1-9]\d{0,5}))?)?", re.ASCII
)
"""The one expression that a version matches in full before anything uses it."""

_STAGES = {"beta": 0, "rc": 1, "": 2}


@total_ordering
@dataclass(frozen=True)
class Version:
    """A parsed version; ordered so that v1.2.0-beta < v1.2.0-beta.2 < v1.2.0-rc.1 < v1.2.0."""

    major: int
    minor: int
    patch: int
    stage: str = ""
    number: int = 0

    def __str__(self) -> str:
        """The text that `parse` reads back to the same value."""
        stage = f"-{self.stage}" if self.stage else ""
        return f"v{self.major}.{self.minor}.{self.patch}{stage}" + (f".{self.number}" if self.number else "")

    def __lt__(self, other: Version) -> bool:
        """By numbers, then by stage: a pre-release comes before its release."""
        return self._key < other._key

    @property
    def _key(self) -> tuple[int, int, int, int, int]:
        return self.major, self.minor, self.patch, _STAGES[self.stage], self.number


def parse(text: str) -> Version:
    """The version that `text` names; Refused when it is none."""
    match = EXPRESSION.fullmatch(text)
    if match is None:
        raise Refused(
            f"{text!r} is not a version; write vMAJOR.MINOR.PATCH, with -beta or -rc behind it "
            "for a pre-release, as in v1.2.0 or v1.2.0-rc.1"
        )
    major, minor, patch, stage, number = match.groups()
    return Version(int(major), int(minor), int(patch), stage or "", int(number or 0))


def is_version(text: str) -> bool:
    """Whether `text` is a version."""
    return EXPRESSION.fullmatch(text) is not None


def newest_first(names: list[str]) -> list[str]:
    """Those of `names` that are versions, the newest first."""
    return [str(version) for version in sorted((parse(name) for name in names if is_version(name)), reverse=True)]
