"""Action plugin: module caelum_preflight, without being sent where the host is this machine.

Elsewhere it compares the host's clock with the controller's, which only the controller can do closely: the host's must
lie between the begin and the end of the call. Options that only this needs are taken out before the module gets them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.plugins.loader import action_loader

_FOLDER = str(Path(__file__).parents[2] / "module_utils")
# Ansible bundles the checkout's module_utils into modules, but leaves them out of the controller's own path.
if _FOLDER not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_FOLDER)

from ansible.module_utils.caelum.preflight import clock  # noqa: E402

Local: Any = action_loader.get("caelum_local", class_only=True)


class ActionModule(Local):  # type: ignore[misc] # a class that Ansible's loader found
    """Action of the task `caelum_preflight`."""

    def execute(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The module's result, failed where the clocks differ by more than `clock_tolerance` seconds."""
        tolerance = float(arguments.pop("clock_tolerance", 0) or 0)
        begun = time.time()
        result: dict[str, Any] = super().execute(arguments, task_vars)
        if tolerance and "clock" in result:
            off = clock.off(float(result["clock"]), begun, time.time())
            if abs(off) > tolerance:
                return {**result, "failed": True, "msg": clock.line(off, tolerance)}
        return result
