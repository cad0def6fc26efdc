"""Rows of `deployment_history`: the open row is the lock, and its fencing token is the key.

A write is refused when the row was closed by somebody else or carries another token, so that a controller that hung
and came back can't overwrite what the reaper or a colleague recorded in between.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from . import controllers
from .connection import Login, Unreachable, transaction
from .journal import Journal, Write

if TYPE_CHECKING:
    from psycopg2 import extensions

DEFAULT_INVENTORY = "local"  # ansible.cfg's
SERVING_ACTIONS = ("deploy", "promote", "rollback")  # those whose success says what a component serves


class Fenced(Refused):
    """The row is no longer this run's to write."""


class Unknown(Refused):
    """The row is not in this database."""


def stamp() -> str:
    """Now, as a journal and an event write it: ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat()


@dataclass(frozen=True)
class Event:
    """A row of `deployment_events`."""

    name: str
    detail: dict[str, Any]
    host: str | None = None
    at: str = field(default_factory=stamp)


@dataclass(frozen=True)
class Written:
    """What became of a write: whether the database changed, and whether it waits in the journal instead."""

    changed: bool
    journaled: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What a deployment's rows say when they are opened; `components` are pairs of component and host.

    `controller` is the identity of the process that opens them (see controllers), where it is known.
    """

    service: str
    version: str
    action: str
    inventory: str
    environment: str
    requested_by: str
    git_commit: str | None
    components: tuple[tuple[str, str | None], ...]
    controller: dict[str, Any] | None = None


@dataclass(frozen=True)
class Holder:
    """The open row that stands in the way."""

    id: int
    version: str
    component: str
    requested_by: str | None
    age: timedelta
    silent: timedelta


def refusal(service: str, inventory: str, holder: Holder) -> Refused:
    """Why a deployment of `service` to `inventory` cannot begin."""
    where = "" if inventory == DEFAULT_INVENTORY else f"-i inventory/{inventory} "
    return Refused(
        f"deployment {holder.id} of {service} {holder.version} ({holder.component}) is still open: "
        f"{holder.requested_by or 'unknown'} holds it since {words(holder.age)}, last sign of life "
        f"{words(holder.silent)} ago; wait for it, or end it with "
        f"`ansible-playbook {where}abort.yml -e service={service}`"
    )


