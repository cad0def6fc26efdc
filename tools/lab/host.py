"""One host of a lab: its files above the common image, its machine, and commands run on it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.lab import cgroups, keys, network
from tools.lab.errors import LabError, run
from tools.lab.image import enable
from tools.lab.places import BRIDGE, Places
from tools.lab.processes import Process, start

NSPAWN = Path("/run/systemd/nspawn")
SSH_FAILED = 255
# A unit that failed once and was started again by systemd is still counted for a moment.
SETTLED = """
cat /proc/sys/kernel/random/boot_id
systemctl is-system-running --wait >/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
  ! systemctl is-system-running --quiet || break
  sleep 0.5
done
systemctl is-system-running
"""


@dataclass(frozen=True)
class Host:
    """A host called `name` at `address`, which finds the share at `share`."""

    places: Places
    name: str
    address: str
    share: str

    @property
    def folder(self) -> Path:
        return self.places.host(self.name)

    @property
    def root(self) -> Path:
        """Where this machine sees the host's files while it is up."""
        return self.folder / "root"

    def prepare(self, image: Path, *, database: bool) -> None:
        """Lay the host's own files over the image; with `database` Debian's PostgreSQL starts with the machine."""
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True)
        layers = f"lowerdir={image},upperdir={self.folder}/upper,workdir={self.folder}/work"
        run(["mount", "-t", "overlay", f"caelum-lab-{self.places.name}", "-o", layers, str(self.root)])
        (self.root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{self.address} {self.name}\n")
        wired = self.root / "etc/systemd/network/10-host0.network"
        wired.write_text(
            f"[Match]\nName=host0\n\n[Network]\nAddress={self.address}/24\n"
            f"Gateway={network.gateway(self.address)}\nLinkLocalAddressing=no\n"
        )
        keys.install(self.places, self.name, self.root)
        if database:
            enable(self.root, "postgresql.service", "multi-user.target")

    def start(self) -> Process:
        """Switch the machine on. Its keeper starts it again after a reboot, as firmware would."""
        cgroups.make(self.places, self.name)
        script = self.folder / "start.sh"
        script.write_text(f"{cgroups.entering(self.places, self.name)}\n{self._keeper()}\n")
        keeper = start(["/bin/sh", str(script)], self.folder / "console.log")
        while keeper.alive and not self.up:  # it enters the groups by itself
            time.sleep(0.01)
        return keeper

    def _keeper(self) -> str:
        command = [
            *network.enter(self.places), "systemd-nspawn", "--quiet", f"--directory={self.root}",
            f"--machine={self.places.machine(self.name)}", f"--hostname={self.name}", "--register=no", "--keep-unit",
            f"--network-bridge={BRIDGE}", "--boot", "--console=pipe",
            # a host may do to itself what a machine may, but not set this machine's clock
            "--capability=all", "--drop-capability=CAP_SYS_TIME",
            "--system-call-filter=add_key keyctl bpf adjtimex clock_adjtime",
            f"--bind={self.places.shared}:{self.share}",
        ]  # fmt: skip
        # 133: the host rebooted
        return f"while :; do\n  {shlex.join(command)}\n  [ $? = 133 ] || exit\ndone"

    @property
    def up(self) -> bool:
        """Whether the machine is switched on."""
        return bool(cgroups.members(self.places, self.name))

    def kill(self) -> None:
        """Take the power away."""
        cgroups.kill(self.places, self.name)
        self.forget()

    def forget(self) -> None:
        """Remove what an ended machine leaves for a moment, or for good where it was killed."""
        network.unplug(self.places, self.name)
        shutil.rmtree(NSPAWN / "propagate" / self.places.machine(self.name), ignore_errors=True)
        with contextlib.suppress(OSError):
            have = self.root.stat()
            (NSPAWN / "locks" / f"inode-{have.st_dev}:{have.st_ino}").unlink(missing_ok=True)

    def remove(self) -> None:
        """Take the machine and everything of it away."""
        self.kill()
        cgroups.remove(self.places, self.name)
        if os.path.ismount(self.root):
            run(["umount", str(self.root)])
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, argv: Sequence[str]) -> list[str]:
        """The words that run `argv` on the host, as root over SSH."""
        return [*network.enter(self.places), *keys.ssh(self.places, self.address), shlex.join(argv)]

    def run(
        self, argv: Sequence[str], *, given: str | None = None, check: bool = True, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` on the host; with `check`, LabError where it fails; subprocess.TimeoutExpired where it hangs."""
        done = subprocess.run(  # noqa: S603 - a list of our own
            self.command(argv), input=given or "", check=False, capture_output=True, text=True, timeout=timeout_s
        )
        if check and done.returncode != 0:
            said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            why = said[-1] if said else f"code {done.returncode}"
            raise LabError(f"`{shlex.join(argv)}` failed on {self.name}: {why}")
        return done

    def wait(self, timeout_s: float = 60, *, unlike: str = "") -> str:
        """Systemd's word for the host once it has booted, and not in the boot `unlike`; LabError after `timeout_s`."""
        end = time.monotonic() + timeout_s
        asked = ["sh", "-c", SETTLED]
        while time.monotonic() < end:
            if not self.up:
                raise LabError(f"{self.name} ended while it booted: {self._last_words()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = self.run(asked, check=False, timeout_s=max(1, end - time.monotonic()))
                words = done.stdout.split()
                if done.returncode != SSH_FAILED and len(words) == 2 and words[0] != unlike:
                    return words[1]
            time.sleep(0.1)
        raise LabError(f"{self.name} did not boot within {timeout_s:g} s: {self._last_words()}")

    def _last_words(self) -> str:
        file = self.folder / "console.log"
        said = file.read_text(errors="replace").split("\n") if file.is_file() else []
        said = [line.strip() for line in said if line.strip()]
        return f"{said[-1] if said else 'it said nothing'} (see {file})"
