"""Runs a program on a host as one of its units runs its own: same user, same sandbox, another command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support.attacks import program

Run = Callable[..., str]
"""Runs words on the host, `given` on their standard input, and returns what they print; raises where they fail."""

PLACE = "/opt/caelum/attack.py"  # within what a sandbox lets Python's own folders be, and not writable there
UNIT = "caelum-attack"
# What starts, restarts or follows the service, none of which belongs to what it may do.
_DROPPED = re.compile(
    r"^(ExecStart|ExecStopPost|Restart\w*|Type|StandardOutput|RuntimeMaxSec|SyslogIdentifier"
    r"|Requires|PartOf|Wants|After|BindsTo|StartLimit\w+)=.*\n",
    re.MULTILINE,
)


def under(unit_text: str, targets: Mapping[str, Any], output: str) -> str:
    """The unit's text with the attacks as its command, whose output goes to a file that systemd opens."""
    lines = _DROPPED.sub("", unit_text)
    command = (
        f"Type=oneshot\nExecStart=/usr/bin/python3 {PLACE}\nStandardOutput=truncate:{output}\n"
        f"Environment={_quoted(targets)}\n"
    )
    return lines.replace("[Service]\n", f"[Service]\n{command}", 1)


def _quoted(targets: Mapping[str, Any]) -> str:
    text = json.dumps(targets, separators=(",", ":")).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"ATTACK_TARGETS={text}"'


def attack(run: Run, unit_text: str, targets: Mapping[str, Any]) -> dict[str, Any]:
    """What came of the attacks under the sandbox of a unit; the host keeps nothing of it."""
    output, unit = f"/run/{UNIT}.json", f"/run/systemd/system/{UNIT}.service"
    run(["sh", "-c", f"cat > {PLACE} && chmod 644 {PLACE}"], given=Path(program.__file__).read_text())
    run(["sh", "-c", f"cat > {unit}"], given=under(unit_text, targets, output))
    try:
        run(["sh", "-c", f"systemctl daemon-reload && systemctl start {UNIT}.service"])
        return dict(json.loads(run(["cat", output])))
    finally:
        run(["sh", "-c", f"rm -f {unit} {output} {PLACE}; systemctl daemon-reload; systemctl reset-failed || true"])


CONTROL = "[Unit]\nDescription=Unconfined\n[Service]\n"
"""A unit that takes nothing away: what fails there would prove nothing elsewhere."""
