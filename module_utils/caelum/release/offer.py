"""Where a host's releases come from: a store, perhaps on a share that may hang, and the key that vouches for it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..atomic import make_dirs, remove_tree
from ..errors import Refused
from . import manifest, signing
from .guard import Beat, guarded
from .manifest import Manifest
from .store import Store, check_digest, check_files, vouched

_COMPILED = 1.25  # bytecode adds about a quarter to what the wheels unpack to

Key = tuple[str, str]
"""Service and version."""


@dataclass(frozen=True)
class Seen:
    """One release as the store has it: its manifest's bytes, None where it lacks it; what installing it takes."""

    data: bytes | None
    unknown: str = ""
    needed: int = 0


@dataclass(frozen=True)
class Offer:
    """A store, the key that vouches for it (PEM or path), and what the caller knows of its releases.

    `may_be_built` says that a release which the store lacks will be there before the plan is applied, `may_lack` that
    the caller sees to it, `rebuild` that one may be replaced. `expected` has the sha256 of the manifests as they were
    built, where that is known. With `seconds` a store that is silent that long is given up, and what is installed is
    copied to the host first.
    """

    store: Store
    public_key: str
    rebuild: bool = False
    may_be_built: bool = False
    may_lack: bool = False
    expected: Mapping[Key, str] = field(default_factory=dict)
    seconds: float = 0

    def look(self, wanted: Sequence[Key], installed: Mapping[Key, bytes | None], rehearsal: bool) -> dict[Key, Seen]:
        """What the store has of `wanted`; Refused when one that is not `installed` is not as it was signed.

        Its files are hashed here unless they will be hashed when they are copied.
        """
        if not wanted:
            return {}

        def work(beat: Beat) -> list[dict[str, Any]]:
            return [self._seen(key, installed[key], rehearsal or not self.seconds, beat) for key in wanted]

        found = guarded(work, self.seconds, self.store.path)
        return {
            key: Seen(None if one["data"] is None else one["data"].encode("latin-1"), one["unknown"], one["needed"])
            for key, one in zip(wanted, found, strict=True)
        }

    def fetch(self, release: Manifest, folder: Path) -> None:
        """Copy the files of `release` into `folder`, made anew, each held against the manifest on the way."""
        source = self.store.folder(release.service, release.version)
        if folder.exists():
            remove_tree(folder)
        make_dirs(folder / "wheels")

        def work(beat: Beat) -> None:
            for name, digest in release.files.items():
                check_digest(source / name, manifest.sha256_copy(source / name, folder / name, beat), digest, release)

        guarded(work, self.seconds, self.store.path)

    def _seen(self, key: Key, installed: bytes | None, hashes: bool, beat: Beat) -> dict[str, Any]:
        data = self.store.manifest_bytes(*key)
        beat()
        seen: dict[str, Any] = {"data": None, "unknown": "", "needed": 0}
        if data is None:
            return seen | {"unknown": self.store.unknown(*key)}
        if data != installed and manifest.sha256(data) == self.expected.get(key, manifest.sha256(data)):
            folder = self.store.folder(*key)
            made = vouched(folder, data, *key, signing.public_pem(self.public_key))
            if hashes:
                check_files(folder, made, beat)
            seen["needed"] = self._needed(folder, made)
        return seen | {"data": data.decode("latin-1")}

    def _needed(self, folder: Path, made: Manifest) -> int:
        """Bytes that installing takes on the host; Refused when a file is missing."""
        total = 0
        for name in made.files:
            if not (folder / name).is_file():
                check_files(folder, made)
            total += (folder / name).stat().st_size if self.seconds else 0
            if name.endswith(".whl"):
                total += int(_unpacked(folder / name, made) * _COMPILED)
        return total


def _unpacked(path: Path, made: Manifest) -> int:
    try:
        with zipfile.ZipFile(path) as wheel:
            return sum(entry.file_size for entry in wheel.infolist())
    except zipfile.BadZipFile:
        raise Refused(
            f"release {made.version} of {made.service} is corrupted: {path} is no wheel; build it again"
        ) from None
