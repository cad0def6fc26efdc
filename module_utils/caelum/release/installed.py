"""Installs releases on a host: verified first, built up beside what runs, then given its name by one rename."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import versions
from ..atomic import locked, make_dirs, make_read_only, publish_dir, remove_tree, switch_symlink, write_atomic
from ..commands import clean_env, reason, run
from ..errors import Refused
from ..progress import Progress
from ..slots import service_root
from . import bytecode, manifest, target
from .manifest import Manifest
from .offer import Key, Offer, Seen
from .target import Target

_SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Host:
    """Where to install, and with what; `uv` is None where the program is to come out of the release."""

    prefix: Path
    python: Path
    target: Target
    uv: Path | None

    def release(self, service: str, version: str) -> Path:
        """Where a release lives."""
        return service_root(self.prefix, service) / "releases" / version

    def has(self, service: str, version: str) -> bool:
        """Whether a release is wholly here."""
        return (self.release(service, version) / manifest.NAME).is_file()

    @property
    def cache(self) -> Path:
        """On the file system of the releases, so that they share files with uv's cache by hard links."""
        return self.prefix / "var/cache/caelum"

    def donors(self) -> Iterable[Path]:
        """Complete releases of all services: any of them may lend bytecode."""
        return sorted(path.parent for path in (self.prefix / "opt/caelum").glob(f"*/releases/v*/{manifest.NAME}"))


@dataclass(frozen=True)
class Install:
    """Install one verified release from the folder `source`: the store's, or the copy that is made first."""

    manifest: Manifest
    data: bytes
    source: Path
    host: Host
    progress: Progress
    offer: Offer

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.manifest.service} {self.manifest.version}"

    def apply(self) -> None:
        """Build the release up under another name, make it durable and read-only, rename it."""
        began = time.monotonic()
        make_dirs(self.host.cache)
        with locked(self.host.cache / ".lock"):
            if self.offer.seconds:
                self._install_copy()
            else:
                self._install()
        self.progress.say(f"{self}: installed in {time.monotonic() - began:.1f} s")

    def _install_copy(self) -> None:
        incoming = self.host.cache / "incoming"
        try:
            self.offer.fetch(self.manifest, incoming)
            replace(self, source=incoming)._install()
        finally:
            if incoming.exists():
                remove_tree(incoming)

    def _install(self) -> None:
        final = self.host.release(self.manifest.service, self.manifest.version)
        partial = final.with_name(f"{final.name}.partial")
        make_dirs(final.parent)
        if partial.exists():
            remove_tree(partial)
        try:
            self._fill(partial)
            make_read_only(partial)
            publish_dir(partial, final)
        except BaseException:
            if partial.exists():
                remove_tree(partial)
            raise

    def _fill(self, partial: Path) -> None:
        uv = self.host.uv or _bundled_uv(self)
        self._uv(uv, "venv", "--relocatable", "--python", str(self.host.python), str(partial))
        # uv holds each wheel against the hashes in this copy, which was itself verified
        requirements = partial / "requirements.txt"
        requirements.write_bytes(self._verified("requirements.txt"))
        # uv's cache goes by the folder's name: under one name for all, releases share what they unpack
        wheels = self.host.cache / "wheels"
        switch_symlink(wheels, str((self.source / "wheels").absolute()))
        options = ["--no-index", "--require-hashes", "--find-links", str(wheels), "--link-mode", "hardlink"]
        self._uv(uv, "pip", "sync", *options, "--python", str(partial / "bin/python"), str(requirements))
        bytecode.compile_modules(partial, self.host.donors())
        # a path to the packages that does not change with the interpreter's version
        (partial / "site-packages").symlink_to(next(partial.glob("lib/python3*/site-packages")).relative_to(partial))
        write_atomic(partial / manifest.NAME, self.data)

    def _verified(self, name: str) -> bytes:
        """A file's bytes as the manifest vouches for them, also when the store changed since it was verified."""
        data = (self.source / name).read_bytes()
        if manifest.sha256(data) != self.manifest.files.get(name):
            raise Refused(
                f"release {self} is corrupted: {self.source / name} changed while it was read; build it again"
            )
        return data

    def _uv(self, uv: Path, *arguments: str) -> None:
        options = ["--quiet", "--offline", "--no-config", "--no-progress", "--cache-dir", str(self.host.cache / "uv")]
        env = clean_env("UV_", "VIRTUAL_ENV", "CONDA_", "PYTHON", "SOURCE_DATE_EPOCH")
        answer = run([str(uv), *arguments, *options], env=env)
        if answer.returncode != 0:
            raise Refused(
                f"release {self} cannot be installed under {self.host.prefix}: uv {arguments[0]}: "
                f"{reason(answer.stderr)}; build the release again"
            )


