"""The lab's network: a namespace with one bridge, both of the specification's subnets, and no way out."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from tools.lab.errors import LabError, run
from tools.lab.places import BRIDGE, Places
from tools.lab.processes import Process, start_time

CLONE_NEWNET = 0x40000000


def gateway(address: str) -> str:
    """The bridge's own address in the /24 of `address`."""
    network = ipaddress.ip_network(f"{address}/24", strict=False)
    return str(network.network_address + 1)


def make(places: Places, addresses: Iterable[str]) -> None:
    """Make the namespace; every subnet in which a host lives has its first address on the bridge."""
    run(["ip", "netns", "add", places.namespace])
    inside(places, "ip", "link", "set", "lo", "up")
    inside(places, "ip", "link", "add", BRIDGE, "type", "bridge")
    for address in sorted({gateway(address) for address in addresses}):
        inside(places, "ip", "addr", "add", f"{address}/24", "dev", BRIDGE)
    inside(places, "ip", "link", "set", BRIDGE, "up")
    inside(places, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def inside(places: Places, *command: str, given: str | None = None) -> str:
    """Output of `command`, run in the namespace."""
    return run([*enter(places), *command], given=given)


def enter(places: Places) -> list[str]:
    """Words before a command that is to run in the namespace. `ip netns exec` would hide the cgroups as well."""
    return ["nsenter", f"--net={places.network}"]


def exists(places: Places) -> bool:
    """Whether the namespace is there."""
    return places.network.exists()


def unplug(places: Places, host: str) -> None:
    """Remove the port of a host that has ended: until the kernel does, its address goes on to answer."""
    with contextlib.suppress(LabError):
        inside(places, "ip", "link", "del", places.port(host))


def remove(places: Places) -> None:
    """End what still runs in the namespace, such as SSH's shared connections, and remove it."""
    if not exists(places):
        return
    for pid in map(int, run(["ip", "netns", "pids", places.namespace]).split()):
        started = start_time(pid)
        if started is not None and pid != os.getpid():
            Process(pid, started).end(timeout_s=1)
    run(["ip", "netns", "del", places.namespace])


def join(path: Path) -> None:
    """Move the calling thread into the namespace at `path`."""
    library = ctypes.CDLL(None, use_errno=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        if library.setns(handle, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise LabError(f"could not enter {path}: {os.strerror(code)}; the lab needs CAP_SYS_ADMIN")
    finally:
        os.close(handle)


def answers(address: str, port: int, timeout_s: float = 1) -> bool:
    """Whether somebody accepts a connection, seen from the calling thread's namespace."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def check(hosts: Sequence[str], addresses: Sequence[str]) -> None:
    """LabError where two hosts share an address, or one is no IPv4 address."""
    for host, address in zip(hosts, addresses, strict=True):
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            raise LabError(
                f"{host} has the address {address!r}; the lab needs IPv4 addresses in the inventory"
            ) from None
        first = hosts[addresses.index(address)]
        if first != host:
            raise LabError(f"{first} and {host} both have {address}; give each host of the inventory its own")
        if address == gateway(address):
            raise LabError(f"{host} has {address}, which the lab's bridge takes; give the host another address")
