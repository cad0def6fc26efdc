"""Deployments that are over: what the history says of them, and those that are written down afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .entries import Audit, Recorded
from .events import Event, as_json, record

if TYPE_CHECKING:
    from psycopg2 import extensions

SERVING_ACTIONS = ("deploy", "promote", "rollback")  # those whose success says what a component serves


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
            "completed_at": _iso(completed),
        }
        for component, row_id, version, host, commit, completed in cursor.fetchall()
    }


def newest(cursor: extensions.cursor, service: str | None, inventory: str, limit: int) -> list[dict[str, Any]]:
    """The last `limit` rows, the newest first, of one service or of all; `took_s` is None while a row is open."""
    cursor.execute(
        """SELECT id, service_name, component, host, version, action, status, started_at, completed_at,
                  requested_by, git_commit, logs
           FROM deployment_history WHERE inventory = %s AND (%s::text IS NULL OR service_name = %s)
           ORDER BY started_at DESC, id DESC LIMIT %s""",
        (inventory, service, service, limit),
    )
    names = (
        *("id", "service", "component", "host", "version", "action", "status", "started_at", "completed_at"),
        *("requested_by", "git_commit", "logs"),
    )
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [
        {**row, "started_at": _iso(row["started_at"]), "completed_at": _iso(row["completed_at"]), "took_s": _took(row)}
        for row in rows
    ]


def add_recorded(cursor: extensions.cursor, entry: Recorded) -> list[int]:
    """A closed row per component with the event `recorded`; the ids, none when the history has the entry already."""
    # The times are the entry's own, to the microsecond, so the index on started_at finds it among any number of rows.
    cursor.execute(
        """SELECT 1 FROM deployment_history JOIN deployment_events ON deployment_id = deployment_history.id
           WHERE started_at = %s AND event = 'recorded' AND detail->>'write_id' = %s LIMIT 1""",
        (entry.started_at, entry.write_id),
    )
    if cursor.fetchone() is not None:
        return []
    evidence = None if entry.evidence is None else as_json(entry.evidence)
    ids = []
    change = entry.change
    for changed in change.components:
        version, commit = change.release_of(changed)
        cursor.execute(
            """INSERT INTO deployment_history (service_name, version, action, host, status, started_at, completed_at,
                   logs, environment, inventory, component, git_commit, requested_by, evidence)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
            (
                *(change.service, version, change.action, changed.host, entry.status, entry.started_at),
                *(entry.completed_at, entry.logs, change.environment, change.inventory, changed.component, commit),
                *(change.requested_by, evidence),
            ),
        )
        ids.append(int((cursor.fetchone() or (0,))[0]))
    told = {"write_id": entry.write_id, "by": change.requested_by}
    record(cursor, ids, Event("recorded", told, at=entry.completed_at))
    return ids


def add_audit(cursor: extensions.cursor, entry: Audit) -> bool:
    """A line of the audit log; False when it is there already."""
    cursor.execute(
        "SELECT 1 FROM audit_log WHERE at = %s AND detail->>'write_id' = %s LIMIT 1", (entry.at, entry.write_id)
    )
    if cursor.fetchone() is not None:
        return False
    cursor.execute(
        "INSERT INTO audit_log (at, actor, action, target, detail) VALUES (%s, %s, %s, %s, %s)",
        (entry.at, entry.actor, entry.action, entry.target, as_json({**entry.detail, "write_id": entry.write_id})),
    )
    return True


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _took(row: dict[str, Any]) -> float | None:
    ended: datetime | None = row["completed_at"]
    return round((ended - row["started_at"]).total_seconds(), 1) if ended else None
