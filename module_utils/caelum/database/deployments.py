"""Rows of `deployment_history` that are open: the open row is the lock, and its fencing token is the key.

A write is refused when the row was closed by somebody else or carries another token (see writes), so that a controller
that hung and came back can't overwrite what the reaper or a colleague recorded in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from . import controllers, lease
from .entries import Change
from .events import Event, record
from .words import span

if TYPE_CHECKING:
    from psycopg2 import extensions

DEFAULT_INVENTORY = "local"  # ansible.cfg's
BY_REAPER = """EXISTS (
    SELECT 1 FROM deployment_events WHERE deployment_id = deployment_history.id AND event = 'reaping'
    AND (detail->>'fencing_token')::bigint = fencing_token)"""


class Reaping(Refused):
    """The reaper is at work on the row that stands in the way; it will be closed soon."""


@dataclass(frozen=True)
class Request:
    """What a deployment's rows say when they are opened.

    `lease_s` is how long they are held after each heartbeat, in seconds. `controller` is the identity of the process
    that opens them (see controllers), where it is known. `hosts` are all that they concern: name → address.
    """

    change: Change
    lease_s: int = lease.DEFAULT_S
    controller: dict[str, Any] | None = None
    hosts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Holder:
    """The open row that stands in the way; `reaping` when the reaper is about to close it."""

    id: int
    version: str
    component: str
    requested_by: str | None
    age: timedelta
    silent: timedelta
    reaping: bool


def refusal(service: str, inventory: str, holder: Holder) -> Refused:
    """Why a deployment of `service` to `inventory` cannot begin."""
    if holder.reaping:
        return Reaping(
            f"deployment {holder.id} of {service} {holder.version} ({holder.component}) was left by its controller, "
            f"and {lease.REAPER} is taking it back; run the same command again in a moment"
        )
    where = "" if inventory == DEFAULT_INVENTORY else f"-i inventory/{inventory} "
    return Refused(
        f"deployment {holder.id} of {service} {holder.version} ({holder.component}) is still open: "
        f"{holder.requested_by or 'unknown'} holds it since {span(holder.age)}, last sign of life "
        f"{span(holder.silent)} ago; wait for it, or end it with "
        f"`ansible-playbook {where}abort.yml -e service={service}`"
    )


def holder_of(cursor: extensions.cursor, service: str, inventory: str, components: Sequence[str]) -> Holder | None:
    """The oldest open row of any of `components`, none meaning all of the service, or None."""
    cursor.execute(
        f"""SELECT id, version, component, requested_by, now() - started_at,
                   now() - coalesce(heartbeat_at, started_at), {BY_REAPER}
            FROM deployment_history
            WHERE service_name = %s AND inventory = %s AND status = 'in_progress'
              AND (%s = '{{}}'::text[] OR component = ANY(%s))
            ORDER BY started_at, id LIMIT 1""",  # noqa: S608 # a constant
        (service, inventory, list(components), list(components)),
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
    change = request.change
    for changed in sorted(change.components, key=lambda one: one.component):
        version, commit = change.release_of(changed)
        cursor.execute(
            """INSERT INTO deployment_history (service_name, version, action, host, status, environment, inventory,
                   component, git_commit, requested_by, heartbeat_at, fencing_token, lease_seconds)
               VALUES (%s, %s, %s, %s, 'in_progress', %s, %s, %s, %s, %s, now(), %s, %s)
               ON CONFLICT (service_name, component, inventory) WHERE status = 'in_progress' DO NOTHING
               RETURNING id""",
            (
                *(change.service, version, change.action, changed.host, change.environment, change.inventory),
                *(changed.component, commit, change.requested_by, token, request.lease_s),
            ),
        )
        row = cursor.fetchone()
        if row is None:
            raise _lost_race(cursor, change, changed.component)
        ids.append(row[0])
    told = {"fencing_token": token, "version": change.version, **(request.controller or {})}
    record(cursor, ids, Event("opened", told | ({"hosts": request.hosts} if request.hosts else {})))
    return sorted(ids), int(token)


def take_over(cursor: extensions.cursor, service: str, inventory: str, by: str) -> dict[int, str]:
    """Close the open rows of `service` whose controller ran on this host and is gone; a line for each, by id.

    What such a controller changed last is unknown, so its rows end as aborted, under a token that nobody has. Those
    that a living reaper works on are left to it.
    """
    cursor.execute(
        f"""SELECT id, version, component, requested_by, opening.detail
            FROM deployment_history
            JOIN LATERAL (
                SELECT detail FROM deployment_events
                WHERE deployment_id = deployment_history.id AND event = 'opened' ORDER BY id LIMIT 1
            ) AS opening ON true
            WHERE service_name = %s AND inventory = %s AND status = 'in_progress'
              AND NOT ({BY_REAPER} AND NOT {lease.OVER})
            ORDER BY deployment_history.id FOR UPDATE OF deployment_history""",  # noqa: S608 # constants
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
        record(cursor, [row_id], Event("aborted", {"by": by, "reason": reason}))
        lines[row_id] = (
            f"deployment {row_id} of {service} {version} ({component}), begun by {requested_by or 'unknown'}, "
            f"was left open: {reason}; it is closed as aborted"
        )
    return lines


@dataclass(frozen=True)
class Aborted:
    """A row that an abort closed."""

    id: int
    service: str
    component: str
    host: str | None
    version: str
    status: str = "aborted"


def abort_rows(  # noqa: PLR0913 - which rows, for whom
    cursor: extensions.cursor,
    service: str | None,
    inventory: str,
    components: Sequence[str],
    by: str,
    *,
    verified: Sequence[int] = (),
) -> tuple[list[Aborted], int]:
    """Close whatever is open of `service`, or of all without one, whoever holds it; no components means all.

    What was opened with a token in `verified` had passed its gates on all its hosts: it is closed as the success that
    it is, since only its controller's last word is missing.
    Returns the rows, none when it was idle, and a new fencing token in either case: it keeps the former holder from
    writing, should it still live, and shuts it out from the hosts that are then taken back with it.
    """
    cursor.execute("SELECT nextval('deployment_fencing')")
    (token,) = cursor.fetchone() or (0,)
    cursor.execute(
        """UPDATE deployment_history
           SET status = CASE WHEN fencing_token = ANY(%s) THEN 'success' ELSE 'aborted' END, completed_at = now(),
               logs = CASE WHEN fencing_token = ANY(%s) THEN %s ELSE %s END, fencing_token = %s
           WHERE (%s::text IS NULL OR service_name = %s) AND inventory = %s AND status = 'in_progress'
             AND (%s = '{}'::text[] OR component = ANY(%s))
           RETURNING id, service_name, component, host, version, status""",
        (
            *(list(verified), list(verified), f"verified on all its hosts when {by} aborted it", f"aborted by {by}"),
            *(token, service, service, inventory, list(components), list(components)),
        ),
    )
    rows = sorted((Aborted(*row) for row in cursor.fetchall()), key=lambda row: row.id)
    record(cursor, [row.id for row in rows], Event("aborted", {"by": by}))
    return rows, int(token)


def settle_aborted(
    cursor: extensions.cursor, ids: Sequence[int], inventory: str, brought: Mapping[int, Collection[str]], by: str
) -> tuple[list[Aborted], list[int]]:
    """The aborted deployments `ids`, and earlier ones that hosts still have: rows made a success, tokens to undo.

    `brought` are the tokens that they were opened with, and the hosts that have what they brought. Whoever closes a
    row from one host alone, as the reaper does, cannot know of the others. Where all of a deployment's hosts have it,
    it had passed its gates, and its rows are made the success that it is; else those that have it are to return.
    """
    cursor.execute(
        """SELECT id, service_name, component, host, version, (opening.detail->>'fencing_token')::bigint,
                  opening.detail->'hosts'
           FROM deployment_history
           JOIN LATERAL (
               SELECT detail FROM deployment_events
               WHERE deployment_id = deployment_history.id AND event = 'opened' ORDER BY id LIMIT 1
           ) AS opening ON true
           WHERE inventory = %s AND status = 'aborted'
             AND (id = ANY(%s) OR (opening.detail->>'fencing_token')::bigint = ANY(%s))
           ORDER BY deployment_history.id FOR UPDATE OF deployment_history""",
        (inventory, list(ids), list(brought)),
    )
    whole: list[Aborted] = []
    undone: set[int] = set()
    for row_id, of, component, host, version, token, hosts in cursor.fetchall():
        have = set(brought.get(token, ()))
        if have and set(hosts or ()) <= have:
            whole.append(Aborted(row_id, of, component, host, version, "success"))
        else:
            undone.add(token)
    ended = [row.id for row in whole]
    cursor.execute(
        """UPDATE deployment_history SET status = 'success', logs = %s || coalesce('; before: ' || logs, '')
           WHERE id = ANY(%s)""",
        (f"verified on all its hosts, as {by} found", ended),
    )
    record(cursor, ended, Event("verified", {"by": by}))
    return whole, sorted(undone)


def _lost_race(cursor: extensions.cursor, change: Change, component: str) -> Refused:
    holder = holder_of(cursor, change.service, change.inventory, [component])
    if holder is not None:
        return refusal(change.service, change.inventory, holder)
    return Refused(
        f"another deployment of {change.service} ({component}) ended at this moment; run the same command again"
    )
