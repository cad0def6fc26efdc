"""Rendered configuration of an instance: lines KEY=value that dotenv readers, systemd and sh understand alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

# Everything else is quoted: a JSON object would lose its quotation marks in sh, a # would begin a comment.
_PLAIN = re.compile(r"[\w./:@,+=-]*", re.ASCII)
_HEADER = re.compile(r"# Settings of an instance of service ([a-z][a-z0-9_-]*);", re.ASCII)


def render(service: str, settings: Mapping[str, str]) -> str:
    """Text of the env file, keys sorted. Its first line says which service the instance is of."""
    header = f"# Settings of an instance of service {service}; written by the deploy, changes are overwritten.\n"
    return header + "".join(f"{key}={_quote(settings[key])}\n" for key in sorted(settings))


def read(path: Path) -> dict[str, str]:
    """The settings in a file that `render` wrote."""
    lines = path.read_text(encoding="utf-8").split("\n")
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key: _unquote(value) for key, _, value in pairs}


def service_of(path: Path) -> str | None:
    """The service whose instance `path` configures; None when `render` did not write it."""
    with path.open(encoding="utf-8", errors="replace") as file:
        match = _HEADER.match(file.readline())
    return match[1] if match else None


def _quote(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _unquote(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith("'") else value
