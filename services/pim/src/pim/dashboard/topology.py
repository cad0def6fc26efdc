"""The services as they call each other, with version and state of each, as HTML. Pure; outside text is escaped.

The chain PIM → FinColl → SenVec runs along, what they keep and load stands across; style.css lays both out, upright on
a narrow screen. A wire has the state of the service that it leads to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from pim import health
from pim.dashboard.board import View
from pim.dashboard.words import NONE, clock, milliseconds, state, text, tone
from pim.database import DatabaseGone
from pim.fincoll import FinCollUnavailable
from pim.probes import Probe, halted

SHARE_LATE_S = 15.0
# What runs when the newest of these succeeded is what was deployed by it.
LEAVES_RUNNING = ("deploy", "rollback", "promote")


@dataclass(frozen=True)
class Node:
    """One place of the drawing. `lines` are pairs of HTML, `calls` says in words what its wires show."""

    area: str
    title: str
    status: str
    instance: str
    lines: tuple[tuple[str, str], ...] = ()
    why: str = ""
    calls: str = ""
    wires: tuple[tuple[str, str], ...] = ()
    more: str = ""

    def html(self) -> str:
        """A list item; its wires are for the eye alone."""
        wires = "".join(f'<i class="wire {kind} {tone(status)}" aria-hidden="true"></i>' for kind, status in self.wires)
        lines = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in self.lines)
        calls = f'<span class="unseen">{escape(self.calls)}</span>' if self.calls else ""
        why = f'<p class="why">{escape(self.why)}</p>' if self.why else ""
        return (
            f'<li class="node {self.area} {tone(self.status)}"><header><h3>{escape(self.title)}</h3>'
            f'{state(self.status)}</header><p class="instance">{escape(self.instance)}</p>{calls}'
            f"<dl>{lines}</dl>{self.more}{why}{wires}</li>"
        )


def topology(view: View) -> str:
    """All nodes, response times in ms, times in UTC, as HTML."""
    seen = view.observed
    nodes = [_pim(view), _fincoll(view), _aggregator(seen.senvec["aggregator"])]
    five = "".join(
        _microservice(name, seen.senvec[name]) for name in health.ordered(seen.senvec) if name != "aggregator"
    )
    stores = [_database(view), _checkpoint(view), _finvec(view)]
    return (
        f'<h2>Topology</h2><ul class="map">{"".join(node.html() for node in nodes)}'
        f'<li class="sources"><ul>{five}</ul></li>{"".join(node.html() for node in stores)}</ul>'
    )


def pim_status(view: View) -> str:
    """healthy, or degraded while the database is away or a process without a port sends no sign of life."""
    worker, reaper = view.pulse["worker"]["status"], view.pulse.get("reaper", {}).get("status")
    alive = view.pulse["database"] == "ok" and worker == "alive" and reaper != "late"
    return "healthy" if alive else "degraded"


def _pim(view: View) -> Node:
    lines = [("version", text(view.version))]
    for name in ("worker", "reaper"):
        if found := view.pulse.get(name):
            lines.append((name, _beat(found)))
    return Node(
        area="pim",
        title="PIM",
        status=pim_status(view),
        instance="pim-web@stable",
        lines=tuple(lines),
        calls="asks FinColl and SenVec, and keeps records in PostgreSQL",
        wires=(("along", health.fincoll_status(view.observed.fincoll)), ("across", _database_status(view))),
    )


def _beat(found: Mapping[str, Any]) -> str:
    """Version and age of a process's last sign of life, with its state where that is not alive."""
    if found["age_s"] is None:
        return "not seen yet" if found["status"] == "never" else text(found["status"])
    told = "" if found["status"] == "alive" else f"{text(found['status'])}, "
    return f"{text(found['version'])}, {told}{found['age_s']:.0f} s ago"


def _fincoll(view: View) -> Node:
    seen = view.observed.fincoll
    lines = list(_asked(seen))
    for slot, other in view.observed.beside.items():
        where = text(other.url.removeprefix("http://"))
        lines.append((text(slot), f"{text(other.version)} {state(other.status)} {where}"))
    return Node(
        area="fincoll",
        title="FinColl",
        status=health.fincoll_status(view.observed.fincoll),
        instance="fincoll@stable",
        lines=tuple(lines),
        # Of a halt the masthead tells.
        why="" if seen.detail == halted(seen.facts) else seen.detail,
        calls="asks SenVec’s aggregator, and serves the checkpoint",
        wires=(("along", view.observed.senvec["aggregator"].status),),
    )


