"""How a process that can't do its job ends: one line and exit code 78. Standard library only."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CANNOT_START = 78  # EX_CONFIG: supervisors are told not to restart on it
FIRST_INHERITED = 3  # the descriptor of the first socket that systemd hands over


class CannotStart(Exception):
    """A process can't do its job and shouldn't be restarted: one line that says what, where and the remedy."""


@contextmanager
def starting() -> Iterator[None]:
    """Turn CannotStart into one line on standard error and exit code 78."""
    try:
        yield
    except CannotStart as reason:
        print(f"cannot start: {reason}", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_CANNOT_START) from None


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A socket bound to host:port: the one that systemd hands over, else one of our own, which does not listen yet.

    The first listens already, and outlives this process: who connects while it restarts waits for the next. Raises
    CannotStart where the port can't be had; `setting` names the setting that moves it.
    """
    if known := inherited():
        return _fitting(known, port, setting)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"can't be had ({error.strerror})"
        listener.close()
        raise CannotStart(f"port {port} on {host} {why}; stop what holds it or change {setting}") from None
    return listener


def inherited() -> list[socket.socket]:
    """The sockets that systemd listens with for this process; none where it does not, see sd_listen_fds(3).

    They are told once: children of this process get none of them.
    """
    told, for_pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if for_pid != str(os.getpid()):
        return []
    descriptors = range(FIRST_INHERITED, FIRST_INHERITED + int(told or 0))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def _fitting(known: list[socket.socket], port: int, setting: str) -> socket.socket:
    for listener in known:
        if listener.family in {socket.AF_INET, socket.AF_INET6} and listener.getsockname()[1] == port:
            listener.setblocking(True)  # the process before may have left it otherwise, and it is the same socket
            return listener
    ports = ", ".join(str(listener.getsockname()[1]) for listener in known)
    raise CannotStart(f"systemd hands over port {ports} and not {port}; deploy again, or change {setting}")
