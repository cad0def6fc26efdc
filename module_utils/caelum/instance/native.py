"""The runtime `native`: one supervisord per prefix, without root and without systemd."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..slots import slot_path
from . import leftovers, procfs, supervisor_config
from .instances import Instance
from .launch import FINGERPRINT, RELEASE
from .layout import Layout
from .runtime import Leftover, Process, RuntimeState
from .supervisor_rpc import ALREADY_ADDED, ALREADY_STARTED, NAME_UNKNOWN, Call, Client, Fault
from .tree import Directory, File

SOCKET_PATH_MAX = 107
# supervisord binds <socket>.<pid> first and gives it its name afterwards; process ids have up to seven digits.
SOCKET_SUFFIX = len(".4194304")
START_S = 15.0
GRACE_S = 5.0
PASSED_ON = ("HOME", "LANG", "LC_ALL", "PATH", "TZ", "TMPDIR", "USER", "LOGNAME")
_ODD = frozenset("\"'\\;#%*?[]\n\r\t")


class Native:
    """Programs of a supervisord; see `runtime.Runtime` for the meaning of the methods."""

    daemon = "supervisord"
    root_credentials = False

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._config = layout.prefix / "etc/supervisor/supervisord.conf"
        self._conf_d = self._config.parent / "conf.d"
        self._socket = layout.prefix / "run/supervisor.sock"
        self._pidfile = layout.prefix / "run/supervisord.pid"
        self._client = Client(self._socket)

    def refuse_impossible(self) -> None:
        """Refused when the socket's path is too long or the prefix cannot be written in supervisord's files."""
        length = len(os.fsencode(self._socket))
        if length + SOCKET_SUFFIX > SOCKET_PATH_MAX:
            raise Refused(
                f"the socket path {self._socket} has {length} bytes, more than the "
                f"{SOCKET_PATH_MAX - SOCKET_SUFFIX} that supervisord can bind (the kernel's {SOCKET_PATH_MAX} less "
                f"{SOCKET_SUFFIX} for a temporary ending); choose a shorter prefix with -e caelum_prefix="
            )
        if odd := _ODD & set(str(self._layout.prefix)):
            raise Refused(
                f"the prefix {str(self._layout.prefix)!r} holds {' '.join(map(repr, sorted(odd)))}, "
                "which cannot be written in supervisord's files; choose another with -e caelum_prefix="
            )

    def directories(self) -> tuple[Directory, ...]:
        """Folders of configuration and socket."""
        return (
            Directory(self._config.parent, 0o755),
            Directory(self._conf_d, 0o755),
            Directory(self._socket.parent, 0o755),
        )

    def shared_files(self, instances: Sequence[Instance]) -> tuple[File, ...]:
        """The daemon's configuration."""
        text = supervisor_config.daemon(self._layout, self._socket, self._pidfile, as_root=os.geteuid() == 0)
        return (File(self._config, text, 0o644),)

    def shared_paths(self, services: Collection[str]) -> tuple[Path, ...]:
        """None: what is shared goes with the daemon."""
        return ()

    def definition(self, instance: Instance, mark: str) -> tuple[File, ...]:
        """The program's section. Only its owner may read it: it holds a hash that credentials go into."""
        if not instance.supervised:
            return ()
        slot = slot_path(self._layout.prefix, instance.service, instance.component, instance.slot)
        text = supervisor_config.program(instance, self._layout, slot, mark)
        return (File(self._program(instance.name), text, 0o600, volatile=supervisor_config.FINGERPRINT_LINE),)

    def program_paths(self, name: str) -> tuple[Path, ...]:
        """The program's file."""
        return (self._program(name),)

    def refuse_invalid(self, files: Sequence[File]) -> None:
        """Nothing to do: their text is made so that supervisord can read it."""

    def owner(self, pid: int, port: int) -> str | None:
        """The instance as which supervisord started the process."""
        return leftovers.owner_instance(pid, self._layout)

    def log(self, name: str) -> dict[str, str]:
        """The file into which supervisord writes it."""
        return {"log": str(self._layout.log(name))}

    def reread(self, paths: Sequence[Path]) -> None:
        """Nothing to do: `replace` has the files read that concern it."""

    def programs(self) -> dict[str, bool]:
        """Programs defined, and whether they start with supervisord."""
        return {
            path.name.removesuffix(".conf"): supervisor_config.starts_by_itself(path.read_text())
            for path in sorted(self._conf_d.glob("*.conf"))
        }

    def own_files(self) -> tuple[Path, ...]:
        """The daemon's files and those of its programs."""
        logs = sorted(self._layout.logs.glob("supervisord.log*"))
        programs = sorted(self._conf_d.glob("*.conf"))
        files = (self._config, self._socket, self._pidfile, *programs, *logs)
        return tuple(path for path in files if path.exists())

    def observe(self, *, insist: bool = True) -> RuntimeState:
        """Ask supervisord; without one, or one that hangs unless `insist`, look for what it left behind."""
        if not self._client.answers():
            return RuntimeState(leftovers=tuple(self._leftovers()))
        try:
            infos, pid = self._client.insist(("supervisor.getAllProcessInfo",), ("supervisor.getPID",))
        except Refused:
            if insist:
                raise
            return RuntimeState(leftovers=tuple(self._leftovers()))
        return RuntimeState(alive=True, pid=pid, processes={info["name"]: _process(info) for info in infos})

    def end(self, found: Sequence[Leftover]) -> None:
        """End a daemon that answers nobody first, since it would start its programs again; then the programs."""
        daemons = [leftover for leftover in found if leftover.name == self.daemon]
        leftovers.end(daemons, families=False)
        leftovers.end([leftover for leftover in found if leftover not in daemons and procfs.alive(leftover.pid)])

    def start(self) -> None:
        """Start supervisord and wait until it answers. It gets none of the caller's secrets or open files."""
        if importlib.util.find_spec("supervisor") is None:
            raise Refused(
                f"{sys.executable} has no package supervisor; install it there (pip install -r locks/controller.txt) "
                "or set ansible_python_interpreter to a Python that has it"
            )
        try:
            launch = subprocess.run(  # noqa: S603 - our own interpreter and file
                [sys.executable, "-I", "-X", "utf8", "-m", "supervisor.supervisord", "-c", str(self._config)],
                env={key: os.environ[key] for key in PASSED_ON if key in os.environ},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # it lets go of it when it becomes a daemon
                stderr=subprocess.STDOUT,
                start_new_session=True,
                timeout=START_S,
                check=False,
                text=True,
            )
        except subprocess.TimeoutExpired:
            raise Refused(f"supervisord did not become a daemon within {START_S:g} s; {self._see_log()}") from None
        deadline = time.monotonic() + START_S
        while not self._client.answers():
            if launch.returncode != 0 or time.monotonic() > deadline:
                said = launch.stdout.strip() or "nothing"
                raise Refused(f"supervisord did not start; it said: {said}; {self._see_log()}")
            time.sleep(leftovers.POLL_S)

    def replace(self, names: Sequence[str]) -> None:
        """Stop together, forget, read again, add and start in order. Other programs are not touched."""
        self.retire(names)
        self._client.insist(("supervisor.reloadConfig",))
        by_itself = self.programs()
        calls: list[Call] = []
        for name in names:
            calls.append(("supervisor.addProcessGroup", name))
            if by_itself[name]:
                # In the same request: supervisord would start it a moment later by itself, and the process may
                # have ended by the time of a second request, which would start it twice.
                calls.append(("supervisor.startProcess", name, False))
        self._client.insist(*calls, ignore=frozenset({ALREADY_ADDED, ALREADY_STARTED}))

    def retire(self, names: Sequence[str]) -> None:
        """Stop and forget, one tier of priority after the other, the programs of a tier together."""
        for tier in self._tiers(names):
            self._unload(tier)

    def stop(self) -> None:
        """Stop all by tiers, then the daemon; where that fails, end it and what it supervised, by force at last."""
        infos, pid = self._client.insist(("supervisor.getAllProcessInfo",), ("supervisor.getPID",))
        with suppress(Refused):  # it hangs, or a program outlived its KILL: what is left is ended below
            self.retire([info["name"] for info in infos])
            self._client.call(("supervisor.shutdown",))
            leftovers.wait_for_end([pid], GRACE_S)
        self.end(self._leftovers())

    def _program(self, name: str) -> Path:
        return self._conf_d / f"{name}.conf"

    def _see_log(self) -> str:
        return f"see {self._layout.logs / 'supervisord.log'} and {self._config}"

    def _tiers(self, names: Sequence[str]) -> list[dict[str, int]]:
        """Programs with the seconds that each may take to stop, grouped by priority, the highest number first."""
        (configured,) = self._client.insist(("supervisor.getAllConfigInfo",))
        tiers: dict[int, dict[str, int]] = {}
        known = {info["name"]: info for info in configured}
        for name in names:
            info = known.get(name, {"group_prio": 999, "stopwaitsecs": 5})
            tiers.setdefault(info["group_prio"], {})[name] = info["stopwaitsecs"]
        return [tiers[priority] for priority in sorted(tiers, reverse=True)]

    def _unload(self, tier: dict[str, int]) -> None:
        """Ask to stop and to forget until each is forgotten: a program that crashes and restarts is caught between."""
        deadline = time.monotonic() + max(tier.values()) + GRACE_S
        left = list(tier)
        while True:
            results = self._client.call(
                *(
                    call
                    for name in left
                    for call in (("supervisor.stopProcess", name, False), ("supervisor.removeProcessGroup", name))
                )
            )
            removals = dict(zip(left, results[1::2], strict=True))
            left = [name for name, result in removals.items() if not _forgotten(result)]
            if not left:
                return
            if time.monotonic() > deadline:
                raise Refused(
                    f"{', '.join(left)} did not end though supervisord killed it; see {self._layout.log(left[0])}"
                )
            time.sleep(leftovers.POLL_S)

    def _leftovers(self) -> list[Leftover]:
        stray = [Leftover(pid, self.daemon) for pid in leftovers.daemons(self._config)]
        return stray + leftovers.instances(self._layout, self._how_to_stop)

    def _how_to_stop(self, name: str) -> tuple[str, int]:
        try:
            return supervisor_config.stopping(self._program(name).read_text())
        except FileNotFoundError:
            return supervisor_config.stopping("")


def _forgotten(result: Any) -> bool:
    return not isinstance(result, Fault) or result.code == NAME_UNKNOWN


def _process(info: dict[str, Any]) -> Process:
    pid = info["pid"] or None
    environment = procfs.environ(pid) if pid else {}
    return Process(
        state=info["statename"].lower(),
        pid=pid,
        exit_status=info["exitstatus"] if info["statename"] == "EXITED" else None,
        fingerprint=environment.get(FINGERPRINT),
        release=Path(environment[RELEASE]).name if RELEASE in environment else None,
    )
