"""Runs the programs that do the heavy work, and keeps their chatter from the user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import Refused


def run(
    argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, data: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run `argv` to its end, whatever its exit status; Refused when there is no such program."""
    try:
        return subprocess.run(argv, cwd=cwd, env=env, input=data, capture_output=True, check=False)  # noqa: S603 - argv is ours, no shell
    except FileNotFoundError as missing:
        raise Refused(f"{argv[0]} is not on this host ({missing.strerror}); install it") from missing


def clean_env(*prefixes: str, **extra: str) -> dict[str, str]:
    """The environment without the variables that start with one of `prefixes`, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return kept | extra


def reason(output: bytes) -> str:
    """Why a program failed: its first line that names an error, else the last that says something."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    named = [line for line in lines if line.lower().startswith(("error:", "fatal:"))]
    return (named or lines[-1:] or ["it said nothing"])[0]
