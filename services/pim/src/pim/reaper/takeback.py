"""What is done on the host about a deployment whose controller was lost, and the line that its rows are closed with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caelum import probes, topology
from caelum.database.lease import Group
from caelum.database.words import span
from caelum.errors import Refused
from caelum.instance.arguments import RUNTIMES
from caelum.instance.layout import Layout
from caelum.instance.revisions import Revision, Revisions, apply_revision
from caelum.instance.runtime import Runtime

PASSES = 3
INTERVAL_S = 0.5


@dataclass(frozen=True)
class Verdict:
    """How a deployment ended: `status` and `logs` of its rows, and the revision that the host was returned to."""

    status: str
    line: str
    restored: Revision | None = None


@dataclass(frozen=True)
class Host:
    """This host: its prefix and runtime, its address in `inventory`, and the seconds that instances get."""

    prefix: Path
    runtime: str
    address: str
    ready_timeout_s: float
    inventory: str = "local"

    def settle(self, group: Group, token: int) -> Verdict:
        """Leave the host with one release of the group's service, verified, and say which other hosts are not.

        Those are out of reach from here: a controller returns them, by what they have on record themselves. Raises
        Refused as `settle_here` does.
        """
        others = group.others(self.address)
        here = group.concerns(self.address)
        verdict = self.settle_here(group, token) if here else Verdict("aborted", _lost(group))
        if not others:
            return verdict
        where = "" if self.inventory == "local" else f"-i inventory/{self.inventory} "
        rest = (
            f"{', '.join(others)} may stand half way to {group.version}; "
            f"return them with `ansible-playbook {where}abort.yml -e service={group.service}`"
        )
        return replace(verdict, status="aborted", line=f"{verdict.line.removesuffix(';')}; {rest}")

    def settle_here(self, group: Group, token: int) -> Verdict:
        """Leave this host with one release of the group's service, verified, whatever its controller had done.

        From the first step on `token` keeps that controller from changing it any more. Raises Refused, with a line,
        where that cannot be reached; the host is half way then, and its revisions say so.
        """
        revisions = Revisions(self.prefix, group.service)
        revisions.fence(token)
        pending, current = revisions.pending(), revisions.current()
        lost = _lost(group)
        if pending is None:
            return self._untouched(group, current, lost)
        if current is None:
            return Verdict(
                "failed",
                f"{lost} {group.service} on {self.address} was half way to its first release, so there is none to "
                f"return to; deploy it again with `ansible-playbook deploy.yml -e version={group.version}`",
            )
        done = self._return_to(revisions, current, token)
        revisions.discard(token)
        return Verdict("aborted", f"{lost} returned {self.address} to {current.version}: {done}", current)

    def _untouched(self, group: Group, current: Revision | None, lost: str) -> Verdict:
        """The host is whole: either the controller had committed, or nothing of its release is here (any more)."""
        if current is not None and (current.fencing_token, current.version) == (group.opened_with, group.version):
            return Verdict(
                "success", f"{lost} {current.version} had passed its gates on {self.address} before, and serves"
            )
        serves = f"{current.version} serves" if current else "it has no release yet"
        return Verdict("aborted", f"{lost} {self.address} holds nothing of {group.version}, {serves}")

    def _return_to(self, revisions: Revisions, revision: Revision, token: int) -> str:
        """Give the host the revision again and wait until it serves; in words, what that took."""
        layout = Layout(self.prefix)
        applied = apply_revision(layout, self._runtime(layout), revisions, revision, token=token)
        # The modules' options hold None for what was left out.
        items = [{key: value for key, value in item.items() if value is not None} for item in revision.instances]
        asked = [probes.Instance(**probe) for probe in topology.probes(items, self.address, str(self.prefix))]
        gate = probes.Gate(PASSES, INTERVAL_S, self.ready_timeout_s)
        failures = [seen.failure for seen in probes.watch_all(asked, gate, self.address) if seen.failure]
        if failures:
            raise Refused(f"returned {self.address} to {revision.version}, but {'; '.join(failures)}")
        changed = ", ".join(_changed(applied.plan.changes))
        return f"{changed or 'nothing had to change'}; ready: {', '.join(one.name for one in asked) or 'nothing asked'}"

    def _runtime(self, layout: Layout) -> Runtime:
        if self.runtime not in RUNTIMES:
            raise Refused(f"runtime {self.runtime} cannot be taken back by caelum-reaper; deploy the service again")
        return RUNTIMES[self.runtime](layout)


def _lost(group: Group) -> str:
    return f"its controller was lost, last sign of life {span(group.silent)} before;"


def describe(host: Host, group: Group) -> dict[str, Any]:
    """The deployment and the host for a line of the log."""
    return {"service": group.service, "deployed": group.version, "ids": list(group.ids), "host": host.address}


def _changed(changes: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [f"{name} ({', '.join(what)})" for name, what in changes.items() if what]
