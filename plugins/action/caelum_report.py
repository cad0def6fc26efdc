"""Makes the table at the end of a run: what runs where, at which version, and how it is. The callback prints it.

With `lines` those are printed instead, as other playbooks than deploy.yml need it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.plugins.action import ActionBase

# Ansible bundles the checkout's module_utils into modules, but leaves them out of the controller's own path.
ansible.module_utils.__path__.append(str(Path(__file__).parents[2] / "module_utils"))

from ansible.module_utils.caelum.report import lines  # noqa: E402


class ActionModule(ActionBase):  # type: ignore[misc] # ansible-core ships no types
    """Action of the task `caelum_report`; it runs on the controller and changes nothing."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The lines, as `caelum_report` in the result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        ready = arguments.get("lines")
        if ready is None:
            ready = lines(
                arguments["running"], arguments.get("health"), arguments.get("hints", {}), arguments.get("notes", ())
            )
        result["caelum_report"] = ready
        result["changed"] = False
        return result
