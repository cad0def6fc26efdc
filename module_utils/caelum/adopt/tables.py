"""The specification's three tables as they are found, and how each of their columns becomes one of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import Refused

if TYPE_CHECKING:
    from psycopg2 import sql

SPECIFIED: Mapping[str, tuple[str, ...]] = {
    "service_configs": (
        *("id", "service_name", "version", "config_json", "environment", "host", "port", "enabled"),
        *("created_at", "updated_at"),
    ),
    "service_health": ("id", "service_name", "version", "status", "last_check", "response_time_ms", "metadata"),
    "deployment_history": (
        *("id", "service_name", "version", "action", "host", "status", "started_at", "completed_at", "logs"),
    ),
}
NEEDED: Mapping[str, tuple[str, ...]] = {
    "service_configs": ("id", "service_name", "version", "config_json", "environment"),
    "service_health": ("id", "service_name"),
    "deployment_history": ("id", "service_name", "version"),
}
"""Columns without which a row says nothing; the others may be missing."""

OURS = ("environment", "inventory", "component", "git_commit", "requested_by", "evidence", "heartbeat_at")
"""Columns that our deployment_history has beside the specification's, and that theirs must not have."""

TIMES: Mapping[str, tuple[str, ...]] = {
    "service_configs": ("created_at", "updated_at"),
    "service_health": ("last_check",),
    "deployment_history": ("started_at", "completed_at"),
}
LIMITS = {"service_name": 50, "version": 20, "environment": 20, "host": 100}

# What other tools write for the words of our vocabulary. "null" stands for no word at all.
WORDS: Mapping[str, Mapping[str, str]] = {
    "service_health.status": {
        **{word: word for word in ("healthy", "degraded", "down")},
        **{"up": "healthy", "ok": "healthy", "online": "healthy", "unhealthy": "down", "offline": "down"},
        **{"error": "down", "failed": "down", "stopped": "down", "warning": "degraded", "null": "degraded"},
    },
    "deployment_history.status": {
        **{word: word for word in ("success", "failed", "in_progress", "aborted", "rolled_back", "inconclusive")},
        **{"succeeded": "success", "completed": "success", "complete": "success", "done": "success"},
        **{"failure": "failed", "error": "failed", "running": "in_progress", "started": "in_progress"},
        **{"in-progress": "in_progress", "pending": "in_progress", "queued": "in_progress"},
        **{"cancelled": "aborted", "canceled": "aborted", "rolled-back": "rolled_back", "null": "inconclusive"},
    },
    "deployment_history.action": {
        **{word: word for word in ("deploy", "rollback", "test", "promote", "canary", "abort")},
        **{"deployment": "deploy", "install": "deploy", "update": "deploy", "upgrade": "deploy"},
        **{"roll-back": "rollback", "roll_back": "rollback", "revert": "rollback", "promotion": "promote"},
        **{"null": "deploy"},
    },
}
VOCABULARY: Mapping[str, frozenset[str]] = {
    field: frozenset(target for word, target in known.items() if word == target) for field, known in WORDS.items()
}
# A history of theirs is about whole services; ours is about components, so it counts for the one that answers.
COMPONENTS = {"senvec": "aggregator", "finvec": "finvec-train", "pim": "pim-web"}


@dataclass(frozen=True)
class Reading:
    """How their values are read: the zone of their times, their words, and what ours need beside."""

    zone: str
    words: Mapping[str, Mapping[str, str]]
    inventory: str
    at: str
    """Time of the adoption, ISO 8601: where a row must have an end and has none."""


