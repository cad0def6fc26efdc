"""SSH keys of a lab: the controller's, each host's, and the known_hosts by which the controller tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.lab.errors import run
from tools.lab.places import Places


def make(places: Places, hosts: Mapping[str, str]) -> None:
    """Make every key; the folder is for root alone."""
    places.keys.mkdir(mode=0o700)
    for name in ("controller", "signer", *(f"host-{host}" for host in hosts)):
        _pair(places.keys / name, f"caelum-lab-{places.name}-{name}")
    lines = [f"{address} {_public(places.keys / f'host-{host}')}\n" for host, address in hosts.items()]
    places.known_hosts.write_text("".join(lines))
    signer = _public(places.keys / "signer")
    (places.keys / "allowed_signers").write_text(f'{places.namespace} namespaces="git" {signer}\n')


def install(places: Places, host: str, root: Path) -> None:
    """Put the host's own key and the controller's public one into the files at `root`."""
    own = root / "etc/ssh/ssh_host_ed25519_key"
    _write(own, (places.keys / f"host-{host}").read_text(), 0o600)
    _write(own.with_suffix(".pub"), (places.keys / f"host-{host}.pub").read_text(), 0o644)
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    _write(root / "root/.ssh/authorized_keys", (places.keys / "controller.pub").read_text(), 0o600)


def ssh(places: Places, address: str) -> list[str]:
    """Words of an SSH command to root at `address`, without any setting of the caller's own."""
    return [
        "ssh", "-F", "/dev/null", "-i", str(places.keys / "controller"), *options(places), "-o", "IdentitiesOnly=yes",
        "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR",
        # a host that lost its cable or its power ends the command, not only the caller's patience
        "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", f"root@{address}",
    ]  # fmt: skip


def options(places: Places) -> list[str]:
    """Options by which SSH knows the lab's hosts and no other."""
    known = ["-o", f"UserKnownHostsFile={places.known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null"]
    return [*known, "-o", "StrictHostKeyChecking=yes"]


def _pair(path: Path, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def _public(path: Path) -> str:
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def _write(path: Path, text: str, mode: int) -> None:
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(text)
