"""Writes how long each task took to the file that CAELUM_BENCH_TASKS names; enabled by `make bench` alone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: caelum_bench
type: aggregate
short_description: Seconds of every task, as JSON, for make bench
description:
  - Writes C({"began", "ended", "tasks"}) to the file that C(CAELUM_BENCH_TASKS) names.
  - C(began) is when the first playbook was about to start, in seconds since 1970.
  - C(tasks) has a name and seconds for each task, in the order of the run.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Times tasks from the start of one to the start of the next."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "caelum_bench"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._began = time.time()
        self._tasks: list[dict[str, Any]] = []
        self._since = time.monotonic()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Ansible has started up."""
        self._began = time.time()
        self._since = time.monotonic()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """The time up to the first task is the play's own."""
        self._next(f"(play) {play.get_name().strip()}")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """One task ends where the next begins."""
        self._next(task.get_name().rpartition(" : ")[2].strip())

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The run is over."""
        self._next("")
        document = {"began": self._began, "ended": time.time(), "tasks": self._tasks[:-1]}
        Path(os.environ["CAELUM_BENCH_TASKS"]).write_text(json.dumps(document))

    def _next(self, name: str) -> None:
        now = time.monotonic()
        if self._tasks:
            self._tasks[-1]["seconds"] = round(now - self._since, 4)
        self._tasks.append({"name": name, "seconds": 0.0})
        self._since = now