def _aggregator(seen: Probe) -> Node:
    return Node(
        area="aggregator",
        title="SenVec",
        status=seen.status,
        instance="aggregator@stable",
        lines=_asked(seen),
        why=seen.detail,
        calls="the aggregator asks the four microservices",
        wires=(("along", seen.status),),
    )


def _microservice(name: str, seen: Probe) -> str:
    why = f'<p class="why">{escape(seen.detail)}</p>' if seen.detail else ""
    known = f"<span>{text(seen.version)}</span><span>{milliseconds(seen.response_time_ms)}</span>"
    version = "" if seen.status == "down" else f'<p class="version">{known}</p>'
    return (
        f'<li class="node {tone(seen.status)}" title="{escape(f"{name}@stable at {seen.url}", quote=True)}">'
        f"<header><h3>{escape(name)}</h3>{state(seen.status)}</header>{version}{why}</li>"
    )


def _database_status(view: View) -> str:
    if view.pulse["database"] == "ok" and not isinstance(view.history, DatabaseGone):
        return "healthy"
    return "down"


def _database(view: View) -> Node:
    status = _database_status(view)
    away = view.history if isinstance(view.history, DatabaseGone) else view.pulse["database"]
    server = "" if isinstance(view.history, DatabaseGone) else view.history.server
    return Node(
        area="database",
        title="PostgreSQL",
        status=status,
        instance="pim_database",
        lines=(("version", text(server)),),
        # The line in the history's place tells the rest.
        why="" if status == "healthy" else str(away).rsplit(": ", 1)[-1],
    )


def _checkpoint(view: View) -> Node:
    """The model that FinColl serves, which it copied from the share."""
    unknown = isinstance(view.outlook, FinCollUnavailable)
    model: Any = {} if isinstance(view.outlook, FinCollUnavailable) else view.outlook.model
    job = "the share" if isinstance(view.outlook, FinCollUnavailable) else view.outlook.job
    status = "unknown" if unknown else "served" if model.get("trusted") else "untrusted"
    kind = f"{text(model.get('kind'))}, bootstrap" if model.get("bootstrap") else text(model.get("kind"))
    return Node(
        area="checkpoint",
        title="Checkpoint",
        status=status,
        instance=job,
        lines=(("version", text(model.get("version"))), ("kind", kind)),
        calls="is loaded by FinColl",
        wires=(("across back", health.fincoll_status(view.observed.fincoll)),),
    )


def _finvec(view: View) -> Node:
    part = health.finvec(view.observed.training)
    lines = [("version", _deployed("finvec", view))]
    more = ""
    training = next((each for each in view.observed.training or () if each.status == "training"), None)
    if training:
        lines.append(("on", text(f"{training.host}, {training.device}" if training.device else training.host)))
    if part["current_job"]:
        lines.append((text(part["current_job"]), text(part["progress"])))
        lines.append(("done by", clock(part["eta"], view.at)))
    if part["progress"]:
        more = f'<div class="bar"><span style="width:{escape(part["progress"], quote=True)}"></span></div>'
    for host, usage in part["gpu_usage"].items():
        lines.append((f"GPU of {text(host)}", text(usage)))
    return Node(
        area="finvec",
        title="FinVec",
        status=part["status"],
        instance="finvec-train",
        lines=tuple(lines),
        why=_share(view),
        calls="asks SenVec’s aggregator, and writes checkpoints",
        wires=(("along back", "idle"), ("across back", "idle")),
        more=more,
    )


def _share(view: View) -> str:
    """A share that does not answer, and how old what it last told is."""
    age_s = view.observed.training_age_s
    if view.observed.training is None:
        return "the share does not answer"
    return f"the share has not answered for {age_s:.0f} s" if age_s > SHARE_LATE_S else ""


def _deployed(service: str, view: View) -> str:
    """The version that the last successful deployment of a service without a port left; a dash when none is known."""
    for row in view.deployments:
        if row["service_name"] == service and row["status"] == "success" and row["action"] in LEAVES_RUNNING:
            return text(row["version"])
    return NONE


def _asked(seen: Probe) -> tuple[tuple[str, str], ...]:
    return (
        ("version", text(seen.version)),
        ("response", milliseconds(seen.response_time_ms)),
        ("address", text(seen.url.removeprefix("http://"))),
    )
