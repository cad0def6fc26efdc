"""The manifest of a release: what it was made from, what it is for, and the sha256 of every file in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import Refused
from .guard import Beat, unwatched
from .target import Target

FORMAT = 1
NAME = "manifest.json"
SIGNATURE = "manifest.json.sig"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """One release. It holds no wall clock: the same input gives the same bytes.

    `inputs` maps each source file and the lock to its sha256, `files` each file of the release; `glibc` is the
    lowest that the wheels need; `source` is the tag, or "worktree".
    """

    service: str
    version: str
    variant: str
    source: str
    commit: str | None
    dirty: bool
    abi: str
    platform: str
    glibc: str
    packages: tuple[str, ...]
    inputs: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def target(self) -> Target:
        """What the release runs on."""
        return Target(self.abi, self.platform, self.glibc)

    @property
    def content(self) -> str:
        """Digest of what the release was made from: two releases with the same one are interchangeable."""
        return content_digest(self.inputs, self.variant, self.abi, self.platform)

    def to_bytes(self) -> bytes:
        """The bytes that are signed: sorted keys, one entry a line."""
        document = {"format": FORMAT, "source_digest": self.content} | asdict(self)
        return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def from_bytes(data: bytes, where: str) -> Manifest:
    """Read a manifest; Refused when `data`, found at `where`, is none or of a format from the future."""
    try:
        document = json.loads(data)
        found = document.pop("format")
        document.pop("source_digest")
        if found != FORMAT:
            raise Refused(f"{where} has manifest format {found}, this checkout reads {FORMAT}; use a newer checkout")
        return Manifest(**document | {"packages": tuple(document["packages"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused(f"{where} is corrupted: it is no release manifest; build the release again") from error


def read(folder: Path) -> Manifest | None:
    """The manifest in `folder`, None where there is none."""
    path = folder / NAME
    return from_bytes(path.read_bytes(), str(path)) if path.is_file() else None


def content_digest(inputs: Mapping[str, str], variant: str, abi: str, platform: str) -> str:
    """sha256 over all that decides the content of a release."""
    return sha256(json.dumps([dict(inputs), variant, abi, platform], sort_keys=True).encode())


def sha256(data: bytes) -> str:
    """Hexadecimal sha256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path, beat: Beat = unwatched) -> str:
    """Hexadecimal sha256 of a file's bytes, `beat` after each piece; OSError as the file system does."""
    hasher = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
            beat()
    return hasher.hexdigest()


def sha256_files(paths: Iterable[Path], beat: Beat = unwatched) -> dict[Path, str]:
    """sha256 of many files, hashed side by side (hashlib releases the interpreter lock)."""
    ordered = list(paths)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(ordered, pool.map(lambda path: sha256_file(path, beat), ordered), strict=True))


def sha256_copy(source: Path, target: Path, beat: Beat = unwatched) -> str:
    """Copy a file's bytes to `target`, 0644 and durable; their hexadecimal sha256."""
    hasher = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        os.fchmod(written.fileno(), 0o644)
        while chunk := read.read(_CHUNK):
            hasher.update(chunk)
            written.write(chunk)
            beat()
        written.flush()
        os.fsync(written.fileno())
    return hasher.hexdigest()
