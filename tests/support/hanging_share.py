"""A share that can be made to hang as an NFS mount does whose server went away: bindfs, stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Share:
    """A folder `path` whose files lie in `behind`."""

    def __init__(self, path: Path, behind: Path, process: "subprocess.Popen[bytes]") -> None:
        self.path = path
        self.behind = behind
        self._process = process

    def hang(self) -> None:
        """From now on whoever touches `path` waits."""
        self._process.send_signal(signal.SIGSTOP)

    def heal(self) -> None:
        """Those who wait are answered."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def share(folder: Path) -> Iterator[Share]:
    """A mounted share in `folder`, for the length of the block."""
    path, behind = folder / "share", folder / "behind"
    path.mkdir()
    behind.mkdir()
    # Each question must reach the share, as it does after the few seconds that a kernel remembers.
    options = "attr_timeout=0,entry_timeout=0,negative_timeout=0"
    process = subprocess.Popen(["bindfs", "-f", "-o", options, str(behind), str(path)])
    try:
        end = time.monotonic() + 10
        while not os.path.ismount(path):
            assert process.poll() is None, "bindfs ended"
            assert time.monotonic() < end, "bindfs did not mount in 10 s"
            time.sleep(0.02)
        mounted = Share(path, behind, process)
        yield mounted
    finally:
        process.send_signal(signal.SIGCONT)
        subprocess.run(["fusermount", "-u", "-z", str(path)], check=False)
        process.terminate()
        process.wait(10)