def words(span: timedelta) -> str:
    """A span of time for a person: `42 s`, `7 min`, `3 h`, `2 d`."""
    seconds = max(0, int(span.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def holder_of(cursor: extensions.cursor, service: str, inventory: str, components: Sequence[str]) -> Holder | None:
    """The oldest open row of any of `components`, or None."""
    cursor.execute(
        """SELECT id, version, component, requested_by, now() - started_at,
                  now() - coalesce(heartbeat_at, started_at)
           FROM deployment_history
           WHERE service_name = %s AND inventory = %s AND component = ANY(%s) AND status = 'in_progress'
           ORDER BY started_at, id LIMIT 1""",
        (service, inventory, list(components)),
    )
    row = cursor.fetchone()
    return Holder(*row) if row else None


def open_rows(cursor: extensions.cursor, request: Request) -> tuple[list[int], int]:
    """One open row per component and the fencing token that they share, or Refused naming the holder.

    Rows are taken in the order of the components' names: two runs at once then wait for each other, never in a ring.
    """
    cursor.execute("SELECT nextval('deployment_fencing')")
    (token,) = cursor.fetchone() or (0,)
    ids: list[int] = []
    for component, host in sorted(request.components, key=lambda pair: pair[0]):
        cursor.execute(
            """INSERT INTO deployment_history (service_name, version, action, host, status, environment, inventory,
                   component, git_commit, requested_by, heartbeat_at, fencing_token)
               VALUES (%s, %s, %s, %s, 'in_progress', %s, %s, %s, %s, %s, now(), %s)
               ON CONFLICT (service_name, component, inventory) WHERE status = 'in_progress' DO NOTHING
               RETURNING id""",
            (
                *(request.service, request.version, request.action, host, request.environment, request.inventory),
                *(component, request.git_commit, request.requested_by, token),
            ),
        )
        row = cursor.fetchone()
        if row is None:
            raise _lost_race(cursor, request, component)
        ids.append(row[0])
    _record(cursor, ids, Event("opened", {"fencing_token": token, **(request.controller or {})}))
    return sorted(ids), int(token)


def take_over(cursor: extensions.cursor, service: str, inventory: str, by: str) -> dict[int, str]:
    """Close the open rows of `service` whose controller ran on this host and is gone; a line for each, by id.

    What such a controller changed last is unknown, so its rows end as aborted, under a token that nobody has.
    """
    cursor.execute(
        """SELECT id, version, component, requested_by, opening.detail
           FROM deployment_history
           JOIN LATERAL (
               SELECT detail FROM deployment_events
               WHERE deployment_id = deployment_history.id AND event = 'opened' ORDER BY id LIMIT 1
           ) AS opening ON true
           WHERE service_name = %s AND inventory = %s AND status = 'in_progress'
           ORDER BY deployment_history.id FOR UPDATE OF deployment_history""",
        (service, inventory),
    )
    lines: dict[int, str] = {}
    for row_id, version, component, requested_by, told in cursor.fetchall():
        if not controllers.gone(told or {}):
            continue
        reason = f"its controller, pid {told['pid']} on host {told['controller']}, is gone"
        cursor.execute(
            """UPDATE deployment_history
               SET status = 'aborted', completed_at = now(), logs = %s, fencing_token = nextval('deployment_fencing')
               WHERE id = %s""",
            (reason, row_id),
        )
        _record(cursor, [row_id], Event("aborted", {"by": by, "reason": reason}))
        lines[row_id] = (
            f"deployment {row_id} of {service} {version} ({component}), begun by {requested_by or 'unknown'}, "
            f"was left open: {reason}; it is closed as aborted"
        )
    return lines


def abort_rows(
    cursor: extensions.cursor, service: str, inventory: str, components: Sequence[str], by: str
) -> list[int]:
    """Close whatever is open of `service`, whoever holds it; the ids, none when it was idle.

    A new fencing token keeps the former holder from writing, should it still live. No components means all.
    """
    cursor.execute(
        """UPDATE deployment_history
           SET status = 'aborted', completed_at = now(), logs = %s, fencing_token = nextval('deployment_fencing')
           WHERE service_name = %s AND inventory = %s AND status = 'in_progress'
             AND (%s = '{}'::text[] OR component = ANY(%s))
           RETURNING id""",
        (f"aborted by {by}", service, inventory, list(components), list(components)),
    )
    ids = sorted(row[0] for row in cursor.fetchall())
    _record(cursor, ids, Event("aborted", {"by": by}))
    return ids


def last_versions(cursor: extensions.cursor, service: str, inventory: str) -> dict[str, dict[str, Any]]:
    """For each component of `service` the last deployment, promotion or rollback that succeeded."""
    cursor.execute(
        """SELECT DISTINCT ON (component) component, id, version, host, git_commit, completed_at
           FROM deployment_history
           WHERE service_name = %s AND inventory = %s AND status = 'success' AND action = ANY(%s)
           ORDER BY component, completed_at DESC, id DESC""",
        (service, inventory, list(SERVING_ACTIONS)),
    )
    return {
        component: {
            "id": row_id,
            "version": version,
            "host": host,
            "git_commit": commit,
            "completed_at": completed.isoformat() if completed else None,
        }
        for component, row_id, version, host, commit, completed in cursor.fetchall()
    }


def perform(cursor: extensions.cursor, write: Write) -> bool:
    """Bring `write` into the database; False when it is there already.

    Raises Fenced when a row is not this run's to write any more, Unknown when there is none; nothing is written then.
    """
    rows = _lock(cursor, write.ids)
    if _known(cursor, write):
        return False
    if write.status is not None and all(row[1:3] == (write.status, write.fencing_token) for row in rows):
        return False
    for row_id, status, token, since in rows:
        if status != "in_progress" or token != write.fencing_token:
            raise Fenced(_fence_line(write, row_id, status, since))
    if write.status is None:
        cursor.execute(
            "UPDATE deployment_history SET heartbeat_at = greatest(heartbeat_at, %s) WHERE id = ANY(%s)",
            (write.at, list(write.ids)),
        )
    else:
        evidence = None if write.evidence is None else _json(write.evidence)
        cursor.execute(
            """UPDATE deployment_history SET status = %s, completed_at = %s, logs = %s, evidence = %s
               WHERE id = ANY(%s)""",
            (write.status, write.at, write.logs, evidence, list(write.ids)),
        )
    _record(cursor, write.ids, _event_of(write))
    return True


def send(login: Login, journal: Journal | None, write: Write, *, after_change: bool) -> Written:
    """Write to the database; with `after_change`, into the journal when the database is away.

    What the journal holds goes in first, so that events keep their order. Raises Unreachable when the database is
    away and nothing has been changed yet, or there is no journal; Fenced and Unknown as `perform` does.
    """
    try:
        warnings = replay(login, journal)
        with transaction(login) as cursor:
            return Written(perform(cursor, write), warnings=tuple(warnings))
    except Unreachable as away:
        if not after_change or journal is None:
            raise
        entry = journal.keep(write)
        return Written(True, True, (f"{away}; kept as {entry}, which the next deployment replays",))


def replay(login: Login, journal: Journal | None) -> list[str]:
    """Bring the kept writes into the database, each in its own transaction; a line for each that could not go in."""
    if journal is None:
        return []
    warnings: list[str] = []
    with journal.replaying() as kept:
        for entry, write in kept:
            try:
                with transaction(login) as cursor:
                    warnings += _perform_late(cursor, write)
            except Unknown as unknown:
                warnings.append(f"{unknown}; its journal entry lies in {journal.reject(entry)} now")
                continue
            journal.forget(entry)
    return warnings


def _perform_late(cursor: extensions.cursor, write: Write) -> list[str]:
    """Perform a kept write; what the fence refuses leaves an event instead, so that no history is lost."""
    try:
        perform(cursor, write)
    except Fenced as fenced:
        late = {"refused": write.event, "logs": write.logs, **write.detail}
        _record(cursor, write.ids, replace(_event_of(write, late), name="late_write_refused"))
        return [str(fenced)]
    return []


def _lost_race(cursor: extensions.cursor, request: Request, component: str) -> Refused:
    holder = holder_of(cursor, request.service, request.inventory, [component])
    if holder is not None:
        return refusal(request.service, request.inventory, holder)
    return Refused(
        f"another deployment of {request.service} ({component}) ended at this moment; run the same command again"
    )


def _lock(cursor: extensions.cursor, ids: Sequence[int]) -> list[tuple[int, str, int, datetime | None]]:
    """The rows, locked until the transaction ends: two writers of one write id then see each other."""
    cursor.execute(
        """SELECT id, status, fencing_token, completed_at FROM deployment_history
           WHERE id = ANY(%s) ORDER BY id FOR UPDATE""",
        (list(ids),),
    )
    rows = cursor.fetchall()
    missing = sorted(set(ids) - {row[0] for row in rows})
    if missing or not ids:
        raise Unknown(
            f"deployment {', '.join(map(str, missing)) or '(none given)'} is not in this database; "
            "pass the ids that `state: opened` returned"
        )
    return rows


def _known(cursor: extensions.cursor, write: Write) -> bool:
    cursor.execute(
        "SELECT 1 FROM deployment_events WHERE deployment_id = ANY(%s) AND detail->>'write_id' = %s LIMIT 1",
        (list(write.ids), write.write_id),
    )
    return cursor.fetchone() is not None


def _fence_line(write: Write, row_id: int, status: str, since: datetime | None) -> str:
    if status == "in_progress":
        what = f"deployment {row_id} is held by another run (this one's fencing token is {write.fencing_token})"
    else:
        verb = "was aborted" if status == "aborted" else f"was closed as {status}"
        ago = f" {words(datetime.now(UTC) - since)} ago" if since else ""
        what = f"deployment {row_id} {verb}{ago}"
    result = f"{write.event} {write.status}" if write.status else f"step {write.event}"
    return f"{what}, so this run's write ({result}) is refused; look at its events, then deploy again"


def _event_of(write: Write, detail: dict[str, Any] | None = None) -> Event:
    """What `write` leaves behind; its id is what a replay recognises it by."""
    told = write.detail if detail is None else detail
    return Event(write.event, {**told, "write_id": write.write_id}, write.host, write.at)


def _record(cursor: extensions.cursor, ids: Sequence[int], event: Event) -> None:
    for deployment_id in ids:
        cursor.execute(
            "INSERT INTO deployment_events (deployment_id, at, host, event, detail) VALUES (%s, %s, %s, %s, %s)",
            (deployment_id, event.at, event.host, event.name, _json(event.detail)),
        )


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
