"""Services and the components that they run as; a run may be narrowed to one of either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "senvec": ("replay", "sentimentrader", "alphavantage", "social", "news", "aggregator"),
    "finvec": ("finvec-train", "finvec-gpu"),
    "fincoll": ("fincoll",),
    "pim": ("pim-worker", "pim-web", "caelum-reaper"),
}
"""Services in the order of a deployment, each with its components in theirs."""

SERVICES = tuple(COMPONENTS)


def service_of(component: str) -> str:
    """The service of a component; empty when there is no such component."""
    return next((service for service, names in COMPONENTS.items() if component in names), "")


def wanted_service(service: str, component: str) -> str:
    """The one service that a run is about, named itself or by its component; empty for all."""
    return service or service_of(component)


def hosts(of: str, service: str, component: str) -> str:
    """Pattern for the hosts of a play about service `of`: its group, or no host when the run is about another."""
    return of if wanted_service(service, component) in {"", of} else "!all"


def narrowed_releases(
    catalogue: Iterable[Mapping[str, Any]], service: str, component: str, version: str
) -> list[dict[str, Any]]:
    """Releases of `caelum_release` that a run needs: those of the one service, and of the database that records it.

    With a component its service at `version` alone, which that component's own tag may name.
    """
    only = wanted_service(service, component)
    wanted = [dict(item) for item in catalogue if not only or item["name"] in {only, "postgresql"}]
    if not component:
        return wanted
    others = [item for item in wanted if item["name"] != only]
    named = [
        item | {"components": [component]} for item in wanted if (item["name"], item["version"]) == (only, version)
    ]
    return others + named[:1]
