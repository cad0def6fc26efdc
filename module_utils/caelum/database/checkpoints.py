"""Checkpoint files: manifests on the share, and verified copies of the models that a host serves.

A manifest `<job>-<version>.json` vouches with sha256s for the `.pt` and the `.onnx` beside it; finvec writes all three,
the manifest last. A host serves from its own copies, never from the share.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import versions
from ..atomic import fsync_dir, make_dirs, write_atomic
from ..errors import Refused
from ..release.guard import Beat, unwatched

CHUNK = 1 << 20
RECORD = ".verified.json"


@dataclass(frozen=True)
class Checkpoint:
    """A model version by its manifest."""

    job: str
    version: str
    manifest: Mapping[str, Any]

    @property
    def onnx(self) -> str:
        """Name of the file that FinColl serves."""
        return f"{self.job}-{self.version}.onnx"

    @property
    def pt(self) -> str:
        """Name of the file with the weights, by which the checkpoint goes."""
        return f"{self.job}-{self.version}.pt"

    @property
    def json(self) -> str:
        """Name of the manifest."""
        return f"{self.job}-{self.version}.json"

    def sha256(self, suffix: str) -> str:
        """What the manifest says of the file `pt` or `onnx`."""
        return str(self.manifest["files"][suffix]["sha256"])


def known_versions(folder: Path, job: str) -> list[str]:
    """Versions of `job` with a manifest in `folder`, the newest first; none when the folder isn't there."""
    try:
        names = [path.stem.removeprefix(f"{job}-") for path in folder.glob(f"{job}-v*.json")]
    except OSError as error:
        raise Refused(f"{folder} cannot be read ({error.strerror}); mount the share or correct `checkpoints`") from None
    return list(versions.newest_first(names))


def read(folder: Path, job: str, version: str) -> Checkpoint:
    """The checkpoint of `job` at `version` in `folder`. Refused when it isn't there or its manifest is unsound."""
    path = folder / f"{job}-{version}.json"
    try:
        manifest = json.loads(path.read_bytes())
        found = Checkpoint(str(manifest["job"]), str(manifest["version"]), manifest)
        named = (manifest["files"]["pt"]["name"], manifest["files"]["onnx"]["name"])
        complete = all(len(found.sha256(suffix)) == 64 for suffix in ("pt", "onnx"))
        complete = complete and {"kind", "schema_hash", "bootstrap", "trusted"} <= set(manifest)
    except FileNotFoundError:
        known = ", ".join(known_versions(folder, job)) or "none"
        raise Refused(f"{job} {version} is not in {folder}; known: {known}; copy it there or train it") from None
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror}); mount the share or correct its rights") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path} is not a manifest ({type(error).__name__}: {error}); copy it again") from None
    if (found.job, found.version) != (job, version) or named != (found.pt, found.onnx) or not complete:
        raise Refused(f"{path} does not describe {job} {version} and its files; copy it again")
    return found


def verify(folder: Path, checkpoint: Checkpoint, beat: Beat = unwatched) -> None:
    """Refuses a checkpoint whose files in `folder` are not those that its manifest describes."""
    for suffix, name in (("onnx", checkpoint.onnx), ("pt", checkpoint.pt)):
        try:
            found = _sha256(folder / name, beat)
        except OSError as error:
            raise Refused(
                f"{folder / name} cannot be read ({error.strerror}); copy the whole checkpoint again"
            ) from None
        _agree(folder / name, found, checkpoint.sha256(suffix))


def remove(folder: Path, job: str, version: str) -> list[str]:
    """Remove the files of a version, the manifest first: what has none is no checkpoint. Names of those removed."""
    gone = []
    for suffix in ("json", "onnx", "pt"):
        path = folder / f"{job}-{version}.{suffix}"
        if path.exists():
            path.unlink()
            gone.append(path.name)
    return gone


