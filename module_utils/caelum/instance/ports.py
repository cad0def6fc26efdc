"""Whether a TCP port can be listened on, and who has it otherwise."""

from __future__ import annotations

import errno
import os
import socket
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

    Asked by binding, which alone knows about wildcard addresses and both families. Refused when the
    address is not this host's or the port needs more rights.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no owner
        try:
            probe.bind(where)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return _owner(port)
            raise Refused(
                f"port {port} of {address} cannot be listened on: {os.strerror(error.errno or 0)}; "
                "choose an address of this host and a port from 1024 to 65535"
            ) from None
    return None


def _owner(port: int) -> Owner:
    links = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for pid in procfs.pids():
        try:
            descriptors = list(os.scandir(f"/proc/{pid}/fd"))
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                if str(Path(descriptor.path).readlink()) in links:
                    return Owner(pid, procfs.command_name(pid))
            except OSError:
                continue
    return Owner(None)


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found
