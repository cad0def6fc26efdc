"""Receives one release on its standard input and writes it to a share: run by its text on a host, so without imports
of this project.

`python3 -c TEXT FOLDER`. The input is a line with MAGIC (what comes before it is dropped: a password that nobody asked
for), then for each file a line of JSON `{"name", "size"}` and its bytes, then the line `{}`. The last line of output is
JSON: `{"received": files}` or `{"refused": reason}`. Each file is fsynced; a stream that ends too early leaves nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import BinaryIO

MAGIC = b"caelum-release-1"
CHUNK = 1 << 20
DAY_S = 86400
_CUT = "the connection ended in the middle"


def receive(stream: BinaryIO, folder: Path) -> int:
    """Write the stream's files into `folder`, made anew; how many they were."""
    while MAGIC not in (line := stream.readline()):
        if not line:
            raise EOFError("nothing came")
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    clear_partials(folder)
    (folder / "wheels").mkdir(parents=True, mode=0o755)
    count = 0
    try:
        while entry := _header(stream):
            _write(stream, folder, str(entry["name"]), int(str(entry["size"])))
            count += 1
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return count


def _header(stream: BinaryIO) -> dict[str, object]:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError(_CUT)
    found: dict[str, object] = json.loads(line)
    return found


def clear_partials(folder: Path) -> None:
    """Remove what an earlier transfer of the same release left, and what others left a day ago."""
    for left in folder.parent.glob(".partial-*"):
        if left == folder or time.time() - left.stat().st_mtime > DAY_S:
            shutil.rmtree(left)


def _write(stream: BinaryIO, folder: Path, name: str, size: int) -> None:
    parts = name.split("/")
    if not all(parts) or ".." in parts or len(parts) > 2 or (len(parts) == 2 and parts[0] != "wheels"):
        raise ValueError(f"{name!r} is no file of a release")
    with (folder / name).open("wb") as file:
        os.fchmod(file.fileno(), 0o644)
        while size:
            piece = stream.read(min(size, CHUNK))
            if not piece:
                raise EOFError(_CUT)
            file.write(piece)
            size -= len(piece)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    """Receive what comes, and say how that went."""
    try:
        answer: dict[str, object] = {"received": receive(sys.stdin.buffer, Path(sys.argv[1]))}
    except (OSError, EOFError, ValueError, KeyError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        answer = {"refused": reason}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
