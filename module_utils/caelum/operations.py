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


def going_back(
    listings: Mapping[str, Listing], service: str, staying: Iterable[str] = ()
) -> dict[str, dict[str, list[str]]]:
    """By service, the `hosts` on which it goes back: all that the newest run changed, or of one service alone.

    Hosts that were left half way go back too, and with them those of the service that the same run had brought to the
    end. A revision that no run is known of goes back alone. Services in `staying` do not go, and of a service that can
    go back on some hosts those stay which had nothing of it before, as after a move.
    """
    stays = set(staying)
    listed = [
        (host, name, of)
        for host, listing in listings.items()
        for name, of in listing.items()
        if service in {"", name} and name not in stays and (of["current"] or of["pending"])
    ]
    newest = [(of["pending"] or of["current"], host, name) for host, name, of in listed]
    if not newest:
        return {}
    last, at_host, of_service = max(newest, key=lambda found: str(found[0]["at"]))
    run = last.get("run")
    found: dict[str, dict[str, list[str]]] = {}
    for host, name, of in listed:
        same = bool(run) and run in {(of[which] or {}).get("run") for which in ("current", "pending")}
        half = bool(of["pending"]) and name == of_service
        if same or half or (host, name) == (at_host, of_service):
            found.setdefault(name, {"hosts": []})["hosts"].append(host)
    return {name: {"hosts": _able(name, where["hosts"], listings)} for name, where in found.items()}


def _able(service: str, hosts: list[str], listings: Mapping[str, Listing]) -> list[str]:
    """Those with something to return to; all where none has it, so that this is said."""
    found = {host: listings[host][service] for host in hosts}
    return [host for host, of in found.items() if of["current" if of["pending"] else "previous"]] or hosts


def half_way(listings: Mapping[str, Listing], undone: Sequence[int] = ()) -> dict[str, dict[str, list[str]]]:
    """By service, the `hosts` with something pending and a good revision to return to.

    Those too that have what a deployment with a token in `undone` brought, which ended before all its hosts had it.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for host, listing in listings.items():
        for name, of in sorted(listing.items()):
            if (of["pending"] and of["current"]) or (of.get("brought", 0) in undone and of["previous"]):
                found.setdefault(name, {"hosts": []})["hosts"].append(host)
    return found


def brought(listings: Mapping[str, Listing]) -> dict[str, list[str]]:
    """By the token of a deployment, in words, the hosts that have what it brought and nothing newer."""
    found: dict[str, list[str]] = {}
    for host, listing in listings.items():
        for of in listing.values():
            if of.get("brought"):
                found.setdefault(str(of["brought"]), []).append(host)
    return found


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


def verified(listings: Iterable[Listing]) -> list[int]:
    """Tokens of deployments that every host which knows of them has committed."""
    tokens = [(of["fence"], of.get("committed", 0)) for listing in listings for of in listing.values() if of["fence"]]
    open_somewhere = {fence for fence, committed in tokens if committed != fence}
    return sorted({fence for fence, _ in tokens} - open_somewhere)


def abort_lines(
    rows: Mapping[str, Any], returned: Mapping[str, Mapping[str, Sequence[str]]], service: str, away: Sequence[str] = ()
) -> list[str]:
    """What an abort did; `returned` are services with their `hosts`, `away` are hosts that could not be asked."""
    whose = f"of {service} " if service else ""
    unknown = f"{', '.join(away)} cannot be reached: run it again when they are back" if away else ""
    if not rows["ids"] and not returned:
        return ["", f"nothing {whose}was under way; nothing was changed", *([unknown] if unknown else []), ""]
    ended = [
        row["id"] for row in rows.get("rows") or [{"id": one} for one in rows["ids"]] if row.get("status") != "success"
    ]
    whole = [row["id"] for row in rows.get("rows") or [] if row.get("status") == "success"]
    closed = ", ".join(map(str, ended)) or "none"
    where = "; ".join(f"{name} on {', '.join(of['hosts'])}" for name, of in returned.items())
    back = f"returned to their last good release: {where}" if returned else "no host was to be returned"
    kept = f"; closed as success, since all its hosts had verified it: deployment {', '.join(map(str, whole))}"
    line = f"closed as aborted: deployment {closed}; {back}{kept if whole else ''}"
    return ["", line, *([unknown] if unknown else []), ""]


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
