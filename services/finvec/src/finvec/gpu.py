"""The GPUs of this host: how busy they are, and one of them, or the processor, for one job at a time."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from finvec.errors import Busy

FREE_BELOW = 10  # percent; a desktop's own drawing stays under it
LOOKS = 3
BETWEEN_S = 0.5
TOOL_TIMEOUT_S = 10
# WSL keeps the driver's tools there, and a service's PATH does not name it.
WSL_TOOLS = "/usr/lib/wsl/lib"
CPU = "cpu"


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver tells of it; `use` is in percent."""

    uuid: str
    name: str
    use: int


def seen() -> list[Gpu]:
    """The GPUs that nvidia-smi lists; none where there is no driver, or it does not answer."""
    tool = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=WSL_TOOLS)
    if not tool:
        return []
    asked = [tool, "--query-gpu=uuid,name,utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(  # noqa: S603
            asked, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=True
        )
        rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
        return [Gpu(uuid, name, int(use)) for uuid, name, use in rows]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def usage() -> str:
    """The busiest GPU's use as "NN%", "idle" when there is none to speak of, "none" without a GPU."""
    busiest = max((gpu.use for gpu in seen()), default=None)
    if busiest is None:
        return "none"
    return f"{busiest}%" if busiest else "idle"


@contextmanager
def device(locks: Path) -> Iterator[Gpu | None]:
    """A GPU that nobody uses, for this process alone as long as the block lasts; None on a host that has no GPU.

    One job per GPU, and one per host without: a lock per GPU in `locks`, which the kernel gives back however the
    process ends. Raises Busy when all are taken, by our own jobs or by others.
    """
    gpus = seen()
    reasons = []
    choices: list[Gpu | None] = [*gpus] if gpus else [None]
    for gpu in choices:
        place = gpu.uuid if gpu else CPU
        with lock(locks / f"{place}.lock") as ours:
            if not ours:
                reasons.append(f"{_named(gpu)} trains another job of this host")
            elif gpu and (use := _busiest(gpu)) >= FREE_BELOW:
                reasons.append(f"{_named(gpu)} is used at {use}% by others")
            else:
                yield gpu
                return
    raise Busy("; ".join(reasons))


def _named(gpu: Gpu | None) -> str:
    return f"the GPU {gpu.name}" if gpu else "the processor"


def _busiest(gpu: Gpu) -> int:
    """The highest of a few looks: a job of others that reads its data for a moment is no free GPU."""
    looks = [gpu.use]
    for _ in range(LOOKS - 1):
        time.sleep(BETWEEN_S)
        looks += [again.use for again in seen() if again.uuid == gpu.uuid]
    return max(looks)


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Whether this process has the lock; it is held until the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream: IO[bytes]
    with path.open("ab") as stream:
        os.set_inheritable(stream.fileno(), False)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
