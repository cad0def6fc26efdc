"""Whether a stranger on one of our ports looks like one of the services as they ran before."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..instance import procfs
from .supervisors import parse_cgroup

NAMES = {
    "fincoll": re.compile(r"\bfincoll\b", re.IGNORECASE),
    "senvec": re.compile(r"\b(senvec|sentimentrader)", re.IGNORECASE),
    "pim": re.compile(r"\b(pim|PassiveIncomeMaximizer)\b", re.IGNORECASE),
}


def looks_like(texts: Iterable[str]) -> str:
    """The service that some of the texts about a process name; empty for none."""
    told = "\n".join(texts)
    return next((service for service, name in NAMES.items() if name.search(told)), "")


def remedy(pid: int) -> str:
    """What to type about the process, with the service that it looks like; empty for a real stranger."""
    if "CAELUM_ENV_FILE" in procfs.environ(pid):
        return ""  # of a deployment, if not of this one
    try:
        folder = str(Path("/proc", str(pid), "cwd").readlink())
        group = parse_cgroup(Path("/proc", str(pid), "cgroup").read_text())
    except OSError:
        return ""
    service = looks_like([" ".join(procfs.command_line(pid)), folder, group.unit, procfs.environ(pid).get("name", "")])
    if not service:
        return ""
    return f"it looks like {service} as it ran before: `ansible-playbook adopt.yml` tells how to take it over"
