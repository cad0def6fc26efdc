"""Rows of `deployment_events`: what happened to a deployment, when and where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg2 import extensions


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


def record(cursor: extensions.cursor, ids: Sequence[int], event: Event) -> None:
    """Add `event` to each of the deployments `ids`."""
    for deployment_id in ids:
        cursor.execute(
            "INSERT INTO deployment_events (deployment_id, at, host, event, detail) VALUES (%s, %s, %s, %s, %s)",
            (deployment_id, event.at, event.host, event.name, as_json(event.detail)),
        )


def as_json(value: dict[str, Any]) -> str:
    """What a jsonb column takes."""
    return json.dumps(value, sort_keys=True)
