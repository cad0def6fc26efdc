"""The processes that listen on our ports, or train, without being ours. Reads only."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..instance import procfs
from . import secrets
from .supervisors import Supervisor, classify, god_home, parse_cgroup, proxied_port
from .tools import container_at

ANSWER_S = 1.0
_LISTEN = "0A"


@dataclass(frozen=True)
class Process:
    """A process of one of the services, as it was found; `ticks` is its start by the kernel's clock, its identity.

    `ours` are those that a deployment started, this one or another.
    """

    pid: int
    ticks: int
    service: str
    ports: tuple[int, ...]
    user: str
    arguments: tuple[str, ...]
    folder: str
    since: str
    supervisor: Supervisor
    version: str = ""
    ours: bool = False
    pm2_home: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def command(self) -> str:
        """The command line, fit to be shown."""
        return " ".join(secrets.shown(self.arguments))

    def as_row(self) -> dict[str, object]:
        """What the report says of it; no variable's value, and no secret of the command line."""
        return {
            **{"service": self.service, "ports": list(self.ports), "pid": self.pid, "user": self.user},
            **{"command": self.command, "supervisor": str(self.supervisor), "kind": self.supervisor.kind},
            **{"since": self.since, "version": self.version, "ours": self.ours},
        }


def find(ports: Mapping[int, str]) -> list[Process]:
    """Processes that listen on `ports` (port → service), one for each family, and trainings that run by hand."""
    by_pid: dict[int, set[int]] = {}
    for port, pids in listeners(ports).items():
        by_pid.setdefault(_eldest(pids), set()).add(port)
    by_pid.pop(1, None)  # a socket that systemd holds for a unit which is not there yet is nobody's process
    found = [_describe(pid, ports[min(held)], tuple(sorted(held))) for pid, held in by_pid.items()]
    found += [_describe(pid, "finvec", ()) for pid in _trainings()]
    return sorted((one for one in found if one is not None), key=lambda one: (one.ports or (99999,), one.pid))


def listeners(ports: Sequence[int] | Mapping[int, str]) -> dict[int, set[int]]:
    """Processes that hold a listening socket on each of `ports`, as far as they can be seen."""
    links = {f"socket:[{inode}]": port for inode, port in _inodes(set(ports)).items()}
    found: dict[int, set[int]] = {}
    for pid in procfs.pids() if links else ():
        for link in _descriptors(pid):
            if link in links:
                found.setdefault(links[link], set()).add(pid)
    return found


def start_ticks(pid: int) -> int:
    """When the process started, in ticks since the boot; 0 when it has ended. With the pid it names one process."""
    try:
        fields = Path("/proc", str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[19])


def _eldest(pids: set[int]) -> int:
    """Of processes that share a socket the one that the others come from; systemd, which may hold it too, is none."""
    others = pids - {1} or pids
    return next(pid for pid in sorted(others) if not others & set(procfs.lineage(pid)[1:]))


def _describe(pid: int, service: str, ports: tuple[int, ...]) -> Process | None:
    ticks = start_ticks(pid)
    arguments, environment = procfs.command_line(pid), procfs.environ(pid)
    if not ticks or not arguments:
        return None
    above = [(one, procfs.command_line(one)) for one in procfs.lineage(pid)[1:] if one > 1]
    home = next((home for _, line in above if (home := god_home(line))), "")
    proxied = proxied_port(arguments)
    group = parse_cgroup(_read(f"/proc/{pid}/cgroup"))
    supervisor = classify(
        group, [line for _, line in above], environment, container_at(proxied) if proxied is not None else ""
    )
    return Process(
        pid=pid, ticks=ticks, service=service, ports=ports, user=_user(pid), arguments=tuple(arguments),
        folder=_link(f"/proc/{pid}/cwd"), since=_since(ticks), supervisor=supervisor,
        version=_version(ports[0]) if ports else "", ours="CAELUM_ENV_FILE" in environment, pm2_home=home,
        environment=environment,
    )  # fmt: skip


def _trainings() -> list[int]:
    """The uppermost process of each training that was started with the specification's command."""
    found = {
        pid
        for pid in procfs.pids()
        if any(Path(word).name == "train_production.py" for word in procfs.command_line(pid)[:6])
    }
    return sorted(pid for pid in found if not found & set(procfs.lineage(pid)[1:]))


def _inodes(ports: set[int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for fields in map(str.split, _read(table).splitlines()[1:]):
            port = int(fields[1].rpartition(":")[2], 16)
            if fields[3] == _LISTEN and port in ports:
                found[fields[9]] = port
    return found


def _descriptors(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield os.readlink(entry.path)  # noqa: PTH115 - thousands of them, and Path is slow


def _version(port: int) -> str:
    """The version that a service tells over HTTP, empty when it tells none."""
    for path in ("/version", "/health"):
        connection = http.client.HTTPConnection(_address(port), port, timeout=ANSWER_S)
        with suppress(OSError, ValueError, http.client.HTTPException):
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read(65536))
            if isinstance(answer, dict) and isinstance(answer.get("version"), str):
                return str(answer["version"])[:40]
        connection.close()
    return ""


def _address(port: int) -> str:
    """An address that the listener on the port answers at."""
    for fields in map(str.split, _read("/proc/net/tcp").splitlines()[1:]):
        address, _, number = fields[1].partition(":")
        if fields[3] == _LISTEN and int(number, 16) == port and int(address, 16):
            return socket.inet_ntoa(int(address, 16).to_bytes(4, sys.byteorder))
    return "127.0.0.1"


def _since(ticks: int) -> str:
    boot = next((int(line.split()[1]) for line in _read("/proc/stat").splitlines() if line.startswith("btime ")), 0)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(boot + ticks / os.sysconf("SC_CLK_TCK")))


def _user(pid: int) -> str:
    try:
        uid = Path("/proc", str(pid)).stat().st_uid
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