class Serving:
    """The folder of a host's own copies.

    A copy is hashed once and then believed while its size and time of change stay those in the folder's record.
    """

    def __init__(self, folder: Path, beat: Beat = unwatched) -> None:
        self.folder = folder
        self._beat = beat
        self._record = self._read_record()

    def missing(self, checkpoint: Checkpoint) -> list[str]:
        """Names of the checkpoint's files that are not here, whole and unaltered."""
        names = [] if self._intact(checkpoint.onnx, checkpoint.sha256("onnx")) else [checkpoint.onnx]
        return names if self._manifest_intact(checkpoint) else [*names, checkpoint.json]

    def copy(self, checkpoint: Checkpoint, name: str, source: Path) -> None:
        """Bring the file `name` here from the folder `source`; Refused when its bytes are not the manifest's."""
        try:
            make_dirs(self.folder)
            if name == checkpoint.json:
                self._copy_manifest(checkpoint, source)
            else:
                self._copy_model(checkpoint, source)
        except OSError as error:
            raise Refused(
                f"{source / name} cannot be copied to {self.folder} ({error.strerror}); mount the share or make room"
            ) from None

    def remember(self) -> None:
        """Write down what was verified, so that the next look hashes nothing."""
        here = {name: entry for name, entry in self._record.items() if (self.folder / name).exists()}
        data = json.dumps(here, indent=1, sort_keys=True).encode()
        path = self.folder / RECORD
        if self.folder.is_dir() and (not path.exists() or path.read_bytes() != data):
            write_atomic(path, data)

    def _read_record(self) -> dict[str, Any]:
        try:
            record = json.loads((self.folder / RECORD).read_bytes())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _intact(self, name: str, sha256: str) -> bool:
        path = self.folder / name
        try:
            stamp = _stamp(path)
            entry = self._record.get(name)
            if not isinstance(entry, dict) or entry.get("stamp") != stamp:
                self._record[name] = entry = {"stamp": stamp, "sha256": _sha256(path)}
        except OSError:
            return False
        return bool(entry.get("sha256") == sha256)

    def _manifest_intact(self, checkpoint: Checkpoint) -> bool:
        try:
            return bool(json.loads((self.folder / checkpoint.json).read_bytes()) == checkpoint.manifest)
        except (OSError, ValueError):
            return False

    def _copy_manifest(self, checkpoint: Checkpoint, source: Path) -> None:
        if read(source, checkpoint.job, checkpoint.version).manifest != checkpoint.manifest:
            raise Refused(
                f"{source / checkpoint.json} is not the manifest that was registered; a version never changes: "
                "put the registered one back, or train a new version"
            )
        write_atomic(self.folder / checkpoint.json, (source / checkpoint.json).read_bytes())

    def _copy_model(self, checkpoint: Checkpoint, source: Path) -> None:
        name, hasher = checkpoint.onnx, hashlib.sha256()
        for left in self.folder.glob(f".{name}.*"):
            left.unlink()
        descriptor, temporary = tempfile.mkstemp(dir=self.folder, prefix=f".{name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                for chunk in _chunks(source / name):
                    hasher.update(chunk)
                    file.write(chunk)
                    self._beat()
                file.flush()
                os.fsync(file.fileno())
            _agree(source / name, hasher.hexdigest(), checkpoint.sha256("onnx"))
            Path(temporary).replace(self.folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        fsync_dir(self.folder)
        self._record[name] = {"stamp": _stamp(self.folder / name), "sha256": hasher.hexdigest()}


def _agree(path: Path, found: str, listed: str) -> None:
    if found != listed:
        raise Refused(
            f"{path} is not what its manifest describes: sha256 {found[:12]}…, expected {listed[:12]}…; "
            "copy it to the share again or train a new version"
        )


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _sha256(path: Path, beat: Beat = unwatched) -> str:
    hasher = hashlib.sha256()
    for chunk in _chunks(path):
        hasher.update(chunk)
        beat()
    return hasher.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
