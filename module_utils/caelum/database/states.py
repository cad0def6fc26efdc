"""What `caelum_deployment` does for each of its states, from the module's parameters to what it returns."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import Refused
from . import connection, controllers, deployments, history, writes
from .connection import transaction
from .entries import Change, Component, Recorded, Write
from .events import stamp
from .journal import Journal

Params = dict[str, Any]
REAPER_WAIT_S = 60.0
IDLE_WAIT_S = 10.0
LOOK_EVERY_S = 0.3


def opened(params: Params, check: bool) -> dict[str, Any]:
    """Open the rows; in check mode only see whether nobody holds them."""
    if not params["components"]:
        raise Refused(f"no component of {params['service']} is named; pass those that change as `components`")
    if params["lease"] < 1:
        raise Refused(f"lease is {params['lease']} s, and must be 1 s or more; pass for example 30")
    controller = None if params["controller_pid"] is None else controllers.identity(params["controller_pid"])
    if check:
        return {"changed": True, "ids": [], **_rehearsed(params, takes_over=controller is not None)}
    warnings = writes.replay(params["database"], journal_of(params))
    request = deployments.Request(_change(params), params["lease"], controller, params["hosts"])
    taken, ids, token = _open_after_reaper(params, request)
    return {
        "changed": True,
        "ids": ids,
        "fencing_token": token,
        "lease": params["lease"],
        "taken_over": list(taken),
        "warnings": [*warnings, *taken.values()],
    }


def _open_after_reaper(params: Params, request: deployments.Request) -> tuple[dict[int, str], list[int], int]:
    """Open the rows as soon as the reaper is done with those that a dead controller left."""
    until = time.monotonic() + REAPER_WAIT_S
    while True:
        try:
            with transaction(params["database"]) as cursor:
                taken: dict[int, str] = {}
                if request.controller:
                    change = request.change
                    taken = deployments.take_over(cursor, change.service, change.inventory, change.requested_by)
                return (taken, *deployments.open_rows(cursor, request))
        except deployments.Reaping:
            if time.monotonic() > until:
                raise
            time.sleep(LOOK_EVERY_S)


def _rehearsed(params: Params, *, takes_over: bool) -> dict[str, Any]:
    """The ids of the rows that opening would take over; Refused where a living run holds one.

    Before the first deployment there is no database, or no schema, that could be asked: nobody deploys then.
    """
    service, inventory, by = params["service"], params["inventory"], params["requested_by"]
    try:
        with transaction(params["database"]) as cursor:
            taken = deployments.take_over(cursor, service, inventory, by) if takes_over else {}
            holder = deployments.holder_of(cursor, service, inventory, _named(params))
            cursor.connection.rollback()
    except Refused:
        return {"taken_over": [], "reachable": False}
    if holder:
        raise deployments.refusal(service, inventory, holder)
    return {"taken_over": list(taken), "reachable": True}


def idle(params: Params, check: bool) -> dict[str, Any]:
    """Replay the journal, then see that nobody deploys any of the services; what cannot be asked refuses nothing.

    A deployment whose controller is gone, or that the reaper ends, stands in nobody's way by the time it matters.
    """
    try:
        connection.wait_for(params["database"], IDLE_WAIT_S)
        warnings = [] if check else writes.replay(params["database"], journal_of(params))
        holders = {service: _holder(params, service) for service in params["services"]}
    except connection.Unreachable as away:
        return {"changed": False, "reachable": False, "warnings": [] if check else [str(away)]}
    except Refused:
        return {"changed": False, "reachable": False}  # no login or no schema before the first deployment
    for service, holder in holders.items():
        if holder and not holder.reaping:
            raise deployments.refusal(service, params["inventory"], holder)
    return {"changed": False, "reachable": True, "warnings": warnings}


def _holder(params: Params, service: str) -> deployments.Holder | None:
    with transaction(params["database"]) as cursor:
        deployments.take_over(cursor, service, params["inventory"], params["requested_by"])
        holder = deployments.holder_of(cursor, service, params["inventory"], [])
        cursor.connection.rollback()
    return holder


def written(params: Params, check: bool) -> dict[str, Any]:
    """Add a step or close the rows."""
    if check:
        return {"changed": True, "ids": params["ids"], "journaled": False}
    closing = params["state"] == "closed"
    write = Write(
        write_id=str(uuid.uuid4()),
        at=stamp(),
        ids=tuple(sorted(params["ids"])),
        fencing_token=params["fencing_token"],
        event="closed" if closing else params["event"],
        host=params["host"],
        detail={"status": params["status"]} if closing else params["detail"],
        status=params["status"] if closing else None,
        logs=params["logs"],
        evidence=params["evidence"],
        events=tuple(params["events"]),
    )
    return _told(writes.send(params["database"], journal_of(params), write, after_change=params["after_change"]), write)


def recorded(params: Params, check: bool) -> dict[str, Any]:
    """Write down a deployment that is over, wherever it can be written."""
    completed = _moment("completed_at", params["completed_at"] or stamp())
    started = _moment("started_at", params["started_at"] or completed)
    if started > completed:
        raise Refused(f"started_at {started} is after completed_at {completed}; pass them the other way round")
    if not params["components"]:
        raise Refused(f"no component of {params['service']} is named; pass those that changed as `components`")
    if check:
        return {"changed": True, "ids": [], "journaled": False}
    entry = Recorded(
        write_id=str(uuid.uuid4()),
        change=_change(params),
        started_at=started,
        completed_at=completed,
        status=params["status"],
        logs=params["logs"],
        evidence=params["evidence"],
    )
    return _told(writes.send(params["database"], journal_of(params), entry, after_change=True))


def aborted(params: Params, check: bool) -> dict[str, Any]:
    """Close whatever is open of the service, or of all."""
    with transaction(params["database"]) as cursor:
        service, inventory, by = params["service"], params["inventory"], params["requested_by"]
        rows, token = deployments.abort_rows(
            cursor, service, inventory, _named(params), by, verified=params["verified"]
        )
        brought = {int(one): hosts for one, hosts in params["brought"].items()}
        whole, undone = deployments.settle_aborted(cursor, [row.id for row in rows], inventory, brought, by)
        rows = sorted({row.id: row for row in (*rows, *whole)}.values(), key=lambda row: row.id)
        if check:
            cursor.connection.rollback()
    found = {"changed": bool(rows), "ids": [row.id for row in rows], "rows": [asdict(row) for row in rows]}
    found |= {"undone": undone}
    return found if check else {**found, "fencing_token": token}


def last(params: Params, _check: bool) -> dict[str, Any]:
    """The last successful versions."""
    with transaction(params["database"]) as cursor:
        versions = history.last_versions(cursor, params["service"], params["inventory"])
    return {"changed": False, "versions": versions}


def newest(params: Params, _check: bool) -> dict[str, Any]:
    """The last rows of the history."""
    if params["limit"] < 1:
        raise Refused(f"limit is {params['limit']}, and must be 1 or more; pass for example 20")
    with transaction(params["database"]) as cursor:
        rows = history.newest(cursor, params["service"], params["inventory"], params["limit"])
    return {"changed": False, "history": rows}


STATES: dict[str, Callable[[Params, bool], dict[str, Any]]] = {
    "opened": opened,
    "step": written,
    "closed": written,
    "recorded": recorded,
    "aborted": aborted,
    "last": last,
    "history": newest,
    "idle": idle,
}


def journal_of(params: Params) -> Journal | None:
    """The journal in the folder that was given, if one was."""
    return Journal(Path(params["journal"])) if params["journal"] else None


def _told(outcome: writes.Written, write: Write | None = None) -> dict[str, Any]:
    return {
        "changed": outcome.changed,
        "journaled": outcome.journaled,
        "ids": list(write.ids if write else outcome.ids),
        "warnings": list(outcome.warnings),
    }


def _change(params: Params) -> Change:
    components = tuple(Component(**item) for item in params["components"])
    named = ("service", "version", "action", "inventory", "environment", "requested_by", "git_commit")
    return Change(**{name: params[name] for name in named}, components=components)


def _named(params: Params) -> list[str]:
    return [item["component"] for item in params["components"]]


def _moment(option: str, text: str) -> str:
    """The time in UTC; one without a zone is taken as UTC, as Ansible's `now(utc=true)` gives it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{option} is {text!r}, and must be a time like 2025-06-02T08:00:00+00:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
