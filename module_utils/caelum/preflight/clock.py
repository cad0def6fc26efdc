"""Whether a host's clock agrees with the controller's."""

from __future__ import annotations


def off(clock: float, begun: float, ended: float) -> float:
    """Seconds by which a clock that was read between two times is surely wrong; negative when it is behind."""
    return min(clock - begun, 0.0) or max(clock - ended, 0.0)


def line(off_s: float, tolerance_s: float) -> str:
    """What is wrong, and the remedy."""
    which = "ahead of" if off_s > 0 else "behind"
    return (
        f"the clock of this host is {abs(off_s):.1f} s {which} the controller's, and {tolerance_s:g} s are allowed; "
        "set it with `chronyc makestep` or `systemctl restart systemd-timesyncd`, in WSL after a sleep with "
        "`hwclock -s`"
    )
