"""Brings releases that were built on the controller into the store of a share: each appears whole, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..atomic import fsync_dir, make_dirs, remove_tree
from ..errors import Refused
from . import manifest
from .guard import Beat
from .receive import clear_partials
from .store import Store, check_digest, check_files, vouched

Release = tuple[str, str, str]
"""Service, version, and the sha256 of the manifest as it was built."""


@dataclass(frozen=True)
class Terms:
    """The PEM key that vouches, whether to only say what would be done, and whether a release may be replaced."""

    public: bytes
    rehearsal: bool = False
    rebuild: bool = False


def partial(store: Path, service: str, version: str, digest: str) -> Path:
    """Where a release is received: one name for one content, so that the next try finds what the last one left."""
    return store / service / f".partial-{version}-{digest[:12]}"


def publish(
    releases: Sequence[Release], origin: Store | None, store: Store, terms: Terms, beat: Beat
) -> dict[str, list[str]]:
    """Give the received releases their names, after copying them where `origin` can be read from here.

    `published` names those that are new here, `lacking` those of which nothing was received yet. Refused when one is
    here with other content, or was not received as it was signed.
    """
    lacking: list[str] = []
    done: list[str] = []
    for service, version, digest in releases:
        have = store.manifest_bytes(service, version)
        beat()
        if have is not None and manifest.sha256(have) == digest:
            continue
        if have is not None and not terms.rebuild:
            raise Refused(
                f"release {version} of {service} is in {store.path} with other content than was built now; "
                "raise the version, or where it was never used remove it there"
            )
        folder = partial(store.path, service, version, digest)
        if origin is not None and not terms.rehearsal:
            _copy(origin.folder(service, version), folder, terms.public, beat)
        if terms.rehearsal or not (folder / manifest.NAME).is_file():
            lacking.append(f"{service}/{version}")
            continue
        _name(folder, store.folder(service, version), digest, terms.public, beat)
        done.append(f"{service}/{version}")
    return {"published": done, "lacking": lacking}


def _copy(source: Path, folder: Path, public: bytes, beat: Beat) -> None:
    data = (source / manifest.NAME).read_bytes()
    found = vouched(source, data, source.parent.name, source.name, public)
    clear_partials(folder)
    make_dirs(folder / "wheels")
    for name in (*found.files, manifest.SIGNATURE, manifest.NAME):
        manifest.sha256_copy(source / name, folder / name, beat)


def _name(folder: Path, final: Path, digest: str, public: bytes, beat: Beat) -> None:
    """Verify what was received, and rename it; what is not as it was signed is removed."""
    try:
        data = (folder / manifest.NAME).read_bytes()
        found = vouched(folder, data, final.parent.name, final.name, public)
        check_files(folder, found, beat)
        check_digest(folder / manifest.NAME, manifest.sha256(data), digest, found)
    except Refused:
        with contextlib.suppress(OSError):
            remove_tree(folder)
        raise
    folder.chmod(0o755)
    fsync_dir(folder / "wheels")
    fsync_dir(folder)
    if final.exists():
        aside = final.with_name(f".partial-old-{final.name}")
        if aside.exists():
            remove_tree(aside)
        final.rename(aside)
        folder.rename(final)
        remove_tree(aside)
    else:
        folder.rename(final)
    fsync_dir(final.parent)