@dataclass(frozen=True)
class Plan:
    """What to install, and what cannot be yet: releases that are still to be built or published."""

    installs: list[Install]
    awaited: list[Key]


def plan_installs(wanted: Sequence[Key], offer: Offer, host: Host, progress: Progress, rehearsal: bool = False) -> Plan:
    """What has to be installed so that each (service, version) is there; those that are stay untouched.

    A release that is installed needs no store, and where its manifest is the expected one the store is not looked at.
    Refused, before anything changes, when one is unknown, unsigned, corrupted, for another kind of host, too big, or
    installed with other content.
    """
    for _, version in wanted:
        versions.parse(version)
    installed = {key: _read(host.release(*key) / manifest.NAME) for key in wanted}
    open_ = [key for key in wanted if not _is_expected(installed[key], offer.expected.get(key))]
    seen = offer.look(open_, installed, rehearsal)
    found, awaited, needed = [], [], 0
    for key in open_:
        one, have = seen[key], installed[key]
        if have is not None and (one.data == have or (one.data is None and key not in offer.expected)):
            continue
        if have is not None and not offer.rebuild:
            raise Refused(
                f"release {key[1]} of {key[0]} is installed under {host.prefix} with other content than the store's; "
                "raise the version, or in local pass -e rebuild=true"
            )
        if one.data is None or not _is_expected(one.data, offer.expected.get(key, manifest.sha256(one.data))):
            _await(key, one, offer)
            awaited.append(key)
            continue
        made = manifest.from_bytes(one.data, str(offer.store.folder(*key) / manifest.NAME))
        target.check(key[0], made.target, host.target)
        found.append(Install(made, one.data, offer.store.folder(*key), host, progress, offer))
        needed += one.needed
    _check_space(found, needed, host)
    return Plan(found, awaited)


def _is_expected(data: bytes | None, expected: str | None) -> bool:
    return data is not None and expected is not None and manifest.sha256(data) == expected


def _await(key: Key, seen: Seen, offer: Offer) -> None:
    """Refused unless the release that the store lacks, or has otherwise, is going to be put there."""
    if seen.data is not None and not offer.rebuild:
        raise Refused(
            f"release {key[1]} of {key[0]} is in {offer.store.path} with other content than was built now; "
            "raise the version, or where it was never used remove it there"
        )
    if not (offer.may_be_built or offer.may_lack):
        raise Refused(seen.unknown or f"release {key[1]} of {key[0]} in {offer.store.path} is not the one built now")


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _check_space(installs: Sequence[Install], needed: int, host: Host) -> None:
    if installs:
        # a service's releases may lie on a disk of their own
        wanted = {host.release(one.manifest.service, one.manifest.version).parent for one in installs}
        free, where = min((shutil.disk_usage(_ground(folder)).free, folder) for folder in wanted)
        refuse_without_space(", ".join(map(str, installs)), where, needed + _SPARE_BYTES, free)


def _ground(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def refuse_without_space(what: str, where: Path, needed: int, free: int) -> None:
    """Refused when `needed` bytes are more than those `free`."""
    if free < needed:
        raise Refused(
            f"no space to install {what} under {where}: needs {needed >> 20} MB, {free >> 20} MB are free; "
            "free some, or set caelum_prefix elsewhere"
        )


def _bundled_uv(install: Install) -> Path:
    """The uv program out of the release's own wheel, unpacked once per version of it."""
    name = next((file for file in install.manifest.files if file.startswith("wheels/uv-")), None)
    if name is None:
        raise Refused(f"uv is not on this host and not in release {install}; install uv, or give its path in `uv`")
    program = install.host.cache / "bin" / name.rsplit("/", 1)[-1].removesuffix(".whl")
    if not program.is_file():
        make_dirs(program.parent)
        with zipfile.ZipFile(install.source / name) as wheel:
            inside = next(entry for entry in wheel.namelist() if entry.endswith(".data/scripts/uv"))
            write_atomic(program, wheel.read(inside), mode=0o755)
    return program
