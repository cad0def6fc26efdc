"""The page's parts as HTML, from a view. Pure; whatever comes from outside is escaped."""

import math
from collections.abc import Mapping
from datetime import UTC
from html import escape

from pim import health
from pim.dashboard import fan as drawing
from pim.dashboard.board import View
from pim.dashboard.topology import pim_status
from pim.dashboard.words import NO_WATCHLIST, NONE, logs, moment, percent, price, state, text, unavailable
from pim.fincoll import Fan, FinCollUnavailable, Outlook

PRIMARY_HORIZON = 5
LEGEND = (
    '<div class="key"><h3>How to read a fan</h3>'
    '<p><i class="closes"></i>closing prices</p><p><i class="median"></i>median of what the model expects</p>'
    '<p><i class="inner"></i>half of the outcomes lie in here</p><p><i class="outer"></i>nine of ten lie in here</p>'
    "<p>+5 and +10 count trading sessions from the first one after the last close.</p></div>"
)


def header(view: View) -> str:
    """The name, where this is, the worst state of FinColl, SenVec and PIM, and a halt, as HTML."""
    overall: str = health.overall(view.observed.fincoll.status, health.senvec_status(view.observed.senvec))
    if overall == "healthy":
        overall = pim_status(view)
    if health.fincoll_status(view.observed.fincoll) == "halted":
        overall = "halted"
    return (
        '<div class="brand"><h1>Caelum</h1>'
        f"<p>{text(view.inventory)} inventory · {text(view.environment)} · PIM {text(view.version)}</p></div>"
        f'<div class="overall">{state(overall)}<p>checked {view.at.astimezone(UTC):%H:%M:%S} UTC</p></div>{_halt(view)}'
    )


def _halt(view: View) -> str:
    halt = view.observed.fincoll.facts.get("halted")
    if not isinstance(halt, Mapping):
        return ""
    if trouble := halt.get("trouble"):
        told = f"{text(trouble)}."
    else:
        reason = f": {text(halt['reason'])}" if halt.get("reason") else ""
        told = f"By {text(halt.get('by'))}, since {moment(halt.get('at'))}{reason}."
    where = "" if view.inventory == "local" else f"-i inventory/{text(view.inventory)} "
    return (
        f'<p class="halt" role="alert"><b>Predictions are halted.</b> <span>{told} '
        f"Resume with <code>ansible-playbook {where}resume.yml</code>.</span></p>"
    )


def predictions(view: View) -> str:
    """A chart per symbol of the watchlist, changes in per cent, or why there are none, as HTML."""
    if isinstance(view.outlook, FinCollUnavailable):
        if view.outlook.halted:
            return '<h2>Predictions</h2><p class="empty"><b>Halted.</b> They come back when FinColl is resumed.</p>'
        remedy = logs("fincoll", view.prefix)
        return "<h2>Predictions</h2>" + unavailable("FinColl unavailable:", str(view.outlook), remedy)
    found = view.outlook
    if not found.fans:
        return f"<h2>Predictions</h2>{NO_WATCHLIST}"
    alone = not all(fan.degraded or fan.refused for fan in found.fans)
    charts = "".join(_chart(fan, flagged=alone and fan.degraded) for fan in found.fans)
    return f'<h2>Predictions</h2>{_provenance(found)}<div class="charts">{charts}{LEGEND}</div>'


def waiting() -> str:
    """Stands where the parts will be, while the first answers are awaited."""
    return '<p class="empty"><b>Asking the services …</b></p>'


def _provenance(found: Outlook) -> str:
    model = found.model
    badges = [f'<span class="badge">{text(found.job)} {text(model.get("version"))} · {text(model.get("kind"))}</span>']
    if not model.get("trusted"):
        kind = "bootstrap model" if model.get("bootstrap") else "model"
        badges.append(f'<span class="badge fair">untrusted {kind}</span>')
    if found.degraded:
        badges.append('<span class="badge fair">degraded: sentiment incomplete</span>')
    if missing := sorted({group for fan in found.fans for group in fan.missing}):
        badges.append(f'<span class="badge">no data: {escape(", ".join(missing))}</span>')
    badges.append(f'<span class="badge">{text(found.source)} data as of {moment(found.as_of)}</span>')
    badges.append(f'<span class="badge">FinColl {text(found.service_version)}</span>')
    return f'<p class="badges">{"".join(badges)}</p>'


def _chart(fan: Fan, *, flagged: bool) -> str:
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
    flag = '<span class="badge fair">degraded</span>' if flagged else ""
    return (
        f'<figure class="card"><header>{head}{flag}<p><b>{middle}</b> in {fan.horizons[h]} sessions'
        f"<small>90 %: {change[0]} to {change[-1]}</small></p></header>{drawing.svg(fan)}</figure>"
    )
