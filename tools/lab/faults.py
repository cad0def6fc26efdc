"""What goes wrong with machines: cables, power, disks, packets, the share. Each can be taken back."""

from __future__ import annotations

import shlex
import shutil
import time

from tools.lab import network
from tools.lab.errors import LabError
from tools.lab.host import Host
from tools.lab.processes import Process

TABLE = "caelum_lab"


def cut(host: Host) -> None:
    """Pull the host's cable."""
    network.inside(host.places, "ip", "link", "set", host.places.port(host.name), "down")


def heal(host: Host) -> None:
    """Put the cable back, and stop losing packets."""
    network.inside(host.places, "ip", "link", "set", host.places.port(host.name), "up")
    if _rules(host):
        network.inside(host.places, "nft", "delete", "table", "bridge", _table(host))


def lose(host: Host, percent: int) -> None:
    """Lose that share of the packets that others send to the host, and of those it sends."""
    if not 0 < percent < 100:
        raise LabError(f"{percent}% of packets can't be lost; give 1 to 99, or cut the host off")
    if shutil.which("nft") is None:
        raise LabError("losing packets needs the Debian package nftables: apt-get install nftables")
    port = host.places.port(host.name)
    drop = f"numgen random mod 100 < {percent} drop"
    chains = "\n".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {direction} {port} {drop}; }}"
        for hook, direction in (("prerouting", "iifname"), ("postrouting", "oifname"))
    )
    if _rules(host):
        network.inside(host.places, "nft", "delete", "table", "bridge", _table(host))
    network.inside(host.places, "nft", "-f", "-", given=f"table bridge {_table(host)} {{\n{chains}\n}}\n")


def _table(host: Host) -> str:
    return f"{TABLE}_{host.places.machine(host.name)}"


def _rules(host: Host) -> bool:
    if shutil.which("nft") is None:
        return False
    return f"table bridge {_table(host)}" in network.inside(host.places, "nft", "list", "tables").splitlines()


def reboot(host: Host, timeout_s: float = 60) -> str:
    """Restart the host's system as `systemctl reboot` does; systemd's word for it afterwards."""
    before = host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip()
    # a moment later, so that this connection ends before sshd does
    host.run(
        ["systemd-run", "--quiet", "--on-active=100ms", "--timer-property=AccuracySec=10ms", "systemctl", "reboot"]
    )
    return host.wait(timeout_s, unlike=before)


def stop(host: Host, timeout_s: float = 60) -> None:
    """Shut the host down in order, as its power button does."""
    host.run(
        ["systemd-run", "--quiet", "--on-active=100ms", "--timer-property=AccuracySec=10ms", "systemctl", "poweroff"]
    )
    end = time.monotonic() + timeout_s
    while host.up:
        if time.monotonic() > end:
            raise LabError(f"{host.name} did not shut down within {timeout_s:g} s; kill it instead")
        time.sleep(0.1)
    host.forget()


def start(host: Host) -> Process:
    """Switch a host on that was killed or stopped."""
    if host.up:
        raise LabError(f"{host.name} is up already")
    return host.start()


def fill(host: Host, folder: str, free_kib: int = 0) -> None:
    """Let `folder` lie on a disk of its own that holds what it holds now and is full but for `free_kib`."""
    place = shlex.quote(folder)
    script = f"""
set -eu
used=$(du -sk {place} | cut -f1)
new=$(mktemp -d)
mount -t tmpfs -o "size=$((used + 1024 + {free_kib}))k" caelum-full "$new"
cp -a {place}/. "$new"/
chown --reference={place} "$new"
chmod --reference={place} "$new"
mount --bind "$new" {place}
umount "$new"
rmdir "$new"
left=$(df --output=avail -k {place} | tail -1)
[ "$left" -le {free_kib} ] || head -c $(((left - {free_kib}) * 1024)) /dev/zero >{place}/.caelum-full || true
"""
    host.run(["sh", "-c", script])


def empty(host: Host, folder: str) -> None:
    """Take the full disk away; what was written to it goes with it."""
    host.run(["umount", "--lazy", folder])
