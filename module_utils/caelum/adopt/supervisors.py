"""Who keeps a process running, by its control groups, ancestors and environment. Pure: texts in, words out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Units that people's shells and other supervisors live in: to stop one of these would stop far more than the process.
NOT_SERVICES = re.compile(
    r"^(ssh|sshd|ssh@.*|sshd@.*|cron|crond|atd|rc-local|docker|containerd|podman|getty@.*|console-getty|serial-getty@.*|"
    r"user@\d+|systemd-.*|dbus|pm2-.*|tmux.*|screen.*|supervisor|supervisord|gdm.*|lightdm)\.service$"
)
_CONTAINER = re.compile(r"(?:^|/)(?:docker[-/]|libpod-|cri-containerd-)([0-9a-f]{12,64})(?:\.scope)?(?:/|$)")
_UNIT = re.compile(r"(?:^|/)([^/]+\.service)(?:/|$)")
_USER_MANAGER = re.compile(r"/user@(\d+)\.service/")
_GOD = re.compile(r"^PM2 v?\S*: God Daemon \((.+)\)")


@dataclass(frozen=True)
class Group:
    """What the control groups of a process say: container's id, unit, and the user whose own systemd has the unit."""

    container: str = ""
    unit: str = ""
    manager_uid: int | None = None


@dataclass(frozen=True)
class Supervisor:
    """Who restarts a process: `kind` is systemd, systemd-user, pm2, docker or hand, `name` what it calls it there."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        """As the report says it."""
        return {"hand": "by hand"}.get(self.kind, self.kind) + (f" {self.name}" if self.name else "")


def parse_cgroup(text: str) -> Group:
    """The control groups of a process as `/proc/PID/cgroup` has them, of version 1, 2 or both."""
    paths = dict(_line(line) for line in text.splitlines() if line.count(":") >= 2)
    # With both versions mounted, systemd's own tree is the one that names units.
    path = paths.get("name=systemd") or paths.get("") or next(iter(paths.values()), "")
    for candidate in (path, *paths.values()):
        if found := _CONTAINER.search(candidate):
            return Group(container=found[1])
    manager = _USER_MANAGER.search(path)
    units = _UNIT.findall(path)
    if manager:
        inner = [unit for unit in units if not unit.startswith("user@")]
        return Group(unit=inner[-1] if inner else "", manager_uid=int(manager[1]))
    return Group(unit=units[-1] if units else "")


def _line(line: str) -> tuple[str, str]:
    _, controllers, path = line.split(":", 2)
    return controllers, path


def god_home(arguments: Sequence[str]) -> str:
    """Home of the PM2 whose daemon has these arguments; empty for another process."""
    found = _GOD.match(" ".join(arguments))
    return found[1] if found else ""


def proxied_port(arguments: Sequence[str]) -> int | None:
    """The host's port that Docker's proxy listens on; None for another process."""
    if not arguments or arguments[0].rpartition("/")[2] != "docker-proxy" or "-host-port" not in arguments:
        return None
    return int(arguments[list(arguments).index("-host-port") + 1])


def classify(
    group: Group, ancestors: Sequence[Sequence[str]], environment: Mapping[str, str], proxy: str = ""
) -> Supervisor:
    """The supervisor of a process.

    `ancestors` are the argument lists from its parent upwards, `proxy` the container that its port leads to when it is
    Docker's proxy.
    """
    if group.container or proxy:
        return Supervisor("docker", group.container[:12] or proxy)
    if any(god_home(arguments) for arguments in ancestors):
        return Supervisor("pm2", environment.get("name", "") or environment.get("pm_id", ""))
    if group.unit and not NOT_SERVICES.match(group.unit):
        return Supervisor("systemd" if group.manager_uid is None else "systemd-user", group.unit)
    where = next((_terminal(arguments) for arguments in ancestors if _terminal(arguments)), "")
    return Supervisor("hand", f"({where})" if where else "")


def _terminal(arguments: Sequence[str]) -> str:
    """The kind of terminal that the process with these arguments is."""
    first = arguments[0] if arguments else ""
    name = first.partition(":")[0].split(" ")[0].rpartition("/")[2]
    return {"tmux": "tmux", "screen": "screen", "SCREEN": "screen", "sshd": "ssh", "login": "login"}.get(name, "")
