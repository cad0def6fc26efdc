"""Human lines written while a module works; the action plugin of the same task shows them as they come."""

from __future__ import annotations

import contextlib
from pathlib import Path


class Progress:
    """Appends lines to a file, or drops them when there is none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def say(self, line: str) -> None:
        """Append `line`. It is a courtesy: a file that cannot be written fails nothing."""
        if self._path is not None:
            with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
