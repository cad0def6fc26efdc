"""Action plugin: runs the module of the task's name and shows the lines of its `progress` file as they come.

A module that takes `progress` gets this by a plugin of its own name that names this class.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

from ansible.plugins.loader import action_loader
from ansible.utils.display import Display

_LOOK_EVERY_S = 0.2

display = Display()


class _Tail:
    """Shows what is appended to a file, from where it ended at the start, until told to stop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            self._show()
        self._show()

    def _show(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            new = file.read()
        self._at += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            display.display(f"  {line.decode(errors='replace')}")


class ActionModule(action_loader.get("caelum_local", class_only=True)):  # type: ignore[misc] # ansible-core ships no types
    """Shows progress where the module runs on this machine; elsewhere it only runs the module."""

    def execute(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The module's own result."""
        if self._connection.transport != "local" or self._task.check_mode:
            sent: dict[str, Any] = super().execute(arguments, task_vars)
            return sent
        with tempfile.TemporaryDirectory(prefix="caelum-progress-") as folder:
            path = Path(arguments.setdefault("progress", f"{folder}/lines"))
            with _Tail(path):
                seen: dict[str, Any] = super().execute(arguments, task_vars)
                return seen
