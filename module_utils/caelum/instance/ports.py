"""Whether a TCP port can be listened on, and who has it otherwise."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused
from . import procfs

_LISTEN = "0A"


@dataclass(frozen=True)
class Owner:
    """The process that listens on a port; `pid` is None when it belongs to another user."""

    pid: int | None
    name: str = ""

    def __str__(self) -> str:
        """The owner as an error line names it."""
        return f"{self.name} (pid {self.pid})" if self.pid else "a process of another user"


def taken_by(address: str, port: int) -> Owner | None:
    """The process that keeps `port` of `address` from being listened on; None when it is free.

    Refused when the address is not this host's or the port needs more rights.
    """
    return holders([(address, port)]).get((address, port))


def holders(wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Owner]:
    """Of the addresses and ports `wanted`, those that cannot be listened on, with the processes that keep them.

    Asked by binding, which alone knows about wildcard addresses and both families; processes are gone through once
    for all. Refused when an address is not this host's or a port needs more rights.
    """
    held = [(address, port) for address, port in wanted if _is_held(address, port)]
    owners = _owners({port for _, port in held}) if held else {}
    return {(address, port): owners.get(port, Owner(None)) for address, port in held}


def _is_held(address: str, port: int) -> bool:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no owner
            probe.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return True
        raise Refused(
            f"port {port} of {address} cannot be listened on: {error.strerror}; "
            "choose an address of this host and a port from 1024 to 65535"
        ) from None
    return False


def _owners(ports: Collection[int]) -> dict[int, Owner]:
    """The process that listens on each of `ports`, as far as it can be seen."""
    links = {f"socket:[{inode}]": port for inode, port in _listening_inodes(ports).items()}
    found: dict[int, Owner] = {}
    for pid in procfs.pids():
        for link in _descriptors(pid):
            if link in links:
                found.setdefault(links[link], Owner(pid, procfs.command_name(pid)))
        if len(found) == len(ports):
            break
    return found


def _descriptors(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield os.readlink(entry.path)  # noqa: PTH115 - thousands of them, and Path is slow


def _listening_inodes(ports: Collection[int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            port = int(fields[1].rpartition(":")[2], 16)
            if fields[3] == _LISTEN and port in ports:
                found[fields[9]] = port
    return found
