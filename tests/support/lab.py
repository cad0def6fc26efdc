"""Machines of a test's own: a lab under its own name, gone when the test ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tools.lab import faults, inventory, lab, play, share, source
from tools.lab.host import Host
from tools.lab.lab import Lab


class Machines:
    """A booted lab, as tests use it."""

    def __init__(self, have: Lab) -> None:
        self.lab = have
        self.places = have.places

    def __getitem__(self, name: str) -> Host:
        return self.lab.host(name)

    def playbook(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ansible-playbook with `words` inside, as `make … LAB=1` does; its output is in the answer."""
        return play.play(self.places, words)

    def tag(self, version: str) -> None:
        """Let `version` name what the lab's clone holds now, signed."""
        source.tag(self.places, version)

    def cut(self, name: str) -> None:
        """Pull a host's cable."""
        faults.cut(self[name])

    def heal(self, name: str) -> None:
        """Put it back."""
        faults.heal(self[name])

    def lose(self, name: str, percent: int) -> None:
        """Lose that share of a host's packets until `heal`."""
        faults.lose(self[name], percent)

    def kill(self, name: str) -> None:
        """Take a host's power away."""
        self[name].kill()

    def stop(self, name: str) -> None:
        """Shut a host down in order."""
        faults.stop(self[name])

    def start(self, name: str) -> str:
        """Switch a host on again; systemd's word for it once it has booted."""
        faults.start(self[name])
        return self[name].wait()

    def reboot(self, name: str) -> str:
        """Restart a host; systemd's word for it once it has booted."""
        return faults.reboot(self[name])

    def hang_share(self) -> None:
        """Every access to the share waits from now on."""
        share.hang(self.lab.state.processes["share"])

    def resume_share(self) -> None:
        """What waits for the share goes on."""
        share.resume(self.lab.state.processes["share"])

    def fill(self, name: str, folder: str, free_kib: int = 0) -> None:
        """Let a host's folder be full."""
        faults.fill(self[name], folder, free_kib)

    def empty(self, name: str, folder: str) -> None:
        """Take the full disk away."""
        faults.empty(self[name], folder)


@contextmanager
def machines(
    name: str, hosts: Mapping[str, str] | None = None, of: str = "", database: bool = False
) -> Iterator[Machines]:
    """A lab of `hosts` (name: address), or of the inventory `of`, for the length of the block.

    Its name gets the number of this process, so that two runs of a test don't meet. With `database`, and for an
    inventory that expects an existing server, PostgreSQL is prepared as `make lab` does.
    """
    own = f"{name}-{os.getpid()}"
    try:
        if of and database:
            yield Machines(lab.up(of, own, say=_silent))
        else:
            wanted = inventory.read(of) if of else inventory.Inventory(name, dict(hosts or {}))
            yield Machines(lab.boot(wanted, own, say=_silent))
    finally:
        lab.down(own, say=_silent)


def _silent(_: str) -> None:
    """A test has nobody to tell."""
