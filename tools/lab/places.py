"""Names of all that a lab makes on this machine: each follows from the lab's, so an unfinished lab can be ended too."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tools.lab.errors import LabError

ROOT = Path(__file__).resolve().parents[2]
LABS = Path("/var/lib/caelum-lab")
CACHE = Path("/var/cache/caelum-lab")
BRIDGE = "caelum"


@dataclass(frozen=True)
class Places:
    """Where the lab `name` keeps things; LabError where the name can't be one."""

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", self.name):
            raise LabError(f"{self.name!r} can't name a lab; write up to 31 of a-z, 0-9 and -, as LAB_NAME=fleet")

    @property
    def folder(self) -> Path:
        return LABS / self.name

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def namespace(self) -> str:
        return f"caelum-lab-{self.name}"

    @property
    def network(self) -> Path:
        return Path("/run/netns") / self.namespace

    @property
    def share(self) -> Path:
        """What the share holds; hosts see it through `shared`."""
        return self.folder / "share"

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def known_hosts(self) -> Path:
        return self.keys / "known_hosts"

    @property
    def variables(self) -> Path:
        return self.folder / "lab.yml"

    def host(self, host: str) -> Path:
        return self.folder / "hosts" / host

    def machine(self, host: str) -> str:
        """Name for systemd-nspawn; short, since the bridge port is named after it and may have 15 characters."""
        return "c" + hashlib.sha256(f"{self.name}/{host}".encode()).hexdigest()[:10]

    def port(self, host: str) -> str:
        """Interface of `host` on the bridge."""
        return f"vb-{self.machine(host)}"

    def cgroup(self, host: str) -> str:
        """Below every hierarchy's root."""
        return f"caelum-lab/{self.name}/{host}"
