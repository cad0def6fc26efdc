"""The page's parts as HTML, from a view. Pure; whatever comes from outside is escaped."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape

from pim import health
from pim.dashboard import fan as drawing
from pim.dashboard.board import View
from pim.dashboard.words import NONE, clock, lasted, milliseconds, moment, percent, price, state, text
from pim.database import DatabaseGone
from pim.fincoll import Fan, FinCollUnavailable, Outlook
from pim.probes import Probe, Status
from pim.store import Row

PRIMARY_HORIZON = 5


def header(view: View) -> str:
    """The name, where this is, and the worst state of FinColl, SenVec and PIM, as HTML."""
    overall = health.overall(view.observed.fincoll.status, health.senvec_status(view.observed.senvec))
    if overall == "healthy":
        overall = _pim_status(view)
    return (
        '<div class="brand"><h1>Caelum</h1>'
        f"<p>{text(view.inventory)} inventory · {text(view.environment)} · PIM {text(view.version)}</p></div>"
        f'<div class="overall">{state(overall)}<p>checked {view.at.astimezone(UTC):%H:%M:%S} UTC</p></div>'
    )


def services(view: View) -> str:
    """A card each for FinColl, SenVec, FinVec and PIM, response times in ms, as HTML."""
    document = view.observed.document()["services"]
    cards = [
        _fincoll(view.observed.fincoll, view.at),
        _senvec(view),
        _finvec(document["finvec"], view.at),
        _pim(view),
    ]
    return f'<h2>Services</h2><div class="cards">{"".join(cards)}</div>'


def predictions(view: View) -> str:
    """A chart per symbol of the watchlist, changes in per cent, or why there are none, as HTML."""
    if isinstance(view.outlook, FinCollUnavailable):
        return (
            '<h2>Predictions</h2><div class="empty bad"><b>FinColl unavailable</b>'
            f"<p>{escape(str(view.outlook))}. Predictions come back by themselves when it answers.</p></div>"
        )
    found = view.outlook
    charts = "".join(_chart(fan) for fan in found.fans) or '<p class="empty">The watchlist is empty.</p>'
    return (
        f'<h2>Predictions</h2>{_provenance(found)}<div class="charts">{charts}</div>'
        '<p class="note">Bands hold 90 % and 50 % of the outcomes that the model expects; the line is the median. '
        "Each horizon counts trading sessions from the session after the last close.</p>"
    )


def deployments(view: View) -> str:
    """The newest deployments, a table row each with times in UTC, or why there are none, as HTML."""
    if isinstance(view.deployments, DatabaseGone):
        return (
            '<h2>Deployments</h2><div class="empty bad"><b>History unavailable</b>'
            f"<p>{escape(str(view.deployments))}.</p></div>"
        )
    if not view.deployments:
        return (
            '<h2>Deployments</h2><div class="empty"><b>No deployments yet</b>'
            "<p>The first run of deploy.yml will be listed here.</p></div>"
        )
    rows = "".join(_deployment(row, view.at) for row in view.deployments)
    return (
        '<h2>Deployments</h2><div class="table"><table><thead><tr><th>Outcome</th><th>Component</th><th>Version</th>'
        '<th>Action</th><th>Started</th><th class="number">Took</th><th>By</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def waiting() -> str:
    """Stands where the parts will be, while the first answers are awaited."""
    return '<div class="empty"><b>Asking the services …</b></div>'


def _card(title: str, status: str, lines: str) -> str:
    return f'<section class="card"><header><h3>{title}</h3>{state(status)}</header><dl>{lines}</dl></section>'


def _line(name: str, value: str, kind: str = "") -> str:
    """`value` is HTML already."""
    return f'<div class="{kind}"><dt>{escape(name)}</dt><dd>{value}</dd></div>'


def _why(detail: str) -> str:
    return f'<p class="why">{escape(detail)}</p>' if detail else ""


def _fincoll(seen: Probe, now: datetime) -> str:
    lines = (
        _line("version", text(seen.version))
        + _line("response", milliseconds(seen.response_time_ms))
        + _line("last prediction", clock(seen.facts.get("last_prediction"), now))
        + _line("address", text(seen.url.removeprefix("http://")))
        + _why(seen.detail)
    )
    return _card("FinColl", seen.status, lines)


def _senvec(view: View) -> str:
    seen = view.observed.senvec
    lines = "".join(
        f'<div class="five" title="{escape(seen[name].detail or seen[name].url, quote=True)}">'
        f"<dt>{state(seen[name].status)}{escape(name)}</dt>"
        f"<dd>{text(seen[name].version)}<i>{milliseconds(seen[name].response_time_ms)}</i></dd></div>"
        for name in health.ordered(seen)
    )
    return _card("SenVec", health.senvec_status(seen), lines + _troubles(seen))


def _troubles(seen: Mapping[str, Probe]) -> str:
    """What ails SenVec: each microservice that says so, or the aggregator alone when it is down."""
    if seen["aggregator"].status == "down":
        return _why(seen["aggregator"].detail)
    return "".join(_why(f"{name}: {seen[name].detail}") for name in health.ordered(seen) if seen[name].detail)


def _finvec(part: Row, now: datetime) -> str:
    lines = ""
    if part["status"] == "unknown":
        lines += _why("the share does not answer")
    if part["current_job"]:
        lines += _line("job", text(part["current_job"]))
        lines += _line("progress", text(part["progress"]))
        if part["progress"]:
            lines += f'<div class="bar"><span style="width:{escape(part["progress"], quote=True)}"></span></div>'
        lines += _line("done by", clock(part["eta"], now))
    for host, usage in part["gpu_usage"].items():
        lines += _line(f"GPU of {host}", text(usage))
    return _card("FinVec", part["status"], lines or _line("training", "no job runs"))


def _pim(view: View) -> str:
    worker, database = view.pulse["worker"], view.pulse["database"]
    age = "" if worker["age_s"] is None else f", {worker['age_s']:.0f} s ago"
    lines = (
        _line("version", text(view.version))
        + _line("worker", text(worker["version"]))
        + _line("heartbeat", f"{text(worker['status'])}{age}")
        + _line("database", "ok" if database == "ok" else "away")
        + _why("" if database == "ok" else str(database))
    )
    return _card("PIM", _pim_status(view), lines)


def _pim_status(view: View) -> Status:
    alive = view.pulse["database"] == "ok" and view.pulse["worker"]["status"] == "alive"
    return "healthy" if alive else "degraded"


def _provenance(found: Outlook) -> str:
    model = found.model
    badges = [f'<span class="badge">{text(found.job)} {text(model.get("version"))} · {text(model.get("kind"))}</span>']
    if not model.get("trusted"):
        kind = "bootstrap model" if model.get("bootstrap") else "model"
        badges.append(f'<span class="badge fair">untrusted {kind}</span>')
    if found.degraded:
        badges.append('<span class="badge fair">degraded: without sentiment</span>')
    if missing := sorted({group for fan in found.fans for group in fan.missing}):
        badges.append(f'<span class="badge">no data: {escape(", ".join(missing))}</span>')
    badges.append(f'<span class="badge">{text(found.source)} data as of {moment(found.as_of)}</span>')
    badges.append(f'<span class="badge">FinColl {text(found.service_version)}</span>')
    return f'<p class="badges">{"".join(badges)}</p>'


def _chart(fan: Fan) -> str:
    latest = price(fan.closes[-1][1]) if fan.closes else NONE
    head = f"<h3>{escape(fan.symbol)}</h3><span>{latest}</span>"
    if fan.refused:
        return (
            f'<figure class="card"><header>{head}</header><p class="why">No prediction: {escape(fan.refused)}</p>'
            f"{drawing.svg(fan)}</figure>"
        )
    h = fan.horizons.index(PRIMARY_HORIZON) if PRIMARY_HORIZON in fan.horizons else len(fan.horizons) - 1
    change = [percent(math.expm1(value)) for value in fan.log_returns[h]]
    middle = change[len(change) // 2]
    flag = '<span class="badge fair">degraded</span>' if fan.degraded else ""
    return (
        f'<figure class="card"><header>{head}{flag}<p><b>{middle}</b> in {fan.horizons[h]} sessions'
        f"<small>90 %: {change[0]} to {change[-1]}</small></p></header>{drawing.svg(fan)}</figure>"
    )


def _deployment(row: Row, now: datetime) -> str:
    until = row["completed_at"] or (now if row["status"] == "in_progress" else None)
    took = NONE if until is None else lasted(until - row["started_at"])
    return (
        f"<tr><td>{state(row['status'])}</td><td>{text(row['component'])}</td><td>{text(row['version'])}</td>"
        f"<td>{text(row['action'])}</td><td>{moment(row['started_at'])}</td>"
        f'<td class="number">{took}</td><td>{text(row["requested_by"])}</td></tr>'
    )
