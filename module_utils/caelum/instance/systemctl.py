"""What systemd says and does, asked with as few processes as possible: one for all units."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import Refused

RUNTIME = Path("/run/systemd/system")
PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "MainPID",
    "ExecMainCode",
    "ExecMainStatus",
    "NeedDaemonReload",
)
TIMEOUT_S = 180.0
_LANGUAGE = {"LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "SYSTEMD_LOG_LEVEL": "info"}

Properties = Mapping[str, str]


def here() -> bool:
    """Whether systemd runs this host."""
    return RUNTIME.is_dir()


def show(units: Iterable[str]) -> dict[str, Properties]:
    """The properties of `units`, by name."""
    names = sorted(units)
    if not names:
        return {}
    said = _run("systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *names)
    blocks = (dict(line.partition("=")[::2] for line in block.splitlines()) for block in said.split("\n\n"))
    return {block["Id"]: block for block in blocks if block.get("Id")}


def act(verb: str, units: Sequence[str], *options: str) -> None:
    """Have `verb` done to `units` and wait; Refused, with where to read on, when systemd says that it failed."""
    if not units:
        return
    try:
        _run("systemctl", "--quiet", *options, verb, "--", *units)
    except Refused as refused:
        raise Refused(f"{refused}; read `journalctl -n 20 -u {' -u '.join(units)}`") from None


def reload() -> None:
    """Have systemd read its unit files again."""
    _run("systemctl", "daemon-reload")


def forget_failures(units: Sequence[str]) -> None:
    """Clear failed states and counts of starts, which a start by hand would otherwise inherit."""
    if units:
        # Units that systemd does not know make it fail, though those that it knows are done.
        _run("systemctl", "reset-failed", "--", *units, check=False)


def refuse_invalid(units: Mapping[str, str]) -> None:
    """Refused when `systemd-analyze verify` finds fault with these texts, given by the names of their units."""
    with tempfile.TemporaryDirectory(prefix="caelum-units-") as name:
        folder = Path(name)
        for unit, text in units.items():
            (folder / unit).write_text(text, encoding="utf-8")
        said = _run(
            "systemd-analyze",
            "verify",
            "--man=no",
            "--recursive-errors=no",
            *(str(folder / unit) for unit in sorted(units)),
            check=False,
            # Its own folder first: what is being written counts, not what is there.
            more={"SYSTEMD_UNIT_PATH": f"{folder}:"},
        )
    faults = [line.replace(f"{folder}/", "") for line in said.splitlines() if any(unit in line for unit in units)]
    if faults:
        raise Refused(f"systemd would not take a unit: {faults[0].strip()}; correct the variable that this comes from")


def _run(*command: str, check: bool = True, more: Mapping[str, str] | None = None) -> str:
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **_LANGUAGE, **(more or {})}
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, names that were checked
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise Refused(f"{command[0]} is not on this host; runtime systemd needs a host that systemd runs") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"`{' '.join(command)}` took more than {TIMEOUT_S:g} s; look at `systemctl list-jobs`") from None
    if check and done.returncode != 0:
        why = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip()) or f"code {done.returncode}"
        raise Refused(f"`{' '.join(command)}` failed: {why}")
    return done.stdout if check else done.stdout + done.stderr
