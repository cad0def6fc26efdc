"""Lock files: every requirement pinned with its hashes, no index addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import Refused

_HEAD = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>.*))?"
)


@dataclass(frozen=True)
class Requirement:
    """One pinned requirement; `name` is normalised, `hashes` are hexadecimal sha256."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]

    @property
    def pin(self) -> str:
        """As in `numpy==2.4.6`."""
        return f"{self.name}=={self.version}"

    def line(self, *hashes: str) -> str:
        """A line for pip's hash mode with `hashes`, by default all that the lock allows."""
        return " ".join([self.pin, *(f"--hash=sha256:{value}" for value in hashes or sorted(self.hashes))])

    def applies(self) -> bool:
        """Whether the marker holds for the Python that runs this."""
        from packaging.markers import Marker

        return not self.marker or Marker(self.marker).evaluate()


def normalise(name: str) -> str:
    """A distribution's name in the form that PEP 503 compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(text: str, where: str) -> list[Requirement]:
    """All requirements of a lock; Refused when one, found in file `where`, is not pinned with a sha256."""
    joined = re.sub(r"\\\s*\n", " ", text)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [_requirement(line, where) for line in lines if line]


def here(requirements: Iterable[Requirement]) -> list[Requirement]:
    """Those that apply to the Python that runs this."""
    return [requirement for requirement in requirements if requirement.applies()]


def _requirement(line: str, where: str) -> Requirement:
    head = line.split(" --hash=", 1)[0].strip()
    hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)", line))
    match = _HEAD.fullmatch(head)
    if match is None or not hashes:
        raise Refused(f"{where} holds {head!r}, which is not pinned with == and a sha256; run `make locks`")
    return Requirement(normalise(match["name"]), match["version"], (match["marker"] or "").strip(), hashes)
