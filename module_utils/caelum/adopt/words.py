"""The report of adopt.yml as text: what runs where, what the database holds, and what taking it over would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..report import table

HEADER = ("HOST", "SERVICE", "PORT", "PID", "USER", "KEPT BY", "SINCE", "VERSION", "COMMAND")
COMMAND_LETTERS = 70


def results(hosts: Iterable[str], facts: Mapping[str, Any], register: str) -> list[dict[str, Any]]:
    """What a task registered on each of `hosts`, as the other functions take it; `facts` are Ansible's hostvars."""
    silent = {"failed": True, "msg": "it could not be asked: see above"}
    return [{"host": host, "result": facts[host].get(register, silent)} for host in hosts]


def lines(hosts: Iterable[Mapping[str, Any]], database: Mapping[str, Any]) -> list[str]:
    """The whole report.

    `hosts` are `{host, result}` with what caelum_adopt returned there, `database` is what caelum_adopt_database did; of
    either only the line that it failed with may be there.
    """
    rows: list[tuple[str, ...]] = [HEADER]
    notes: list[str] = []
    steps: list[str] = []
    seen: set[str] = set()
    for item in hosts:
        host, result = str(item["host"]), item["result"]
        if "processes" not in result:
            notes.append(f"{host}: {_line(result)}")
            continue
        rows += [_row(host, process) for process in result["processes"]]
        steps += [f"{host}: {step}" for step in result["steps"]]
        notes += [f"{host}: in the way: {line}" for line in result["obstacles"]]
        notes += [f"{host}: taken over before: {', '.join(result['adopted'])}"] if result["adopted"] else []
        for file in (file for file in result["files"] if file["path"] not in seen):
            seen.add(file["path"])
            notes.append(_file(host, file))
    found = table(rows) if len(rows) > 1 else ["nothing listens on the services' ports"]
    told = ["", "on the hosts", *(f"  {note}" for note in notes)] if notes else []
    return ["", *found, *told, "", *_database(database), "", *_plan(steps, database), ""]


def outcome(hosts: Iterable[Mapping[str, Any]], verb: str) -> list[str]:
    """What the steps `services` and `return` did on the hosts."""
    done = [f"{item['host']}: {step}" for item in hosts for step in item["result"].get("steps", [])]
    return ["", *done, ""] if done else ["", f"nothing was {verb} on the hosts: there is nothing left to do", ""]


def taken(adoption: Mapping[str, Any], dump: str) -> list[str]:
    """What the step `database` did; nothing but that when there is no adoption."""
    if not adoption:
        return ["", "the database is as it was: nothing in it is left to take over, or this was a check", ""]
    rows = [f"  {name}: {one['rows']} rows, md5 {one['md5']}" for name, one in adoption["tables"].items()]
    closed = [f"closed as aborted: {', '.join(map(str, adoption['aborted']))}"] if adoption["aborted"] else []
    left = [f"left with the old table: {what}" for what in adoption["fittings"]["left"]]
    return [
        *("", f"the schema is at revision {adoption['revision']}; the same rows before and after:", *rows),
        *(f"the old tables are in schema {adoption['schema']}, and in {dump}", *closed, *left, ""),
    ]


def _row(host: str, process: Mapping[str, Any]) -> tuple[str, ...]:
    kept = "a deployment" if process["ours"] else str(process["supervisor"])
    command = str(process["command"])
    return (
        *(host, str(process["service"]), ",".join(map(str, process["ports"])) or "-", str(process["pid"])),
        *(str(process["user"]), kept, str(process["since"]), str(process["version"]) or "-"),
        command if len(command) <= COMMAND_LETTERS else f"{command[: COMMAND_LETTERS - 1]}…",
    )


def _file(host: str, file: Mapping[str, Any]) -> str:
    readers = ", readable by others: `chmod 600` it" if file["open"] else ""
    return f"{host}: {file['kind']} {file['path']}, mode {file['mode']}{readers}"


def _line(result: Mapping[str, Any]) -> str:
    return " ".join(str(result.get("msg", "no answer")).split())


def _database(result: Mapping[str, Any]) -> list[str]:
    if result.get("skipped"):
        return ["database", "  this inventory's server is not there yet; the first deployment makes it"]
    if "report" not in result:
        return ["database", f"  {_line(result)}"]
    report = result["report"]
    if report["revision"] is not None:
        kept = f"; the tables of before are in schema {report['adopted']}" if report["adopted"] else ""
        return ["database", f"  the schema is ours, at revision {report['revision'] or 'none'}{kept}"]
    if not report["tables"]:
        return ["database", "  none of the specification's tables is there; the first deployment makes its schema"]
    told = ["database", f"  PostgreSQL {report['server']}, without a table alembic_version"]
    for one in report["tables"]:
        extra = f"; columns of theirs: {', '.join(one['extra'])}" if one["extra"] else ""
        told.append(
            f"  {one['name']}: {one['rows']} rows; {', '.join(f'{k} {v}' for k, v in one['types'].items())}{extra}"
        )
    told += [f"  {line}" for line in _times(report)]
    told += [f"  in use by {', '.join(report['users'])}"] if report["users"] else []
    return told + [f"  in the way: {line}" for line in report["problems"]]


def _times(report: Mapping[str, Any]) -> Iterable[str]:
    whose = "as stated" if report["stated"] else "the server's own; state theirs with `-e adopt_timezone=…`"
    yield f"times without a zone, read in {report['zone']} ({whose}):"
    for one in report["times"]:
        doubt = f"; {one['twice']} in an hour that came twice" if one["twice"] else ""
        doubt += f"; {one['never']} in an hour that was skipped" if one["never"] else ""
        if one["first"] is None:
            yield f"  {one['table']}.{one['column']} ({one['type']}): no value"
        else:
            span = f"{one['first']} → {one['first_after']} … {one['last']} → {one['last_after']}"
            yield f"  {one['table']}.{one['column']} ({one['type']}): {span}{doubt}"


def _plan(steps: list[str], database: Mapping[str, Any]) -> list[str]:
    report = database.get("report", {})
    todo = []
    if report.get("tables") and report["revision"] is None:
        rows = sum(one["rows"] for one in report["tables"])
        closed = f", close {len(report['open'])} open rows as aborted" if report["open"] else ""
        todo += [
            "database: dump it to the share's backups, and read the dump back",
            f"database: put the tables aside, copy their {rows} rows into ours, times as moments{closed}, stamp it",
        ]
    todo += steps
    if not todo:
        return ["nothing is left to take over"]
    numbered = [f"  {number}. {step}" for number, step in enumerate(todo, 1)]
    return ["to take over (`-e adopt_step=database -e adopt_timezone=…`, then `-e adopt_step=services`):", *numbered]
