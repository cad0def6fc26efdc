"""The store of releases on the share: `<store>/<service>/<version>/`, each written once and signed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..atomic import locked, make_dirs, remove_tree
from ..errors import Refused
from ..progress import Progress
from ..versions import newest_first
from . import manifest, signing
from .guard import Beat, unwatched
from .manifest import Manifest


class Store:
    """Releases of all services under one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def services(self) -> list[str]:
        """Services that have a folder here."""
        if not self.path.is_dir():
            return []
        return sorted(entry.name for entry in self.path.iterdir() if entry.is_dir() and not entry.name.startswith("."))

    def versions(self, service: str) -> list[str]:
        """Versions of `service` that are wholly here, the newest first."""
        folder = self.path / service
        if not folder.is_dir():
            return []
        return newest_first([entry.name for entry in folder.iterdir() if (entry / manifest.NAME).is_file()])

    def folder(self, service: str, version: str) -> Path:
        """Where a release lies, or would."""
        return self.path / service / version

    def manifest(self, service: str, version: str) -> Manifest | None:
        """The manifest of a release, its signature not checked; None when it is not here."""
        return manifest.read(self.folder(service, version))

    def manifest_bytes(self, service: str, version: str) -> bytes | None:
        """The manifest's bytes, not looked at; None when the release is not here."""
        path = self.folder(service, version) / manifest.NAME
        return path.read_bytes() if path.is_file() else None

    def verified(self, service: str, version: str, public: bytes) -> Manifest:
        """The manifest of a release whose signature and files are all as they were built.

        Refused, naming the file, when it is not here, unsigned, signed by another key, or changed since.
        """
        folder, data = self.folder(service, version), self.manifest_bytes(service, version)
        if data is None:
            raise Refused(self.unknown(service, version))
        found = vouched(folder, data, service, version, public)
        check_files(folder, found)
        return found

    def unknown(self, service: str, version: str) -> str:
        """The line for a release that is not here."""
        known = ", ".join(self.versions(service)) or "none"
        return (
            f"release {version!r} of {service} is not in the store {self.path}; known: {known}; "
            f"build it with `ansible-playbook playbooks/build.yml -e version={version}`"
        )

    @contextmanager
    def building(self, progress: Progress) -> Iterator[None]:
        """Hold the store's lock, so that two builds never write one release; clear what a killed build left."""
        make_dirs(self.path)
        with locked(self.path / ".lock", lambda: progress.say(f"another build works in {self.path}; waiting for it")):
            for left_over in self.path.glob("*/.partial-*"):
                remove_tree(left_over)
            yield


def vouched(folder: Path, data: bytes, service: str, version: str, public: bytes) -> Manifest:
    """The manifest that was read from `folder` as `data`, signed by the private half of `public` and of that release.

    Its files are not read, nor is the manifest again, which somebody may have exchanged since. Refused, naming the
    file, otherwise.
    """
    signature = folder / manifest.SIGNATURE
    if not signature.is_file():
        raise Refused(f"release {version} of {service} is unsigned: {signature} is missing; build it again")
    if not signing.verify(public, data, signature.read_bytes()):
        raise Refused(
            f"release {version} of {service} is corrupted or signed by another key: {manifest.SIGNATURE} does not "
            f"fit {folder / manifest.NAME}; check the public key, or build the release again"
        )
    found = manifest.from_bytes(data, str(folder / manifest.NAME))
    if (found.service, found.version) != (service, version):
        raise Refused(
            f"{folder} holds release {found.version} of {found.service}, not {version} of {service}; "
            "someone moved it: build the release again"
        )
    return found


def check_files(folder: Path, found: Manifest, beat: Beat = unwatched) -> None:
    """Refused when a file of the release in `folder` is missing or has other bytes than its manifest says."""
    paths = {folder / name: digest for name, digest in found.files.items()}
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise Refused(
            f"release {found.version} of {found.service} is corrupted: {missing[0]} is missing; build it again"
        )
    for path, digest in manifest.sha256_files(paths, beat).items():
        check_digest(path, digest, paths[path], found)


def check_digest(path: Path, digest: str, expected: str, found: Manifest) -> None:
    """Refused when the sha256 of a file of the release `found` is not the expected one."""
    if digest != expected:
        raise Refused(
            f"release {found.version} of {found.service} is corrupted: {path} has another sha256 than its "
            "manifest says; build it again"
        )
