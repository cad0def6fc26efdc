"""Holds installed releases against the hashes of their wheels: what was edited, is missing, or was added by hand."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused
from . import locks, manifest
from .guard import Beat, unwatched
from .manifest import Manifest

_SHOWN = 3  # files that a finding names
_VENV = ("bin/python", "pyvenv.cfg", "requirements.txt")

Hash = tuple[str, str]
"""Algorithm and hexadecimal digest; two empty strings where a wheel gives none, as for RECORD itself."""


@dataclass(frozen=True)
class Verdict:
    """One installed release; the files are relative to it."""

    service: str
    version: str
    path: Path
    files: int = 0
    edited: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    broken: str = ""

    @property
    def findings(self) -> list[str]:
        """What is wrong, a line for each kind; empty when all is as it was installed."""
        kinds = (
            (self.edited, "was edited", "were edited"),
            (self.missing, "is missing", "are missing"),
            (self.extra, "was added", "were added"),
        )
        remedy = f"move {self.path} away and deploy {self.version} again"
        told = [self.broken] if self.broken else []
        for names, one, many in kinds:
            if len(names) == 1:
                told.append(f"{names[0]} {one}")
            elif names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                told.append(f"{len(names)} files {many}: {', '.join(names[:_SHOWN])}{more}")
        return [
            f"release {self.version} of {self.service} is not as it was installed: {line}; {remedy}" for line in told
        ]


class Verifier:
    """Verifies releases one after the other; a file that several share is read once."""

    def __init__(self, beat: Beat = unwatched) -> None:
        self._beat = beat
        self._digests: dict[tuple[int, int, str], str] = {}

    def verify(self, service: str, version: str, path: Path, stored: Path | None) -> Verdict:
        """The verdict on the release at `path`; with `stored`, its folder in the store, by the wheels themselves."""
        if not (path / manifest.NAME).is_file():
            return Verdict(service, version, path, broken=f"it is not complete under {path}")
        try:
            found = manifest.read(path)
        except Refused as refused:
            return Verdict(service, version, path, broken=str(refused))
        assert found is not None  # noqa: S101 - it was a file a moment ago
        site = next(path.glob("lib/python3*/site-packages"), path / "site-packages")
        requirements = ("sha256", found.files.get("requirements.txt", ""))
        expected = {path / name: ("", "") for name in _VENV} | {path / "requirements.txt": requirements}
        lacking, recorded = _recorded(site, path)
        expected |= recorded
        edited = set()
        if stored is not None and (stored / manifest.NAME).is_file():
            expected |= _shipped(site, stored, found, self._beat)
            if (stored / manifest.NAME).read_bytes() != (path / manifest.NAME).read_bytes():
                edited.add(path / manifest.NAME)
        missing = {file for file in expected if not file.is_file()}
        edited |= self._edited({file: value for file, value in expected.items() if file not in missing and value[1]})
        return Verdict(
            service,
            version,
            path,
            files=len(expected),
            edited=_names(edited, path),
            missing=(*lacking, *_names(missing, path)),
            extra=_names({file for file in _importable(site) if file not in expected}, path),
        )

    def _edited(self, expected: Mapping[Path, Hash]) -> set[Path]:
        keys = {file: (*_identity(file), algorithm) for file, (algorithm, _) in expected.items()}
        fresh = {key: file for file, key in keys.items() if key not in self._digests}
        with ThreadPoolExecutor(max_workers=4) as pool:
            digests = pool.map(lambda pair: _digest(pair[1], pair[0][2]), fresh.items())
            for key, digest in zip(fresh, digests, strict=True):
                self._digests[key] = digest
                self._beat()
        return {file for file, (_, digest) in expected.items() if self._digests[keys[file]] != digest}


def _recorded(site: Path, release: Path) -> tuple[list[str], dict[Path, Hash]]:
    """Distributions that the requirements name and the release lacks; and the files of those that it has."""
    path = release / "requirements.txt"
    pins = locks.parse(path.read_text(errors="replace"), str(path)) if path.is_file() else []
    wanted = {(one.name, one.version) for one in pins}
    folders = {_distribution(folder.name): folder for folder in site.glob("*.dist-info")}
    files: dict[Path, Hash] = {}
    for key, folder in folders.items():
        # the files of a distribution that nobody asked for are additions, whatever its RECORD says
        if key in wanted and (folder / "RECORD").is_file():
            files |= _rows(site, (folder / "RECORD").read_text(errors="replace"))
    lacking = [f"{name} {version}" for name, version in sorted(wanted) if (name, version) not in folders]
    return lacking, files


def _shipped(site: Path, stored: Path, found: Manifest, beat: Beat) -> dict[Path, Hash]:
    """The files that the store's wheels unpack to, where a RECORD that was edited with its files cannot mislead."""
    files: dict[Path, Hash] = {}
    for name in found.files:
        if name.endswith(".whl") and not name.startswith("wheels/uv-") and (stored / name).is_file():
            beat()
            with zipfile.ZipFile(stored / name) as wheel:
                # some wheels carry other distributions inside, each with a RECORD of its own further down
                record = min(
                    (entry for entry in wheel.namelist() if entry.endswith(".dist-info/RECORD")),
                    key=lambda entry: entry.count("/"),
                )
                rows = _rows(site, wheel.read(record).decode(errors="replace"))
            scripts = site / f"{record.rpartition('.dist-info/')[0]}.data"
            files |= {file: value for file, value in rows.items() if value[1] and scripts not in file.parents}
    return files


def _rows(site: Path, record: str) -> dict[Path, Hash]:
    files = {}
    for row in csv.reader(io.StringIO(record)):
        algorithm, _, digest = (row[1] if len(row) > 1 else "").partition("=")
        value = base64.urlsafe_b64decode(f"{digest}==").hex() if digest else ""
        files[Path(os.path.normpath(site / row[0]))] = (algorithm, value)
    return files


def _importable(site: Path) -> Iterator[Path]:
    """All files but the caches that Python keeps beside them."""
    for folder, _, names in os.walk(site):
        cache = folder.endswith("/__pycache__")
        yield from (Path(folder, name) for name in names if not (cache and name.endswith(".pyc")))


def _distribution(folder: str) -> tuple[str, str]:
    name, _, version = folder.removesuffix(".dist-info").partition("-")
    return locks.normalise(name), version


def _identity(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, algorithm).hexdigest()


def _names(files: set[Path], release: Path) -> tuple[str, ...]:
    return tuple(sorted(os.path.relpath(file, release) for file in files))
