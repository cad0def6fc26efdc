"""Forgets old releases: the newest stay, and so does whatever a slot points to or the caller protects."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..atomic import remove_tree
from ..instance.revision import Recorded
from ..instance.store import SERVICE, Revisions
from ..slots import complete_releases, slots_of
from ..versions import newest_first
from .store import Store


@dataclass(frozen=True)
class Removal:
    """Remove the folder of one release, or what a killed install left of one."""

    path: Path

    def apply(self) -> None:
        """Take its name first: half a release must not look like one."""
        aside = self.path if self.path.name.endswith(LEFT_OVERS) else self.path.rename(f"{self.path}.old")
        remove_tree(aside)


LEFT_OVERS = (".partial", ".old")


def superfluous(known: Collection[str], keep: int, protected: Collection[str]) -> list[str]:
    """Versions in `known` beyond the `keep` newest that are not `protected`, the newest first."""
    return [version for version in newest_first(list(known))[keep:] if version not in protected]


@dataclass(frozen=True)
class Keep:
    """What stays: the `newest` so many of each service, and what `protect` names as v1.2.0 or pim/v1.2.0."""

    newest: int
    protect: Sequence[str] = ()


def plan_prune(store: Store | None, prefix: Path | None, keep: Keep, only: Collection[str] = ()) -> list[Removal]:
    """What to remove from the store and from the host, of the services `only`, of every service if it is empty.

    What a slot of this host points to is protected in both places, and so is what it may be rolled back to.
    """
    opt = prefix / "opt/caelum" if prefix else None
    on_host = {path.name for path in opt.iterdir() if (path / "releases").is_dir()} if opt and opt.is_dir() else set()
    known = on_host | set(store.services() if store else [])
    found: list[Removal] = []
    for service in sorted(known & set(only) if only else known):
        root = opt / service if opt else None
        kept = {name.removeprefix(f"{service}/") for name in keep.protect}
        kept |= used(prefix, service, keep.newest) if prefix else set()
        if root is not None:
            installed = complete_releases(root / "releases")
            found += [Removal(root / "releases" / version) for version in superfluous(installed, keep.newest, kept)]
            found += [Removal(path) for path in _left_overs(root / "releases")]
        if store is not None:
            old = superfluous(store.versions(service), keep.newest, kept)
            found += [Removal(store.folder(service, version)) for version in old]
    return found


def used(prefix: Path, service: str, depth: int) -> set[str]:
    """Versions of a service that a host needs: those of its slots, and those that it may be rolled back to."""
    return set(slots_of(prefix / "opt/caelum" / service).values()) | _returned_to(prefix, service, depth)


def _returned_to(prefix: Path, service: str, depth: int) -> set[str]:
    """Versions that the last `depth` recorded releases of a service run on this host, and those it is getting."""
    if not SERVICE.fullmatch(service):
        return set()
    revisions = Revisions(prefix, service)
    pending = revisions.pending()
    records: list[Recorded] = [*revisions.chain(depth), *([pending] if pending else [])]
    return {str(one["release"]) for record in records for one in record.instances}


def _left_overs(releases: Path) -> list[Path]:
    if not releases.is_dir():
        return []
    return sorted(path for path in releases.iterdir() if path.name.endswith(LEFT_OVERS))
