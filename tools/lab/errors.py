"""The lab's one kind of failure, and how a command that failed becomes one line."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


class LabError(Exception):
    """One line: what, where, remedy."""


def run(
    command: Sequence[str], *, given: str | None = None, env: Mapping[str, str] | None = None, timeout_s: float = 120
) -> str:
    """Standard output of `command`; LabError with its last line on standard error where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - every caller passes a list of its own
            command, input=given, env=env, check=False, capture_output=True, text=True, timeout=timeout_s
        )
    except FileNotFoundError:
        raise LabError(
            f"there is no {command[0]} on this machine; install it, packages.txt names the package"
        ) from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(command)}` did not end in {timeout_s:g} s") from None
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise LabError(f"`{' '.join(command)}` failed: {said[-1].strip() if said else f'code {done.returncode}'}")
    return done.stdout
