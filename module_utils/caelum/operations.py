"""What operators ask of hosts that have revisions: which services go back, which stand half way, and how it is told.

A listing is what `caelum_revision` returns of a host: by service its `current` revision, its `previous` one and what is
`pending` on it, each None where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import topology
from .report import table

Listing = Mapping[str, Mapping[str, Any]]
HISTORY = ("STARTED", "SERVICE", "COMPONENT", "VERSION", "ACTION", "STATUS", "TOOK", "BY", "WHAT HAPPENED")
WIDTH = 100  # of a log line in the table; the whole of it is in the dashboard


def last_run(listings: Iterable[Listing]) -> list[str]:
    """Services that the newest run brought to what is current on the hosts, so that they go back together."""
    current = [(name, of["current"]) for listing in listings for name, of in listing.items() if of["current"]]
    if not current:
        return []
    _, newest = max(current, key=lambda pair: str(pair[1]["at"]))
    run = newest.get("run")
    return sorted({name for name, revision in current if revision is newest or (run and revision.get("run") == run)})


def half_way(listing: Listing) -> list[str]:
    """Services with something pending on the host and a good revision to return to."""
    return [name for name, of in sorted(listing.items()) if of["pending"] and of["current"]]


def recorded(listing: Listing) -> list[str]:
    """Services that have a good revision on the host."""
    return [name for name, of in sorted(listing.items()) if of["current"]]


def recorded_releases(listing: Listing) -> list[dict[str, str]]:
    """The releases that those revisions' instances run, as `caelum_release` wants them."""
    named = {
        (name, str(instance["release"])): None
        for name in recorded(listing)
        for instance in listing[name]["current"]["instances"]
    }
    return [{"name": name, "version": version} for name, version in named]


def recorded_probes(plans: Iterable[Mapping[str, Any]], host: str, prefix: str) -> list[dict[str, Any]]:
    """Probes of `caelum_health` for the instances of the revisions that the plans were made for."""
    revisions = [plan["revision"] for plan in plans if plan.get("revision")]
    return topology.probes([one for revision in revisions for one in revision["instances"]], host, prefix)


def narrowed(instances: Iterable[Mapping[str, Any]], component: str) -> list[Mapping[str, Any]]:
    """With a component its instances alone, else all."""
    return [item for item in instances if not component or item.get("component", item["name"]) == component]


def outcome(returned: Mapping[str, Any], service: str) -> str:
    """What became of a service that was taken back, in a few words."""
    if not returned["changed"]:
        return "nothing had changed"
    return f"{service} was returned to {returned['revision']['version']}"


def abort_lines(rows: Mapping[str, Any], returned: Sequence[str], service: str) -> list[str]:
    """What an abort did."""
    whose = f"of {service} " if service else ""
    if not rows["ids"] and not returned:
        return ["", f"nothing {whose}was under way; nothing was changed", ""]
    closed = ", ".join(map(str, rows["ids"])) or "none"
    back = f"returned to their last good release: {', '.join(returned)}" if returned else "no host was to be returned"
    return ["", f"closed as aborted: deployment {closed}; {back}", ""]


def history_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The history as a table, the newest first."""
    shown = [
        (
            str(row["started_at"])[:19].replace("T", " "),
            *(str(row[key] or "-") for key in ("service", "component", "version", "action", "status")),
            _seconds(row["took_s"]),
            str(row["requested_by"] or "-"),
            _short(row["logs"]),
        )
        for row in rows
    ]
    return ["", *table([HISTORY, *shown]), ""] if shown else ["", "nothing was deployed yet", ""]


def _seconds(took: float | None) -> str:
    return "-" if took is None else f"{took:.0f} s"


def _short(logs: str | None) -> str:
    line = (logs or "").replace("\n", "; ")
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
