"""The attacks, each by one or more ways; runs on a host with its own Python, and prints what came of each as JSON.

Standard library only, and nothing of the project: what it needs to know comes as JSON in `ATTACK_TARGETS`. A way is
"succeeded", or why it did not: the name of the error, such as EPERM.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

Targets = dict[str, Any]
Way = Callable[[], object]
SUCCEEDED = "succeeded"
FINIT_MODULE = {"x86_64": 313, "aarch64": 273}
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
MS_RDONLY = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def tried(way: Way) -> str:
    """What came of one way."""
    try:
        way()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return SUCCEEDED


def called(result: int) -> None:
    """Raise OSError where a call of the C library failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def read(path: str) -> Way:
    """Read a file, or of a folder any file below it."""

    def way() -> None:
        if not Path(path).is_dir():
            with Path(path).open("rb") as file:
                file.read(1)
            return
        files = [Path(folder, name) for folder, _, names in os.walk(path, onerror=_raise) for name in names]
        if not files:
            raise OSError(errno.ENOENT, path)
        with files[0].open("rb") as file:
            file.read(1)

    return way


def _raise(error: OSError) -> None:
    raise error


def create(folder: str) -> Way:
    """Make a file in a folder, and take it away again."""

    def way() -> None:
        path = Path(folder, f"attack-{os.getpid()}")
        path.write_bytes(b"x")
        path.unlink()

    return way


def alter(path: str) -> Way:
    """Open a file for writing, without writing."""
    return lambda: os.close(os.open(path, os.O_WRONLY | os.O_APPEND))


def listen(port: int) -> Way:
    """Accept connections on a port."""

    def way() -> None:
        with socket.socket() as listener:
            listener.bind(("0.0.0.0", port))
            listener.listen()

    return way


def continued(pid: int) -> Way:
    """Send a process a signal that does it no harm."""
    return lambda: os.kill(pid, signal.SIGCONT)


def module() -> None:
    """Load a kernel module from a descriptor that is none: who may gets as far as being told so.

    A kernel without modules says ENOSYS to everybody, so that no word but EPERM is a sandbox's.
    """
    ctypes.set_errno(0)
    LIBC.syscall(FINIT_MODULE[os.uname().machine], -1, b"", 0)
    number = ctypes.get_errno()
    if number == errno.EPERM:
        raise OSError(number, "finit_module")


def trace(pid: int) -> Way:
    """Attach to a process as a debugger, and let it go."""

    def way() -> None:
        called(LIBC.ptrace(PTRACE_ATTACH, pid, None, None))
        os.waitpid(pid, 0x40000000)  # __WALL
        called(LIBC.ptrace(PTRACE_DETACH, pid, None, None))

    return way


def mount() -> None:
    """Lay a file system over a folder of its own, and take it away."""
    folder = Path(f"/tmp/attack-{os.getpid()}")  # noqa: S108 - the unit's own, and gone with it
    folder.mkdir()
    try:
        called(LIBC.mount(b"none", str(folder).encode(), b"tmpfs", MS_RDONLY, None))
        called(LIBC.umount(str(folder).encode()))
    finally:
        with suppress(OSError):
            folder.rmdir()


def attacks(targets: Targets) -> dict[str, dict[str, Way]]:
    """All attacks and their ways."""
    victims = targets["victim_pids"]
    return {
        "read another service's secrets": {path: read(path) for path in targets["secrets"]},
        "write its own code": {
            **{f"in {path}": create(path) for path in targets["code_folders"]},
            **{path: alter(path) for path in targets["code_files"]},
        },
        "reach the share's credentials": {path: read(path) for path in targets["share_credentials"]},
        "signal another service": {f"process {pid}": continued(pid) for pid in victims},
        "open a listening port elsewhere": {f"port {targets['free_port']}": listen(targets["free_port"])},
        "load a module": {"finit_module": module},
        "read the journal": {path: read(path) for path in targets["journals"]},
        "use the controller's key": {path: read(path) for path in targets["keys"]},
        "trace a process": {f"process {pid}": trace(pid) for pid in victims},
        "mount": {"tmpfs": mount},
        "escape through /proc": {
            "root of process 1": lambda: list(Path("/proc/1/root/root").iterdir()),
            **{f"environment of {pid}": read(f"/proc/{pid}/environ") for pid in victims},
            **{f"memory of {pid}": alter(f"/proc/{pid}/mem") for pid in victims},
        },
        "write units": {f"in {path}": create(path) for path in targets["unit_folders"]},
    }


def main() -> None:
    """Try everything; nothing of it changes the host."""
    targets = json.loads(os.environ["ATTACK_TARGETS"])
    found = {name: {way: tried(how) for way, how in ways.items()} for name, ways in attacks(targets).items()}
    json.dump({"uid": os.getuid(), "attacks": found}, sys.stdout)


if __name__ == "__main__":
    main()
