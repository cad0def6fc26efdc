"""Action plugin: module caelum_model with its progress shown live.

For a host of a fleet it splits C(champion) and C(served): this process asks the database, the host looks at files, and
a first training there is followed until it ends.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.loader import action_loader
from ansible.utils.display import Display

_LOOK_EVERY_S = 3.0
_HOST = ("job", "checkpoints", "serving_dir", "timeout", "train")

_Progress: Any = action_loader.get("caelum_progress", class_only=True)
display = Display()

Result = dict[str, Any]


class _Failed(Exception):
    """One of the calls failed; carries its result."""


class ActionModule(_Progress):  # type: ignore[misc] # ansible-core ships no types
    """Runs the module; in two places where database and share are not one machine's."""

    def execute(self, arguments: Result, task_vars: Result) -> Result:
        """The module's own result."""
        state = arguments.get("state", "champion")
        if state not in {"champion", "served"} or self._is_here(task_vars):
            answer: Result = super().execute(arguments, task_vars)
            return answer
        try:
            return self._split(arguments, task_vars, strict=state == "champion")
        except _Failed as failure:
            failed: Result = failure.args[0]
            return failed

    def _split(self, arguments: Result, task_vars: Result, strict: bool) -> Result:
        """As `model_states.champion` and `served` do it in one process."""
        asked = {"database": arguments.get("database"), "job": arguments["job"]}
        unknown = not strict or self._task.check_mode
        aliases = _done(self.here({**asked, "state": "named", "missing_ok": unknown}, task_vars))["aliases"]
        crowned: Result = {"changed": False, "diff": {"before": "", "after": ""}}
        trained = False
        if strict and "champion" not in aliases:
            first, trained = self._first(arguments, task_vars)
            if first:
                crowned = _done(self.here({**asked, "state": "crowned", "checkpoint": first}, task_vars))
                aliases["champion"] = first
            else:
                line = f"champion of {arguments['job']}: "
                crowned = {"changed": True, "diff": {"before": f"{line}none\n", "after": f"{line}trained now\n"}}
        copied: Result = {"changed": False, "registry": {}, "copied": [], "diff": {"before": "", "after": ""}}
        if arguments.get("serving_dir"):
            copied = self._there(arguments, task_vars, state="copied", models=aliases)
        return copied | {
            "changed": crowned["changed"] or copied["changed"],
            "version": aliases.get("champion", {}).get("version", ""),
            "trained": trained,
            "diff": {side: crowned["diff"][side] + copied["diff"][side] for side in ("before", "after")},
        }

    def _first(self, arguments: Result, task_vars: Result) -> tuple[Result | None, bool]:
        """The checkpoint to start with, and whether it was trained for that; none in check mode before the training."""
        found = self._there(arguments, task_vars, state="found")["checkpoint"]
        if found:
            return found, False
        invocation, seen, running = "", 0, True
        while running:
            if invocation:
                time.sleep(_LOOK_EVERY_S)
            told = self._there(arguments, task_vars, state="trained", invocation=invocation, seen=seen)
            invocation, running, seen = told["invocation"], told["running"], told.get("seen", 0)
            for line in told["lines"]:
                display.display(f"  {line}")
        if self._task.check_mode:
            return None, True
        trained = self._there({**arguments, "train": None}, task_vars, state="found")["checkpoint"]
        return trained, True

    def _there(self, arguments: Result, task_vars: Result, **more: Any) -> Result:
        """The module's result on the host, without what the database is asked with."""
        given = {key: arguments[key] for key in _HOST if arguments.get(key) is not None} | more
        return _done(self._execute_module(str(self._task.action), module_args=given, task_vars=task_vars))


def _done(answer: Result) -> Result:
    if answer.get("failed"):
        raise _Failed(answer)
    return answer
