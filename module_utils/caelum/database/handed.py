"""Secrets for programs that a module starts: in files of this user's alone, since others may see a process's words."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Kept in memory, so that a power cut leaves nothing on a disk.
PLACES = ("/run", "/dev/shm")  # noqa: S108 - a folder of its own is made there


@contextmanager
def handed(files: Mapping[str, str]) -> Iterator[Path]:
    """A folder with these files (name to text), all gone afterwards."""
    place = next((name for name in PLACES if os.access(name, os.W_OK)), None)
    with tempfile.TemporaryDirectory(prefix="caelum-secrets.", dir=place) as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).touch(mode=0o600)
            (folder / file).write_text(text)
        yield folder
