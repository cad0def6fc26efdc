"""How an instance's process is started, whatever supervises it: a shell line and the marks in its environment."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

FINGERPRINT = "CAELUM_FINGERPRINT"
RELEASE = "CAELUM_RELEASE"
EXIT_CANNOT_START = 78


def launcher(slot: Path, command: tuple[str, ...]) -> str:
    """Shell line that becomes the instance's process, out of the release that its slot points to now.

    The link is resolved once, so a process keeps its own release's code after a switch, also for what it
    imports late; the release stays readable in the process's environment.
    """
    words = " ".join(_word(part) for part in command)
    return f"{RELEASE}=$(readlink -f {_quote(str(slot))}) && export {RELEASE} && exec {words}"


def _word(argument: str) -> str:
    """One argument for the shell, {python} and {release} replaced."""
    parts = re.split(r"(\{python\}|\{release\})", argument)
    known = {"{python}": f'"${RELEASE}/bin/python"', "{release}": f'"${RELEASE}"'}
    return "".join(known.get(part) or _quote(part) for part in parts if part) or "''"


def _quote(text: str) -> str:
    """`text` for the shell, such that no blank stands before ; or #, where supervisor's reader begins a comment."""
    return re.sub(r"(?<=\s)(?=[;#])", "''", shlex.quote(text))
