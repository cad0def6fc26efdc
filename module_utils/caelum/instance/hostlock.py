"""A lock that one process of this host has at a time, and that ends with the process."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import Refused

POLL_S = 0.05


@contextmanager
def held(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock `path`, a file in an existing folder; Refused, naming who has it, after `wait_s` seconds."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        deadline = time.monotonic() + wait_s
        while not _taken(file):
            if time.monotonic() > deadline:
                pid = file.read().strip() or "unknown"
                raise Refused(
                    f"process {pid} holds {path} for more than {wait_s:g} s; "
                    f"wait for it, or end it with `kill {pid}` when it hangs"
                )
            time.sleep(POLL_S)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
