"""The table at the end of a run, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HEADER = ("COMPONENT", "INSTANCE", "VERSION", "ADDRESS", "UNIT", "HEALTH")
UNIT = HEADER.index("UNIT")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns of equal width, two blanks apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def lines(
    running: Iterable[Mapping[str, Any]],
    health: Iterable[Mapping[str, Any]] | None,
    hints: Mapping[str, str],
    notes: Iterable[str] = (),
) -> list[str]:
    """Lines to print: a row for each instance, then `notes`, and where to look and what to type next.

    With `health` None nothing was asked: the table shows a plan.
    """
    states = {str(item["name"]): item for item in health or []}
    rows: list[tuple[str, ...]] = [HEADER]
    listed = list(running)
    for label, instance in zip(labels(listed), listed, strict=True):
        name = str(instance["name"])
        shown = "planned" if health is None else state(instance, states.get(label))
        where = (str(instance["release"]), str(instance["address"]) or "-", str(instance.get("unit", "")))
        rows.append((name.partition("@")[0], name, *where, shown))
    if not any(row[UNIT] for row in rows[1:]):  # only systemd has units
        rows = [(*row[:UNIT], *row[UNIT + 1 :]) for row in rows]
    told = list(notes)
    text = ["", *table(rows), "", *told, *([""] if told else [])]
    if "dashboard" in hints:
        text += next_steps(hints)
    return text


def next_steps(hints: Mapping[str, str]) -> list[str]:
    """Where to look and what to type next. `inventory` is named where it is not the one that make takes by itself."""
    place = f" PREFIX={hints['prefix']}" if hints.get("prefix") else ""
    place += f" INVENTORY={hints['inventory']}" if hints.get("inventory") else ""
    logs = "journalctl -f -u fincoll@stable, on its host" if hints.get("inventory") else "make logs COMPONENT=fincoll"
    return [
        *([f"dashboard  {hints['dashboard']}/"] if hints["dashboard"] else []),
        f"stop       make down{place}",
        f"logs       {logs}{'' if hints.get('inventory') else place}",
        f"remove     make clean{place}",
        "",
    ]


def labels(running: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each row: its instance's, and with its address where several hosts have one of that name."""
    names = [str(row["name"]) for row in running]
    return [
        name if names.count(name) == 1 else f"{name} on {row['address']}"
        for name, row in zip(names, running, strict=True)
    ]


def state(instance: Mapping[str, Any], probe: Mapping[str, Any] | None) -> str:
    """What the last column says: the probe's answer, or what an instance without HTTP can be known to be."""
    if instance["kind"] == "job":
        return "waits for its next run"
    if instance["service"] == "postgresql":
        return "accepts logins"  # the run itself logged in, or it would have ended there
    if probe is None:
        return "unknown"
    if probe["status"] != "healthy":
        return f"{probe['status']}: {probe.get('detail', '')}"
    return f"healthy ({probe['response_time_ms']} ms)"
