"""The newest deployments with their outcomes, as HTML. Pure; what comes from outside is escaped."""

from datetime import datetime
from html import escape

from pim.dashboard.board import View
from pim.dashboard.words import NONE, lasted, logs, moment, state, text, unavailable
from pim.database import DatabaseGone
from pim.store import Row

HEADS = "".join(f"<span>{head}</span>" for head in ("Outcome", "What", "Version", "Action", "Started", "Took", "By"))
OPEN = ("in_progress", "queued")
# Outcomes whose reason is shown without being asked for.
TELLS_WHY = ("failed", "aborted", "rolled_back", "inconclusive")


def deployments(view: View) -> str:
    """A line each with times in UTC and the log on demand, or why there are none, as HTML."""
    if isinstance(view.history, DatabaseGone):
        remedy = "Predictions go on without it. " + logs("postgresql", view.prefix)
        return "<h2>Deployments</h2>" + unavailable("History unavailable:", str(view.history), remedy)
    if not view.deployments:
        return (
            '<h2>Deployments</h2><p class="empty"><b>No deployments yet.</b> '
            "<span>The first run of <code>deploy.yml</code> will be listed here.</span></p>"
        )
    rows = "".join(_deployment(row, view.at) for row in view.deployments)
    return f'<h2>Deployments</h2><div class="runs"><p class="heads" aria-hidden="true">{HEADS}</p><ul>{rows}</ul></div>'


def _deployment(row: Row, now: datetime) -> str:
    components = [name for name in row["components"] if name != row["service_name"]]
    listed = f" <small>{escape(', '.join(components))}</small>" if components else ""
    line = (
        f"<span>{state(row['status'])}</span><span>{text(row['service_name'])}{listed}</span>"
        f"<span>{text(row['version'])}</span><span>{text(row['action']).replace('_', ' ')}</span>"
        f"<span>{moment(row['started_at'])}</span><span>{_took(row, now)}</span>"
        f"<span>{text(row['requested_by'])}</span>{_note(row, now)}"
    )
    if not (log := (row["logs"] or "").strip()):
        return f'<li><div class="run">{line}</div></li>'
    summary = f'<summary class="run">{line}</summary>'
    return f'<li><details id="run-{row["id"]}">{summary}<pre>{escape(log)}</pre></details></li>'


def _took(row: Row, now: datetime) -> str:
    if row["completed_at"]:
        return lasted(row["completed_at"] - row["started_at"])
    return f"{lasted(now - row['started_at'])} so far" if row["status"] in OPEN else NONE


def _note(row: Row, now: datetime) -> str:
    """Who holds an open deployment, or why one did not succeed."""
    if row["status"] == "in_progress":
        beat = row["heartbeat_at"]
        seen = f", last sign of life {lasted(now - beat)} ago" if beat else ""
        return f'<p class="note">held by {text(row["requested_by"])}{seen}</p>'
    if row["status"] in TELLS_WHY and (log := (row["logs"] or "").strip()):
        return f'<p class="note">{escape(log.splitlines()[-1])}</p>'
    return ""
