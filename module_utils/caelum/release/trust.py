"""The public key that a host goes by: the first one that it is given stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..atomic import make_dirs, write_atomic
from ..errors import Refused

PLACE = "etc/caelum/keys/release.key.pub"


@dataclass(frozen=True)
class KeyPlan:
    """Write the public key of releases to `path`; nothing to do without `pem`."""

    path: Path
    pem: bytes = b""

    def __bool__(self) -> bool:
        """Whether there is something to do."""
        return bool(self.pem)

    def __str__(self) -> str:
        """As a diff shows it."""
        return f"{self.path}\n" if self.pem else ""

    def apply(self) -> None:
        """Write it, in a folder of root alone, who may hold other keys there."""
        if self.pem:
            make_dirs(self.path.parent.parent)
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            write_atomic(self.path, self.pem)


def plan_key(prefix: Path, given: str, replace: bool) -> KeyPlan:
    """What makes the host go by the PEM text `given`; a path or nothing changes nothing.

    Refused when the host goes by another key, unless `replace`: a second controller with a key of its own, or one who
    writes to the share, could otherwise have anything installed.
    """
    path = prefix / PLACE
    if not given.lstrip().startswith("-----BEGIN"):
        return KeyPlan(path)
    pem = given.strip().encode() + b"\n"
    have = path.read_bytes() if path.is_file() else b""
    if have.strip() == pem.strip():
        return KeyPlan(path)
    if have and not replace:
        raise Refused(
            f"{path} holds another key than this controller signs with; bring release.key from the controller that "
            "made it, or pass -e release_replace_key=true"
        )
    return KeyPlan(path, pem)
