"""How a process that can't do its job ends: one line and exit code 78. Standard library only."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CANNOT_START = 78  # EX_CONFIG: supervisors are told not to restart on it


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
    """A socket bound to host:port that does not listen yet.

    Raises CannotStart where the port can't be had; `setting` names the setting that moves it.
    """
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
