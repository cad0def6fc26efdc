"""The page's parts, drawn from views made here."""

import math
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pim.dashboard import fan as drawing
from pim.dashboard import render
from pim.dashboard.board import View
from pim.dashboard.words import clock, lasted, moment, percent
from pim.database import DatabaseGone
from pim.fincoll import Fan, FinCollUnavailable, Outlook
from pim.health import MICROSERVICES
from pim.live import Observed
from pim.probes import Probe

NOW = datetime(2026, 3, 2, 9, 30, 5, tzinfo=UTC)
FAN = Fan(
    symbol="AAPL",
    closes=tuple((date(2013, 1, 1) + timedelta(days=n), 100.0 + n % 3) for n in range(30)),
    as_of=datetime(2013, 1, 30, 21, tzinfo=UTC),
    last_close=102.0,
    horizons=(1, 5, 10),
    quantiles=(0.05, 0.25, 0.5, 0.75, 0.95),
    log_returns=((-0.02, -0.01, 0.001, 0.01, 0.02), (-0.05, -0.02, 0.002, 0.02, 0.05), (-0.1, -0.04, 0, 0.04, 0.1)),
)
OUTLOOK = Outlook(
    "llm1-tech", (FAN,), "sample", "2013-03-01T21:00:00Z", "v1.1.0", {"version": "v1.0.0", "kind": "ridge"}
)
ALIVE = {"database": "ok", "worker": {"status": "alive", "version": "v1.1.0", "age_s": 4.0}}


def view(**changes: Any) -> View:
    seen = Probe("http://127.0.0.1:1", "healthy", "v1.1.0", 12)
    values: dict[str, Any] = {
        "environment": "dev",
        "inventory": "local",
        "version": "v1.1.0",
        "observed": Observed(seen, dict.fromkeys(MICROSERVICES, seen), [], NOW),
        "outlook": OUTLOOK,
        "deployments": [],
        "pulse": ALIVE,
        "at": NOW,
    }
    return View(**{**values, **changes})


def points(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """The corners of every shape of a class."""
    found = re.findall(rf'class="{kind}" points="([^"]+)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in shape.split()] for shape in found]  # type: ignore[misc]


def test_the_fan_opens_one_session_after_the_last_close_and_its_bands_nest() -> None:
    svg = drawing.svg(FAN)
    closes, (outer, inner), median = points(svg, "closes")[0], points(svg, "band"), points(svg, "median")[0]
    step = (closes[-1][0] - closes[0][0]) / (len(closes) - 1)
    assert outer[0][0] == pytest.approx(closes[-1][0] + step, abs=0.11)
    assert outer[3][0] == pytest.approx(closes[-1][0] + 11 * step, abs=0.2)
    for h in (1, 2, 3):
        top, upper, middle, lower, bottom = (shape[i][1] for shape, i in
            ((outer, h), (inner, h), (median, h + 1), (inner, -1 - h), (outer, -1 - h)))  # fmt: skip
        assert top < upper < middle < lower < bottom


def test_predicted_prices_are_the_last_close_times_e_to_the_log_return() -> None:
    assert drawing.prices(FAN)[1][4] == pytest.approx(102.0 * math.exp(0.05))


@pytest.mark.parametrize(("low", "high"), [(26.1, 29.7), (390.0, 560.0), (0.011, 0.013), (99.0, 101.0), (5, 50_000)])
def test_prices_are_marked_at_a_few_round_values_inside_the_drawing(low: float, high: float) -> None:
    marks = drawing.ticks(low, high)
    assert 3 <= len(marks) <= 7
    assert all(low - 1e-9 <= mark <= high + 1e-9 for mark in marks)


def test_flat_prices_and_a_single_one_can_be_drawn() -> None:
    assert "polyline" in drawing.svg(Fan("X", closes=((date(2013, 1, 1), 5.0),) * 3, refused="no model"))
    assert "polyline" in drawing.svg(Fan("X", closes=((date(2013, 1, 1), 5.0),), refused="no model"))
    assert drawing.svg(Fan("X", refused="unknown")) == ""


def test_an_untrusted_model_and_a_degraded_answer_are_marked_as_such() -> None:
    model = {"version": "v1.0.0", "kind": "ridge", "bootstrap": True, "trusted": False}
    shown = render.predictions(view(outlook=Outlook("llm1-tech", (FAN,), "sample", "", "v1", model, degraded=True)))
    assert "untrusted bootstrap model" in shown
    assert "degraded: without sentiment" in shown
    trusted = render.predictions(view(outlook=Outlook("llm1-tech", (FAN,), "live", "", "v1", {"trusted": True})))
    assert "untrusted" not in trusted
    assert "degraded" not in trusted


def test_a_samples_true_date_is_shown() -> None:
    assert "sample data as of 1 Mar 2013, 21:00 UTC" in render.predictions(view())


def test_what_is_not_there_is_said() -> None:
    assert "No deployments yet" in render.deployments(view())
    assert "FinColl unavailable" in render.predictions(view(outlook=FinCollUnavailable("no connection at http://x")))
    gone = view(deployments=DatabaseGone("database x: refused"), pulse={**ALIVE, "database": "database x: refused"})
    assert "History unavailable" in render.deployments(gone)
    assert "degraded" in render.header(gone)
    assert "degraded" not in render.header(view())


def test_a_refused_symbol_keeps_its_place_and_shows_the_reason() -> None:
    shown = render.predictions(view(outlook=Outlook("llm1-tech", (FAN, Fan("NFLX", refused="no bars of 'NFLX'")))))
    assert "No prediction: no bars of &#x27;NFLX&#x27;" in shown


def test_nothing_from_outside_becomes_markup() -> None:
    evil = "<script>alert(1)</script>"
    row = {
        "status": evil, "component": evil, "version": evil, "action": evil, "requested_by": evil,
        "started_at": NOW - timedelta(minutes=2), "completed_at": NOW,
    }  # fmt: skip
    seen = Probe(evil, "degraded", evil, 1, detail=evil, facts={"last_prediction": evil})
    shown = view(
        environment=evil, inventory=evil, version=evil, deployments=[row],
        observed=Observed(seen, dict.fromkeys(MICROSERVICES, seen), [], NOW),
        outlook=Outlook(evil, (Fan(evil, refused=evil),), evil, evil, evil, {"version": evil, "kind": evil}),
    )  # fmt: skip
    for draw in (render.header, render.services, render.predictions, render.deployments):
        assert "<script" not in draw(shown)


def test_numbers_and_times_read_as_people_write_them() -> None:
    assert percent(-0.0123) == "−1.2 %"
    assert moment("2013-03-01T21:00:00Z") == "1 Mar 2013, 21:00 UTC"
    assert clock("2026-03-02T09:00:00Z", NOW) == "09:00:00 UTC"
    assert clock("2013-03-01T21:00:00Z", NOW) == "1 Mar 2013, 21:00 UTC"
    assert [lasted(timedelta(seconds=s)) for s in (40, 65, 7260)] == ["40 s", "1 min 05 s", "2 h 01 min"]