def with_words(given: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The known words with those `given` beside them; Refused when one of these leads nowhere."""
    words = {field: dict(known) for field, known in WORDS.items()}
    for field, extra in given.items():
        if field not in words:
            raise Refused(f"adopt_words has no field {field}; it may hold {', '.join(words)}")
        for word, target in extra.items():
            if target not in VOCABULARY[field]:
                raise Refused(
                    f"adopt_words makes {word!r} of {field} to {target!r}, which is no word of ours; "
                    f"choose one of {', '.join(sorted(VOCABULARY[field]))}"
                )
            words[field][word.strip().lower()] = target
    return words


def forward(
    table: str, types: Mapping[str, str], reading: Reading, source: sql.Composable
) -> dict[str, sql.Composable]:
    """Our columns of `table` and the expression over their row `o` of `source` that gives each.

    `types` are those of their columns.
    """
    from psycopg2 import sql

    names = {name: sql.SQL("o.{}").format(sql.Identifier(name)) for name in SPECIFIED[table] if name in types}
    found: dict[str, sql.Composable] = {
        name: sql.SQL("{}::jsonb").format(column) if name in {"config_json", "metadata"} else column
        for name, column in names.items()
    }
    if "enabled" in names:
        found["enabled"] = sql.SQL("coalesce({}, true)").format(names["enabled"])
    for field in (f"{table}.{name}" for name in ("status", "action")):
        if field in reading.words:
            found[field.rpartition(".")[2]] = _word(names.get(field.rpartition(".")[2]), reading.words[field])
    found |= _times(table, types, reading, source)
    return found | (_history(found, names, reading) if table == "deployment_history" else {})


def backward(table: str, types: Mapping[str, str], reading: Reading) -> dict[str, sql.Composable]:
    """Their columns of `table` and the expression over our row `n` that gives each."""
    from psycopg2 import sql

    found: dict[str, sql.Composable] = {}
    for name in (name for name in SPECIFIED[table] if name in types):
        column = sql.SQL("n.{}").format(sql.Identifier(name))
        if name in TIMES[table] and types[name] == "timestamp without time zone":
            column = sql.SQL("{} AT TIME ZONE {}").format(column, sql.Literal(reading.zone))
        found[name] = sql.SQL("({})::{}").format(column, sql.SQL(types[name]))
    return found


def moment(column: str, kind: str, zone: str) -> sql.Composable:
    """Their time in `column` of row `o` as a moment; one that has a zone already keeps it."""
    from psycopg2 import sql

    name = sql.SQL("o.{}").format(sql.Identifier(column))
    if kind == "timestamp with time zone":
        return name
    return sql.SQL("({} AT TIME ZONE {})").format(name, sql.Literal(zone))


def _times(table: str, types: Mapping[str, str], reading: Reading, source: sql.Composable) -> dict[str, sql.Composable]:
    from psycopg2 import sql

    known = {name: moment(name, types[name], reading.zone) for name in TIMES[table] if name in types}
    if not known:
        return {}
    # A time that nobody wrote down must not make a row look newer than what is known.
    least = sql.SQL("(SELECT min(least({})) FROM {} AS o)").format(sql.SQL(", ").join(known.values()), source)
    found: dict[str, sql.Composable] = {}
    for name, value in known.items():
        others = [value, *(known[other] for other in known if other != name), least, sql.Literal(reading.at)]
        found[name] = sql.SQL("coalesce({})").format(sql.SQL(", ").join(_as_moments(others)))
    if table == "deployment_history" and "completed_at" in known:
        found["completed_at"] = known["completed_at"]
    return found


def _as_moments(values: Iterable[sql.Composable]) -> list[sql.Composable]:
    from psycopg2 import sql

    return [sql.SQL("{}::timestamptz").format(value) for value in values]


def _word(column: sql.Composable | None, words: Mapping[str, str]) -> sql.Composable:
    """A word of theirs in our vocabulary; null for one that is unknown, which our table then refuses."""
    from psycopg2 import sql

    if column is None:
        return sql.Literal(words["null"])
    whens = [
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(word), sql.Literal(target))
        for word, target in words.items()
        if word != "null"
    ]
    return sql.SQL("CASE coalesce(lower(trim({})), '') WHEN '' THEN {} {} END").format(
        column, sql.Literal(words["null"]), sql.SQL(" ").join(whens)
    )


def _history(
    found: Mapping[str, sql.Composable], names: Mapping[str, sql.Composable], reading: Reading
) -> dict[str, sql.Composable]:
    """Columns that only our history has, and the end of rows that nobody will close any more."""
    from psycopg2 import sql

    is_open = sql.SQL("{} = 'in_progress'").format(found["status"])
    ended = found.get("completed_at", sql.SQL("NULL::timestamptz"))
    components = [
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(service), sql.Literal(component))
        for service, component in COMPONENTS.items()
    ]
    said = [sql.SQL("{}, {}").format(sql.Literal(name), names[name]) for name in ("action", "status") if name in names]
    return {
        "status": sql.SQL("CASE WHEN {} THEN 'aborted' ELSE {} END").format(is_open, found["status"]),
        "completed_at": sql.SQL("CASE WHEN {} THEN coalesce({}, {}::timestamptz) ELSE {} END").format(
            is_open, ended, sql.Literal(reading.at), ended
        ),
        "component": sql.SQL("CASE o.service_name {} ELSE o.service_name END").format(sql.SQL(" ").join(components)),
        "inventory": sql.Literal(reading.inventory),
        "requested_by": sql.Literal("adopted"),
        "evidence": sql.SQL("jsonb_build_object('adopted', jsonb_build_object({}))").format(sql.SQL(", ").join(said)),
    }
