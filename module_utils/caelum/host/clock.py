"""The time service of a host."""

from __future__ import annotations

from ..commands import run
from ..errors import Refused
from .fix import Fix, command

SERVICES = ("chrony", "chronyd", "systemd-timesyncd", "ntpsec", "ntp", "ntpd")


def plan() -> tuple[list[Fix], dict[str, object]]:
    """The fix that lets a time service begin at boot, if one is missing, and what is known of it and of the clock.

    Refused when the host has none: nothing is installed unasked.
    """
    units = _units()
    if not units:
        raise Refused(
            "this host has no time service, and its clock would drift; `apt-get install chrony`, or set "
            "caelum_time_service=false where the clock is kept by the machine below"
        )
    known = {"synchronised": _synchronised()}
    running = next((name for name, (_, active) in units.items() if active == "active"), "")
    if running:
        return [], {"service": running, **known}
    name, (state, active) = next(iter(units.items()))
    if state == "enabled":
        return [], {"service": name, **known}
    argv = ["systemctl", "enable", "--now", "--", name]
    fix = Fix(f"time service {name}", f"{state}, {active}", "enabled", lambda: _start(argv, name))
    return [fix], {"service": name, **known}


def _start(argv: list[str], name: str) -> None:
    command(argv, f"time service {name} does not start")


def _units() -> dict[str, tuple[str, str]]:
    """Time services that the host has, each with whether it is enabled and whether it runs."""
    shown = run(
        ["systemctl", "show", "-p", "Id,LoadState,UnitFileState,ActiveState", *(f"{n}.service" for n in SERVICES)]
    )
    found: dict[str, tuple[str, str]] = {}
    for block in shown.stdout.decode().split("\n\n"):
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if facts.get("LoadState") == "loaded":
            found[facts["Id"]] = (facts["UnitFileState"], facts["ActiveState"])
    return found


def _synchronised() -> bool:
    return run(["timedatectl", "show", "-p", "NTPSynchronized", "--value"]).stdout.strip() == b"yes"
