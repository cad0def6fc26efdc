"""The pool of third-party wheels on the controller: each is downloaded once, however many releases hold it."""

from __future__ import annotations

from pathlib import Path

from .locks import Requirement, normalise
from .manifest import sha256_file, sha256_files


class Pool:
    """Wheels in one folder, found again by name, version, tags and a hash that the lock allows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digests: dict[Path, str] = {}
        self._by_pin: dict[tuple[str, str], list[tuple[int, Path]]] = {}
        for file in sorted(path.glob("*.whl")):
            self._index(file)

    def find(self, wanted: Requirement) -> Path | None:
        """The wheel for `wanted` that this Python likes best among those here, None when there is none.

        A file that no hash of the lock fits is passed over, so a damaged one is downloaded again.
        """
        candidates = sorted(self._by_pin.get((wanted.name, wanted.version), []))
        return next((path for _, path in candidates if self.digest(path) in wanted.hashes), None)

    def digest(self, path: Path) -> str:
        """sha256 of a wheel here, worked out once."""
        if path not in self._digests:
            self._digests[path] = sha256_file(path)
        return self._digests[path]

    def hash_all(self, wanted: list[Requirement]) -> None:
        """Work out the digests that `find` will ask for, side by side."""
        pins = {(requirement.name, requirement.version) for requirement in wanted}
        paths = {path for pin in pins for _, path in self._by_pin.get(pin, [])}
        self._digests |= sha256_files(paths - self._digests.keys())

    def add(self, file: Path) -> None:
        """Take a finished download, on the same file system, into the pool."""
        kept = self.path / file.name
        file.chmod(0o644)
        file.replace(kept)
        self._digests.pop(kept, None)
        self._index(kept)

    def _index(self, file: Path) -> None:
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename

        try:
            name, version, _, tags = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            return
        ranks = [rank for tag in tags if (rank := _supported().get(str(tag))) is not None]
        entry = (min(ranks, default=-1), file)
        found = self._by_pin.setdefault((normalise(name), str(version)), [])
        if ranks and entry not in found:
            found.append(entry)


_SUPPORTED: dict[str, int] = {}


def _supported() -> dict[str, int]:
    """Wheel tag → rank for the Python that runs this, best first."""
    from packaging.tags import sys_tags

    if not _SUPPORTED:
        _SUPPORTED.update({str(tag): rank for rank, tag in enumerate(sys_tags())})
    return _SUPPORTED
