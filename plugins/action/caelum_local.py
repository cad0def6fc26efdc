"""Action plugin: runs a module of `library/` inside Ansible's worker where the target is the controller itself.

Ansible packs a module, starts a Python and imports everything anew: 0.3 to 0.6 s a call, most of a run that changes
nothing. A worker is a process of its own for each task, with Ansible and Python there already. A module gets this by
a plugin of its own name that names this class. Elsewhere, as another user, in another Python or with a time limit the
module runs as ever.
"""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.module_utils.testing import patch_module_args
from ansible.plugins.action import ActionBase

ROOT = Path(__file__).parents[2]
_FOLDER = str(ROOT / "module_utils")
# Ansible bundles the checkout's module_utils into modules, but leaves them out of the controller's own path.
if _FOLDER not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_FOLDER)


class ActionModule(ActionBase):  # type: ignore[misc] # ansible-core ships no types
    """Runs the module of the task's name, in this process where that is possible."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's own result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result | self.execute(dict(self._task.args), task_vars or {})

    def execute(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The same for other arguments than the task's."""
        name = str(self._task.action)
        if not self._is_here(task_vars):
            answer: dict[str, Any] = self._execute_module(name, module_args=arguments, task_vars=task_vars)
            return answer
        return self.here(arguments, task_vars)

    def here(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The module's result in this process, on the controller whatever the task's host is."""
        name = str(self._task.action)
        self._update_module_args(name, arguments, task_vars)
        return _called(name, arguments)

    def _is_here(self, task_vars: dict[str, Any]) -> bool:
        # a delegated task has two hosts' variables, and runs with those of the one that it is delegated to
        there = (task_vars.get("ansible_delegated_vars") or {}).get(self._task.delegate_to) or task_vars
        python = self._templar.template(there.get("ansible_python_interpreter", ""))
        return (
            self._connection.transport == "local"
            and not self._connection.become
            and not self._task.async_val
            and not any(self._task.environment or ())
            and python in {sys.executable, task_vars.get("ansible_playbook_python")}
        )


def _called(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the module prints for these arguments."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "library" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"library/{name}.py is not there; update the checkout")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    printed = io.StringIO()
    with patch_module_args(arguments), redirect_stdout(printed), suppress(SystemExit):
        module.main()
    answer: dict[str, Any] = json.loads(printed.getvalue().strip().splitlines()[-1])
    return answer
