"""Figures in words for a person."""

from __future__ import annotations

from datetime import timedelta


def span(length: timedelta) -> str:
    """A span of time: `42 s`, `7 min`, `3 h`, `2 d`."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
