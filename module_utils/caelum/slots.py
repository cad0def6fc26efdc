"""Slots: the link `slots/<component>@<slot>` of a service says which installed release an instance runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .atomic import make_dirs, switch_symlink
from .errors import Refused
from .plan import Plan
from .versions import newest_first

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Slots:
    """One slot as observed: its link, the version that it points to ("" for none), the releases it may point to."""

    path: Path
    target: str
    complete: tuple[str, ...]


@dataclass(frozen=True)
class Switch:
    """Point the slot `path` to release `version`."""

    path: Path
    version: str

    def apply(self) -> None:
        """Make the folder of slots if need be, and switch."""
        make_dirs(self.path.parent)
        switch(self.path, self.version)


def service_root(prefix: Path, service: str) -> Path:
    """Where a service's releases and slots live under `prefix`."""
    return prefix / "opt/caelum" / service


def slot_path(prefix: Path, service: str, component: str, slot: str) -> Path:
    """The link of instance `component@slot`."""
    return service_root(prefix, service) / "slots" / f"{component}@{slot}"


def complete_releases(releases: Path) -> list[str]:
    """Versions under `releases` that were finished, the newest first: their manifest is written last."""
    if not releases.is_dir():
        return []
    return newest_first([entry.name for entry in releases.iterdir() if (entry / MANIFEST).is_file()])


def target_of(path: Path) -> str:
    """The version that the slot `path` points to, "" when there is no such link."""
    return path.readlink().name if path.is_symlink() else ""


def observe(path: Path) -> Slots:
    """The slot at `path` as it is; the releases are looked for beside the folder of slots."""
    return Slots(path, target_of(path), tuple(complete_releases(path.parent.parent / "releases")))


def plan_switch(have: Slots, want: str) -> Plan:
    """Steps that make the slot serve release `want`; empty when it already does.

    Refused when `want` is not a complete release of the host, even if the slot points to it.
    """
    if want not in have.complete:
        known = ", ".join(have.complete) or "none"
        raise Refused(
            f"release {want!r} is not complete on this host for slot {have.path.name}; "
            f"known: {known}; install it with caelum_release state=installed"
        )
    if have.target == want:
        return Plan()
    return Plan(
        (Switch(have.path, want),),
        before=f"{have.path.name} -> {have.target or 'nothing'}",
        after=f"{have.path.name} -> {want}",
    )


def switch(path: Path, release: str) -> None:
    """Point the slot `path` to version `release` by rename(2)."""
    switch_symlink(path, f"../releases/{release}")


def slots_of(root: Path) -> dict[str, str]:
    """All slots of the service at `root`: instance → version."""
    folder = root / "slots"
    if not folder.is_dir():
        return {}
    return {
        link.name: target_of(link)
        for link in sorted(folder.iterdir())
        if link.is_symlink() and not link.name.startswith(".")
    }
