"""Which releases a host needs, as pure functions of the inventory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

Release = Mapping[str, Any]


def releases_here(releases: Iterable[Release], groups: Collection[str], database_mode: str) -> list[dict[str, Any]]:
    """Of `releases` those of the services whose groups a host is in.

    `postgresql` goes where its server runs, and where that is not ours to PIM's hosts, which dump with its pg_dump.
    """
    here = set(groups) - {"postgresql"}
    if ("database" if database_mode == "wheel" else "pim") in here:
        here.add("postgresql")
    return [dict(release) for release in releases if release["name"] in here]


def with_manifests(releases: Iterable[Release], built: Iterable[Release]) -> list[dict[str, Any]]:
    """Releases with the `manifest` that the build told of them; without where it told none."""
    known = {(one["service"], one["version"]): one.get("manifest_sha256", "") for one in built}
    return [dict(release) | {"manifest": known.get((release["name"], release["version"]), "")} for release in releases]
