"""The lease of open deployments: a controller beats while it lives, and the reaper takes what has run out.

A row's lease ends `lease_seconds` after its last heartbeat, or at once when its controller released it. The reaper
seizes such a deployment under a new fencing token, which shuts its controller out for good, and then holds the lease
itself: it beats with the new token while it works, and should it die, the next reaper finds the row expired again.
Every function works in the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from .events import Event, as_json, record
from .words import span

if TYPE_CHECKING:
    from psycopg2 import extensions

DEFAULT_S = 30
REAPER = "caelum-reaper"
OVER = "coalesce(heartbeat_at, started_at) + make_interval(secs => lease_seconds) <= now()"


@dataclass(frozen=True)
class Group:
    """Open rows of one service that one controller holds, and whose lease is over.

    `version` is the one that the service was to have; a component's own may be another.
    `token` is the rows' fencing token now. `opened_with` is the one that they were opened with: the same, unless a
    reaper seized them before and died; it is the token that the controller's hosts know. `silent` is the time since
    the last sign of life. A row's `host` may be None: such rows belong to no host's reaper but to one asked for all.
    `places` are the hosts that it concerns, name to address, as its opening tells; empty where that named none.
    """

    service: str
    version: str
    action: str
    inventory: str
    requested_by: str | None
    token: int
    opened_with: int
    ids: tuple[int, ...]
    components: tuple[str, ...]
    hosts: tuple[str, ...]
    silent: timedelta
    places: Mapping[str, str] = field(default_factory=dict)

    def others(self, address: str) -> list[str]:
        """Names of the hosts besides the one of this address."""
        return sorted(name for name, place in self.places.items() if place != address)

    def concerns(self, address: str) -> bool:
        """Whether the host of this address is one of them; without a list of them the rows' own column says it."""
        return address in (self.places.values() if self.places else self.hosts)


def beat(cursor: extensions.cursor, token: int) -> int:
    """Prolong the lease of the open rows of `token`; how many they are, 0 when they are no longer this holder's."""
    cursor.execute(
        "UPDATE deployment_history SET heartbeat_at = now() WHERE fencing_token = %s AND status = 'in_progress'",
        (token,),
    )
    return int(cursor.rowcount)


def refuse_lost(cursor: extensions.cursor, token: int) -> None:
    """Refused when no row of `token` is open any more; held so until the transaction ends."""
    cursor.execute(
        "SELECT id FROM deployment_history WHERE fencing_token = %s AND status = 'in_progress' FOR SHARE", (token,)
    )
    if cursor.fetchone() is None:
        raise Refused(
            f"this deployment (fencing token {token}) is no longer open: it was aborted or taken over, so nothing "
            "of it is written; look at the history, then run the command again"
        )


def release(cursor: extensions.cursor, token: int, reason: str = "released by its controller") -> int:
    """Let the lease of the open rows of `token` be over now, with the event `released`; how many rows they are.

    The rows stay open, since the reaper still has to take back what they began.
    """
    cursor.execute(
        """UPDATE deployment_history SET lease_seconds = 0
           WHERE fencing_token = %s AND status = 'in_progress' AND lease_seconds > 0 RETURNING id""",
        (token,),
    )
    ids = sorted(row[0] for row in cursor.fetchall())
    record(cursor, ids, Event("released", {"reason": reason}))
    return len(ids)


def release_of(cursor: extensions.cursor, controller: Mapping[str, Any], reason: str) -> int:
    """As `release`, for whatever the process `controller` (see controllers.identity) opened and nobody took since."""
    cursor.execute(
        """SELECT DISTINCT fencing_token FROM deployment_history
           JOIN deployment_events ON deployment_id = deployment_history.id AND event = 'opened'
           WHERE status = 'in_progress' AND detail @> %s AND (detail->>'fencing_token')::bigint = fencing_token""",
        (as_json(dict(controller)),),
    )
    return sum(release(cursor, token, reason) for (token,) in cursor.fetchall())


