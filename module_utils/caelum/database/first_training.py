"""Runs a host's first training in the unit of its job: as its user, in its sandbox, within its limits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..atomic import make_dirs, write_atomic
from ..errors import Refused
from ..instance import systemctl

_UNITS = Path("/run/systemd/system")


def start(unit: str, command: Sequence[str], environment: Mapping[str, object]) -> str:
    """Start `command` in the unit, or find it at work; what systemd calls this run.

    The unit's own command is another one; it is replaced for this start alone.
    """
    name = f"{unit}.service"
    state = _show(name)
    if state["LoadState"] != "loaded":
        raise Refused(f"{name} is not on this host, so nothing can be trained in it; name the job in finvec_jobs there")
    if state["ActiveState"] not in {"active", "activating"}:
        drop_in = _UNITS / f"{name}.d/90-first-model.conf"
        make_dirs(drop_in.parent)
        write_atomic(drop_in, _text(command, environment).encode())
        try:
            systemctl.reload()
            systemctl.forget_failures([name])
            systemctl.act("start", [name])
        finally:
            drop_in.unlink()
            drop_in.parent.rmdir()
            systemctl.reload()
    return _show(name)["InvocationID"]


def look(unit: str, invocation: str, job: str) -> tuple[bool, list[str]]:
    """Whether the training still runs, and all lines that it said; Refused, with the last one, when it failed."""
    name = f"{unit}.service"
    state = _show(name)
    argv = ["journalctl", "--no-pager", "-o", "cat", f"_SYSTEMD_INVOCATION_ID={invocation}"]
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()  # noqa: S603 - fixed program
    lines = [line.removeprefix(f"finvec {job}: ") for line in said if line.startswith("finvec")]
    if state["ActiveState"] == "failed":
        why = lines[-1] if lines else f"it ended with {state['Result']}"
        raise Refused(f"the training of {job} failed: {why}; read `journalctl -u {name}`, then deploy again")
    return state["ActiveState"] in {"active", "activating", "deactivating"}, lines


def _show(name: str) -> dict[str, str]:
    argv = ["systemctl", "show", "-p", "LoadState,ActiveState,Result,InvocationID", "--", name]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, check=True).stdout  # noqa: S603 - fixed program
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refused(f"systemd could not be asked for {name} ({error}); see to it on this host") from None
    return dict(line.split("=", 1) for line in answer.splitlines())


def _text(command: Sequence[str], environment: Mapping[str, object]) -> str:
    """The drop-in; JSON quotes as systemd does, and percent signs and dollars are its own."""
    words = " ".join(json.dumps(word).replace("%", "%%").replace("$", "$$") for word in command)
    settings = [json.dumps(f"{key}={value}").replace("%", "%%") for key, value in environment.items()]
    return "\n".join(["[Service]", "ExecStart=", f"ExecStart={words}", *(f"Environment={s}" for s in settings)]) + "\n"
