"""Sends one release from the controller to a host, on the standard input of a command that receives it there."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..commands import reason
from ..errors import Refused
from . import manifest
from .manifest import Manifest
from .receive import CHUNK, MAGIC

_TELL_EVERY_S = 3.0

Tell = Callable[[int, int], None]
"""Takes the bytes sent so far, and all that there are."""


def send(argv: Sequence[bytes | str], folder: Path, seconds: float, tell: Tell, password: str = "") -> int:
    """Run `argv` and write the release in `folder` to it, piece by piece; the number of files that arrived.

    `password` goes first, for a command that asks for one. Refused when the far side refuses, ends early, or takes
    nothing for `seconds`.
    """
    release = manifest.read(folder)
    if release is None:
        raise Refused(f"there is no release in {folder}; build it again")
    with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as answer:
        far = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=answer, stderr=words)  # noqa: S603 - argv is ours, no shell
        try:
            cut = _pour(far, _stream(release, folder, tell, password), seconds)
            far.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Refused(
                f"release {release.version} of {release.service} was not taken for {seconds:g} s by the host that "
                "publishes it; see to its network and its share, then run this again"
            ) from None
        finally:
            far.kill()
            far.wait()
        said = _last_json(answer)
        if far.returncode != 0 or cut or "received" not in said:
            words.seek(0)
            why = said.get("refused") or reason(words.read()[-4000:])
            raise Refused(
                f"release {release.version} of {release.service} did not arrive whole: {why}; see to the host and its "
                "share, then run this again: nothing was published"
            )
        return int(said["received"])


def _stream(release: Manifest, folder: Path, tell: Tell, password: str) -> Iterator[bytes]:
    """The bytes in the order of module `receive`; the manifest comes last, as what makes a release one."""
    names = [*release.files, manifest.SIGNATURE, manifest.NAME]
    sizes = {name: (folder / name).stat().st_size for name in names}
    total, sent, told = sum(sizes.values()), 0, time.monotonic()
    yield (f"{password}\n" if password else "").encode() + MAGIC + b"\n"
    for name, size in sizes.items():
        yield json.dumps({"name": name, "size": size}).encode() + b"\n"
        with (folder / name).open("rb", buffering=0) as file:
            while piece := file.read(CHUNK):
                yield piece
                sent += len(piece)
                if time.monotonic() - told >= _TELL_EVERY_S:
                    told = time.monotonic()
                    tell(sent, total)
    yield b"{}\n"


def _pour(far: subprocess.Popen[bytes], pieces: Iterator[bytes], seconds: float) -> bool:
    """Write all pieces; true when the far side closed before. TimeoutExpired when it took nothing for `seconds`."""
    if far.stdin is None:
        raise ValueError("a process without a standard input")
    try:
        os.set_blocking(far.stdin.fileno(), False)
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                if not select.select([], [far.stdin], [], seconds)[1]:
                    raise subprocess.TimeoutExpired(far.args, seconds)
                with suppress(BlockingIOError):
                    rest = rest[os.write(far.stdin.fileno(), rest) :]
    except BrokenPipeError:
        return True
    finally:
        with suppress(BrokenPipeError):
            far.stdin.close()
    return False


def _last_json(file: IO[bytes]) -> dict[str, Any]:
    file.seek(0)
    lines = file.read().strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {}
    return found
