"""Writes to the database that survive its absence: performed once, under the fence, or kept and replayed later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from . import history
from .connection import Login, Rejected, Unreachable, transaction
from .entries import Entry, Recorded, Write
from .events import Event, as_json, record
from .journal import Journal
from .words import span

if TYPE_CHECKING:
    from psycopg2 import extensions


class Fenced(Refused):
    """The row is no longer this run's to write."""


class Unknown(Refused):
    """The row is not in this database."""


@dataclass(frozen=True)
class Written:
    """What became of an entry: whether the database changed, or whether it waits in the journal instead.

    `ids` are the rows that a `Recorded` made.
    """

    changed: bool
    journaled: bool = False
    warnings: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()


def send(login: Login, journal: Journal | None, entry: Entry, *, after_change: bool) -> Written:
    """Write to the database; with `after_change`, into the journal when the database is away.

    What the journal holds goes in first, so that events keep their order. Raises Unreachable when the database is
    away and nothing has been changed yet, or there is no journal; Fenced and Unknown as `perform` does.
    """
    try:
        warnings = tuple(replay(login, journal))
        with transaction(login) as cursor:
            return replace(_bring(cursor, entry), warnings=warnings)
    except Unreachable as away:
        if not after_change or journal is None:
            raise
        kept = journal.keep(entry)
        return Written(True, True, (f"{away}; kept as {kept}, which the next deployment replays",))


def replay(login: Login, journal: Journal | None) -> list[str]:
    """Bring the kept entries into the database, each in its own transaction; a line for each that could not go in."""
    if journal is None:
        return []
    warnings: list[str] = []
    with journal.replaying() as kept:
        for file, entry in kept:
            try:
                with transaction(login) as cursor:
                    warnings += _bring_late(cursor, entry)
            except (Unknown, Rejected) as never:
                warnings.append(f"{never}; its journal entry lies in {journal.reject(file)} now")
                continue
            journal.forget(file)
    return warnings


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
        evidence = None if write.evidence is None else as_json(write.evidence)
        cursor.execute(
            """UPDATE deployment_history SET status = %s, completed_at = %s, logs = %s, evidence = %s
               WHERE id = ANY(%s)""",
            (write.status, write.at, write.logs, evidence, list(write.ids)),
        )
    for one in write.events:
        record(cursor, write.ids, Event(str(one["event"]), dict(one["detail"]), one["host"], write.at))
    record(cursor, write.ids, _event_of(write))
    return True


def _bring(cursor: extensions.cursor, entry: Entry) -> Written:
    if isinstance(entry, Write):
        return Written(perform(cursor, entry), ids=entry.ids)
    if isinstance(entry, Recorded):
        ids = history.add_recorded(cursor, entry)
        return Written(bool(ids), ids=tuple(ids))
    return Written(history.add_audit(cursor, entry))


def _bring_late(cursor: extensions.cursor, entry: Entry) -> list[str]:
    """Bring in a kept entry; a write that the fence refuses leaves an event instead, so that no history is lost."""
    try:
        _bring(cursor, entry)
    except Fenced as fenced:
        assert isinstance(entry, Write)  # noqa: S101 - the others have no fence
        late = {"refused": entry.event, "logs": entry.logs, **entry.detail}
        record(cursor, entry.ids, replace(_event_of(entry, late), name="late_write_refused"))
        return [str(fenced)]
    return []


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
        ago = f" {span(datetime.now(UTC) - since)} ago" if since else ""
        what = f"deployment {row_id} {verb}{ago}"
    result = f"{write.event} {write.status}" if write.status else f"step {write.event}"
    return f"{what}, so this run's write ({result}) is refused; look at its events, then deploy again"


def _event_of(write: Write, detail: dict[str, Any] | None = None) -> Event:
    """What `write` leaves behind; its id is what a replay recognises it by."""
    told = write.detail if detail is None else detail
    return Event(write.event, {**told, "write_id": write.write_id}, write.host, write.at)
