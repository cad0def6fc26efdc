"""The figures of `make bench` as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

BAR = 40
TOP = 10
NO_OP_S, ROLLBACK_S, OVER_BARE_MS, TOTAL_MB = 8, 3, 3, 500
MB_PER_MIB = 1.048576

Figures = Mapping[str, Any]


def table(figures: Figures) -> list[str]:
    """Lines of all parts that have figures, aims beside them, and the steps that failed."""
    lines = [f"{figures['machine']['cores']} cores, load {figures['machine']['load at the start']} at the start", ""]
    lines += [*deploys(figures), ""]
    parts: dict[str, Callable[[Any], Iterator[str]]] = {"memory": memory, "fincoll": fincoll, "training": training}
    for name, part in parts.items():
        if name in figures:
            lines += [*part(figures[name]), ""]
    for name, run in figures["runs"].items():
        lines += [*histogram(name, run), ""]
    lines += [f"no figure for {name}: {why}" for name, why in figures["failed"].items()]
    return lines


def deploys(figures: Figures) -> Iterator[str]:
    """Seconds of each kind of run."""
    yield f"{'seconds':36} {'':>8}   aim"
    if "first deploy" in figures:
        yield f"{'first deploy':36} {figures['first deploy']:8.1f}"
    if found := figures.get("no-op"):
        yield f"{'no-op':36} {found['seconds']:8.1f}   <= {NO_OP_S} ({found['fastest']:.1f} to {found['slowest']:.1f})"
    if "upgrade" in figures:
        yield f"{'upgrade of everything':36} {figures['upgrade']:8.1f}"
    if found := figures.get("rollback"):
        yield f"{'rollback of FinColl to 100% old':36} {found['seconds']:8.1f}   <= {ROLLBACK_S}"
        yield f"{'  its command ends':36} {found['to the prompt']:8.1f}"
        yield f"{'  nobody answers for':36} {found['away']:8.1f}"


def memory(mib: Mapping[str, float]) -> Iterator[str]:
    """PSS per component and in all."""
    yield f"{'PSS, idle':36} {'MiB':>8}"
    for name, each in mib.items():
        yield f"{name:36} {each:8.1f}"
    total = sum(mib.values())
    yield f"{'all':36} {total:8.1f}   = {total * MB_PER_MIB:.0f} MB; aim <= {TOTAL_MB} MB"


def fincoll(sizes: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """Milliseconds, and beside them how many times those of the bare call."""
    yield f"{'FinColl, calls in turns':36} {'p50 ms':>8} {'p99 ms':>8} {'p50':>7} {'p99':>7}   p50 over bare; aim"
    for size, timings in sizes.items():
        bare = timings["bare"]
        for kind, each in timings.items():
            ratios = f"{each['p50'] / bare['p50']:6.1f}x {each['p99'] / bare['p99']:6.1f}x"
            aim = f"; <= +{OVER_BARE_MS}" if (size, kind) == ("1", "SenVec up") else ""
            over = "" if kind == "bare" else f"   {each['p50'] - bare['p50']:+.2f} ms{aim}"
            yield f"{f'batch {size}, {kind}':36} {each['p50']:8.2f} {each['p99']:8.2f} {ratios}{over}"


def training(found: Figures) -> Iterator[str]:
    """Windows per second."""
    how = f"{found['steps']} steps of {found['batch']}, {found['threads']} thread"
    yield f"{'training, windows per second':36} {found['windows_per_s']:8.0f}   {how}"


def histogram(name: str, run: Figures) -> Iterator[str]:
    """Seconds per task, the longest first, those of one name together; the rest as one."""
    merged: dict[str, tuple[float, int]] = {}
    for task in run["tasks"]:
        seconds, count = merged.get(task["name"], (0.0, 0))
        merged[task["name"]] = (seconds + task["seconds"], count + 1)
    rows = sorted(merged.items(), key=lambda row: -row[1][0])
    rest = rows[TOP:]
    rows = [*rows[:TOP], (f"{len(rest)} others", (sum(seconds for _, (seconds, _) in rest), 1))]
    yield f"{name}: {run['seconds']:.1f} s by task"
    longest = max(seconds for _, (seconds, _) in rows) or 1.0
    yield from _bars(rows, longest)


def _bars(rows: Iterable[tuple[str, tuple[float, int]]], longest: float) -> Iterator[str]:
    for name, (seconds, count) in rows:
        label = f"{name} ({count}x)" if count > 1 else name
        yield f"  {label[:58]:58} {seconds:7.2f} {'#' * round(BAR * seconds / longest)}"
