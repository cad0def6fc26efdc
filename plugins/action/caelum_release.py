"""Action plugin: module caelum_release with its progress shown live, and its V(published) over SSH.

There the releases lie on the controller and the share at the host: this process sends each, as one stream on the
connection that Ansible has, to a receiver that needs nothing on the host but Python.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

from ansible.plugins.loader import action_loader
from ansible.utils.display import Display

_Progress: Any = action_loader.get("caelum_progress", class_only=True)

# the class above brought the checkout's module_utils into the controller's path
from ansible.module_utils.caelum.errors import Refused  # noqa: E402
from ansible.module_utils.caelum.release import publish, receive, send  # noqa: E402

_SILENCE_S = 60

display = Display()


class ActionModule(_Progress):  # type: ignore[misc] # ansible-core ships no types
    """Runs the module; for V(published) over SSH it sends what the module says is lacking, then runs it again."""

    def execute(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The module's own result."""
        if arguments.get("state") != "published" or self._connection.transport == "local":
            answer: dict[str, Any] = super().execute(arguments, task_vars)
            return answer
        origin = Path(arguments.pop("origin"))
        first: dict[str, Any] = super().execute(arguments, task_vars)
        if first.get("failed") or self._task.check_mode or not first.get("lacking"):
            return first
        try:
            for entry in arguments.get("services") or arguments["releases"]:
                if f"{entry['name']}/{entry['version']}" in first["lacking"]:
                    self._send(entry, origin, arguments, task_vars)
        except Refused as refusal:
            return {"failed": True, "msg": str(refusal)}
        last: dict[str, Any] = super().execute(arguments, task_vars)
        return last

    def _send(self, entry: dict[str, Any], origin: Path, arguments: dict[str, Any], task_vars: dict[str, Any]) -> None:
        name = f"{entry['name']} {entry['version']}"
        partial = publish.partial(Path(arguments["store"]), entry["name"], entry["version"], entry["manifest"])
        python = self._templar.template(task_vars.get("ansible_python_interpreter", "/usr/bin/python3"))
        program = [str(python), "-I", "-c", Path(receive.__file__).read_text(), str(partial)]
        argv, password = self._over(shlex.join(program))
        began = time.monotonic()

        def tell(sent: int, total: int) -> None:
            display.display(f"  {name}: published {sent >> 20} of {total >> 20} MB")

        seconds = float(arguments.get("timeout") or _SILENCE_S)
        send.send(argv, origin / entry["name"] / entry["version"], seconds, tell, password)
        display.display(f"  {name}: sent to the share in {time.monotonic() - began:.1f} s")

    def _over(self, command: str) -> tuple[list[bytes], str]:
        """The local command that runs `command` at the host, as the user that the task becomes; and sudo's password."""
        connection, password = self._connection, ""
        if connection.transport.rpartition(".")[2] != "ssh":
            raise Refused(f"releases are published over ssh or on this machine, not by {connection.transport}")
        become = connection.become
        if become and become.get_option("become_user") != connection.get_option("remote_user"):
            command = become.build_become_command(command, connection._shell)
            password = become.get_option("become_pass") or ""
        host = connection.get_option("host")
        return connection._build_command(connection.get_option("ssh_executable"), "ssh", host, command), password
