"""Base of the actions of our modules: on this machine a module runs in the worker itself, elsewhere it is sent.

To bundle, write and start a module takes about 0.4 s, and a deployment calls a dozen of them; what they do here takes
hundredths. The module's own `main` runs, with a stand-in for AnsibleModule that takes the arguments from the task.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import ansible.module_utils
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase

ROOT = Path(__file__).parents[2]
# Ansible bundles the checkout's module_utils into modules, but leaves them out of the controller's own path.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))


class Ended(BaseException):
    """The module has said how it went. No Exception, so that no handler of a module takes it for a fault."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        super().__init__()
        self.result = dict(result)


class LocalModule:
    """The part of AnsibleModule that our modules use."""

    arguments: Mapping[str, Any]
    check_mode: bool

    def __init__(
        self,
        argument_spec: Mapping[str, Any],
        required_if: Iterable[Any] | None = None,
        supports_check_mode: bool = False,
        **others: Any,
    ) -> None:
        """Raises Ended with the faults when the arguments do not fit the specification."""
        self._warnings: list[str] = []
        self.no_log_values: set[str] = set()
        given = json.loads(json.dumps(self.arguments))  # plain values, as a sent module gets them
        checked = ArgumentSpecValidator(argument_spec, required_if=required_if, **others).validate(given)
        self.no_log_values |= checked._no_log_values
        self.params: dict[str, Any] = checked.validated_parameters
        if checked.error_messages:
            self.fail_json(msg="; ".join(checked.error_messages))
        if self.check_mode and not supports_check_mode:
            raise Ended({"skipped": True, "msg": "the module does not support check mode"})

    def warn(self, line: str) -> None:
        """A warning, shown by the callback."""
        self._warnings.append(line)

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """End as failed."""
        self._end({**result, "failed": True, "msg": msg})

    def exit_json(self, **result: Any) -> NoReturn:
        """End well."""
        self._end({"changed": False, **result})

    def _end(self, result: dict[str, Any]) -> NoReturn:
        if self._warnings:
            result["warnings"] = self._warnings
        result["invocation"] = {"module_args": self.params}  # callbacks read it, as of a sent module
        raise Ended(remove_values(json.loads(json.dumps(result, default=str)), self.no_log_values))


class ActionModule(ActionBase):  # type: ignore[misc] # ansible-core ships no types
    """Runs the task's module, here where the host is this machine."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result | self.answer(dict(self._task.args), task_vars)

    def answer(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """What the module says for these arguments."""
        if self._connection.transport != "local" or self._play_context.become or self._task.async_val:
            sent: dict[str, Any] = self._execute_module(self._task.action, module_args=arguments, task_vars=task_vars)
            return sent
        return _called(self._task.action, arguments, check_mode=bool(self._task.check_mode))


def _called(name: str, arguments: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Load library/<name>.py and run its main; this worker process ends with its task, so nothing is left behind."""
    spec = importlib.util.spec_from_file_location(f"caelum_library_{name}", ROOT / "library" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"library/{name}.py is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    stand_in = type("Module", (LocalModule,), {"arguments": arguments, "check_mode": check_mode})
    module.AnsibleModule = stand_in  # type: ignore[attr-defined]
    try:
        module.main()
    except Ended as ended:
        return ended.result
    raise RuntimeError(f"{name} ended without a result")