def loss(cursor: extensions.cursor, ids: Sequence[int]) -> str:
    """What became of the first of the deployments `ids` that its holder lost: aborted, closed or taken over."""
    cursor.execute(
        """SELECT id, status, logs, now() - coalesce(completed_at, heartbeat_at, started_at) FROM deployment_history
           WHERE id = ANY(%s) ORDER BY id LIMIT 1""",
        (list(ids),),
    )
    row = cursor.fetchone()
    if row is None:
        return f"deployment {min(ids)} is not in the database any more"
    row_id, status, logs, ago = row
    if status == "in_progress":
        return f"deployment {row_id} was seized by {REAPER}, since no heartbeat of this run had reached the database"
    said = f" ({' '.join(logs.split())})" if logs else ""
    verb = "was aborted" if status == "aborted" else f"was closed as {status}"
    return f"deployment {row_id} {verb} {span(ago)} ago{said}"


def expired(cursor: extensions.cursor, inventory: str, host: str | None) -> list[Group]:
    """The deployments of `inventory` whose lease is over, the oldest first; with `host`, their rows on it alone."""
    cursor.execute(
        f"""SELECT service_name, min(coalesce(opening.version, deployment_history.version)), min(action), inventory,
                   min(requested_by), fencing_token, min(coalesce(opening.token, fencing_token)),
                   array_agg(id ORDER BY id), array_agg(component::text ORDER BY id),
                   array_remove(array_agg(DISTINCT host::text), NULL),
                   min(now() - coalesce(heartbeat_at, started_at)), min(opening.places)
            FROM deployment_history
            LEFT JOIN LATERAL (
                SELECT (detail->>'fencing_token')::bigint AS token, detail->>'version' AS version,
                       detail->>'hosts' AS places
                FROM deployment_events WHERE deployment_id = deployment_history.id AND event = 'opened'
                ORDER BY deployment_events.id LIMIT 1
            ) AS opening ON true
            WHERE status = 'in_progress' AND inventory = %s AND (%s::text IS NULL OR host = %s)
              AND fencing_token IS NOT NULL AND {OVER}
            GROUP BY service_name, inventory, fencing_token ORDER BY min(started_at), min(id)""",  # noqa: S608 # ours
        (inventory, host, host),
    )
    found = cursor.fetchall()
    return [
        Group(
            *(service, version, action, of, by, token, opened_with),
            tuple(ids),
            tuple(components),
            tuple(hosts),
            silent,
            json.loads(places or "{}"),
        )
        for service, version, action, of, by, token, opened_with, ids, components, hosts, silent, places in found
    ]


def seize(cursor: extensions.cursor, group: Group, lease_s: int = DEFAULT_S, by: str = REAPER) -> int | None:
    """Take the deployment `group` under a new fencing token, which is returned, with a lease of `lease_s` from now.

    The rows stay open, with the event `reaping`. None when somebody else was faster: another reaper is at it, the
    controller gave a sign of life, or a row was closed. Nothing is written then.
    """
    cursor.execute(
        f"""SELECT id FROM deployment_history
            WHERE id = ANY(%s) AND status = 'in_progress' AND fencing_token = %s AND {OVER}
            ORDER BY id FOR UPDATE SKIP LOCKED""",  # noqa: S608 # ours
        (list(group.ids), group.token),
    )
    if tuple(row[0] for row in cursor.fetchall()) != group.ids:
        return None
    cursor.execute("SELECT nextval('deployment_fencing')")
    (token,) = cursor.fetchone() or (0,)
    cursor.execute(
        "UPDATE deployment_history SET fencing_token = %s, heartbeat_at = now(), lease_seconds = %s WHERE id = ANY(%s)",
        (token, lease_s, list(group.ids)),
    )
    record(cursor, group.ids, Event("reaping", {"by": by, "fencing_token": token, "seized_from": group.token}))
    return int(token)


def close_reaped(cursor: extensions.cursor, token: int, status: str, logs: str, by: str = REAPER) -> int:
    """Close the open rows of `token` as `status` with the line `logs` and the event `reaped`; how many they are.

    0 when somebody closed them in between, as abort.yml does: their outcome stands.
    """
    cursor.execute(
        """UPDATE deployment_history SET status = %s, completed_at = now(), logs = %s
           WHERE fencing_token = %s AND status = 'in_progress' RETURNING id""",
        (status, logs, token),
    )
    ids = sorted(row[0] for row in cursor.fetchall())
    record(cursor, ids, Event("reaped", {"by": by, "status": status}))
    return len(ids)
